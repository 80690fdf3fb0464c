//! How far back the journal is kept: the operator's wish in time and bytes, above what is still needed.
//!
//! Milestones (time, LSN, bytes of journal written) are set as the journal grows and stand in checkpoints, so that a
//! restart does not begin the time anew. The floor passes neither what a claiming follower has not read nor the facts
//! about content that is still open.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use angarium_nouns::{Lsn, Millis};

/// Between two milestones; so much more than asked may be kept.
const EVERY: Millis = 600_000;
const EVERY_BYTES: u64 = 64 << 20;
/// Ten minutes over a month: 4,464. The oldest go first, which keeps more, not less.
const MOST: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Milestone {
    pub at: Millis,
    pub lsn: u64,
    /// Bytes of journal written up to here, over all runs.
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Retention {
    milestones: VecDeque<Milestone>,
    /// Bytes written by the runs before this one.
    before: u64,
}

impl Retention {
    pub fn restore(&mut self, milestone: Milestone) {
        self.before = milestone.bytes;
        self.milestones.push_back(milestone);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Milestone> {
        self.milestones.iter()
    }

    /// `written`: bytes of journal in this run.
    pub fn note(&mut self, now: Millis, lsn: Lsn, written: u64) {
        let bytes = self.before.saturating_add(written);
        let due = self
            .milestones
            .back()
            .is_none_or(|last| now >= last.at.saturating_add(EVERY) || bytes >= last.bytes.saturating_add(EVERY_BYTES));
        if due {
            self.milestones.push_back(Milestone { at: now, lsn: lsn.0, bytes });
        }
        while self.milestones.len() > MOST {
            self.milestones.pop_front();
        }
    }

    /// Nothing up to here is wanted for its age, as one of the last `keep_bytes`, or because it may speak of content
    /// that is open, the oldest of which was received at `open` (its facts come behind the milestone before that).
    pub fn floor(&mut self, now: Millis, open: Option<Millis>, (keep, keep_bytes): (Millis, u64), written: u64) -> Lsn {
        let bytes = self.before.saturating_add(written);
        let old =
            |mark: &Milestone| mark.at.saturating_add(keep) <= now || mark.bytes.saturating_add(keep_bytes) <= bytes;
        let closed = |mark: &Milestone| open.is_none_or(|open| mark.at <= open);
        let passed = self.milestones.iter().take_while(|mark| old(mark) && closed(mark)).count();
        let floor =
            passed.checked_sub(1).and_then(|last| self.milestones.get(last)).map_or(Lsn(0), |mark| Lsn(mark.lsn));
        // The last one passed stays: it is the floor.
        self.milestones.drain(..passed.saturating_sub(1));
        floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_by_time_and_by_bytes() {
        let mut retention = Retention::default();
        for n in 0..10 {
            retention.note(n * EVERY, Lsn(n * 100), n * 1000);
        }
        let now = 9 * EVERY;
        assert_eq!(retention.floor(now, None, (20 * EVERY, 1 << 40), 9000), Lsn(0));
        assert_eq!(retention.floor(now, Some(2 * EVERY + 5), (6 * EVERY, 1 << 40), 9000), Lsn(200));
        assert_eq!(retention.floor(now, Some(8 * EVERY), (6 * EVERY, 1 << 40), 9000), Lsn(300));
        assert_eq!(retention.floor(now, None, (6 * EVERY, 2000), 9000), Lsn(700));
        assert_eq!(retention.floor(now, None, (6 * EVERY, 2000), 9000), Lsn(700));
    }
}
