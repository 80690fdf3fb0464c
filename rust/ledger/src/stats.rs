//! Counters and histograms, kept where the states change.

use serde::Serialize;

use angarium_nouns::Millis;

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
    pub routes_wanted: u64,
    pub pending_facts: u64,
    /// Milliseconds from received to delivered.
    pub accept_to_delivered: Histogram,
    /// Microseconds of a content commit, as the engine measured them.
    pub commit_time: Histogram,
    /// Messages of a content commit.
    pub group_size: Histogram,
    pub spool_bytes: u64,
    pub spool_free: u64,
    pub damaged: u64,
    /// Content or journal log is faulted; shown until an operator acts.
    pub content_fault: bool,
    pub journal_fault: bool,
    /// Expiry is frozen (clock).
    pub frozen: bool,
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
