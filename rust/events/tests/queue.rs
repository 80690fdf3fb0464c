//! The queue over a real eventfd: order, bounds, permits, and that the descriptor tells the truth.
#![cfg(not(loom))]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use angarium_events::{Bounds, CreditWait, EventQueue, Level};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    EventQueue::new(Bounds { plain, slots, credits }).expect("a descriptor is free")
}

/// Whether the descriptor is readable, waiting at most so many milliseconds (-1: for ever).
fn readable(queue: &EventQueue<Event>, timeout: i32) -> bool {
    let mut poll = libc::pollfd { fd: queue.fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd, and its count.
    unsafe { libc::poll(&raw mut poll, 1, timeout) == 1 }
}

#[test]
fn levels_come_first_and_once() {
    let queue = queue(9, 9, 9);
    assert!(!readable(&queue, 0));
    queue.push(Event::Number(1)).expect("room");
    for level in [Level::JournalGrew, Level::RouteWanted, Level::JournalGrew] {
        queue.raise(level);
    }
    assert!(readable(&queue, 0));
    let want = [Event::Flag(Level::RouteWanted), Event::Flag(Level::JournalGrew), Event::Number(1)];
    assert_eq!(queue.drain(9), want);
    assert!(!readable(&queue, 0));
    assert_eq!(queue.drain(9), []);
}

#[test]
fn stays_readable_until_empty() {
    let queue = queue(9, 9, 9);
    queue.raise(Level::Fault);
    queue.raise(Level::PlanReport);
    for number in 0..3 {
        queue.push(Event::Number(number)).expect("room");
    }
    assert_eq!(queue.drain(1), [Event::Flag(Level::Fault)]);
    assert!(readable(&queue, 0));
    assert_eq!(queue.drain(2), [Event::Flag(Level::PlanReport), Event::Number(0)]);
    assert!(readable(&queue, 0));
    assert_eq!(queue.drain(2), [Event::Number(1), Event::Number(2)]);
    assert!(!readable(&queue, 0));
}

#[test]
fn plain_events_are_bounded() {
    let queue = queue(2, 1, 1);
    assert_eq!(queue.push(Event::Number(1)), Ok(()));
    assert_eq!(queue.push(Event::Number(2)), Ok(()));
    assert_eq!(queue.push(Event::Number(3)), Err(Event::Number(3)));
    // A full queue does not keep a ticket from ending.
    queue.reserve().expect("a slot").fill(Event::Number(4));
    assert_eq!(queue.drain(1), [Event::Number(1)]);
    assert_eq!(queue.push(Event::Number(5)), Ok(()));
    assert_eq!(queue.drain(9), [Event::Number(2), Event::Number(4), Event::Number(5)]);
}

#[test]
fn slots_come_back_when_drained_or_dropped() {
    let queue = queue(1, 2, 1);
    let (first, second) = (queue.reserve().expect("a slot"), queue.reserve().expect("a slot"));
    assert!(queue.reserve().is_none());
    drop(second);
    first.fill(Event::Number(1));
    assert_eq!(queue.free(), (1, 1));
    queue.drain(9);
    assert_eq!(queue.free(), (2, 1));
}

#[test]
fn a_credit_is_held_by_asker_and_event() {
    let queue = queue(1, 1, 2);
    let (asker, other) = (queue.try_credit().expect("a credit"), queue.try_credit().expect("a credit"));
    assert!(queue.try_credit().is_none());
    queue.ask(&asker, Event::Number(1));
    drop(asker);
    assert!(queue.try_credit().is_none(), "its event still waits");
    queue.drain(9);
    assert!(queue.try_credit().is_some());
    queue.ask(&other, Event::Number(2));
    queue.drain(9);
    assert_eq!(queue.free(), (1, 1), "its asker still waits for the answer");
    drop(other);
    assert_eq!(queue.free(), (1, 2));
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls once with a waker that counts.
fn poll_once(wait: std::pin::Pin<&mut CreditWait>, woken: &Arc<Woken>) -> Poll<angarium_events::Credit> {
    wait.poll(&mut Context::from_waker(&Waker::from(woken.clone())))
}

#[test]
fn waiters_are_woken_in_turn() {
    let queue = queue(1, 1, 1);
    let held = queue.try_credit().expect("a credit");
    let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
    let (mut first, mut second) = (pin!(queue.credit()), pin!(queue.credit()));
    assert!(poll_once(first.as_mut(), &woken[0]).is_pending());
    assert!(poll_once(second.as_mut(), &woken[1]).is_pending());
    drop(held);
    assert_eq!((woken[0].0.load(Ordering::SeqCst), woken[1].0.load(Ordering::SeqCst)), (1, 0));
    // Somebody who did not wait is quicker: the first keeps its place.
    let quick = queue.try_credit().expect("a credit");
    assert!(poll_once(first.as_mut(), &woken[0]).is_pending());
    drop(quick);
    assert_eq!((woken[0].0.load(Ordering::SeqCst), woken[1].0.load(Ordering::SeqCst)), (2, 0));
    let Poll::Ready(credit) = poll_once(first, &woken[0]) else { panic!("the credit is free") };
    drop(credit);
    assert_eq!(woken[1].0.load(Ordering::SeqCst), 1);
    assert!(poll_once(second, &woken[1]).is_ready());
}

#[test]
fn a_woken_waiter_that_gives_up_passes_the_wake_on() {
    let queue = queue(1, 1, 1);
    let held = queue.try_credit().expect("a credit");
    let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
    let mut first = Box::pin(queue.credit());
    let mut second = Box::pin(queue.credit());
    assert!(poll_once(first.as_mut(), &woken[0]).is_pending());
    assert!(poll_once(second.as_mut(), &woken[1]).is_pending());
    drop(held);
    drop(first);
    assert_eq!(woken[1].0.load(Ordering::SeqCst), 1);
    assert!(poll_once(second.as_mut(), &woken[1]).is_ready());
}

#[test]
fn nothing_is_lost_between_threads() {
    const PRODUCERS: u32 = 4;
    const EACH: u32 = 20_000;
    let queue = queue((PRODUCERS * EACH) as usize, 64, 1);
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let queue = queue.clone();
            thread::spawn(move || {
                for number in 0..EACH {
                    let event = Event::Number(producer * EACH + number);
                    match queue.reserve().filter(|_| number % 3 == 0) {
                        Some(slot) => slot.fill(event),
                        None => queue.push(event).expect("room for all"),
                    }
                    if number % 100 == 0 {
                        queue.raise(Level::JournalGrew);
                    }
                }
            })
        })
        .collect();
    let mut last = [None; PRODUCERS as usize];
    let mut received = 0;
    while received < PRODUCERS * EACH {
        assert!(readable(&queue, 10_000), "a wake-up was lost after {received} events");
        for event in queue.drain(64) {
            let Event::Number(number) = event else { continue };
            let (producer, number) = ((number / EACH) as usize, number % EACH);
            assert!(last[producer] < Some(number), "one producer's events keep their order");
            last[producer] = Some(number);
            received += 1;
        }
    }
    for producer in producers {
        producer.join().expect("producer");
    }
    queue.drain(64);
    assert!(!readable(&queue, 0));
    assert_eq!(queue.free(), (64, 1));
}
