//! The engine as its owner sees it: open, recover, run, stop, close.
//!
//! [`Engine::open`] takes the spool's lock and starts nothing. [`Engine::recover`] reads the logs and starts threads
//! and runtime; then everything else may be called. No call waits for disk or network: what takes time ends a ticket.
//! [`Engine::close`] joins every thread; dropping only signals. All threads block all signals, so that they reach
//! the interpreter's main thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use angarium_events::{Bounds, EventQueue};
use angarium_ledger::{LedgerSettings, OpenError, Opening, SpoolSettings};
use angarium_spool::RealDisk;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde::Serialize;

use crate::clock::Clock;
use crate::event::{Event, Problem};
use crate::faults::Faults;
use crate::policy::compiled::Compiled;
use crate::policy::{Policy, PolicyError};
use crate::running::{self, Running};
use crate::signing::Signing;
use crate::tables::{Certificates, Signers, decode};
use crate::tickets::{Busy, Ticket, Tickets};
use crate::tls::Tls;
use crate::upkeep::Upkeep;

/// New mail is refused while the disk has room for fewer segments than this: 256 MiB by default, little for a spool
/// that was made small.
const FLOOR_SEGMENTS: u64 = 4;

/// Why a call cannot be answered now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("the engine is not running: recover it first")]
    NotRunning,
    #[error("{0}")]
    Invalid(String),
}

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub spool: String,
    pub node: u16,
    pub segment_bytes: u32,
    /// 0: one thread for each core.
    pub workers: usize,
}

pub struct Engine {
    settings: Settings,
    clock: Clock,
    events: EventQueue<Event>,
    tickets: Tickets,
    faults: Arc<Faults>,
    upkeep: Arc<Upkeep>,
    opening: Mutex<Option<Opening>>,
    running: ArcSwapOption<Running>,
    tls: Arc<Tls>,
    signing: Arc<Signing>,
    /// Closed while it recovered: what then starts is closed at once.
    closed: AtomicBool,
}

/// What `recover` gives.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_field_names, reason = "the names that Python reads")]
struct Recovered {
    entries: u64,
    messages: u64,
    lost: u64,
    copied: u64,
    recovered: u64,
    damage: Vec<String>,
    took: u64,
}

