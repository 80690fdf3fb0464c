//! All sessions that are alive: their deadlines, and how they are ended from outside.
//!
//! A session writes its deadline into its [`Mark`] and nothing else: no timer is armed for a command. A sweep, a few
//! times a second, shuts the sockets whose deadline has passed; the session then reads an end of stream, finds
//! [`Mark::ended`] set and says why. Stop uses the same way for the sessions that have no message in hand.
//! A mark leaves the registry before its descriptor is closed, so no other socket is ever shut by mistake.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};

use angarium_nouns::Millis;
use parking_lot::Mutex;

/// No deadline: the session waits for us (commit, hook), not for its peer.
pub const NEVER: Millis = Millis::MAX;

/// Why a session is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    Timeout = 1,
    Stop = 2,
}

/// One session as seen from outside.
#[derive(Debug)]
pub struct Mark {
    /// -1 while somebody else has it.
    socket: AtomicI32,
    deadline: AtomicU64,
    /// A transaction is open: stop lets it come to its answer.
    busy: AtomicBool,
    /// Waiting to write: the deadline cuts both directions.
    writing: AtomicBool,
    ended: AtomicU8,
}

impl Mark {
    pub fn new(socket: RawFd, deadline: Millis) -> Self {
        Self {
            socket: AtomicI32::new(socket),
            deadline: AtomicU64::new(deadline),
            busy: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            ended: AtomicU8::new(0),
        }
    }

    pub fn set_deadline(&self, deadline: Millis) {
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    pub fn set_writing(&self, writing: bool) {
        self.writing.store(writing, Ordering::Relaxed);
    }

    pub fn ended(&self) -> Option<Ended> {
        match self.ended.load(Ordering::Acquire) {
            1 => Some(Ended::Timeout),
            2 => Some(Ended::Stop),
            _ => None,
        }
    }

    fn end(&self, why: Ended) {
        if self.ended.swap(why as u8, Ordering::AcqRel) != 0 {
            return;
        }
        let how = if self.writing.load(Ordering::Relaxed) { libc::SHUT_RDWR } else { libc::SHUT_RD };
        // SAFETY: the descriptor is open while the mark is registered; shutdown touches no memory.
        unsafe { libc::shutdown(self.socket.load(Ordering::Relaxed), how) };
    }
}

#[derive(Debug, Default)]
struct Slots {
    marks: Vec<Option<Arc<Mark>>>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
pub struct Registry(Mutex<Slots>);

/// A session's entry; leaves with its drop.
#[derive(Debug)]
pub struct Entry {
    registry: Arc<Registry>,
    place: u32,
    mark: Arc<Mark>,
}

impl Registry {
    pub fn enter(self: &Arc<Self>, mark: Mark) -> Entry {
        let mark = Arc::new(mark);
        let mut slots = self.0.lock();
        let place = slots.free.pop().unwrap_or_else(|| {
            slots.marks.push(None);
            (slots.marks.len() - 1) as u32
        });
        slots.marks[place as usize] = Some(mark.clone());
        drop(slots);
        Entry { registry: self.clone(), place, mark }
    }

    /// Ends the sessions whose deadline has passed.
    pub fn sweep(&self, now: Millis) {
        let slots = self.0.lock();
        let late = |mark: &&Arc<Mark>| mark.deadline.load(Ordering::Relaxed) <= now;
        slots.marks.iter().flatten().filter(late).for_each(|mark| mark.end(Ended::Timeout));
    }

    /// Stop: ends the sessions that have no message in hand.
    pub fn end_idle(&self) {
        let slots = self.0.lock();
        let idle = |mark: &&Arc<Mark>| !mark.busy.load(Ordering::Relaxed);
        slots.marks.iter().flatten().filter(idle).for_each(|mark| mark.end(Ended::Stop));
    }

    /// The deadline of a stop has come: ends all.
    pub fn end_all(&self) {
        let slots = self.0.lock();
        slots.marks.iter().flatten().for_each(|mark| mark.end(Ended::Stop));
    }

    pub fn len(&self) -> usize {
        let slots = self.0.lock();
        slots.marks.len() - slots.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entry {
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    pub fn shared_mark(&self) -> &Arc<Mark> {
        &self.mark
    }

    /// Somebody else has the socket and may close it. Under the lock, so that no sweep still uses its number.
    pub fn let_socket_go(&self) {
        let _no_sweep = self.registry.0.lock();
        self.mark.socket.store(-1, Ordering::Relaxed);
    }

    /// It is back.
    pub fn hold_socket(&self, socket: &impl AsRawFd) {
        let _no_sweep = self.registry.0.lock();
        self.mark.socket.store(socket.as_raw_fd(), Ordering::Relaxed);
        // What ended it meanwhile shut nothing.
        self.mark.ended.store(0, Ordering::Relaxed);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut slots = self.registry.0.lock();
        slots.marks[self.place as usize] = None;
        slots.free.push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    #[test]
    fn a_passed_deadline_reads_as_an_end() {
        let registry = Arc::new(Registry::default());
        let (mut server, _client) = pair();
        let entry = registry.enter(Mark::new(server.as_raw_fd(), 10));
        registry.sweep(9);
        assert_eq!(entry.mark().ended(), None);
        registry.sweep(10);
        assert_eq!(entry.mark().ended(), Some(Ended::Timeout));
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
        drop(entry);
        assert!(registry.is_empty());
    }

    #[test]
    fn stop_spares_the_busy() {
        let registry = Arc::new(Registry::default());
        let (first, _a) = pair();
        let (second, _b) = pair();
        let idle = registry.enter(Mark::new(first.as_raw_fd(), NEVER));
        let busy = registry.enter(Mark::new(second.as_raw_fd(), NEVER));
        busy.mark().set_busy(true);
        registry.end_idle();
        assert_eq!((idle.mark().ended(), busy.mark().ended()), (Some(Ended::Stop), None));
        assert_eq!(registry.len(), 2);
    }
}
