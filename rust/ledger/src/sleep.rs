//! What sleeps beside lanes: hosts, sources, senders and providers by their names, each on its own back-off.
//!
//! A failure of such an object is recorded once a sleep, not once an attempt. Objects that worked, or that nobody
//! spoke of for a day, are forgotten.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use angarium_nouns::{Millis, Reason, Scope};

/// First and longest sleep, as lanes have them.
const FIRST: Millis = 60_000;
const LONGEST: Millis = 3_600_000;
/// Objects remembered: beyond that those that are awake go first.
const MOST: usize = 100_000;
/// One that nobody spoke of for so long is not kept over a restart.
const KEPT_FOR: Millis = 86_400_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Nap {
    pub until: Millis,
    pub failures: u8,
    pub reason: Reason,
}

/// As checkpoints keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NapRow {
    pub scope: Scope,
    pub object: String,
    pub until: Millis,
    pub failures: u8,
    pub reason: Reason,
}

#[derive(Debug, Default)]
pub(crate) struct Asleep(HashMap<(Scope, Box<str>), Nap>);

impl Asleep {
    /// It failed. `Some`: it sleeps from now on; `None`: it sleeps already.
    pub fn failed(&mut self, scope: Scope, object: &str, reason: Reason, now: Millis) -> Option<Nap> {
        if self.0.len() >= MOST {
            self.0.retain(|_, nap| nap.until > now);
        }
        let nap = self.0.entry((scope, object.into())).or_insert(Nap { until: 0, failures: 0, reason });
        if nap.until > now {
            return None;
        }
        nap.until = now + (FIRST << nap.failures.min(6)).min(LONGEST);
        nap.failures = nap.failures.saturating_add(1);
        nap.reason = reason;
        Some(*nap)
    }

    /// As a checkpoint or a fact knew it.
    pub fn restore(&mut self, scope: Scope, object: &str, until: Millis, failures: u8, reason: Reason) {
        if self.0.len() < MOST {
            self.0.insert((scope, object.into()), Nap { until, failures, reason });
        }
    }

    pub fn rows(&self, now: Millis) -> impl Iterator<Item = NapRow> {
        let lately = move |nap: &Nap| nap.until.saturating_add(KEPT_FOR) > now;
        self.0.iter().filter(move |(_, nap)| lately(nap)).map(|((scope, object), nap)| {
            let Nap { until, failures, reason } = *nap;
            NapRow { scope: *scope, object: object.to_string(), until, failures, reason }
        })
    }

    pub fn worked(&mut self, scope: Scope, object: &str) {
        if !self.0.is_empty() {
            self.0.remove(&(scope, Box::from(object)));
        }
    }

    pub fn until(&self, scope: Scope, object: &str, now: Millis) -> Option<Millis> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(scope, Box::from(object))).map(|nap| nap.until).filter(|until| *until > now)
    }

    /// Flush: everything is awake.
    pub fn wake_all(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_longer_each_time() {
        let mut asleep = Asleep::default();
        let failed =
            |asleep: &mut Asleep, now| asleep.failed(Scope::Host, "mx", Reason::Connect, now).map(|nap| nap.until);
        assert_eq!(failed(&mut asleep, 0), Some(FIRST));
        assert_eq!(failed(&mut asleep, 10), None);
        assert_eq!(failed(&mut asleep, FIRST), Some(3 * FIRST));
        assert_eq!(asleep.until(Scope::Source, "mx", 10), None);
        asleep.worked(Scope::Host, "mx");
        assert_eq!(asleep.until(Scope::Host, "mx", FIRST), None);
    }
}
