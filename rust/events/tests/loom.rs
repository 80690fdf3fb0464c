//! Models of every interleaving (small ones): no wake-up is lost, and no credit.
//!
//! `RUSTFLAGS='--cfg loom' cargo test -p angarium-events --test loom --release`, with a target folder of its own.
#![cfg(loom)]

use angarium_events::{Bounds, EventQueue, Level};
use loom::future::block_on;
use loom::thread;

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Number(u32),
    Flag(Level),
}

impl From<Level> for Event {
    fn from(level: Level) -> Self {
        Self::Flag(level)
    }
}

fn queue(plain: usize, slots: usize, credits: usize) -> EventQueue<Event> {
    EventQueue::new(Bounds { plain, slots, credits }).expect("a model's queue needs no descriptor")
}

/// The consumer of the contract; loom reports a deadlock if it waits for what has already come.
fn consume(queue: &EventQueue<Event>, limit: usize, count: usize) -> Vec<Event> {
    let mut received = Vec::new();
    while received.len() < count {
        queue.wait();
        loop {
            let batch = queue.drain(limit);
            let full = batch.len() == limit;
            received.extend(batch);
            if !full {
                break;
            }
        }
    }
    received
}

#[test]
fn no_wake_up_is_lost_between_two_producers() {
    loom::model(|| {
        let queue = queue(2, 1, 1);
        let producers = [1, 2].map(|number| {
            let queue = queue.clone();
            thread::spawn(move || queue.push(Event::Number(number)).expect("room"))
        });
        assert_eq!(consume(&queue, 2, 2).len(), 2);
        for producer in producers {
            producer.join().expect("producer");
        }
        assert!(queue.drain(2).is_empty());
    });
}

#[test]
fn no_wake_up_is_lost_with_small_batches() {
    loom::model(|| {
        let queue = queue(3, 1, 1);
        let producer = {
            let queue = queue.clone();
            thread::spawn(move || {
                for number in 0..3 {
                    queue.push(Event::Number(number)).expect("room");
                }
            })
        };
        assert_eq!(consume(&queue, 1, 3), [Event::Number(0), Event::Number(1), Event::Number(2)]);
        producer.join().expect("producer");
    });
}

#[test]
fn a_level_raised_while_drained_is_seen() {
    loom::model(|| {
        let queue = queue(1, 1, 1);
        let producer = {
            let queue = queue.clone();
            thread::spawn(move || {
                queue.raise(Level::JournalGrew);
                queue.reserve().expect("a slot").fill(Event::Number(7));
                queue.raise(Level::JournalGrew);
            })
        };
        // The level comes once or twice; the last raise is always followed by a drain that shows it.
        let mut received = consume(&queue, 4, 2);
        producer.join().expect("producer");
        received.extend(queue.drain(4));
        let events: Vec<&Event> = received.iter().filter(|event| **event == Event::Number(7)).collect();
        assert_eq!(events.len(), 1);
        assert!((2..=3).contains(&received.len()));
    });
}

#[test]
fn one_credit_goes_round() {
    loom::model(|| {
        let queue = queue(1, 1, 1);
        let askers = [1, 2].map(|number| {
            let queue = queue.clone();
            thread::spawn(move || {
                let credit = block_on(queue.credit());
                queue.ask(&credit, Event::Number(number));
            })
        });
        assert_eq!(consume(&queue, 2, 2).len(), 2);
        for asker in askers {
            asker.join().expect("asker");
        }
        assert_eq!(queue.free(), (1, 1));
    });
}
