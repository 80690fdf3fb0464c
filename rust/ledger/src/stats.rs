//! Counters and histograms, kept where the states change.

use std::sync::Arc;

use serde::Serialize;

use angarium_nouns::Millis;

use crate::ledger::Ledger;

/// Buckets of a histogram: 2^n of its unit each, the last one takes the rest.
pub const BUCKETS: usize = 32;

/// A logarithmic histogram: bucket n counts values below 2^n that the one before does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Histogram {
    pub buckets: [u64; BUCKETS],
    pub sum: u64,
    pub count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum: 0, count: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, value: u64) {
        let bucket = (64 - value.leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.sum = self.sum.saturating_add(value);
        self.count += 1;
    }
}

/// Figures since the start, and of now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LedgerStats {
    pub received: u64,
    pub recipients: u64,
    pub delivered: u64,
    pub deferred: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub lost: u64,
    pub repeated: u64,
    pub bounces: u64,
    /// Entries by class: urgent, high, normal, bulk.
    pub depth: [u64; 4],
    /// Entries by state: waiting, held, leased, owing.
    pub states: [u64; 4],
    pub messages: u64,
    /// When the oldest waiting entry was received; 0: none waits.
    pub oldest: Millis,
    pub lanes: u64,
    /// Routes asked for, or to be asked for.
    pub routes_wanted: u64,
    pub pending_facts: u64,
    /// Milliseconds from received to delivered.
    pub accept_to_delivered: Histogram,
    /// Microseconds of a content commit, as the engine measured them.
    pub commit_time: Histogram,
    /// Messages of a content commit.
    pub group_size: Histogram,
    pub checkpoints: u64,
    /// Segments used again, and messages copied forward out of mostly dead ones.
    pub recycled: u64,
    pub copied: u64,
    pub spool_bytes: u64,
    /// Bytes that new files may still take.
    pub spool_free: u64,
    /// Bytes of closed content that best-effort and required claims keep.
    pub best_effort_bytes: u64,
    pub required_bytes: u64,
    /// Required claims are at their limit: new mail gets 452.
    pub overclaimed: bool,
    /// Places that the start found damaged.
    pub damaged: u64,
    /// Content or journal log is faulted; shown until an operator acts.
    pub content_fault: bool,
    pub journal_fault: bool,
    /// New mail gets 452 until there is room.
    pub full: bool,
    /// Expiry is frozen (clock).
    pub frozen: bool,
}

/// Figures kept while it runs, under the state lock.
#[derive(Debug)]
pub(crate) struct Figures {
    pub received: u64,
    pub recipients: u64,
    pub delivered: u64,
    pub deferred: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub lost: u64,
    pub repeated: u64,
    pub bounces: u64,
    pub damaged: u64,
    pub accept_to_delivered: Histogram,
    pub commit_time: Histogram,
    pub group_size: Histogram,
    /// The last host that settled, shared by the facts that name it.
    pub last_host: Arc<str>,
    pub last_tls: Arc<str>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            received: 0,
            recipients: 0,
            delivered: 0,
            deferred: 0,
            failed: 0,
            cancelled: 0,
            lost: 0,
            repeated: 0,
            bounces: 0,
            damaged: 0,
            accept_to_delivered: Histogram::default(),
            commit_time: Histogram::default(),
            group_size: Histogram::default(),
            last_host: "".into(),
            last_tls: "".into(),
        }
    }
}

impl Ledger {
    pub fn stats(&self, now: Millis) -> LedgerStats {
        let spool = self.spool.stats();
        let spool_free = self.disk.free_bytes().unwrap_or(0);
        let mut state = self.state.lock();
        let frozen = state.freeze.is_frozen(now);
        let counts = state.index.counts();
        let (best_effort_bytes, required_bytes) = state.claims.bytes();
        let figures = &state.figures;
        LedgerStats {
            received: figures.received,
            recipients: figures.recipients,
            delivered: figures.delivered,
            deferred: figures.deferred,
            failed: figures.failed,
            cancelled: figures.cancelled,
            lost: figures.lost,
            repeated: figures.repeated,
            bounces: figures.bounces,
            depth: counts.entries.map(|states| states.iter().sum()),
            states: std::array::from_fn(|n| counts.entries.iter().map(|states| states[n]).sum()),
            messages: counts.messages,
            oldest: counts.oldest.into_iter().flatten().min().unwrap_or(0),
            lanes: u64::from(counts.lanes),
            routes_wanted: state.routes.wanted() as u64,
            pending_facts: state.facts.len() as u64,
            accept_to_delivered: figures.accept_to_delivered.clone(),
            commit_time: figures.commit_time.clone(),
            group_size: figures.group_size.clone(),
            spool_bytes: spool.segment_bytes,
            checkpoints: spool.checkpoints,
            recycled: spool.segments_recycled,
            copied: spool.copied_frames,
            spool_free,
            best_effort_bytes,
            required_bytes,
            overclaimed: state.is_overclaimed(),
            damaged: figures.damaged,
            content_fault: spool.content_fault,
            journal_fault: spool.journal_fault,
            full: spool.full,
            frozen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two() {
        let mut histogram = Histogram::default();
        for value in [0, 1, 2, 3, 1000, u64::MAX] {
            histogram.add(value);
        }
        assert_eq!(histogram.buckets[..3], [1, 1, 2]);
        assert_eq!((histogram.buckets[10], histogram.buckets[BUCKETS - 1], histogram.count), (1, 1, 6));
    }
}
