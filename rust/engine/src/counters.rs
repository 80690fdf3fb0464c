//! Figures of the engine, in atomics: nothing here takes a lock or allocates while mail flows.
//!
//! [`Counters::write`] gives one MessagePack map for `Engine.counters()`:
//! `{"counts": {name: int since the start}, "now": {name: int}, "histograms": {name: {"bounds": [upper bounds],
//! "counts": [one more than bounds, not cumulated], "sum": int}}, "verdicts": {method: {result: int}}}`. Times are microseconds. The ledger's and the
//! delivery's figures are added under the same three keys by the caller.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Microseconds, 1-2.5-5 steps from 100 µs to a minute.
pub const TIME_BOUNDS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];
/// Records of a commit group.
pub const GROUP_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// One counter. Relaxed: figures need no order.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn one_more(&self) {
        self.add(1);
    }

    pub fn one_less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn take(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts by upper bounds, and the sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    pub fn record(&self, value: u64) {
        let at = self.bounds.partition_point(|&bound| bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> HistogramFigures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HistogramFigures {
            bounds: self.bounds.to_vec(),
            counts: self.counts.iter().map(read).collect(),
            sum: read(&self.sum),
        }
    }
}

/// A histogram as it is written out.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct HistogramFigures {
    pub bounds: Vec<u64>,
    pub counts: Vec<u64>,
    pub sum: u64,
}

/// What `Engine.counters()` writes.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    pub counts: BTreeMap<&'static str, u64>,
    pub now: BTreeMap<&'static str, u64>,
    pub histograms: BTreeMap<&'static str, HistogramFigures>,
    /// By method, by result.
    pub verdicts: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}

macro_rules! counters {
    (counts { $($(#[$count_doc:meta])* $count:ident,)+ } now { $($(#[$now_doc:meta])* $now:ident,)+ }
     histograms { $($(#[$histogram_doc:meta])* $histogram:ident: $bounds:expr,)+ }) => {
        /// All of them; shared by every task and thread of the engine.
        #[derive(Debug)]
        pub struct Counters {
            $($(#[$count_doc])* pub $count: Count,)+
            $($(#[$now_doc])* pub $now: Count,)+
            $($(#[$histogram_doc])* pub $histogram: Histogram,)+
        }

        impl Default for Counters {
            fn default() -> Self {
                Self {
                    $($count: Count::default(),)+
                    $($now: Count::default(),)+
                    $($histogram: Histogram::new($bounds),)+
                }
            }
        }

        impl Counters {
            pub fn figures(&self) -> Figures {
                Figures {
                    counts: BTreeMap::from([$((stringify!($count), self.$count.get())),+]),
                    now: BTreeMap::from([$((stringify!($now), self.$now.get())),+]),
                    histograms: BTreeMap::from([$((stringify!($histogram), self.$histogram.snapshot())),+]),
                    verdicts: BTreeMap::new(),
                }
            }
        }
    };
}

counters! {
    counts {
        /// Descriptors adopted.
        connections,
        /// Descriptors refused at adoption (limits, stop).
        connections_refused,
        /// Messages acknowledged.
        received,
        received_bytes,
        received_recipients,
        /// Messages refused at the dot or at submission, for good.
        refused,
        /// The same for now (disk full, hooks, stop).
        refused_for_now,
        /// Recipients refused at RCPT.
        recipients_refused,
        /// Messages broken off by the peer in the middle.
        aborted,
        /// Messages whose peer was gone before their group was taken (S8).
        withdrawn,
        discarded,
        /// Sessions ended by a time-out.
        timeouts,
        /// Questions put to hooks, and those that the default answered.
        asks,
        asks_late,
        /// Commit groups and the syncs they cost.
        groups,
        journal_groups,
        /// Messages from code.
        submitted,
        /// Handshakes of TLS, and those that failed.
        tls,
        tls_failed,
        /// Logins, those that failed, and tries of banned addresses.
        logins,
        logins_failed,
        logins_banned,
        /// Connections that should have begun with a PROXY header.
        proxy_failed,
        /// Clients that talked before the banner.
        early_talkers,
        /// What a limit refused.
        limited_by_address,
        limited_by_network,
        limited_by_login,
        limited_by_tenant,
        /// Messages whose senders were judged.
        judged,
        /// Questions put to name servers, those that failed, and those that were answered from memory.
        dns_questions,
        dns_failures,
        dns_remembered,
        /// Messages signed or sealed, and those whose key did not work.
        signed,
        sign_failed,
    }
    now {
        sessions,
        /// Messages between MAIL and their answer.
        transactions,


    }
    histograms {
        /// From DATA (or submission) to the answer.
        accept_time: TIME_BOUNDS,
        /// From the committer's queue to durable.
        commit_time: TIME_BOUNDS,
        /// One write with its sync.
        sync_time: TIME_BOUNDS,
        group_size: GROUP_BOUNDS,
        /// Waiting for hooks.
        ask_time: TIME_BOUNDS,
        /// Judging the senders, waiting for DNS included.
        judge_time: TIME_BOUNDS,
        /// Signing, waiting for the pool included.
        sign_time: TIME_BOUNDS,
    }
}

impl Figures {
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_puts_values_at_their_bounds() {
        let histogram = Histogram::new(&[1, 10]);
        for value in [0, 1, 2, 10, 11] {
            histogram.record(value);
        }
        assert_eq!(histogram.snapshot(), HistogramFigures { bounds: vec![1, 10], counts: vec![2, 2, 1], sum: 24 });
    }

    #[test]
    fn figures_hold_every_counter() {
        let counters = Counters::default();
        counters.received.add(3);
        let figures = counters.figures();
        assert_eq!(figures.counts["received"], 3);
        assert!(!figures.encode().is_empty());
    }
}
