//! What runs: the runtime, the threads, delivery; how it starts and how it stops.
//!
//! Stop, as the design has it: no new transactions (421), no new deliveries, replies to final dots awaited until the
//! deadline, what is left cut off, everything flushed. Followers then read to the durable end, and `close` joins the
//! threads, writes the end frames and the checkpoint and lets the lock go.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use angarium_events::EventQueue;
use angarium_ledger::{BrakePolicy, CommitError, Ledger, LedgerPolicy, RetryTable, RetryTables};
use angarium_nouns::Millis;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

use crate::admission::Admission;
use crate::asks::Asks;
use crate::clock::Clock;
use crate::committer::{Committer, GroupBounds, Keep};
use crate::counters::Counters;
use crate::delivery::{self, Delivery, DeliverySettings};
use crate::dns::Dns;
use crate::event::Event;
use crate::faults::{FaultKind, Faults};
use crate::intake::Intake;
use crate::journal::Journal;
use crate::logins::Logins;
use crate::notices::Notices;
use crate::policy::compiled::Compiled;
use crate::policy::{Policy, PolicyError};
use crate::pool::Pool;
use crate::session::budget::Budget;
use crate::session::registry::Registry;
use crate::signing::Signing;
use crate::stress::Stress;
use crate::tls::Tls;
use crate::traffic::Traffic;
use crate::upkeep::{Upkeep, tell_what_is_wanted};
use crate::verdicts::VerdictCounts;

/// Threads for what blocks: body files, cold reads, local deliveries, listings.
const BLOCKING_THREADS: usize = 16;
/// An idle blocking thread stays so long.
const BLOCKING_REST: Duration = Duration::from_secs(10);
/// Sessions are numbered on from the second of the start, so that two starts share no number: as bits, more than any
/// machine takes in a second.
const SESSIONS_A_SECOND: u32 = 24;
/// How often a stop looks whether sessions have come to their end.
const STOP_STEP: Duration = Duration::from_millis(20);
/// What is left of the runtime at close gets so long to see its end.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// What a start needs.
pub(crate) struct Parts {
    pub ledger: Arc<Ledger>,
    pub compiled: Compiled,
    pub clock: Clock,
    pub events: EventQueue<Event>,
    pub faults: Arc<Faults>,
    pub upkeep: Arc<Upkeep>,
    pub workers: usize,
    pub tls: Arc<Tls>,
    pub signing: Arc<Signing>,
}

pub struct Running {
    pub(crate) intake: Arc<Intake>,
    pub(crate) journal: Arc<Journal>,
    upkeep: Arc<Upkeep>,
    delivery: Mutex<Option<Delivery>>,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
    /// Handshakes of TLS are made here: their arithmetic would hold up other sessions.
    shakers: Mutex<Option<Runtime>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// When a stop cuts off what is left; a second stop may move it nearer.
    stop_at: AtomicU64,
}

/// What a stop cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stopped {
    pub sessions: u64,
    pub deliveries: u64,
}

impl Running {
    pub(crate) fn start(parts: &Parts) -> io::Result<Arc<Self>> {
        let runtime = build_runtime(parts.workers)?;
        let counters = Arc::new(Counters::default());
        let shakers = build_shakers(parts.workers)?;
        let intake = Arc::new(build_intake(parts, counters.clone(), shakers.handle().clone()));
        let journal = Arc::new(Journal::new(
            parts.ledger.clone(),
            parts.events.clone(),
            parts.faults.clone(),
            counters,
            parts.clock,
        ));
        let running = Arc::new(Self {
            delivery: Mutex::new(Some(start_delivery(parts, runtime.handle()))),
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
            shakers: Mutex::new(Some(shakers)),
            threads: Mutex::default(),
            stop_at: AtomicU64::new(Millis::MAX),
            upkeep: parts.upkeep.clone(),
            intake,
            journal,
        });
        running.apply(&running.intake.policy.load().table);
        running.start_threads(&parts.faults)?;
        Ok(running)
    }

    fn start_threads(self: &Arc<Self>, faults: &Arc<Faults>) -> io::Result<()> {
        let (committer, keep) = (self.intake.committer.clone(), keeper(&self.intake, faults.clone()));
        self.thread("angarium-commit", move || committer.run(&*keep))?;
        let journal = self.journal.clone();
        self.thread("angarium-journal", move || journal.run())?;
        let (upkeep, intake, faults) = (self.upkeep.clone(), self.intake.clone(), faults.clone());
        let weak = Arc::downgrade(self);
        let reports_wait = move || {
            let running = weak.upgrade();
            running.and_then(|running| running.with_delivery(Delivery::has_plan_reports)).unwrap_or(false)
        };
        self.thread("angarium-upkeep", move || upkeep.run(&intake, &faults, reports_wait))
    }

