//! The last words of peers about entries that wait: a bounded table beside the index.
//!
//! It serves listings and delay notices; bounces keep their own copy. The oldest are forgotten first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use angarium_nouns::{EnhancedCode, Reply};
use angarium_queue::EntryRef;

/// Entries remembered: 100,000 at about 200 bytes are 20 MB at most, and more is not read by people.
const MOST: usize = 100_000;
/// Octets of a text that are kept: RFC 5321 4.5.3.1.5 allows 512 a line, the first says what matters.
const MAX_TEXT: usize = 512;

/// What a peer (or we) said last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Words {
    pub code: u16,
    pub enhanced: Option<EnhancedCode>,
    pub text: Arc<str>,
    pub host: Arc<str>,
}

impl Words {
    pub fn new(reply: Option<&Reply>, host: Arc<str>) -> Self {
        let Some(reply) = reply else { return Self { host, ..Self::default() } };
        Self { code: reply.code, enhanced: reply.enhanced, text: clip(&reply.text).into(), host }
    }
}

/// The front of a text, cut between characters.
pub(crate) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

#[derive(Debug, Default)]
pub(crate) struct LastWords {
    by_entry: HashMap<EntryRef, Words>,
    order: VecDeque<EntryRef>,
}

impl LastWords {
    pub fn keep(&mut self, entry: EntryRef, words: Words) {
        if self.by_entry.insert(entry, words).is_none() {
            self.order.push_back(entry);
        }
        while self.by_entry.len() > MOST || self.order.len() > 2 * MOST {
            let Some(oldest) = self.order.pop_front() else { break };
            self.by_entry.remove(&oldest);
        }
    }

    /// All that are remembered, oldest first.
    pub fn entries(&self) -> Vec<EntryRef> {
        self.order.iter().filter(|entry| self.by_entry.contains_key(entry)).copied().collect()
    }

    pub fn of(&self, entry: EntryRef) -> Option<&Words> {
        self.by_entry.get(&entry)
    }

    pub fn forget(&mut self, entry: EntryRef) {
        if !self.by_entry.is_empty() {
            self.by_entry.remove(&entry);
        }
    }
}
