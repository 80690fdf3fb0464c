//! The journal's committer thread, and those who wait for a fact to be durable.
//!
//! Facts of settled entries wait for company as long as the policy says (50 ms at most: S2), orders not at all: whoever
//! gives one wakes the thread and is answered by the flush that covers it. A journal that fails is shown (S5) and all
//! who wait are told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use angarium_events::{EventQueue, Level};
use angarium_ledger::{CommitError, FaultKind as Log, Flushed, Ledger};
use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::counters::Counters;
use crate::event::{Event, Finished, Problem};
use crate::faults::{FaultKind, Faults};
use crate::tickets::Ticket;

/// S2: no fact waits longer for company.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// A ticket that ends when facts up to `token` are durable.
struct Waiting {
    token: u64,
    ticket: Ticket,
    result: Finished,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    urgent: bool,
    stopping: bool,
    /// Facts up to here are durable.
    durable: u64,
    wait: Option<Duration>,
}

pub struct Journal {
    state: Mutex<State>,
    work: Condvar,
    ledger: Arc<Ledger>,
    events: EventQueue<Event>,
    faults: Arc<Faults>,
    counters: Arc<Counters>,
    clock: Clock,
}

impl Journal {
    pub fn new(
        ledger: Arc<Ledger>,
        events: EventQueue<Event>,
        faults: Arc<Faults>,
        counters: Arc<Counters>,
        clock: Clock,
    ) -> Self {
        Self { state: Mutex::default(), work: Condvar::new(), ledger, events, faults, counters, clock }
    }

    pub fn set_wait(&self, wait: Duration) {
        self.state.lock().wait = Some(wait.min(LONGEST_WAIT));
    }

    /// Ends `ticket` with `result` when the facts up to `token` are durable.
    pub fn answer_when_durable(&self, token: u64, ticket: Ticket, result: Finished) {
        let mut state = self.state.lock();
        if token <= state.durable {
            drop(state);
            ticket.finish(Ok(result));
            return;
        }
        state.waiting.push(Waiting { token, ticket, result });
        state.urgent = true;
        drop(state);
        self.work.notify_one();
    }

    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_one();
    }

    /// The thread: flushes until it is stopped, and once more then.
    pub fn run(&self) {
        loop {
            let stopping = self.wait();
            if self.ledger.pending_facts() > 0 {
                self.flush();
            }
            if stopping {
                return;
            }
        }
    }

    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        let wait = state.wait.unwrap_or(LONGEST_WAIT);
        if !state.urgent && !state.stopping && !self.ledger.urgent_facts() {
            self.work.wait_for(&mut state, wait);
        }
        state.urgent = false;
        state.stopping
    }

    fn flush(&self) {
        let now = self.clock.now();
        let panicked = |_| Err(CommitError::Fault(Log::Journal, "the flush panicked".into()));
        match catch_unwind(AssertUnwindSafe(|| self.ledger.flush_journal(now))).unwrap_or_else(panicked) {
            Ok(flushed) => self.flushed(flushed),
            Err(error) => self.failed(&error),
        }
    }

    fn flushed(&self, flushed: Flushed) {
        if flushed.written > 0 {
            self.counters.journal_groups.one_more();
            self.events.raise(Level::JournalGrew);
        }
        let mut state = self.state.lock();
        state.durable = state.durable.max(flushed.facts);
        let durable = state.durable;
        let (done, waiting) = state.waiting.drain(..).partition(|waiting| waiting.token <= durable);
        state.waiting = waiting;
        drop(state);
        let done: Vec<Waiting> = done;
        for waiting in done {
            waiting.ticket.finish(Ok(waiting.result));
        }
    }

    fn failed(&self, error: &CommitError) {
        if let CommitError::Fault(..) = error {
            self.faults.raise(FaultKind::Journal, error.to_string(), self.clock.now());
        }
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for waiting in waiting {
            waiting.ticket.finish(Err(Problem::new("fault", error.to_string())));
        }
    }
}
