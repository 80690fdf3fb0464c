//! What followers, the API and people read of the journal: facts with their strings put in.
//!
//! A cursor is (spool id, epoch, LSN) and stays valid over restarts. Only what is durable is shown.

use serde::{Deserialize, Serialize};

use angarium_nouns::Millis;

/// How far a reader has read: everything up to this LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    pub spool: u64,
    pub epoch: u32,
    pub lsn: u64,
}

/// Some facts in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalPage {
    pub records: Vec<Told>,
    pub next: Cursor,
    /// The cursor pointed before what is kept: facts from there to the first record are gone.
    pub gap: bool,
    /// There is more behind `next` already.
    pub more: bool,
}

/// A fact, told with names instead of numbers. In MessagePack a map whose field `kind` says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Told {
    Received {
        lsn: u64,
        at: Millis,
        message: String,
        size: u64,
        class: String,
        sender: String,
        recipients: Vec<String>,
        peer: String,
        tenant: String,
        campaign: String,
        /// Number of [`angarium_nouns::record::Successor`].
        successor: u8,
        recovered: bool,
    },
    Settled {
        lsn: u64,
        at: Millis,
        message: String,
        number: u32,
        state: String,
        outcome: String,
        due: Millis,
        attempts: u16,
        scope: u8,
        reason: String,
        rule: u16,
        code: u16,
        text: String,
        host: String,
        domain: String,
        took: u32,
        may_repeat: bool,
    },
    Slept {
        lsn: u64,
        at: Millis,
        scope: u8,
        object: String,
        until: Millis,
        reason: String,
        code: u16,
        text: String,
    },
    Controlled {
        lsn: u64,
        at: Millis,
        control: u64,
        /// hold, release, cancel, …
        order: String,
        predicate: String,
        by: String,
        why: String,
        until: Millis,
        changed: u64,
    },
    Lost {
        lsn: u64,
        at: Millis,
        message: String,
        number: u32,
        why: String,
    },
    Followed {
        lsn: u64,
        at: Millis,
        follower: String,
        epoch: u32,
        position: u64,
        claims: bool,
    },
    Gap {
        lsn: u64,
        at: Millis,
        follower: String,
        from: u64,
        to: u64,
    },
}
