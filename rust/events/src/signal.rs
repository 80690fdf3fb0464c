//! What the consumer waits for: an eventfd, readable while raised. In a loom model a flag with a condition.
//!
//! Not thread-safe by intent: [`Signal::raise`] and [`Signal::clear`] are called with the queue's lock held, so the
//! descriptor and the queue's `signalled` flag never disagree. Fails only when it is made (no descriptors left).

#[cfg(not(loom))]
mod real {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

    #[derive(Debug)]
    pub struct Signal(OwnedFd);

    impl Signal {
        pub fn new() -> io::Result<Self> {
            // SAFETY: eventfd takes two numbers and touches no memory of ours.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: `fd` was opened just now and nobody else knows it.
            Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
        }

        pub fn fd(&self) -> RawFd {
            self.0.as_raw_fd()
        }

        pub fn raise(&self) {
            let one = 1u64;
            // SAFETY: the pointer and the length are those of a live u64. The counter is 0 here, so neither a
            // block nor EAGAIN can come (eventfd(2)).
            let written = unsafe { libc::write(self.fd(), (&raw const one).cast(), size_of::<u64>()) };
            debug_assert_eq!(written, 8);
        }

        pub fn clear(&self) {
            let mut count = 0u64;
            // SAFETY: the pointer and the length are those of a live u64. Should somebody have read the
            // descriptor against the contract, EAGAIN comes and nothing is lost.
            unsafe { libc::read(self.fd(), (&raw mut count).cast(), size_of::<u64>()) };
        }
    }
}

#[cfg(loom)]
mod model {
    use loom::sync::{Condvar, Mutex};

    #[derive(Debug)]
    pub struct Signal {
        raised: Mutex<bool>,
        changed: Condvar,
    }

    impl Signal {
        pub fn new() -> std::io::Result<Self> {
            Ok(Self { raised: Mutex::new(false), changed: Condvar::new() })
        }

        pub fn raise(&self) {
            *self.raised.lock().unwrap() = true;
            self.changed.notify_all();
        }

        pub fn clear(&self) {
            *self.raised.lock().unwrap() = false;
        }

        /// What `poll` on the descriptor is outside of a model.
        pub fn wait(&self) {
            let mut raised = self.raised.lock().unwrap();
            while !*raised {
                raised = self.changed.wait(raised).unwrap();
            }
        }
    }
}

#[cfg(loom)]
pub use model::Signal;
#[cfg(not(loom))]
pub use real::Signal;
