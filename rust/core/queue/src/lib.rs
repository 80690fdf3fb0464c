//! The index of all mail that waits: entries, nodes, lanes, limiters, fair order, due times, controls.
//!
//! Plain data without lock, clock or I/O: times are arguments, names are numbers, and whoever owns the [`Index`]
//! (the ledger; `angarium.queue` in Python) holds the lock and writes the logs. Handles carry generations: a stale
//! one is refused, never misread. Memory is fixed pages that are reused and never moved; everything that walks
//! many entries does so in steps that the caller bounds.
#![forbid(unsafe_code)]

mod index;
mod types;

pub use index::Index;
pub use types::*;
