//! Lanes: their plans, connections, sleep, and the line of those that have work.

use std::cmp::Reverse;

use angarium_nouns::{Millis, Reason};

use crate::entry::PROBES;
use crate::index::Index;
use crate::lane::{Lane, NO_LINE};
use crate::slab::NONE;
use crate::table::mix;
use crate::types::{LIMITERS_PER_LANE, LanePlan, LaneRef, LaneRun, LaneView, Stale};

/// Doublings of a back-off that are counted; 2^16 minutes is above any `most`.
const MAX_DOUBLINGS: u8 = 16;
/// Sleep is spread by ± this many per cent (queue-and-delivery: retry tables), so that lanes do not wake together.
const JITTER: u64 = 15;

/// What keeps a lane from sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bar {
    Tokens(u32),
    Room(u32),
}

impl Index {
    /// Puts the lane into the line of lanes to run, takes it out, moves it up: as its state asks for. Also lets go of
    /// what is kept for a lane that cannot use it, and asks for a plan.
    pub(crate) fn update_lane(&mut self, lane: u32) {
        let record = &self.lanes[lane];
        let works = !record.fair.is_empty() && record.asleep_until == 0;
        let waits = record.parked != NONE;
        let more = record.hungry && record.idle() > 0 || record.useful() > 0;
        let runs = works && record.has_plan && !waits && more && !(record.probing && record.probe_out);
        let top = record.fair.top().map_or(NO_LINE, |class| class as u8);
        let line = if runs { top } else { NO_LINE };
        if line != record.line {
            self.change_line(lane, line);
        }
        let record = &self.lanes[lane];
        if waits && works && record.has_plan {
            self.move_up(lane);
        } else if !works || !record.has_plan {
            if waits {
                self.unpark_lane(lane);
            }
            self.return_grants(lane);
        }
        let record = &self.lanes[lane];
        if works && !record.has_plan && !record.plan_asked {
            self.ask_plan(lane);
        }
    }

    pub(crate) fn change_line(&mut self, lane: u32, line: u8) {
        let old = std::mem::replace(&mut self.lanes[lane].line, line);
        if old != NO_LINE {
            self.runnable[usize::from(old)].remove(&mut self.lanes, lane);
        }
        if line != NO_LINE {
            self.runnable[usize::from(line)].push_back(&mut self.lanes, lane);
        }
    }

    fn ask_plan(&mut self, lane: u32) {
        let class = self.lanes[lane].fair.top().map_or(0, |class| class as usize);
        self.lanes[lane].plan_asked = true;
        self.planless[class].push_back(self.lanes.reference(lane).to_bits());
    }

    pub fn add_lane(&mut self) -> LaneRef {
        let slot = self.lanes.add(Lane::new());
        self.lanes.reference(slot)
    }

    /// `false`: it has nodes, leased entries or connections, or is gone.
    pub fn remove_lane(&mut self, lane: LaneRef) -> bool {
        let Some(slot) = self.lanes.get(lane) else { return false };
        let record = &self.lanes[slot];
        if record.nodes + record.leased + record.connections > 0 {
            return false;
        }
        self.update_lane(slot);
        self.set_lane_limiters(slot, [NONE; LIMITERS_PER_LANE]);
        self.lanes.free(slot);
        true
    }

    pub fn lane(&self, lane: LaneRef) -> Option<LaneView> {
        let record = &self.lanes[self.lanes.get(lane)?];
        Some(LaneView {
            lane,
            nodes: record.nodes,
            ready: record.ready,
            leased: record.leased,
            in_use: record.connections,
            window: record.window,
            has_plan: record.has_plan,
            asleep_until: record.asleep_until,
            failures: record.failures,
            reason: record.reason,
        })
    }

    pub fn lanes(&self) -> Vec<LaneRef> {
        let used = (0..self.lanes.end()).filter(|&slot| self.lanes[slot].used);
        used.map(|slot| self.lanes.reference(slot)).collect()
    }

    /// Lanes with due entries whose plan is missing or no longer valid, urgent first. Each is given once, until
    /// `set_plan` or `want_plan`.
    pub fn wanted_plans(&mut self, limit: usize) -> Vec<LaneRef> {
        let mut given = Vec::new();
        for class in 0..4 {
            while given.len() < limit {
                let Some(bits) = self.planless[class].pop_front() else { break };
                let lane = LaneRef::from_bits(bits);
                if self.lanes.get(lane).is_some_and(|slot| self.lanes[slot].plan_asked) {
                    given.push(lane);
                }
            }
        }
        given
    }

    pub fn has_wanted_plans(&self) -> bool {
        self.planless.iter().any(|line| !line.is_empty())
    }

    /// The answer is not coming: the lane is given again.
    pub fn want_plan(&mut self, lane: LaneRef) -> Result<(), Stale> {
        let slot = self.lanes.get(lane).ok_or(Stale)?;
        self.lanes[slot].plan_asked = false;
        self.update_lane(slot);
        Ok(())
    }

