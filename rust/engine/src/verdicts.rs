//! Counts of what senders were found to be: one counter for each result of each method, and for what was done.

use angarium_nouns::Verdicts;

use crate::counters::{Count, Figures};
use crate::policy::authentication::RESULTS;

/// Beside the methods: what the policy did, and what it excused.
const DONE: [(&str, &[&str]); 2] =
    [("action", &["none", "tag", "quarantine", "defer", "reject"]), ("excused", &["forwarder", "sealer"])];

pub struct VerdictCounts(Vec<(&'static str, &'static str, Count)>);

impl Default for VerdictCounts {
    fn default() -> Self {
        let all = RESULTS.iter().chain(&DONE);
        Self(all.flat_map(|(method, words)| words.iter().map(|word| (*method, *word, Count::default()))).collect())
    }
}

impl VerdictCounts {
    pub fn count(&self, verdicts: &Verdicts) {
        for (method, word) in verdicts.words() {
            if let Some((.., count)) = self.0.iter().find(|(of, name, _)| *of == method && *name == word) {
                count.one_more();
            }
        }
    }

    pub fn add_to(&self, figures: &mut Figures) {
        for (method, word, count) in &self.0 {
            figures.verdicts.entry(method).or_default().insert(word, count.get());
        }
    }
}
