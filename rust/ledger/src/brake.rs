//! The brake on what cannot be undone (queue-and-delivery.md): when permanent failures of one reason at one provider
//! exceed a multiple of their usual share, settle makes deferrals of them and the lane is suspended.
//!
//! Final results are counted in windows; a window that did not brake becomes part of what is usual, in which older ones
//! fade. A provider is the first shared limiter of a lane's plan, else the lane's site. What is counted lives as long as
//! the process: after a restart the usual share begins at the floor.

use std::collections::HashMap;

use angarium_nouns::{Millis, Reason};

/// A window of results.
const WINDOW: Millis = 600_000;
/// What older windows still count for when a new one joins them.
const FADES: f64 = 0.9;
/// Share of failures that is usual where nothing is known, and the least that is ever taken for usual.
const FLOOR: f64 = 0.02;
/// While it lasts failures of that reason are deferrals and the lane is suspended.
pub(crate) const PAUSE: Millis = 3_600_000;
/// Providers counted; beyond that those whose window is over go first.
const MOST: usize = 10_000;
/// Reasons are numbered below this.
const REASONS: usize = 32;

/// When it acts; `failures` 0: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrakePolicy {
    /// Failures of one reason in a window before it is looked at.
    pub failures: u32,
    /// Times their usual share.
    pub multiple: u32,
}

impl Default for BrakePolicy {
    fn default() -> Self {
        Self { failures: 500, multiple: 10 }
    }
}

#[derive(Debug, Clone, Default)]
struct Provider {
    since: Millis,
    total: u32,
    failed: [u32; REASONS],
    usual_total: f64,
    usual: [f64; REASONS],
    /// Braked until then, and for which reason.
    until: Millis,
    reason: Reason,
}

/// A provider that is braked, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Braked {
    pub provider: String,
    pub reason: Reason,
    pub until: Millis,
}

/// What becomes of a permanent failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fails,
    /// The brake holds it; with this one it began.
    Begins,
    Held,
}

#[derive(Debug, Default)]
pub(crate) struct Brakes(HashMap<Box<str>, Provider>);

impl Provider {
    /// The window is over: it joins what is usual.
    fn turn(&mut self, now: Millis) {
        self.usual_total = self.usual_total * FADES + f64::from(self.total);
        for (usual, failed) in self.usual.iter_mut().zip(self.failed) {
            *usual = *usual * FADES + f64::from(failed);
        }
        self.clear(now);
    }

    fn clear(&mut self, now: Millis) {
        (self.since, self.total, self.failed) = (now, 0, [0; REASONS]);
    }

    fn is_unusual(&self, reason: usize, policy: BrakePolicy) -> bool {
        let failed = self.failed[reason];
        let usual = if self.usual_total > 0.0 { self.usual[reason] / self.usual_total } else { 0.0 };
        failed >= policy.failures
            && f64::from(failed) / f64::from(self.total) > usual.max(FLOOR) * f64::from(policy.multiple)
    }
}

impl Brakes {
    /// A final result at this provider; `failed`: permanently, for this reason.
    pub fn note(&mut self, provider: &str, failed: Option<Reason>, policy: BrakePolicy, now: Millis) -> Verdict {
        if policy.failures == 0 || provider.is_empty() {
            return Verdict::Fails;
        }
        if !self.0.contains_key(provider) {
            if self.0.len() >= MOST {
                self.0.retain(|_, one| one.since.saturating_add(WINDOW) > now || one.until > now);
            }
            if self.0.len() >= MOST {
                return Verdict::Fails;
            }
            self.0.insert(provider.into(), Provider { since: now, ..Provider::default() });
        }
        let Some(one) = self.0.get_mut(provider) else { return Verdict::Fails };
        if now < one.until {
            return if failed == Some(one.reason) { Verdict::Held } else { Verdict::Fails };
        }
        if now >= one.since.saturating_add(WINDOW) {
            one.turn(now);
        }
        one.total = one.total.saturating_add(1);
        let Some(reason) = failed else { return Verdict::Fails };
        let number = (reason as usize).min(REASONS - 1);
        one.failed[number] = one.failed[number].saturating_add(1);
        if !one.is_unusual(number, policy) {
            return Verdict::Fails;
        }
        one.clear(now);
        (one.until, one.reason) = (now.saturating_add(PAUSE), reason);
        Verdict::Begins
    }

    /// Who is braked now.
    pub fn list(&self, now: Millis) -> Vec<Braked> {
        let braked = self.0.iter().filter(|(_, one)| one.until > now);
        braked.map(|(name, one)| Braked { provider: name.to_string(), reason: one.reason, until: one.until }).collect()
    }

    /// An operator has looked: what is braked goes on, counted anew.
    pub fn let_go(&mut self) {
        self.0.values_mut().for_each(|one| one.until = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BrakePolicy = BrakePolicy { failures: 10, multiple: 5 };

    fn many(brakes: &mut Brakes, good: u32, bad: u32, now: Millis) -> Vec<Verdict> {
        for _ in 0..good {
            let _ = brakes.note("house", None, POLICY, now);
        }
        (0..bad).map(|_| brakes.note("house", Some(Reason::Policy), POLICY, now)).collect()
    }

    #[test]
    fn brakes_on_what_is_unusual_only() {
        let mut brakes = Brakes::default();
        // Few failures, or a small share of them: as ever.
        assert!(many(&mut brakes, 0, 9, 0).iter().all(|one| *one == Verdict::Fails));
        assert!(many(&mut brakes, 1000, 90, WINDOW).iter().all(|one| *one == Verdict::Fails));
        // A flood of them.
        let flood = many(&mut brakes, 10, 40, 2 * WINDOW);
        assert_eq!(flood.iter().filter(|one| **one == Verdict::Begins).count(), 1);
        let at = flood.iter().position(|one| *one == Verdict::Begins).unwrap();
        assert!(flood[at + 1..].iter().all(|one| *one == Verdict::Held), "{flood:?}");
        assert_eq!(brakes.note("house", Some(Reason::TooLarge), POLICY, 2 * WINDOW), Verdict::Fails, "another reason");
        assert_eq!(brakes.list(2 * WINDOW).len(), 1);
        let later = 2 * WINDOW + PAUSE;
        assert_eq!(brakes.note("house", Some(Reason::Policy), POLICY, later), Verdict::Fails);
        assert!(brakes.list(later).is_empty());
    }

    #[test]
    fn a_house_that_refuses_half_of_all_is_known_for_it() {
        let mut brakes = Brakes::default();
        let half = BrakePolicy { multiple: 2, failures: 10 };
        for n in 0..1000 {
            // Slowly enough that no window reaches the number.
            let failed = (n % 2 == 0).then_some(Reason::NoSuchRecipient);
            assert_eq!(brakes.note("list", failed, half, n * WINDOW / 10), Verdict::Fails);
        }
        let flood = (0..100).map(|_| brakes.note("list", Some(Reason::NoSuchRecipient), half, 101 * WINDOW));
        assert!(flood.collect::<Vec<_>>().iter().all(|one| *one == Verdict::Fails), "twice a half is never exceeded");
    }
}
