//! All figures in one table: the engine's own, the ledger's and the delivery's (`Engine::counters`).

use angarium_ledger::{Histogram, LedgerStats};
use angarium_nouns::envelope::Class;

use crate::counters::{Figures, HistogramFigures};
use crate::delivery::DeliveryCounters;
use std::sync::atomic::Ordering::Relaxed;

/// Names of entry states in the order of [`LedgerStats::states`].
const STATES: [&str; 4] = ["state_waiting", "state_held", "state_leased", "state_owing"];
const DEPTHS: [&str; 4] = ["depth_urgent", "depth_high", "depth_normal", "depth_bulk"];
/// Buckets of powers of two that are worth showing: up to 2^31 ms is 24 days.
const SHOWN: usize = 31;

pub fn add_ledger(figures: &mut Figures, stats: &LedgerStats) {
    figures.counts.extend([
        ("delivered", stats.delivered),
        ("deferred", stats.deferred),
        ("failed", stats.failed),
        ("cancelled", stats.cancelled),
        ("lost", stats.lost),
        ("repeated", stats.repeated),
        ("bounces", stats.bounces),
        ("damaged", stats.damaged),
    ]);
    figures.now.extend(DEPTHS.into_iter().zip(stats.depth));
    figures.now.extend(STATES.into_iter().zip(stats.states));
    figures.now.extend([
        ("entries", stats.depth.iter().sum()),
        ("messages", stats.messages),
        ("oldest", stats.oldest),
        ("lanes", stats.lanes),
        ("routes_wanted", stats.routes_wanted),
        ("pending_facts", stats.pending_facts),
        ("spool_bytes", stats.spool_bytes),
        ("spool_free", stats.spool_free),
        ("expiry_frozen", u64::from(stats.frozen)),
        ("claimed_required_bytes", stats.required_bytes),
        ("claimed_best_effort_bytes", stats.best_effort_bytes),
    ]);
    figures.histograms.insert("accept_to_delivered", powers(&stats.accept_to_delivered, 1_000));
    debug_assert_eq!(DEPTHS.len(), Class::ALL.len());
}

/// A histogram of powers of two, in another unit.
fn powers(histogram: &Histogram, unit: u64) -> HistogramFigures {
    let mut counts = histogram.buckets[..SHOWN].to_vec();
    counts.push(histogram.buckets[SHOWN..].iter().sum());
    HistogramFigures {
        // Bucket n counts whole numbers below 2^n.
        bounds: (0..SHOWN).map(|bit| ((1u64 << bit) - 1) * unit).collect(),
        counts,
        sum: histogram.sum.saturating_mul(unit),
    }
}

pub fn add_delivery(figures: &mut Figures, delivery: &DeliveryCounters) {
    figures.counts.extend([
        ("delivery_connections", delivery.connected.load(Relaxed)),
        ("delivery_connections_refused", delivery.refused.load(Relaxed)),
        ("delivery_uncertain", delivery.uncertain.load(Relaxed)),
        ("delivery_given_back", delivery.given_back.load(Relaxed)),
        ("delivered_bytes", delivery.bytes.load(Relaxed)),
    ]);
    figures.now.extend([
        ("delivery_open_connections", delivery.connections.load(Relaxed)),
        ("deliveries", delivery.deliveries.load(Relaxed)),
    ]);
}
