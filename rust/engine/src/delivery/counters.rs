//! Figures of the delivery room, read by the metrics at any time. Plain atomics: a figure may be one behind another.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use angarium_nouns::outcome::Outcome;

#[derive(Debug, Default)]
pub struct DeliveryCounters {
    /// Connections open now.
    pub connections: AtomicU64,
    /// Connections that were greeted, since the start.
    pub connected: AtomicU64,
    /// Connections that failed before a transaction could begin.
    pub refused: AtomicU64,
    /// Transactions (or local deliveries) being carried out now.
    pub deliveries: AtomicU64,
    pub delivered: AtomicU64,
    pub deferred: AtomicU64,
    pub failed: AtomicU64,
    /// Settled so that a repeat is possible.
    pub uncertain: AtomicU64,
    /// Entries given back without an attempt.
    pub given_back: AtomicU64,
    pub bytes: AtomicU64,
}

impl DeliveryCounters {
    /// Counts entries that were settled with this outcome.
    pub fn count(&self, outcome: Outcome, entries: usize) {
        let counter = match outcome {
            Outcome::Delivered => &self.delivered,
            Outcome::Deferred => &self.deferred,
            Outcome::Failed => &self.failed,
        };
        counter.fetch_add(entries as u64, Relaxed);
    }
}
