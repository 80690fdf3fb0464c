//! What the engine tells Python, in one queue.

pub use angarium_events::Level;

use crate::asks::{Ask, View};
use crate::delivery::Handover;

/// One event; `Flag` stands for a level that was raised.
#[derive(Debug)]
pub enum Event {
    Ask(Box<Ask>),
    Deliver(Box<Handover>),
    Done(Box<Done>),
    Flag(Level),
}

/// The end of a ticket.
#[derive(Debug)]
pub struct Done {
    pub ticket: u64,
    pub result: Result<Finished, Problem>,
}

/// What a ticket gives.
#[derive(Debug, Default)]
pub struct Finished {
    /// MessagePack.
    pub result: Vec<u8>,
    /// `content()` only.
    pub body: Option<View>,
}

/// Why a ticket failed: one word for programs, a sentence for people, more in MessagePack.
#[derive(Debug)]
pub struct Problem {
    pub word: &'static str,
    pub text: String,
    pub result: Vec<u8>,
}

impl Problem {
    pub fn new(word: &'static str, text: impl Into<String>) -> Self {
        Self { word, text: text.into(), result: Vec::new() }
    }
}

impl From<Level> for Event {
    fn from(level: Level) -> Self {
        Self::Flag(level)
    }
}

/// How a level is called by `Flag.kind`.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Fault => "fault",
        Level::RouteWanted => "route_wanted",
        Level::PlanWanted => "plan_wanted",
        Level::PlanReport => "plan_report",
        Level::JournalGrew => "journal_grew",
        Level::LimitsMet => "limits_met",
    }
}
