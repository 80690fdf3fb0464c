//! The nouns of the house: checked once where they enter, trusted afterwards.
//!
//! Nothing here does I/O, knows the time or decides about mail. Times are Unix milliseconds ([`Millis`]) and come
//! in as arguments. The records of both logs ([`record`]) live here because every room above speaks in them.
#![forbid(unsafe_code)]

pub mod address;
pub mod domain;
pub mod envelope;
pub mod id;
pub mod names;
pub mod outcome;
pub mod record;
pub mod reply;
pub mod verdicts;

pub use address::{Address, AddressError, ReversePath};
pub use domain::{Domain, DomainError, Host};
pub use envelope::{BodyType, Class, DsnNotify, DsnReturn};
pub use id::{IdSource, Lsn, MessageId, RecipientId};
pub use outcome::{Judgement, Outcome, Phase, Reason, Scope};
pub use reply::{EnhancedCode, Reply, ReplyError};
pub use verdicts::Verdicts;

/// Unix time in milliseconds.
pub type Millis = u64;
