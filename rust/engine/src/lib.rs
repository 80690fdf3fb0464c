//! The engine: tokio sessions, accept stages, committers, compiled policy, delivery, over the ledger.
//!
//! It has the clock, the sockets and the threads that the rooms below do without. It never touches Python: what
//! Python must know goes out as events, what Python decides comes in as plain calls on [`engine::Engine`].
//!
//! Order of reading: `engine`, `session`, `accept`, `committer`, `delivery`.

mod accept;
mod admission;
pub mod asks;
pub mod calls;
pub mod clock;
mod committer;
pub mod counters;
pub mod delivery;
mod dns;
pub mod engine;
pub mod event;
pub mod faults;
mod figures;
mod intake;
mod journal;
mod logins;
pub mod notices;
pub mod policy;
mod pool;
mod running;
mod session;
pub mod signing;
mod stress;
pub mod tables;
mod tickets;
pub mod tls;
mod traffic;
mod upkeep;
mod verdicts;

/// Fresh chance from the system.
fn chance<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    // It fails only where the system has none: then nothing that needs it may go on, and zeros are refused by nobody.
    assert!(aws_lc_rs::rand::fill(&mut octets).is_ok(), "the system gives no random numbers");
    octets
}
