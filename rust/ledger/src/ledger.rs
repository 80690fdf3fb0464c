//! The door of the room: [`Ledger`] and how it is opened.
//!
//! All methods take `&self` and may be called from any thread. One thread commits content, one flushes the
//! journal; the rest holds the state lock for moments only and never across a call of the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use angarium_nouns::{IdSource, MessageId, Millis};
use angarium_spool::{BodyFile, BodyReader, BodyWriter, Disk, Family, ReadError, Spool, SpoolSettings};

use crate::brake::{BrakePolicy, Braked};
use crate::error::{CommitError, FaultKind, OpenError};
use crate::maintain::Upkeep;
use crate::quota::Quotas;
use crate::recover::Opening;
use crate::retry::RetryTables;
use crate::state::State;

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
    /// Who asked to hear of delay does so after; 0: never.
    pub delay_after: Millis,
    /// Octets of the original that a failure report carries; of a larger one it carries the header.
    pub report_full_limit: u64,
    /// Reporting-MTA of reports.
    pub hostname: String,
    /// From of reports; empty: `postmaster@hostname`.
    pub postmaster: String,
    /// Facts older than this may go, if nobody claims them.
    pub journal_keep: Millis,
    /// The same for what is more than so many bytes of journal ago: a busy server writes gigabytes a day.
    pub journal_bytes: u64,
    /// Content kept for required followers and legal holds; at the limit new mail gets 452.
    pub required_bytes: u64,
    /// Content kept for the other followers and for pins; at the limit the oldest goes (`gap`).
    pub best_effort_bytes: u64,
    /// Bytes of open mail of one tenant beyond which it gets 452 while room is short; 0: no quota.
    pub tenant_quota: u64,
    /// Room is short below so many free bytes: more than where the rest gets 452.
    pub quota_below: u64,
    /// When permanent failures become deferrals.
    pub brake: BrakePolicy,
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
            delay_after: 4 * HOUR,
            report_full_limit: 50 << 10, // Postfix bounce_size_limit
            hostname: "localhost".into(),
            postmaster: String::new(),
            journal_keep: 30 * DAY,
            journal_bytes: 4 << 30,
            required_bytes: 16 << 30,
            best_effort_bytes: 1 << 30,
            tenant_quota: 0,
            quota_below: 1 << 30,
            brake: BrakePolicy::default(),
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
}

/// The state of all mail. `Send + Sync`; has no clock and no threads.
pub struct Ledger {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) spool: Spool,
    pub(crate) ids: IdSource,
    pub(crate) state: Mutex<State>,
    /// Held by the one commit, flush or step of upkeep that runs, across the disk; the state lock never is.
    pub(crate) committing: Mutex<()>,
    pub(crate) flushing: Mutex<()>,
    pub(crate) upkeep: Mutex<Upkeep>,
    pub(crate) quotas: Quotas,
    waker: RwLock<Option<Waker>>,
    shut: AtomicBool,
    /// Required claims are at their limit.
    overclaimed: AtomicBool,
}

impl Ledger {
    pub(crate) fn new(disk: Arc<dyn Disk>, spool: Spool, ids: IdSource, state: State) -> Self {
        Self {
            disk,
            spool,
            ids,
            state: Mutex::new(state),
            committing: Mutex::new(()),
            flushing: Mutex::new(()),
            upkeep: Mutex::new(Upkeep::default()),
            quotas: Quotas::default(),
            waker: RwLock::new(None),
            shut: AtomicBool::new(false),
            overclaimed: AtomicBool::new(false),
        }
    }

    pub fn open(
        disk: Arc<dyn Disk>,
        settings: LedgerSettings,
        now: Millis,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        Opening::begin(disk, settings)?.recover(now)
    }

    /// One change of the state: tidied behind, and the waker called when the lock is free.
    pub(crate) fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = act(&mut state);
        state.tidy();
        let wake = std::mem::take(&mut state.wake);
        self.overclaimed.store(state.is_overclaimed(), Ordering::Relaxed);
        drop(state);
        if wake && let Some(waker) = &*self.waker.read() {
            waker();
        }
        result
    }

    /// Retries, expiry, reports, names: for what is settled from now on.
    pub fn set_policy(&self, policy: LedgerPolicy) {
        self.change(|state| state.policy = Arc::new(policy));
    }

    pub fn set_waker(&self, waker: Waker) {
        *self.waker.write() = Some(waker);
    }

    pub fn ids(&self) -> &IdSource {
        &self.ids
    }

    /// Domains below this one that mail waits for; at most so many.
    pub fn domains_below(&self, domain: &str, most: usize) -> Vec<String> {
        let state = self.state.lock();
        let end = format!(".{domain}");
        state.names.domains.ending_with(&end).take(most).map(str::to_owned).collect()
    }

    /// False while new mail would get `Full` or `Fault`. Cheap: for MAIL.
    pub fn takes_mail(&self) -> bool {
        self.spool.takes_mail() && !self.shut.load(Ordering::Relaxed) && !self.is_overclaimed()
    }

    /// Required claims keep as much closed content as they may: new mail gets 452 until they let go. Cheap.
    pub fn is_overclaimed(&self) -> bool {
        self.overclaimed.load(Ordering::Relaxed)
    }

    /// Whether a log failed (S5): no mail is taken until a restart. Cheap.
    pub fn is_faulty(&self) -> bool {
        self.spool.is_faulty(Family::Content) || self.spool.is_faulty(Family::Journal)
    }

    pub(crate) fn check_open(&self) -> Result<(), CommitError> {
        if self.shut.load(Ordering::Relaxed) { Err(CommitError::Closed) } else { Ok(()) }
    }

    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::Relaxed);
    }

    /// The largest record (head and inline body) that a commit takes.
    pub fn max_record(&self) -> usize {
        self.spool.max_payload()
    }

    /// A file for a body that is too large for a record. Dropped unfinished it is removed.
    pub fn new_body(&self, id: MessageId) -> Result<BodyWriter, CommitError> {
        Ok(self.spool.new_body(id)?)
    }

    /// Large messages find no room though small ones may: S4, heals by itself. Touches the disk while it is so.
    pub fn is_short_of_bodies(&self) -> bool {
        self.spool.is_short_of_bodies()
    }

    /// Providers at which permanent failures are held back now.
    pub fn braked(&self, now: Millis) -> Vec<Braked> {
        self.state.lock().brakes.list(now)
    }

    /// A finished body, to be looked at before its message is kept. Touches the disk.
    pub fn read_body(&self, file: &BodyFile) -> Result<BodyReader, ReadError> {
        self.spool.read_body(file)
    }

    /// Removes the file of a message that was refused after its body was complete. Touches the disk.
    pub fn drop_body(&self, file: &BodyFile) {
        self.spool.remove_body(&file.name);
    }

    /// When `lanes_to_run`, `reports_due`, `notices_due` or `maintain` have something to do without anybody calling.
    pub fn next_due(&self, _now: Millis) -> Option<Millis> {
        let state = self.state.lock();
        let due = [state.index.next_due(), state.owed.next_due(), state.late.next_due(), state.route_due()];
        due.into_iter().flatten().min()
    }

    /// The wall clock jumped: expiry is frozen until `confirm-clock` or an hour of attempts.
    pub fn clock_jumped(&self, why: &str, now: Millis) {
        self.state.lock().freeze.begin(why, now);
    }

    /// S5 for a panic of whoever commits: that log takes nothing more in this process.
    pub fn fault(&self, log: FaultKind, why: &str) {
        let family = if log == FaultKind::Content { Family::Content } else { Family::Journal };
        self.spool.fault(family, why);
    }
}