    fn thread(&self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let inside = move || {
            block_signals();
            run();
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(inside)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `work` with the delivery room, while there is one.
    pub(crate) fn with_delivery<T>(&self, work: impl FnOnce(&Delivery) -> T) -> Option<T> {
        self.delivery.lock().as_ref().map(work)
    }

    /// Swaps the policy whole; gives its generation.
    pub fn set_policy(&self, table: Policy) -> Result<u64, PolicyError> {
        let compiled = Compiled::compile(table, self.intake.policy.load().generation)?;
        let generation = compiled.generation;
        self.apply(&compiled.table);
        self.intake.policy.store(Arc::new(compiled));
        self.intake.logins.forget();
        Ok(generation)
    }

    /// What others than sessions keep of a policy.
    fn apply(&self, table: &Policy) {
        self.intake.committer.set_bounds(bounds(table));
        self.intake.budget.set_limit(table.limits.bytes_in_flight);
        self.intake.ledger.set_policy(ledger_policy(table));
        self.intake.dns.set_policy(&table.dns);
        self.journal.set_wait(Duration::from_millis(table.commit.journal_wait));
        self.with_delivery(|delivery| delivery.set_settings(delivery_settings(table)));
    }

    /// No new transactions, no new deliveries; waits until `deadline`, then cuts off and flushes.
    pub async fn stop(&self, deadline: Millis) -> Stopped {
        self.stop_at.fetch_min(deadline, Ordering::SeqCst);
        self.intake.tell_to_stop();
        self.with_delivery(Delivery::stop);
        let sessions = self.end_sessions().await;
        let delivery = self.delivery.lock().take();
        let deliveries = match delivery {
            Some(delivery) => delivery.finish(self.patience()).await,
            None => 0,
        };
        while self.intake.committer.depth() > 0 {
            tokio::time::sleep(STOP_STEP).await;
        }
        Stopped { sessions, deliveries: deliveries as u64 }
    }

    /// Idle sessions hear 421 at once, busy ones behind their answer; gives how many were cut off.
    async fn end_sessions(&self) -> u64 {
        let sessions = &self.intake.sessions;
        while !sessions.is_empty() && self.intake.clock.now() < self.stop_at.load(Ordering::SeqCst) {
            sessions.end_idle();
            tokio::time::sleep(STOP_STEP).await;
        }
        let cut = sessions.len() as u64;
        sessions.end_all();
        cut
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.stop_at.load(Ordering::SeqCst).saturating_sub(self.intake.clock.now()))
    }

    /// A stop is under way: its deadline comes nearer.
    pub fn hurry(&self, deadline: Millis) {
        self.stop_at.fetch_min(deadline, Ordering::SeqCst);
    }

    pub(crate) fn signal_stop(&self) {
        self.intake.tell_to_stop();
        self.intake.sessions.end_all();
        self.intake.committer.stop();
        self.journal.stop();
        self.upkeep.stop();
    }

    /// Joins the threads, flushes, writes end frames and a checkpoint. Blocks.
    pub(crate) fn close(&self) {
        let now = self.intake.clock.now();
        if !self.intake.stopping.load(Ordering::SeqCst) {
            self.handle.block_on(self.stop(now));
        }
        self.signal_stop();
        if let Some(shakers) = self.shakers.lock().take() {
            shakers.shutdown_background();
        }
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_timeout(LAST_PATIENCE);
        }
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join(); // a thread that panicked has shown its fault
        }
        if let Err(error) = self.intake.ledger.close(self.intake.clock.now()) {
            // Nothing promised is lost: recovery finds what the end frames would have said.
            drop(error);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

fn build_runtime(workers: usize) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if workers > 0 {
        builder.worker_threads(workers);
    }
    builder
        .enable_all()
        .thread_name("angarium-worker")
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_REST)
        .on_thread_start(block_signals)
        .build()
}

/// Half as many threads as work on sessions: a flood of handshakes leaves the rest of the machine to the others.
fn build_shakers(workers: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads((cores(workers) / 2).max(1))
        .enable_all()
        .thread_name("angarium-tls")
        .on_thread_start(block_signals)
        .build()
}