    /// Limiters that the plan names and that are gone are left out.
    pub fn set_plan(&mut self, lane: LaneRef, plan: &LanePlan, now: Millis) -> Result<(), Stale> {
        let slot = self.lanes.get(lane).ok_or(Stale)?;
        let limiters = plan.limiters.map(|limiter| limiter.and_then(|one| self.limiters.get(one)).unwrap_or(NONE));
        self.set_lane_limiters(slot, limiters);
        let record = &mut self.lanes[slot];
        record.has_plan = now < plan.stale;
        record.plan_asked = false;
        record.window = plan.window;
        (record.valid, record.stale) = (plan.valid, plan.stale);
        record.back_off = plan.back_off;
        self.update_lane(slot);
        Ok(())
    }

    fn set_lane_limiters(&mut self, lane: u32, limiters: [u32; LIMITERS_PER_LANE]) {
        if self.lanes[lane].limiters == limiters {
            return;
        }
        if self.lanes[lane].parked != NONE {
            self.unpark_lane(lane);
        }
        self.return_grants(lane);
        let connections = self.lanes[lane].connections;
        for limiter in self.lanes[lane].limiters() {
            self.limiters[limiter].holders -= 1;
            self.limiters[limiter].connections -= connections;
            self.soon(limiter);
        }
        self.lanes[lane].limiters = limiters;
        for limiter in self.lanes[lane].limiters() {
            self.limiters[limiter].holders += 1;
            self.limiters[limiter].connections += connections;
        }
    }

    /// Looks at the validity of the plan: asks for a new one, stops serving a stale one.
    pub(crate) fn check_plan(&mut self, lane: u32, now: Millis) -> bool {
        let record = &mut self.lanes[lane];
        if record.has_plan && now >= record.stale {
            record.has_plan = false;
            self.update_lane(lane);
        } else if record.has_plan && now >= record.valid && !record.plan_asked {
            self.ask_plan(lane);
        }
        self.lanes[lane].has_plan
    }

    /// Lanes with work, room in their windows and in those of their limiters, and tokens: urgent first. A lane is given
    /// again as soon as more connections would be useful or one of its own asked in vain and there is work now.
    pub fn lanes_to_run(&mut self, now: Millis, limit: usize) -> Vec<LaneRun> {
        self.tend_dirty(now);
        let mut given = Vec::new();
        for class in 0..4 {
            while given.len() < limit {
                let Some(lane) = self.runnable[class].pop_front(&mut self.lanes) else { break };
                self.lanes[lane].line = NO_LINE;
                if !self.check_plan(lane, now) {
                    continue;
                }
                match self.bar(lane, self.lanes[lane].needs_room(), now) {
                    Some(bar) => self.park_lane(lane, bar, now),
                    None => given.push(self.run(lane, now)),
                }
            }
        }
        given
    }

    fn run(&mut self, lane: u32, now: Millis) -> LaneRun {
        // So that no other lane connects in vain for it.
        self.keep_tokens(lane);
        self.lanes[lane].hungry = false;
        let record = &self.lanes[lane];
        let (probe, wake) = (record.probing, record.idle().min(record.ready));
        let own_room = u32::from(record.room_kept);
        let mut connections = record.useful();
        for limiter in record.limiters() {
            let record = &mut self.limiters[limiter];
            let tokens = record.free_tokens(now).saturating_add(1);
            connections = connections.min(tokens).min(record.free_room().saturating_add(own_room));
        }
        LaneRun { lane: self.lanes.reference(lane), connections, wake, probe }
    }

    /// What keeps this lane from sending another message, if anything. Who waits already goes first.
    pub(crate) fn bar(&mut self, lane: u32, with_room: bool, now: Millis) -> Option<Bar> {
        for limiter in self.lanes[lane].limiters() {
            if self.limiters[limiter].waiting > 0 {
                self.tend(limiter, now);
            }
        }
        self.lacks(lane, with_room, now)
    }

    /// The first thing that the lane lacks, for an open connection or one more, and that is not kept for it.
    pub(crate) fn lacks(&mut self, lane: u32, with_room: bool, now: Millis) -> Option<Bar> {
        let record = &self.lanes[lane];
        let (tokens, room) = (!record.tokens_kept, with_room && !record.room_kept);
        let mut limiters = record.limiters();
        limiters.find_map(|limiter| {
            let record = &mut self.limiters[limiter];
            if tokens && record.free_tokens(now) == 0 {
                Some(Bar::Tokens(limiter))
            } else if room && record.free_room() == 0 {
                Some(Bar::Room(limiter))
            } else {
                None
            }
        })
    }

    /// Counts a connection that is about to be made. `false`: there is no room for it (any more), do not make it.
    pub fn connection_opened(&mut self, lane: LaneRef) -> Result<bool, Stale> {
        let slot = self.lanes.get(lane).ok_or(Stale)?;
        let record = &self.lanes[slot];
        let full = |limiter: u32| self.limiters[limiter].free_room() == 0;
        if record.connections >= record.allowed() || !record.room_kept && record.limiters().any(full) {
            self.update_lane(slot);
            return Ok(false);
        }
        self.return_room(slot);
        self.lanes[slot].connections += 1;
        for limiter in self.lanes[slot].limiters() {
            self.limiters[limiter].connections += 1;
        }
        self.update_lane(slot);
        Ok(true)
    }

