//! The door of the room: [`Ledger`] and how it is opened.
//!
//! All methods take `&self` and may be called from any thread. One thread commits content, one flushes the
//! journal; the rest holds the state lock for moments only and never across a call of the disk.

use std::sync::Arc;

use parking_lot::Mutex;

use angarium_nouns::{IdSource, MessageId, Millis, Scope};
use angarium_spool::{BodyWriter, Disk, Recovery, Spool, SpoolSettings};

use crate::control::{Control, ControlDone};
use crate::error::{CommitError, ControlError, FindError, LoadError, OpenError, ReadError};
use crate::incoming::Incoming;
use crate::lease::{Content, EntryId, LaneId, LaneRun, LaneWanted, Lease, LeasedEntry, RouteWanted, Settlement, Sleep};
use crate::predicate::{Found, MessageView, Predicate};
use crate::reader::{Cursor, JournalPage};
use crate::retry::RetryTables;
use crate::route::{Plan, RouteAnswer};
use crate::stats::LedgerStats;

/// What is fixed when the spool is opened.
#[derive(Clone, Default)]
pub struct LedgerSettings {
    /// Stands in message ids.
    pub node: u16,
    pub spool: SpoolSettings,
    pub policy: LedgerPolicy,
}

/// What the operator may change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerPolicy {
    pub retries: RetryTables,
    /// An entry that is not delivered by then is failed (RFC 5321 4.5.4.1: four to five days at least).
    pub expire_after: Millis,
    /// The same for null-sender messages.
    pub expire_reports_after: Millis,
    /// A hold without a deadline of its own ends after.
    pub hold_after: Millis,
    /// Owed reports of one content and address are collected so long; shorter where nobody waits for company.
    pub report_delay: Millis,
    /// Octets of the original that a failure report carries; of a larger one it carries the header.
    pub report_full_limit: u64,
    /// Reporting-MTA of reports.
    pub hostname: String,
    /// From of reports; empty: `postmaster@hostname`.
    pub postmaster: String,
    /// Facts older than this may go, if nobody claims them.
    pub journal_keep: Millis,
}

const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

impl Default for LedgerPolicy {
    fn default() -> Self {
        Self {
            retries: RetryTables::default(),
            expire_after: 5 * DAY,
            expire_reports_after: 2 * DAY,
            hold_after: 30 * DAY,
            report_delay: 60_000,
            report_full_limit: 50 << 10, // Postfix bounce_size_limit
            hostname: "localhost".into(),
            postmaster: String::new(),
            journal_keep: 30 * DAY,
        }
    }
}

/// Called, without any lock held, when work appears earlier than the last answer of `next_due` said.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What `flush_journal` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flushed {
    /// Facts written by this call.
    pub written: usize,
    /// All facts numbered up to here are durable: tokens of controls at or below it are answered.
    pub facts: u64,
    /// Bytes of the frame.
    pub bytes: usize,
}

/// What was found at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub epoch: u32,
    /// Open entries.
    pub entries: u64,
    pub messages: u64,
    /// Open entries whose content cannot be read.
    pub lost: u64,
    /// Damaged places that were set aside, in words.
    pub damage: Vec<String>,
    /// Tail frames that were copied aside and cut.
    pub cut: u64,
    /// Content found without a fact.
    pub recovered: u64,
    /// Expiry is frozen, and why.
    pub frozen: Option<String>,
    pub took: Millis,
}

/// A spool whose lock is taken and whose headers are read; nothing is recovered yet.
pub struct Opening {
    recovery: Recovery,
    settings: LedgerSettings,
}

/// The state of all mail. `Send + Sync`; has no clock and no threads.
pub struct Ledger {
    spool: Spool,
    ids: IdSource,
    waker: Mutex<Option<Waker>>,
}

impl Opening {
    /// Takes the lock: fails fast when another process holds the spool or a newer version wrote it.
    pub fn begin(disk: Arc<dyn Disk>, settings: LedgerSettings) -> Result<Self, OpenError> {
        todo!()
    }

    /// Reads the checkpoint and both logs; intake may open when it returns.
    pub fn recover(self, now: Millis) -> Result<(Ledger, RecoveryReport), OpenError> {
        todo!()
    }
}

impl Ledger {
    pub fn open(
        disk: Arc<dyn Disk>,
        settings: LedgerSettings,
        now: Millis,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        Opening::begin(disk, settings)?.recover(now)
    }

    pub fn set_policy(&self, policy: LedgerPolicy) {
        todo!()
    }

    pub fn set_waker(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }

    pub fn ids(&self) -> &IdSource {
        &self.ids
    }

    /// False while new mail would get `Full` or `Fault`. Cheap: for MAIL.
    pub fn takes_mail(&self) -> bool {
        self.spool.takes_mail()
    }

    /// The largest record (head and inline body) that a commit takes.
    pub fn max_record(&self) -> usize {
        self.spool.max_payload()
    }

    /// A file for a body that is too large for a record. Dropped unfinished it is removed.
    pub fn new_body(&self, id: MessageId) -> Result<BodyWriter, CommitError> {
        Ok(self.spool.new_body(id)?)
    }

    // --- committers ---

    /// One write, one fdatasync, then indexed; when it returns 250 may be said. One thread calls it.
    pub fn commit(&self, group: &[Incoming], now: Millis) -> Result<(), CommitError> {
        todo!()
    }

    /// Feeds the histogram of commit times: the clock is the engine's.
    pub fn note_commit_time(&self, micros: u64) {
        todo!()
    }

    /// Facts that wait to be flushed. Above 0: flush within 50 ms; at once when an order waits (`urgent_facts`).
    pub fn pending_facts(&self) -> usize {
        todo!()
    }

    /// An order or an answer waits for its fact.
    pub fn urgent_facts(&self) -> bool {
        todo!()
    }

