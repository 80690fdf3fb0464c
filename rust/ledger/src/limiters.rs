//! Limiters of lanes: the rate of a lane's own plan, and those that plans name and lanes share (queue-and-delivery:
//! 60,000 customer domains with their own MX names at one provider meet one limiter).
//!
//! A shared limiter is there as long as a lane's plan names it. The newest plan that names it says what it allows.

use std::sync::Arc;

use angarium_nouns::Millis;
use angarium_queue::{LIMITERS_PER_LANE, LaneRef, LimiterRef, Limits};

use crate::route::{Plan, PlanLimiter, Rate};
use crate::state::State;

/// Shared limiters of one plan; the lane's own rate is one more.
pub(crate) const SHARED_PER_PLAN: usize = LIMITERS_PER_LANE - 1;

fn limits(rate: Option<Rate>, window: u32) -> Limits {
    let Some(rate) = rate else { return Limits { window, ..Limits::NONE } };
    let tokens = rate.messages.max(1);
    Limits { tokens, period: rate.per.max(1), burst: tokens, window }
}

impl State {
    /// The limiters of a plan: its lane's own one keeps its tokens, shared ones are found or made by name.
    pub fn limiters_of(&mut self, lane: LaneRef, plan: &Plan, now: Millis) -> [Option<LimiterRef>; LIMITERS_PER_LANE] {
        let mut limiters = [None; LIMITERS_PER_LANE];
        limiters[0] = self.own_limiter(lane, plan.rate, now);
        for (place, wanted) in limiters[1..].iter_mut().zip(&plan.limiters) {
            *place = Some(self.shared_limiter(wanted, now));
        }
        limiters
    }

    fn own_limiter(&mut self, lane: LaneRef, rate: Option<Rate>, now: Millis) -> Option<LimiterRef> {
        let limits = limits(Some(rate?), u32::MAX);
        let (old, saved) = self.lanes.get_mut(lane).map_or((None, None), |one| (one.limiter, one.saved.take()));
        match old {
            Some(limiter) if self.index.set_limits(limiter, limits, now).is_ok() => Some(limiter),
            _ => Some(self.new_limiter(limits, saved, now)),
        }
    }

    fn new_limiter(&mut self, limits: Limits, saved: Option<u32>, now: Millis) -> LimiterRef {
        match saved {
            Some(tokens) => self.index.restore_limiter(limits, tokens, now),
            None => self.index.add_limiter(limits, now),
        }
    }

    fn shared_limiter(&mut self, wanted: &PlanLimiter, now: Millis) -> LimiterRef {
        let window = if wanted.connections == 0 { u32::MAX } else { wanted.connections };
        let limits = limits(wanted.rate, window);
        let limiter = match self.lanes.shared_by(&wanted.key) {
            Some(limiter) if self.index.set_limits(limiter, limits, now).is_ok() => limiter,
            _ => {
                let saved = self.remembered.tokens(&wanted.key);
                let limiter = self.new_limiter(limits, saved, now);
                self.lanes.share(Arc::from(&*wanted.key), limiter);
                limiter
            }
        };
        let suspended = self.index.limiter(limiter, now).map_or(0, |view| view.suspended_until);
        let _ = match (wanted.suspended_until > now, suspended > now) {
            (true, _) => self.index.suspend(limiter, wanted.suspended_until),
            (false, true) => self.index.resume(limiter, now),
            (false, false) => Ok(()),
        };
        limiter
    }

    /// A lane let go of these; those that nobody holds are gone.
    pub fn drop_limiters(&mut self, plan: Option<&Plan>, own: Option<LimiterRef>) {
        if let Some(own) = own {
            self.index.remove_limiter(own);
        }
        for PlanLimiter { key, .. } in plan.iter().flat_map(|plan| plan.limiters.iter().take(SHARED_PER_PLAN)) {
            if self.lanes.shared_by(key).is_some_and(|limiter| self.index.remove_limiter(limiter)) {
                self.lanes.unshare(key);
            }
        }
    }
}
