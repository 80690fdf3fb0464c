//! Time: what becomes due, and what has expired.

use std::cmp::Reverse;

use angarium_nouns::Millis;
use angarium_nouns::record::EntryState;

use crate::index::Index;
use crate::types::{Cursor, EntryRef};

impl Index {
    /// Brings what became due by `now` into turn: entries, hold deadlines, lanes, limiters; looks at no more than
    /// `limit` of them. `true`: there is more.
    pub fn advance(&mut self, now: Millis, limit: usize) -> bool {
        let mut steps = limit;
        self.tend_dirty(now);
        self.wake_lanes(now, &mut steps);
        self.ring_alarms(now, &mut steps);
        while let Some(slot) = self.wheel.pop(&mut self.entries, now, &mut steps) {
            if self.state(slot) == EntryState::Held {
                self.release_slot(slot, now);
            } else {
                self.join_node(slot, false);
            }
        }
        steps == 0 && self.next_due().is_some_and(|due| due <= now)
    }

    /// No later than the next time at which `advance` has something to do; `None`: never.
    pub fn next_due(&self) -> Option<Millis> {
        if !self.dirty.is_empty() {
            return Some(0);
        }
        let asleep = self.asleep.peek().map(|Reverse((until, _))| *until).filter(|until| *until != Millis::MAX);
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at).filter(|at| *at != Millis::MAX);
        [self.wheel.next_due(), asleep, alarm].into_iter().flatten().min()
    }

    /// Looks at `steps` slots for waiting or held entries whose deadline has passed; `None`: the walk is through.
    pub fn expired(&self, now: Millis, from: Cursor, steps: usize, out: &mut Vec<EntryRef>) -> Option<Cursor> {
        let end = self.entries.end();
        let until = from.0.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX)).min(end);
        for slot in from.0..until {
            let entry = &self.entries[slot];
            let open = matches!(entry.state(), Some(EntryState::Waiting | EntryState::Held));
            if open && entry.expires() != 0 && entry.expires() <= now {
                out.push(self.entries.reference(slot));
            }
        }
        (until < end).then_some(Cursor(until))
    }
}
