//! Limits that were met, for the log: counted by limit and by whom, told at most once a minute.
//!
//! A flood makes one line with a number in it, not a line for each refusal. What is kept between two tellings is
//! bounded; whoever comes when it is full is counted without a name.

use std::collections::HashMap;

use angarium_nouns::Millis;
use parking_lot::Mutex;

/// Who is named in one minute.
const NAMED: usize = 256;
/// The first time is told at once, the next ones together.
const TELL_EVERY: Millis = 60_000;

/// A limit, and by whom it was met.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Met {
    /// `messages of a network`.
    pub limit: &'static str,
    pub listener: u16,
    /// An address, a network, a login, a tenant; empty: many.
    pub who: String,
}

/// How often, and in which session last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    pub count: u64,
    /// 0: there was none yet.
    pub session: u64,
}

#[derive(Debug, Default)]
struct Kept {
    met: HashMap<Met, Times>,
    tell_again: Millis,
}

#[derive(Debug, Default)]
pub struct Notices(Mutex<Kept>);

impl Notices {
    pub fn note(&self, met: Met, session: u64) {
        let mut kept = self.0.lock();
        let named = kept.met.len() < NAMED || kept.met.contains_key(&met);
        let met = if named { met } else { Met { who: String::new(), ..met } };
        let times = kept.met.entry(met).or_default();
        times.count += 1;
        times.session = session;
    }

    /// Is something to be told now?
    pub fn are_due(&self, now: Millis) -> bool {
        let mut kept = self.0.lock();
        let due = !kept.met.is_empty() && now >= kept.tell_again;
        if due {
            kept.tell_again = now + TELL_EVERY;
        }
        due
    }

    pub fn take(&self) -> Vec<(Met, Times)> {
        std::mem::take(&mut self.0.lock().met).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line() {
        let notices = Notices::default();
        assert!(!notices.are_due(0));
        let met = |who: usize| Met { limit: "messages of an address", listener: 0, who: who.to_string() };
        (1..=9).for_each(|session| notices.note(met(1), session));
        assert!(notices.are_due(5) && !notices.are_due(6));
        assert_eq!(notices.take(), [(met(1), Times { count: 9, session: 9 })]);
        assert!(!notices.are_due(5 + TELL_EVERY));
        (0..NAMED + 50).for_each(|who| notices.note(met(who), 1));
        let told = notices.take();
        assert_eq!(told.len(), NAMED + 1);
        assert_eq!(told.iter().find(|(met, _)| met.who.is_empty()).map(|(_, times)| times.count), Some(50));
    }
}
