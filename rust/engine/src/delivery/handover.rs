//! Lanes that Python serves: leased entries go out as one event and come back by `settle`, or expire as uncertain.
//!
//! The engine hands over a callable that queues the event; when it takes no more, the entries return and the lane
//! rests a moment. Every entry carries a number of its own, never used twice, so that a stale answer is told apart.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use angarium_ledger::{LaneId, Lease, LeasedEntry};
use angarium_nouns::Millis;
use angarium_nouns::id::MessageId;
use parking_lot::Mutex;

/// What Python is given: recipients of one message, each to be answered by its number before the deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    pub lane: u64,
    pub id: MessageId,
    pub sender: String,
    /// (number for `settle`, recipient number, address).
    pub entries: Vec<(u64, u32, String)>,
    pub size: u64,
    pub deadline: Millis,
}

/// Queues the event; `false`: there is no room now.
pub type Door = Arc<dyn Fn(Handover) -> bool + Send + Sync>;

/// An entry that is with Python.
#[derive(Debug, Clone)]
pub struct Lent {
    pub lease: Arc<Lease>,
    pub leased: LeasedEntry,
    pub lane: LaneId,
    pub taken: Millis,
    pub deadline: Millis,
}

#[derive(Default)]
struct Table {
    last: u64,
    lent: HashMap<u64, Lent>,
    deadlines: BTreeSet<(Millis, u64)>,
}

pub struct Handovers {
    pub door: Door,
    table: Mutex<Table>,
}

impl Handovers {
    pub fn new(door: Door) -> Self {
        Self { door, table: Mutex::default() }
    }

    /// Writes down who is lent; gives the numbers in order.
    pub fn lend(&self, entries: impl Iterator<Item = Lent>) -> Vec<u64> {
        let mut table = self.table.lock();
        entries
            .map(|lent| {
                table.last += 1;
                let number = table.last;
                table.deadlines.insert((lent.deadline, number));
                table.lent.insert(number, lent);
                number
            })
            .collect()
    }

    /// Takes one back; `None`: it was answered or has expired.
    pub fn take(&self, number: u64) -> Option<Lent> {
        let mut table = self.table.lock();
        let lent = table.lent.remove(&number)?;
        table.deadlines.remove(&(lent.deadline, number));
        Some(lent)
    }

    /// Takes those whose time is up.
    pub fn take_expired(&self, now: Millis) -> Vec<Lent> {
        let mut table = self.table.lock();
        let later = table.deadlines.split_off(&(now + 1, 0));
        let expired = std::mem::replace(&mut table.deadlines, later);
        expired.into_iter().filter_map(|(_, number)| table.lent.remove(&number)).collect()
    }

    pub fn next_deadline(&self) -> Option<Millis> {
        self.table.lock().deadlines.first().map(|&(deadline, _)| deadline)
    }
}
