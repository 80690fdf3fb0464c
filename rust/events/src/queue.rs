//! The queue itself: levels as a bit set, events in order, and the `signalled` flag beside them under one lock.
//!
//! `signalled` is true exactly while the descriptor is readable: a producer that finds it false sets it and writes
//! the descriptor before it lets go of the lock; a drain that leaves the queue empty reads the descriptor and
//! clears it before it lets go. So a burst costs one write, and no wake-up is lost (loom-tested).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::permits::{Credit, CreditWait, Permit, Permits};
use crate::signal::Signal;
use crate::sync::Mutex;

/// What may be told late and once: the consumer pulls the content. Drained first, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Fault = 0,
    RouteWanted = 1,
    PlanWanted = 2,
    PlanReport = 3,
    JournalGrew = 4,
    LimitsMet = 5,
}

impl Level {
    pub const ALL: [Self; 6] =
        [Self::Fault, Self::RouteWanted, Self::PlanWanted, Self::PlanReport, Self::JournalGrew, Self::LimitsMet];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// How many events of each kind may be on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Events without slot or credit that may wait to be drained.
    pub plain: usize,
    /// Tickets open at once.
    pub slots: usize,
    /// Questions open at once.
    pub credits: usize,
}

impl Default for Bounds {
    /// 4,096 tickets and plain events: what a drain of 256 at a time empties within a few loop steps. 1,024
    /// questions: at 7-13 µs each (prototype) one round of hooks then takes about 10 ms, the loop's alarm.
    fn default() -> Self {
        Self { plain: 4096, slots: 4096, credits: 1024 }
    }
}

/// The permit that comes back when the event leaves the queue.
#[derive(Debug)]
enum Held {
    Plain(#[allow(dead_code, reason = "held for its drop")] Permit),
    Asked(#[allow(dead_code, reason = "held for its drop")] Arc<Permit>),
}

#[derive(Debug)]
struct State<T> {
    levels: u8,
    events: VecDeque<(T, Held)>,
    signalled: bool,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    signal: Signal,
    plain: Arc<Permits>,
    slots: Arc<Permits>,
    credits: Arc<Permits>,
}

/// A handle of the queue; clones are the same queue.
#[derive(Debug)]
pub struct EventQueue<T>(Arc<Shared<T>>);

impl<T> Clone for EventQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Room for one event, reserved. Dropped unused, the room comes back.
#[derive(Debug)]
pub struct Slot<T> {
    queue: EventQueue<T>,
    permit: Permit,
}

impl<T> EventQueue<T> {
    /// Fails when the process has no descriptor left.
    pub fn new(bounds: Bounds) -> io::Result<Self> {
        let state = State { levels: 0, events: VecDeque::new(), signalled: false };
        Ok(Self(Arc::new(Shared {
            state: Mutex::new(state),
            signal: Signal::new()?,
            plain: Permits::new(bounds.plain),
            slots: Permits::new(bounds.slots),
            credits: Permits::new(bounds.credits),
        })))
    }

    /// Readable while there is something to drain; lives as long as any handle, [`Slot`] included.
    #[cfg(not(loom))]
    pub fn fd(&self) -> std::os::fd::RawFd {
        self.0.signal.fd()
    }

    /// What waiting for the descriptor is in a model.
    #[cfg(loom)]
    pub fn wait(&self) {
        self.0.signal.wait();
    }

    /// An event without reservation; given back when [`Bounds::plain`] of them wait.
    pub fn push(&self, event: T) -> Result<(), T> {
        let Some(permit) = self.0.plain.try_take() else { return Err(event) };
        self.append(event, Held::Plain(permit));
        Ok(())
    }

    /// Raises a level; it stays until drained, however often it is raised.
    pub fn raise(&self, level: Level) {
        let mut state = self.0.state.lock();
        state.levels |= level.bit();
        self.signal(&mut state);
    }

    /// Reserves room for the event that a ticket will end in; `None`: the caller is to answer *busy*.
    #[must_use = "dropping a slot gives it back"]
    pub fn reserve(&self) -> Option<Slot<T>> {
        Some(Slot { queue: self.clone(), permit: self.0.slots.try_take()? })
    }

    /// A credit if one is free now.
    #[must_use = "dropping a credit gives it back"]
    pub fn try_credit(&self) -> Option<Credit> {
        Some(Credit(Arc::new(self.0.credits.try_take()?)))
    }

    /// Waits for a credit, on any executor.
    pub fn credit(&self) -> CreditWait {
        CreditWait::new(self.0.credits.clone())
    }

    /// Puts a question into the queue. It holds the credit with its asker: both must let go before it is free.
    pub fn ask(&self, credit: &Credit, event: T) {
        self.append(event, Held::Asked(credit.0.clone()));
    }

    /// Levels first, then events in order, at most `limit`; fewer mean that the queue was left empty.
    pub fn drain(&self, limit: usize) -> Vec<T>
    where
        T: From<Level>,
    {
        let (levels, taken) = self.take(limit);
        // The permits are let go here, outside of the lock.
        levels.into_iter().map(T::from).chain(taken.into_iter().map(|(event, _held)| event)).collect()
    }

    fn take(&self, limit: usize) -> (Vec<Level>, Vec<(T, Held)>) {
        let mut state = self.0.state.lock();
        let raised = Level::ALL.into_iter().filter(|level| state.levels & level.bit() != 0);
        let levels: Vec<Level> = raised.take(limit).collect();
        state.levels &= !levels.iter().fold(0, |bits, level| bits | level.bit());
        let count = state.events.len().min(limit - levels.len());
        let taken = state.events.drain(..count).collect();
        if state.levels == 0 && state.events.is_empty() && state.signalled {
            self.0.signal.clear();
            state.signalled = false;
        }
        (levels, taken)
    }

    /// Events waiting to be drained, levels not counted.
    pub fn depth(&self) -> usize {
        self.0.state.lock().events.len()
    }

    /// Slots, credits: how many are free now.
    pub fn free(&self) -> (usize, usize) {
        (self.0.slots.free(), self.0.credits.free())
    }

    fn append(&self, event: T, held: Held) {
        let mut state = self.0.state.lock();
        state.events.push_back((event, held));
        self.signal(&mut state);
    }

    fn signal(&self, state: &mut State<T>) {
        if !state.signalled {
            state.signalled = true;
            self.0.signal.raise();
        }
    }
}

impl<T> Slot<T> {
    /// Puts the event into its reserved room.
    pub fn fill(self, event: T) {
        self.queue.append(event, Held::Plain(self.permit));
    }
}