    pub fn connection_closed(&mut self, lane: LaneRef, now: Millis) -> Result<(), Stale> {
        let slot = self.lanes.get(lane).ok_or(Stale)?;
        if self.lanes[slot].connections == 0 {
            return Ok(());
        }
        self.lanes[slot].connections -= 1;
        for limiter in self.lanes[slot].limiters() {
            self.limiters[limiter].connections -= 1;
            self.tend(limiter, now);
        }
        self.update_lane(slot);
        Ok(())
    }

    /// The lane failed as a whole: it sleeps on its back-off and wakes with one probe. Gives until when. Failures of
    /// other connections while it sleeps count with the first.
    pub fn lane_failed(&mut self, lane: LaneRef, reason: Reason, now: Millis) -> Result<Millis, Stale> {
        let slot = self.lanes.get(lane).ok_or(Stale)?;
        if self.lanes[slot].asleep_until > now {
            return Ok(self.lanes[slot].asleep_until);
        }
        let record = &mut self.lanes[slot];
        let doubled = record.back_off.first.saturating_mul(1 << record.failures.min(MAX_DOUBLINGS));
        let sleep = jittered(doubled.min(record.back_off.most), u64::from(slot) << 8 | u64::from(record.failures));
        record.failures = record.failures.saturating_add(1);
        let until = now.saturating_add(sleep.max(1));
        self.sleep(slot, until, reason);
        Ok(until)
    }

    /// The same with a given end (`Millis::MAX`: until it is woken).
    pub fn sleep_lane(&mut self, lane: LaneRef, until: Millis, reason: Reason) -> Result<(), Stale> {
        let slot = self.lanes.get(lane).ok_or(Stale)?;
        self.sleep(slot, until, reason);
        Ok(())
    }

    /// A lane as a checkpoint or a fact knew it; one whose sleep is over by now wakes with a probe.
    pub fn restore_sleep(&mut self, lane: LaneRef, until: Millis, failures: u8, reason: Reason) -> Result<(), Stale> {
        let slot = self.lanes.get(lane).ok_or(Stale)?;
        self.lanes[slot].failures = failures;
        self.sleep(slot, until, reason);
        Ok(())
    }

    fn sleep(&mut self, lane: u32, until: Millis, reason: Reason) {
        let record = &mut self.lanes[lane];
        (record.asleep_until, record.reason) = (until, reason);
        (record.probing, record.probe_out) = (false, false);
        self.asleep.push(Reverse((until, self.lanes.reference(lane).to_bits())));
        self.update_lane(lane);
    }

    /// A connection got through: the back-off is forgotten, the probe is over.
    pub fn lane_worked(&mut self, lane: LaneRef) -> Result<(), Stale> {
        let slot = self.lanes.get(lane).ok_or(Stale)?;
        let record = &mut self.lanes[slot];
        if record.failures > 0 || record.probing {
            (record.failures, record.probing, record.reason) = (0, false, Reason::Other);
            self.update_lane(slot);
        }
        Ok(())
    }

    /// Wakes a sleeping lane now, with a probe (flush).
    pub fn wake_lane(&mut self, lane: LaneRef) -> Result<(), Stale> {
        let slot = self.lanes.get(lane).ok_or(Stale)?;
        if self.lanes[slot].asleep_until != 0 {
            self.wake(slot);
        }
        Ok(())
    }

    fn wake(&mut self, lane: u32) {
        let record = &mut self.lanes[lane];
        record.asleep_until = 0;
        // One connection finds out; others that are still open from before stay idle until it has.
        record.probing = true;
        record.hungry = record.connections > 0;
        self.update_lane(lane);
    }

    /// Wakes lanes whose sleep is over.
    pub(crate) fn wake_lanes(&mut self, now: Millis, steps: &mut usize) {
        while *steps > 0 && self.asleep.peek().is_some_and(|Reverse((until, _))| *until <= now) {
            let Some(Reverse((until, bits))) = self.asleep.pop() else { return };
            *steps -= 1;
            if let Some(slot) = self.lanes.get(LaneRef::from_bits(bits))
                && self.lanes[slot].asleep_until == until
            {
                self.wake(slot);
            }
        }
    }

    pub(crate) fn end_lease(&mut self, slot: u32) {
        let entry = &mut self.entries[slot];
        let (lane, leads, probes) = (entry.next, entry.prev != NONE, entry.prev == PROBES);
        (entry.prev, entry.next) = (NONE, NONE);
        self.lanes[lane].leased -= 1;
        self.lanes[lane].sending -= u32::from(leads);
        self.lanes[lane].probe_out &= !probes;
        self.update_lane(lane);
    }
}

/// ± [`JITTER`] per cent by the hash of `seed`: chance is an argument here.
fn jittered(sleep: Millis, seed: u64) -> Millis {
    let spread = mix(seed) % (2 * JITTER + 1);
    sleep / 100 * (100 - JITTER + spread) + sleep % 100
}
