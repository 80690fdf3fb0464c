//! The engine: tokio sessions, accept stages, committers, compiled policy, delivery, over the ledger.
//!
//! It has the clock, the sockets and the threads that the rooms below do without. It never touches Python: what
//! Python must know goes out as events, what Python decides comes in as plain calls on [`engine::Engine`].

pub mod clock;
pub mod delivery;
pub mod policy;
pub mod tables;
