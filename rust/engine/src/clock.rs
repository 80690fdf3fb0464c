//! The engine's clock: `CLOCK_BOOTTIME` anchored to wall time once, at the start (spool.md: time).
//!
//! It goes on through suspends and never jumps when somebody sets the wall clock; [`Clock::wall_jump`] says how far
//! the wall has moved away since, which is the ledger's reason to freeze expiry.

use std::time::{SystemTime, UNIX_EPOCH};

use angarium_nouns::Millis;

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Wall time less boot time at the start, in milliseconds.
    anchor: Millis,
}

impl Clock {
    pub fn start() -> Self {
        Self { anchor: wall().saturating_sub(boot_micros() / 1_000) }
    }

    pub fn now(&self) -> Millis {
        self.anchor + boot_micros() / 1_000
    }

    /// Microseconds on the same line, for durations.
    pub fn micros(&self) -> u64 {
        self.anchor * 1_000 + boot_micros()
    }

    /// How far the wall clock stands from ours now: positive, it was set forward.
    pub fn wall_jump(&self) -> i64 {
        wall().cast_signed() - self.now().cast_signed()
    }
}

fn wall() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}

fn boot_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, and CLOCK_BOOTTIME is in every Linux that we run on.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_wall() {
        let clock = Clock::start();
        assert!(clock.wall_jump().abs() < 1_000);
        assert!(clock.micros() / 1_000 >= clock.now() - 1);
    }
}