    /// Writes pending facts as one frame; releases what they close; moves the durable end. One thread calls it.
    pub fn flush_journal(&self, now: Millis) -> Result<Flushed, CommitError> {
        todo!()
    }

    // --- routes and plans ---

    /// Whether (routes, plans) are wanted that were not given out yet. Cheap: asked after each commit.
    pub fn wanted(&self, now: Millis) -> (bool, bool) {
        todo!()
    }

    /// Destinations without a route, urgent class and oldest first; each is given once until answered or 30 s went by.
    pub fn wanted_routes(&self, limit: usize, now: Millis) -> Vec<RouteWanted> {
        todo!()
    }

    /// False: nobody wants this key any more. `stale`: usable until then while it is asked for anew.
    pub fn set_route(&self, key: u32, answer: RouteAnswer, valid: Millis, stale: Millis, now: Millis) -> bool {
        todo!()
    }

    /// Lanes without a valid plan; each is given once until answered or 30 s went by.
    pub fn wanted_plans(&self, limit: usize, now: Millis) -> Vec<LaneWanted> {
        todo!()
    }

    /// False: the lane is gone.
    pub fn set_plan(&self, lane: LaneId, plan: Plan, valid: Millis, now: Millis) -> bool {
        todo!()
    }

    // --- delivery ---

    /// Lanes on which more connections are useful; they count as open until `connection_ended`.
    pub fn lanes_to_run(&self, now: Millis, limit: usize) -> Vec<LaneRun> {
        todo!()
    }

    /// A connection of a `LaneRun` is over, whatever became of it.
    pub fn connection_ended(&self, lane: LaneId, now: Millis) {
        todo!()
    }

    /// When `lanes_to_run`, `reports_due` or `maintain` have something to do without anybody calling.
    pub fn next_due(&self, now: Millis) -> Option<Millis> {
        todo!()
    }

    /// The next recipients (of one message, equal in sender and variant is the caller's to see) for this lane.
    pub fn take(&self, lane: LaneId, now: Millis, max_recipients: u32) -> Option<Lease> {
        todo!()
    }

    /// Reads and verifies (S6). Touches the disk: not on a worker when the file is cold. What fails is closed as lost.
    pub fn load(&self, lease: &Lease, now: Millis) -> Result<Content, LoadError> {
        todo!()
    }

    /// The one place where an entry changes state after an attempt. True for each that was still leased.
    pub fn settle(&self, results: &[Settlement<'_>], now: Millis) -> Vec<bool> {
        todo!()
    }

    /// An order met this entry while it was leased: do not send the dot, give it back.
    pub fn is_stopped(&self, entry: EntryId) -> bool {
        todo!()
    }

    /// Returns entries with no attempt counted, due at once.
    pub fn give_back(&self, lease: &Lease, entries: &[LeasedEntry], now: Millis) {
        todo!()
    }

    /// Something wider than a transaction failed: it sleeps; says until when.
    pub fn sleep(&self, failure: &Sleep<'_>, now: Millis) -> Millis {
        todo!()
    }

    /// Until when this object sleeps, if it does: hosts of a plan are skipped meanwhile.
    pub fn asleep(&self, scope: Scope, object: &str, now: Millis) -> Option<Millis> {
        todo!()
    }

    /// A probe or a delivery got through: back-off forgotten.
    pub fn awake(&self, scope: Scope, lane: LaneId, object: &str, now: Millis) {
        todo!()
    }

    /// Reports that are to be written now, as successors: commit them like other mail. Reads content: cold.
    pub fn reports_due(&self, now: Millis, limit: usize) -> Vec<Incoming> {
        todo!()
    }

    // --- operators, listings, readers ---

    /// Applies an order. Answer it when `Flushed::facts` reaches the token. Walks the index in steps: cold.
    pub fn control(&self, control: &Control, now: Millis) -> Result<ControlDone, ControlError> {
        todo!()
    }

    /// Entries in the order of the index. Reads envelopes from disk: cold.
    pub fn find(&self, predicate: &Predicate, after: &[u8], limit: usize) -> Result<Found, FindError> {
        todo!()
    }

    pub fn message(&self, id: MessageId) -> Result<MessageView, LoadError> {
        todo!()
    }

    /// The content of a message that is not closed. Cold.
    pub fn content(&self, id: MessageId) -> Result<Content, LoadError> {
        todo!()
    }

    /// `kinds`: bit N for facts of tag N; 0: all. Cursor all zero: the oldest.
    pub fn read_journal(&self, cursor: Cursor, kinds: u32, limit: usize) -> Result<JournalPage, ReadError> {
        todo!()
    }

    /// The durable end, for a reader that wants only what is new.
    pub fn journal_end(&self) -> Cursor {
        todo!()
    }

    /// A follower is there now; durable when `Flushed::facts` reaches the token.
    pub fn follow(&self, name: &str, cursor: Cursor, claims: bool, now: Millis) -> u64 {
        todo!()
    }

    pub fn followers(&self) -> Vec<(String, Cursor)> {
        todo!()
    }

    // --- upkeep ---

    /// One bounded step of checkpoint, reclaim, copy, expiry. True: call again soon. One thread calls it.
    pub fn maintain(&self, now: Millis) -> bool {
        todo!()
    }

    /// The wall clock jumped: expiry is frozen until `confirm-clock` or an hour of attempts.
    pub fn clock_jumped(&self, why: &str, now: Millis) {
        todo!()
    }

    pub fn stats(&self, now: Millis) -> LedgerStats {
        todo!()
    }

    /// Flush, checkpoint, end frames. Nothing may be committed afterwards.
    pub fn close(&self, now: Millis) -> Result<(), CommitError> {
        todo!()
    }
}
