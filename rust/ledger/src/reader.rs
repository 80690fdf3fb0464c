//! What followers, the API and people read of the journal: facts with their strings put in.
//!
//! A cursor is (spool id, epoch, LSN) and stays valid over restarts. Only what is durable is shown.

use serde::{Deserialize, Serialize};

use angarium_nouns::record::Fact;

/// How far a reader has read: everything up to this LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    pub spool: u64,
    pub epoch: u32,
    pub lsn: u64,
}

/// A follower as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FollowerView {
    pub name: String,
    pub cursor: Cursor,
    /// `none`, `best-effort`, `required`.
    pub claim: &'static str,
    /// The limit of best effort took the content of what was closed up to this LSN.
    pub skipped: u64,
}

/// One fact with the strings that it speaks of: number N of the fact is `strings[N - 1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRecord {
    pub lsn: u64,
    pub fact: Fact,
    pub strings: Vec<String>,
}

/// Some facts in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalPage {
    pub records: Vec<JournalRecord>,
    pub next: Cursor,
    /// The cursor pointed before what is kept: facts from there to the first record are gone.
    /// Or a stretch before it is damaged.
    pub gap: bool,
    /// That stretch, (behind this LSN, up to this one).
    pub damaged: Option<(u64, u64)>,
    /// There is more behind `next` already.
    pub more: bool,
}