impl Engine {
    /// Takes the spool's lock.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let unreadable = |error: std::io::Error| OpenError::Unreadable(error.to_string());
        let disk = Arc::new(RealDisk::new(&settings.spool).map_err(unreadable)?);
        Self::open_on(disk, settings)
    }

    /// The same on any disk.
    pub fn open_on(disk: Arc<dyn angarium_ledger::Disk>, settings: Settings) -> Result<Self, OpenError> {
        let upkeep = Arc::new(Upkeep::default());
        let woken = upkeep.clone();
        let spool = SpoolSettings {
            segment_size: settings.segment_bytes,
            free_floor: u64::from(settings.segment_bytes) * FLOOR_SEGMENTS,
            wake: Some(Arc::new(move || woken.wake())),
            ..SpoolSettings::default()
        };
        let ledger = LedgerSettings { node: settings.node, spool, ..LedgerSettings::default() };
        let opening = Opening::begin(disk, ledger)?;
        let events = EventQueue::new(Bounds::default()).map_err(|error| OpenError::Unreadable(error.to_string()))?;
        Ok(Self {
            signing: Arc::new(Signing::new(running::cores(settings.workers))),
            settings,
            clock: Clock::start(),
            tickets: Tickets::new(events.clone()),
            faults: Arc::new(Faults::new(events.clone())),
            events,
            upkeep,
            opening: Mutex::new(Some(opening)),
            running: ArcSwapOption::empty(),
            tls: Arc::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Reads the logs back and starts everything. Its ticket ends when intake may begin.
    pub fn recover(self: &Arc<Self>, policy: &[u8]) -> Result<u64, RecoverError> {
        let compiled = Compiled::compile(Policy::decode(policy)?, 0)?;
        let opening = self.opening.lock().take().ok_or(CallError::Invalid("recovered already".into()))?;
        let ticket = self.tickets.issue().map_err(CallError::from)?;
        let (number, engine) = (ticket.number(), self.clone());
        let thread = std::thread::Builder::new().name("angarium-start".into());
        let started = thread.spawn(move || {
            running::block_signals();
            engine.recover_now(opening, compiled, ticket);
        });
        started.map_err(|error| CallError::Invalid(error.to_string()))?;
        Ok(number)
    }

    fn recover_now(&self, opening: Opening, compiled: Compiled, ticket: Ticket) {
        let now = self.clock.now();
        let began = std::time::Instant::now();
        let (ledger, report) = match opening.recover(now) {
            Ok(recovered) => recovered,
            Err(error) => return ticket.finish(Err(open_problem(&error))),
        };
        let parts = running::Parts {
            ledger: Arc::new(ledger),
            compiled,
            clock: self.clock,
            events: self.events.clone(),
            faults: self.faults.clone(),
            upkeep: self.upkeep.clone(),
            workers: self.settings.workers,
            tls: self.tls.clone(),
            signing: self.signing.clone(),
        };
        match Running::start(&parts) {
            Ok(running) => self.running.store(Some(running)),
            Err(error) => return ticket.finish(Err(Problem::new("fault", error.to_string()))),
        }
        if self.closed.load(Ordering::SeqCst) {
            return self.close();
        }
        if !report.damage.is_empty() {
            self.faults.raise(crate::faults::FaultKind::Damage, report.damage.join("; "), now);
        }
        ticket.give(&Recovered {
            entries: report.entries,
            messages: report.messages,
            lost: report.lost,
            copied: report.cut,
            recovered: report.recovered,
            damage: report.damage,
            took: began.elapsed().as_millis() as u64,
        });
    }

    /// What runs, once recovered.
    pub fn running(&self) -> Result<Arc<Running>, CallError> {
        self.running.load_full().ok_or(CallError::NotRunning)
    }

    /// Swaps all certificates; what is wrong with them is said as of a policy.
    pub fn set_certificates(&self, table: &[u8]) -> Result<(), PolicyError> {
        let table: Certificates = decode(table).map_err(|error| PolicyError::new("", error.to_string()))?;
        self.tls.set(&table)
    }

    /// Swaps all keys that mail is signed with; what is wrong with them is said as of a policy.
    pub fn set_signers(&self, table: &[u8]) -> Result<(), PolicyError> {
        let table: Signers = decode(table).map_err(|error| PolicyError::new("", error.to_string()))?;
        self.signing.set(&table)
    }

    /// An account was changed: no login is taken from memory any more.
    pub fn forget_logins(&self) -> Result<(), CallError> {
        self.running()?.intake.logins.forget();
        Ok(())
    }

    pub fn events(&self) -> &EventQueue<Event> {
        &self.events
    }

    pub(crate) fn shown(&self) -> &Arc<Faults> {
        &self.faults
    }

    pub fn faults(&self) -> Vec<crate::faults::Fault> {
        self.faults.list()
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    pub fn spool(&self) -> &str {
        &self.settings.spool
    }

    pub(crate) fn ticket(&self) -> Result<Ticket, CallError> {
        Ok(self.tickets.issue()?)
    }

    /// Joins everything and lets the lock go. Blocks.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        drop(self.opening.lock().take());
        if let Some(running) = self.running.swap(None) {
            running.close();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(running) = self.running.load_full() {
            running.signal_stop();
        }
    }
}

/// Why recovery does not even begin.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Call(#[from] CallError),
}

fn open_problem(error: &OpenError) -> Problem {
    let word = match error {
        OpenError::Held => "held",
        OpenError::Newer(_) => "newer",
        OpenError::Unreadable(_) => "unreadable",
        OpenError::NotUnderstood(_) => "damaged",
    };
    Problem::new(word, error.to_string())
}