/// How many things are done at the same time.
pub(crate) fn cores(workers: usize) -> usize {
    if workers > 0 { workers } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

fn build_intake(parts: &Parts, counters: Arc<Counters>, handshakes: Handle) -> Intake {
    let table = &parts.compiled.table;
    let traffic = Arc::new(Traffic::new(u32::from_le_bytes(crate::chance())));
    Intake {
        clock: parts.clock,
        ledger: parts.ledger.clone(),
        committer: Arc::new(Committer::new(bounds(table), parts.clock, counters.clone())),
        events: parts.events.clone(),
        asks: Asks::new(parts.events.clone(), parts.clock, counters.clone()),
        verdicts: VerdictCounts::default(),
        dns: Dns::new(&table.dns, parts.clock, counters.clone()),
        judging: Pool::new(cores(parts.workers)),
        signing: parts.signing.clone(),
        counters,
        admission: Arc::new(Admission::default()),
        budget: Budget::new(table.limits.bytes_in_flight),
        sessions: Arc::new(Registry::default()),
        stopping: AtomicBool::new(false),
        stop_told: Notify::new(),
        crowded: AtomicBool::new(false),
        last_session: AtomicU64::new((parts.clock.now() / 1_000) << SESSIONS_A_SECOND),
        tls: parts.tls.clone(),
        handshakes,
        logins: Logins::new(&crate::chance(), traffic.clone()),
        traffic,
        stress: Stress::default(),
        notices: Notices::default(),
        policy: ArcSwap::from_pointee(parts.compiled.clone()),
    }
}

fn start_delivery(parts: &Parts, handle: &Handle) -> Delivery {
    let events = parts.events.clone();
    let door: delivery::Door = Arc::new(move |handover| events.push(Event::Deliver(Box::new(handover))).is_ok());
    let settings = delivery_settings(&parts.compiled.table);
    let delivery = delivery::start(handle, parts.ledger.clone(), parts.clock, settings, door, parts.signing.clone());
    parts.ledger.set_waker(delivery.waker());
    delivery
}

/// The commit as the committer's thread does it: S4 and S5 are shown where they are found.
fn keeper(intake: &Arc<Intake>, faults: Arc<Faults>) -> Box<Keep> {
    let intake = intake.clone();
    Box::new(move |group| {
        let now = intake.clock.now();
        let result = intake.ledger.commit(group, now);
        match &result {
            Ok(()) => {
                if !intake.ledger.is_short_of_bodies() {
                    faults.clear(FaultKind::DiskFull);
                }
                tell_what_is_wanted(&intake);
            }
            // Shown as what it is by the upkeep.
            Err(CommitError::Full) if intake.ledger.is_overclaimed() => {}
            Err(CommitError::Full) => faults.raise(FaultKind::DiskFull, "no room for new mail", now),
            Err(error @ CommitError::Fault(..)) => faults.raise(FaultKind::ContentLog, error.to_string(), now),
            Err(CommitError::TooLarge | CommitError::Closed) => {}
        }
        result
    })
}

fn bounds(table: &Policy) -> GroupBounds {
    GroupBounds { records: table.commit.group_records as usize, bytes: table.commit.group_bytes as usize }
}

fn ledger_policy(table: &Policy) -> LedgerPolicy {
    LedgerPolicy {
        retries: RetryTables::new(table.retry.iter().enumerate().map(|(n, row)| retry_table(n as u16, row))),
        expire_after: table.expiry.message,
        expire_reports_after: table.expiry.report,
        hold_after: table.expiry.hold,
        report_delay: table.reports.collect,
        report_full_limit: table.reports.full_limit,
        delay_after: table.reports.delay_after,
        hostname: if table.reports.hostname.is_empty() { &table.hostname } else { &table.reports.hostname }.clone(),
        postmaster: table.reports.postmaster.clone(),
        journal_keep: table.journal.keep,
        journal_bytes: table.journal.bytes,
        required_bytes: table.journal.required_bytes,
        best_effort_bytes: table.journal.best_effort_bytes,
        tenant_quota: table.quota.tenant,
        quota_below: table.quota.below,
        brake: BrakePolicy { failures: table.brake.failures, multiple: table.brake.multiple.max(1) },
    }
}

fn retry_table(number: u16, row: &crate::policy::RetryTable) -> RetryTable {
    let reasons = [
        ("greylist", &row.greylist),
        ("mailbox-full", &row.mailbox_full),
        ("throttle", &row.throttle),
        ("tls", &row.tls),
        ("dns", &row.dns),
        ("uncertain", &row.uncertain),
    ];
    RetryTable {
        number,
        steps: row.other.clone(),
        reasons: reasons.into_iter().map(|(name, steps)| (name.to_owned(), steps.clone())).collect(),
    }
}

fn delivery_settings(table: &Policy) -> DeliverySettings {
    let times = &table.timeouts;
    DeliverySettings {
        hello: table.hostname.clone(),
        linger_ms: times.idle,
        connect_ms: times.connect,
        greeting_ms: times.greeting,
        hello_ms: times.hello,
        mail_ms: times.mail,
        rcpt_ms: times.rcpt,
        data_ms: times.data,
        block_ms: times.block,
        dot_ms: times.dot,
        quit_ms: times.quit,
        ..DeliverySettings::default()
    }
}

/// Signals are the interpreter's business: none is ever delivered to a thread of ours.
pub(crate) fn block_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` initialises the set that `pthread_sigmask` then reads; no old mask is asked for.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
    }
}
