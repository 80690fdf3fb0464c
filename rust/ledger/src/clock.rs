//! When deadlines count: the freeze of spool.md, "Time".
//!
//! A clock that jumped, or a start earlier than the newest fact or more than a day after it, must not expire a queue
//! at a stroke. Expiry is frozen until an operator confirms the clock or an hour has passed with attempts going on.

use angarium_nouns::Millis;

/// A stop longer than this is as likely a wrong clock as a long week-end.
const LONG_STOP: Millis = 24 * 3_600_000;
/// Attempts for so long show that mail had its chance since.
const THAW_AFTER: Millis = 3_600_000;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Freeze {
    why: Option<String>,
    since: Millis,
    /// The last attempt since then.
    attempt: Option<Millis>,
}

impl Freeze {
    pub fn at_start(newest_fact: Millis, now: Millis) -> Self {
        let mut freeze = Self::default();
        if now < newest_fact {
            freeze.begin("the clock stands before the newest fact of the journal", now);
        } else if newest_fact != 0 && now - newest_fact > LONG_STOP {
            freeze.begin("the newest fact of the journal is more than a day old", now);
        }
        freeze
    }

    pub fn begin(&mut self, why: &str, now: Millis) {
        *self = Self { why: Some(why.to_owned()), since: now, attempt: None };
    }

    pub fn end(&mut self) {
        *self = Self::default();
    }

    pub fn attempted(&mut self, now: Millis) {
        if self.why.is_some() {
            self.attempt = Some(now);
        }
    }

    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Ends by itself after an hour in which an attempt was made.
    pub fn is_frozen(&mut self, now: Millis) -> bool {
        if self.attempt.is_some() && now.saturating_sub(self.since) >= THAW_AFTER {
            self.end();
        }
        self.why.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezes_and_thaws() {
        const DAY: Millis = 24 * 3_600_000;
        assert!(!Freeze::at_start(0, 10 * DAY).is_frozen(10 * DAY));
        assert!(!Freeze::at_start(10 * DAY, 11 * DAY).is_frozen(11 * DAY));
        assert!(Freeze::at_start(10 * DAY, 10 * DAY - 1).is_frozen(10 * DAY));
        let mut freeze = Freeze::at_start(10 * DAY, 12 * DAY);
        assert!(freeze.is_frozen(13 * DAY), "no attempt was made");
        freeze.attempted(12 * DAY + 5);
        assert!(freeze.is_frozen(12 * DAY + THAW_AFTER - 1));
        assert!(!freeze.is_frozen(12 * DAY + THAW_AFTER));
    }
}
