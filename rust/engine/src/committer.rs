//! The content committer: everybody who waits is written together, by one thread, with one sync (S1).
//!
//! A session puts its message into the open group and waits on that group; the thread takes the oldest group,
//! drops those whose peer is already gone (S8), has the ledger commit the rest and wakes all at once. A group is
//! closed at so many records or bytes, so a large body never delays small ones. While one group is on its way to
//! disk the next gathers, so the load sets the group's size and an idle system commits at once. A panic of the
//! commit counts as a fault (S5). What becomes of a fault, and stopping, is the engine's business. The thread wakes
//! each session itself: one task that wakes a whole group was measured and saves nothing (63 and 64 µs a message).

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use angarium_ledger::{CommitError, FaultKind, Incoming};
use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::counters::Counters;

/// What the ledger is to the committer.
pub type Keep = dyn Fn(&[Incoming]) -> Result<(), CommitError> + Send + Sync;

/// How the commit of a message ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    Durable,
    /// S4, S5: the whole group was refused.
    Refused(CommitError),
    /// S8: the peer was gone before the group was taken; nothing was written.
    Withdrawn,
}

/// Bounds of one group.
#[derive(Debug, Clone, Copy)]
pub struct GroupBounds {
    pub records: usize,
    pub bytes: usize,
}

/// One who waits. The waker is replaced if the session is polled by another.
#[derive(Debug)]
struct Member {
    waker: Option<Waker>,
    withdrawn: bool,
}

/// The messages that are committed together, as those who wait see it.
#[derive(Debug, Default)]
struct Group {
    outcome: OnceLock<Result<(), CommitError>>,
    members: Mutex<Vec<Member>>,
}

/// A group with its messages, in the queue.
#[derive(Debug, Default)]
struct Gathering {
    messages: Vec<Incoming>,
    /// The sockets to look at for S8, −1 for none; beside `messages`.
    peers: Vec<RawFd>,
    bytes: usize,
    since: u64,
    group: Arc<Group>,
}

#[derive(Debug, Default)]
struct Queue {
    gathering: VecDeque<Gathering>,
    stopping: bool,
}

pub struct Committer {
    queue: Mutex<Queue>,
    work: Condvar,
    bounds: Mutex<GroupBounds>,
    clock: Clock,
    counters: Arc<Counters>,
}

/// Where a message waits.
#[derive(Debug)]
#[must_use = "the answer comes by polling"]
pub struct Ticket {
    group: Arc<Group>,
    member: usize,
}

impl Committer {
    pub fn new(bounds: GroupBounds, clock: Clock, counters: Arc<Counters>) -> Self {
        let queue = Mutex::new(Queue::default());
        Self { queue, work: Condvar::new(), bounds: Mutex::new(bounds), clock, counters }
    }

    pub fn set_bounds(&self, bounds: GroupBounds) {
        *self.bounds.lock() = bounds;
    }

    /// Puts a message into the open group. `peer` is its socket, or −1.
    pub fn put(&self, message: Incoming, peer: RawFd) -> Ticket {
        let size = message.record_len();
        let bounds = *self.bounds.lock();
        let mut queue = self.queue.lock();
        let fits = |open: &Gathering| open.messages.len() < bounds.records && open.bytes + size <= bounds.bytes;
        if !queue.gathering.back().is_some_and(fits) {
            queue.gathering.push_back(Gathering { since: self.clock.micros(), ..Gathering::default() });
        }
        let open = queue.gathering.back_mut().expect("one was pushed if there was none");
        open.messages.push(message);
        open.peers.push(peer);
        open.bytes += size;
        let mut members = open.group.members.lock();
        members.push(Member { waker: None, withdrawn: false });
        let member = members.len() - 1;
        drop(members);
        let group = open.group.clone();
        drop(queue);
        self.work.notify_one();
        Ticket { group, member }
    }

    /// Groups that wait; the engine's stop waits until there are none.
    pub fn depth(&self) -> usize {
        self.queue.lock().gathering.iter().map(|open| open.messages.len()).sum()
    }

    /// Ends [`Committer::run`] when everything that waits is committed.
    pub fn stop(&self) {
        self.queue.lock().stopping = true;
        self.work.notify_all();
    }

    /// The thread.
    pub fn run(&self, keep: &Keep) {
        while let Some(taken) = self.take() {
            self.commit(taken, keep);
        }
    }

    fn take(&self) -> Option<Gathering> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(taken) = queue.gathering.pop_front() {
                return Some(taken);
            }
            if queue.stopping {
                return None;
            }
            self.work.wait(&mut queue);
        }
    }

    fn commit(&self, mut taken: Gathering, keep: &Keep) {
        self.withdraw_the_gone(&mut taken);
        let begun = self.clock.micros();
        let outcome = match &taken.messages[..] {
            [] => Ok(()), // all withdrawn
            messages => catch_unwind(AssertUnwindSafe(|| keep(messages))).unwrap_or_else(|_| Err(panicked())),
        };
        let ended = self.clock.micros();
        self.counters.groups.one_more();
        self.counters.group_size.record(taken.messages.len() as u64);
        self.counters.sync_time.record(ended - begun);
        self.counters.commit_time.record(ended - taken.since);
        // The bodies are freed after those who wait are on their way.
        taken.group.finish(outcome);
    }

    /// S8: one poll for the whole group tells which peers were reset.
    fn withdraw_the_gone(&self, taken: &mut Gathering) {
        let gone = reset_peers(&taken.peers);
        if gone.is_empty() {
            return;
        }
        let mut members = taken.group.members.lock();
        for &at in gone.iter().rev() {
            taken.messages.remove(at);
            members[at].withdrawn = true;
            self.counters.withdrawn.one_more();
        }
    }
}

/// S5: a panic inside the commit is a fault.
fn panicked() -> CommitError {
    CommitError::Fault(FaultKind::Content, "the commit panicked".into())
}

/// Positions of sockets in error (reset by the peer), ascending. End of stream is none: S8.
fn reset_peers(peers: &[RawFd]) -> Vec<usize> {
    let mut asked: Vec<libc::pollfd> = peers.iter().map(|&fd| libc::pollfd { fd, events: 0, revents: 0 }).collect();
    // SAFETY: the pointer and the length are those of a live vector; a negative descriptor is skipped (poll(2)).
    let answered = unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, 0) };
    if answered <= 0 {
        return Vec::new();
    }
    (0..asked.len()).filter(|&at| asked[at].revents & libc::POLLERR != 0).collect()
}

impl Group {
    fn finish(&self, outcome: Result<(), CommitError>) {
        let _ = self.outcome.set(outcome); // set once: a group is taken once
        let wakers: Vec<Waker> = self.members.lock().iter_mut().filter_map(|member| member.waker.take()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Ticket {
    pub fn poll(&self, context: &Context<'_>) -> Poll<Kept> {
        let mut members = self.group.members.lock();
        let member = &mut members[self.member];
        // Set before the wakers are taken under this lock: whoever leaves a waker behind is woken.
        if let Some(outcome) = self.group.outcome.get() {
            return Poll::Ready(match outcome {
                _ if member.withdrawn => Kept::Withdrawn,
                Ok(()) => Kept::Durable,
                Err(error) => Kept::Refused(error.clone()),
            });
        }
        if !member.waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            member.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    pub async fn wait(self) -> Kept {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}
