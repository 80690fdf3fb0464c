//! Figures that are kept as entries move: how many in which class and state, and since when the oldest waits.

use std::collections::BTreeMap;

use angarium_nouns::Millis;
use angarium_nouns::envelope::Class;
use angarium_nouns::record::EntryState;

use crate::types::Counts;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    entries: [[u64; 4]; 4],
    ready: [u64; 4],
    received: [Ages; 4],
}

impl Tally {
    pub fn enter(&mut self, class: Class, state: EntryState, received: Millis) {
        self.entries[class as usize][state as usize] += 1;
        self.received[class as usize].add(received);
    }

    pub fn leave(&mut self, class: Class, state: EntryState, received: Millis) {
        self.entries[class as usize][state as usize] -= 1;
        self.received[class as usize].remove(received);
    }

    pub fn change(&mut self, class: Class, from: EntryState, to: EntryState) {
        self.entries[class as usize][from as usize] -= 1;
        self.entries[class as usize][to as usize] += 1;
    }

    pub fn ready(&mut self, class: Class, by: i64) {
        let ready = &mut self.ready[class as usize];
        *ready = ready.wrapping_add_signed(by);
    }

    pub fn counts(&self) -> Counts {
        let oldest = [0, 1, 2, 3].map(|class: usize| self.received[class].oldest());
        Counts { entries: self.entries, ready: self.ready, oldest, ..Counts::default() }
    }
}

/// How many were received in which second. The second that was last spoken of is kept apart: while mail runs through,
/// it is nearly always the same.
#[derive(Debug, Default)]
struct Ages {
    hot: (u32, u32),
    seconds: BTreeMap<u32, u32>,
}

impl Ages {
    fn count(&mut self, received: Millis) -> &mut u32 {
        let second = (received / 1000) as u32;
        if self.hot.0 != second {
            if self.hot.1 != 0 {
                self.seconds.insert(self.hot.0, self.hot.1);
            }
            self.hot = (second, self.seconds.remove(&second).unwrap_or(0));
        }
        &mut self.hot.1
    }

    fn add(&mut self, received: Millis) {
        *self.count(received) += 1;
    }

    fn remove(&mut self, received: Millis) {
        let count = self.count(received);
        *count = count.saturating_sub(1);
    }

    fn oldest(&self) -> Option<Millis> {
        let hot = (self.hot.1 != 0).then_some(self.hot.0);
        let kept = self.seconds.first_key_value().map(|(second, _)| *second);
        let oldest = match (hot, kept) {
            (Some(hot), Some(kept)) => hot.min(kept),
            (hot, kept) => hot.or(kept)?,
        };
        Some(u64::from(oldest) * 1000)
    }
}
