//! Counted permits: how many events of a kind may be on their way at once, and who waits for one.
//!
//! A permit comes back when its last holder lets go: the event in the queue holds it, and a [`Credit`] holds it
//! too, so a question given up by its session still counts until it is drained. Waiters are woken one for each
//! permit, first come first; one that was woken and gives up passes the wake on. Permits are dropped outside of
//! the queue's lock.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;

#[derive(Debug)]
struct State {
    free: usize,
    next_number: u64,
    waiting: VecDeque<(u64, Waker)>,
}

#[derive(Debug)]
pub struct Permits(Mutex<State>);

/// One permit; back with its drop.
#[derive(Debug)]
pub struct Permit(Arc<Permits>);

impl Permits {
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: count, next_number: 0, waiting: VecDeque::new() })))
    }

    pub fn free(&self) -> usize {
        self.0.lock().free
    }

    pub fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.0.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Permit(self.clone()))
    }

    fn wake_next(&self) {
        let next = {
            let mut state = self.0.lock();
            if state.free == 0 { None } else { state.waiting.pop_front() }
        };
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.lock().free += 1;
        self.0.wake_next();
    }
}

/// The right to have one question open. Keep it until the answer has come or its time is over.
#[derive(Debug)]
pub struct Credit(pub(crate) Arc<Permit>);

/// Waits for a [`Credit`]; may be dropped at any time.
#[derive(Debug)]
#[must_use = "nothing waits until it is polled"]
pub struct CreditWait {
    permits: Arc<Permits>,
    /// The number under which this waits, while it does.
    number: Option<u64>,
}

impl CreditWait {
    pub(crate) fn new(permits: Arc<Permits>) -> Self {
        Self { permits, number: None }
    }
}

impl Future for CreditWait {
    type Output = Credit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Credit> {
        let permits = self.permits.clone();
        let mut state = permits.0.lock();
        if state.free > 0 {
            state.free -= 1;
            if let Some(number) = self.number.take() {
                state.waiting.retain(|(waiting, _)| *waiting != number);
            }
            drop(state);
            return Poll::Ready(Credit(Arc::new(Permit(permits))));
        }
        let waker = context.waker().clone();
        match self.number {
            None => {
                let number = state.next_number;
                state.next_number += 1;
                state.waiting.push_back((number, waker));
                self.number = Some(number);
            }
            Some(number) => match state.waiting.iter_mut().find(|(waiting, _)| *waiting == number) {
                Some(place) => place.1 = waker,
                // It was woken, and somebody who did not wait was quicker: it keeps its place in front.
                None => state.waiting.push_front((number, waker)),
            },
        }
        Poll::Pending
    }
}

impl Drop for CreditWait {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        self.permits.0.lock().waiting.retain(|(waiting, _)| *waiting != number);
        // Perhaps this one had been woken: the permit it was woken for is the next one's.
        self.permits.wake_next();
    }
}
