//! Sender authentication without look-ups: SPF, DKIM, DMARC, ARC, DKIM2, iprev and Authentication-Results.
//!
//! Every check is a function of the message, the session, the time and the DNS answers known so far ([`dns::Known`]).
//! What is not known yet is asked for in batches, and the check runs again with the answers; [`inspection`] puts all
//! checks of one message side by side. Nothing here looks anything up, waits, or knows the time but as an argument.
//! Work is bounded by named constants: questions, signatures, signed fields, ARC sets, key sizes.
#![deny(unsafe_code)]

pub mod arc;
pub mod author;
pub mod canon;
pub mod dkim;
pub mod dkim2;
pub mod dmarc;
pub mod dns;
pub mod inspection;
pub mod iprev;
pub mod key;
pub mod results;
mod short;
pub mod spf;
pub mod tags;

pub use dns::{Answer, Known, Missing, Pending, Question};
pub use inspection::{Inspection, Report, Session, Step};
