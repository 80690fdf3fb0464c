//! The state of all mail: one [`Ledger`] over the spool's two logs and the queue's index.
//!
//! Promises S1–S6 of the design are kept here: a message is indexed only behind its fdatasync, an entry changes
//! state in one place (settle), a fact frees nothing before it is durable. Everything is synchronous, takes `now`
//! as an argument and is called from the engine's threads; the state lock is never held across a call of the disk.
//! Who delivers, who decides routes and who sleeps until something is due stands above.
#![forbid(unsafe_code)]

mod brake;
mod checkpoint;
mod claims;
mod clock;
mod commit;
mod content;
mod control;
mod error;
mod facts;
mod holds;
mod incoming;
mod journal;
mod lanes;
mod late;
mod lease;
mod ledger;
mod limiters;
mod listing;
mod maintain;
mod orders;
mod predicate;
mod quota;
mod reader;
mod recover;
mod remember;
mod reports;
mod retention;
mod retry;
mod route;
mod routes;
mod rules;
mod settle;
mod sleep;
mod state;
mod stats;
mod words;

pub use brake::{BrakePolicy, Braked};
pub use content::{Content, ContentBody, InlineBody};
pub use control::{Control, ControlDone, ControlKind};
pub use error::{CommitError, ControlError, FaultKind, FindError, FollowError, LoadError, OpenError, ReadError};
pub use incoming::{Body, Incoming, PrepareError};
pub use journal::read_frame;
pub use lease::{EntryId, LaneId, LaneRun, LaneWanted, Lease, LeasedEntry, RouteWanted, Settlement, Sleep};
pub use ledger::{Flushed, Ledger, LedgerPolicy, LedgerSettings, RecoveryReport, Waker};
pub use predicate::{Found, FoundEntry, MessageView, Predicate, RecipientView};
pub use reader::{Cursor, FollowerView, JournalPage, JournalRecord};
pub use recover::Opening;
pub use retry::{RetryTable, RetryTables};
pub use route::{
    ClientCertificate, LaneKey, NoRoute, Pin, Plan, PlanHost, PlanLimiter, PlanLogin, Protocol, Rate, Route,
    RouteAnswer, SignedEightBit, TlsLevel,
};
pub use rules::RuleView;
pub use stats::{Histogram, LedgerStats};

pub use angarium_spool::{BodyFile, BodyReader, BodyWriter, Disk, SpoolSettings};
