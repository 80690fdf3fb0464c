//! The index of all mail that waits: entries, nodes, lanes, limiters, fair order, due times, controls.
//!
//! Plain data without lock, clock or I/O: times are arguments, names are numbers, and whoever owns the [`Index`]
//! (the ledger; `angarium.queue` in Python) holds the lock and writes the logs. Handles carry generations: a stale
//! one is refused, never misread. Memory is fixed pages that are reused and never moved; everything that walks
//! many entries does so in steps that the caller bounds.
#![forbid(unsafe_code)]

#[cfg(test)]
mod check;
mod control;
mod entry;
mod flow;
mod index;
mod lane;
mod limiter;
#[cfg(test)]
mod limiter_tests;
mod lines;
mod messages;
#[cfg(test)]
mod model_tests;
mod node;
mod page;
mod parking;
mod search;
mod slab;
mod table;
mod take;
mod tally;
mod time;
mod turns;
mod types;
mod wheel;

pub use index::Index;
pub use types::*;
