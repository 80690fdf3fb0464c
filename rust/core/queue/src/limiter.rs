//! Limiters as they lie in memory: a token bucket in whole numbers, a window, and the fair orders of who waits.
//!
//! Tokens are kept as `level` in units of 1/period token, so that any rate is exact: a millisecond adds `tokens`
//! units, a send takes `period` units. A token or a place in the window that is granted to a waiting lane is kept
//! for it, so that lanes which come later do not overtake it.

use angarium_nouns::Millis;

use crate::flow::Fair;
use crate::slab::{NONE, Slab, Slot};
use crate::types::{LimiterRef, Limits};

#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    generation: u16,
    pub used: bool,
    /// It stands in the list of those to be looked at in the next call that knows the time.
    pub dirty: bool,
    pub limits: Limits,
    level: u64,
    at: Millis,
    pub suspended_until: Millis,
    /// When it will be looked at next; 0: not planned.
    pub alarm: Millis,
    /// Lanes and nodes that hold it.
    pub holders: u32,
    pub connections: u32,
    /// Tokens and places kept for those whom they were granted to.
    pub granted: u32,
    pub granted_rooms: u32,
    /// Who waits for tokens, and which lanes for room in the window.
    pub tokens_wanted: Fair,
    pub room_wanted: Fair,
    pub waiting: u32,
    free: u32,
}

impl Slot for Limiter {
    const EMPTY: Self = Self {
        generation: 0,
        used: false,
        dirty: false,
        limits: Limits::NONE,
        level: 0,
        at: 0,
        suspended_until: 0,
        alarm: 0,
        holders: 0,
        connections: 0,
        granted: 0,
        granted_rooms: 0,
        tokens_wanted: Fair::EMPTY,
        room_wanted: Fair::EMPTY,
        waiting: 0,
        free: NONE,
    };

    fn keep_generation(&mut self, before: &Self, by: u16) {
        self.generation = before.generation.wrapping_add(by);
    }

    fn free_link(&mut self) -> &mut u32 {
        &mut self.free
    }
}

impl Limiter {
    /// Limits with a period of 0 mean one of a millisecond, a burst of 0 one token.
    fn checked(limits: Limits) -> Limits {
        Limits { period: limits.period.max(1), burst: limits.burst.max(1), ..limits }
    }

    pub fn new(limits: Limits, tokens: u32, now: Millis) -> Self {
        let limits = Self::checked(limits);
        let mut limiter = Self { used: true, limits, at: now, ..Self::EMPTY };
        limiter.level = u64::from(tokens.min(limits.burst)) * limits.period;
        limiter
    }

    /// Saved tokens are kept, as far as the new burst allows.
    pub fn set_limits(&mut self, limits: Limits, now: Millis) {
        let saved = self.tokens(now);
        self.limits = Self::checked(limits);
        self.level = u64::from(saved.min(self.limits.burst)) * self.limits.period;
    }

    fn refill(&mut self, now: Millis) {
        if now > self.at {
            let full = u64::from(self.limits.burst).saturating_mul(self.limits.period);
            let gained = (now - self.at).saturating_mul(u64::from(self.limits.tokens));
            self.level = self.level.saturating_add(gained).min(full);
            self.at = now;
        }
    }

    /// Whole tokens now.
    pub fn tokens(&mut self, now: Millis) -> u32 {
        self.refill(now);
        (self.level / self.limits.period) as u32
    }

    pub fn is_suspended(&self, now: Millis) -> bool {
        now < self.suspended_until
    }

    /// Tokens that nobody else has been promised.
    pub fn free_tokens(&mut self, now: Millis) -> u32 {
        if self.is_suspended(now) {
            0
        } else if self.limits.tokens == 0 {
            u32::MAX
        } else {
            self.tokens(now).saturating_sub(self.granted)
        }
    }

    pub fn spend(&mut self, now: Millis) {
        if self.limits.tokens != 0 {
            self.refill(now);
            self.level = self.level.saturating_sub(self.limits.period);
        }
    }

    pub fn free_room(&self) -> u32 {
        self.limits.window.saturating_sub(self.connections).saturating_sub(self.granted_rooms)
    }

    /// When another token will be free. Asked when none is.
    pub fn next_token(&self, now: Millis) -> Millis {
        if self.is_suspended(now) {
            return self.suspended_until;
        }
        let wanted = (u64::from(self.granted) + 1).saturating_mul(self.limits.period);
        let missing = wanted.saturating_sub(self.level);
        self.at.max(now).saturating_add(missing.div_ceil(u64::from(self.limits.tokens.max(1))).max(1))
    }
}

pub(crate) type LimiterSlab = Slab<Limiter, 16>;

impl LimiterSlab {
    pub fn reference(&self, slot: u32) -> LimiterRef {
        LimiterRef { slot, generation: self[slot].generation }
    }

    pub fn get(&self, limiter: LimiterRef) -> Option<u32> {
        let there = limiter.slot < self.end() && self[limiter.slot].generation == limiter.generation;
        (there && self[limiter.slot].used).then_some(limiter.slot)
    }
}
