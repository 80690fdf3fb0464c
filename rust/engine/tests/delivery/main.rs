//! Delivery from outside: a real ledger, real sockets on loopback, peers good and bad.
#![allow(clippy::unwrap_used)]

mod extensions;
mod house;
mod local;
mod login;
mod peer;
mod peers;
mod render;
mod reuse;
mod tls;
