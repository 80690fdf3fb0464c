//! The engine: tokio sessions, accept stages, committers, compiled policy, delivery, over the ledger.
//!
//! It has the clock, the sockets and the threads that the rooms below do without. It never touches Python: what
//! Python must know goes out as events, what Python decides comes in as plain calls on [`engine::Engine`].
//!
//! Order of reading: `engine`, `session`, `accept`, `committer`, `delivery`.

mod accept;
mod admission;
mod asks;
pub mod clock;
mod committer;
mod counters;
pub mod delivery;
mod event;
mod intake;
pub mod policy;
mod session;
pub mod tables;
