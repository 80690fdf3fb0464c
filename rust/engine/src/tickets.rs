//! Tickets: a number given at once, an event at the end, exactly one.
//!
//! The event's room is reserved when the ticket is issued, so an end is never lost for want of room; without room
//! the caller hears *busy*. A ticket that is dropped unfinished (a task died, the engine closed) ends as `stopped`.

use std::sync::atomic::{AtomicU64, Ordering};

use angarium_events::{EventQueue, Slot};
use serde::Serialize;

use crate::event::{Done, Event, Finished, Problem};

/// No room for the end of one more ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many calls are under way, drain events first")]
pub struct Busy;

#[derive(Debug)]
pub struct Tickets {
    events: EventQueue<Event>,
    last: AtomicU64,
}

/// One open ticket.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    slot: Option<Slot<Event>>,
}

impl Tickets {
    pub fn new(events: EventQueue<Event>) -> Self {
        Self { events, last: AtomicU64::new(0) }
    }

    pub fn issue(&self) -> Result<Ticket, Busy> {
        let slot = self.events.reserve().ok_or(Busy)?;
        Ok(Ticket { number: self.last.fetch_add(1, Ordering::Relaxed) + 1, slot: Some(slot) })
    }
}

impl Ticket {
    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn finish(mut self, result: Result<Finished, Problem>) {
        self.fill(result);
    }

    /// Ends well with a table.
    pub fn give<T: Serialize>(self, table: &T) {
        let result = finished(table);
        self.finish(result);
    }

    fn fill(&mut self, result: Result<Finished, Problem>) {
        if let Some(slot) = self.slot.take() {
            slot.fill(Event::Done(Box::new(Done { ticket: self.number, result })));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.fill(Err(Problem::new("stopped", "the engine stopped before this was done")));
    }
}

/// A table as the result of a ticket.
pub fn finished<T: Serialize>(table: &T) -> Result<Finished, Problem> {
    match rmp_serde::to_vec_named(table) {
        Ok(result) => Ok(Finished { result, body: None }),
        Err(error) => Err(Problem::new("invalid", error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use angarium_events::Bounds;

    #[test]
    fn every_ticket_ends_once() {
        let events = EventQueue::new(Bounds { plain: 1, slots: 2, credits: 1 }).unwrap();
        let tickets = Tickets::new(events.clone());
        let (first, second) = (tickets.issue().unwrap(), tickets.issue().unwrap());
        assert!(matches!(tickets.issue(), Err(Busy)));
        first.give(&1);
        drop(second);
        let ends: Vec<_> = events.drain(9).into_iter().collect();
        let words: Vec<_> = ends
            .iter()
            .map(|event| match event {
                Event::Done(done) => (done.ticket, done.result.as_ref().err().map_or("", |problem| problem.word)),
                _ => (0, "?"),
            })
            .collect();
        assert_eq!(words, [(1, ""), (2, "stopped")]);
        assert!(tickets.issue().is_ok());
    }
}
