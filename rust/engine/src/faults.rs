//! What an operator must see, by kind: raised where it is found, shown until it is gone.
//!
//! A full disk heals (S4) and is taken away by the next commit that works; a fault of a log stays until a restart.

use std::collections::BTreeMap;

use angarium_events::{EventQueue, Level};
use angarium_nouns::Millis;
use parking_lot::Mutex;

use crate::event::Event;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    DiskFull,
    ContentLog,
    Journal,
    /// Required followers and legal holds keep as much as they may.
    Claims,
    Lost,
    Damage,
    Clock,
    /// Too many permanent failures at a provider: they are deferrals.
    Brake,
}

impl FaultKind {
    pub fn name(self) -> &'static str {
        ["disk-full", "content-log", "journal", "claims", "lost", "damage", "clock", "brake"][self as usize]
    }

    pub fn stops_intake(self) -> bool {
        matches!(self, Self::DiskFull | Self::ContentLog | Self::Journal | Self::Claims)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub since: Millis,
    pub text: String,
}

#[derive(Debug)]
pub struct Faults {
    shown: Mutex<BTreeMap<FaultKind, Fault>>,
    events: EventQueue<Event>,
}

impl Faults {
    pub fn new(events: EventQueue<Event>) -> Self {
        Self { shown: Mutex::default(), events }
    }

    /// Shows a fault; the first words stay while it lasts.
    pub fn raise(&self, kind: FaultKind, text: impl Into<String>, now: Millis) {
        let mut shown = self.shown.lock();
        if shown.contains_key(&kind) {
            return;
        }
        shown.insert(kind, Fault { kind, since: now, text: text.into() });
        drop(shown);
        self.events.raise(Level::Fault);
    }

    /// Shows a fault that grew: new words, the time at which it began.
    pub fn renew(&self, kind: FaultKind, text: impl Into<String>, now: Millis) {
        let mut shown = self.shown.lock();
        let since = shown.get(&kind).map_or(now, |fault| fault.since);
        shown.insert(kind, Fault { kind, since, text: text.into() });
        drop(shown);
        self.events.raise(Level::Fault);
    }

    pub fn clear(&self, kind: FaultKind) {
        if self.shown.lock().remove(&kind).is_some() {
            self.events.raise(Level::Fault);
        }
    }

    pub fn list(&self) -> Vec<Fault> {
        self.shown.lock().values().cloned().collect()
    }
}
