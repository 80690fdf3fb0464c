//! Waiting for limiters: lanes that lack a token or room in a window, nodes that lack a token of their own limiter.
//!
//! Who waits holds a place in the limiter's fair order: in the class, tenant and campaign that it would serve next.
//! When a token comes, the order says whose it is, and it is kept for that one ([`Index::tend`]).

use std::cmp::Reverse;

use angarium_nouns::Millis;

use crate::flow::{FlowKey, Owner, SHARES};
use crate::index::Index;
use crate::lane::NO_LINE;
use crate::limiter::Limiter;
use crate::lines::Bar;
use crate::node::{Mark, Stand};
use crate::slab::NONE;
use crate::types::{LimiterRef, LimiterView, Limits, NodeRef, Stale};

/// Grants of one look at a limiter; when more could be given, it is looked at again. Keeps a resume of a limiter with
/// a hundred thousand lanes behind it from holding the caller's lock for long.
const GRANTS_PER_LOOK: usize = 1024;

/// Limiters and their settings.
impl Index {
    /// Opens slowly: begins with one token, not with its burst.
    pub fn add_limiter(&mut self, limits: Limits, now: Millis) -> LimiterRef {
        self.restore_limiter(limits, 1, now)
    }

    /// A limiter as a checkpoint knew it.
    pub fn restore_limiter(&mut self, limits: Limits, tokens: u32, now: Millis) -> LimiterRef {
        let slot = self.limiters.add(Limiter::new(limits, tokens, now));
        self.limiters.reference(slot)
    }

    pub fn set_limits(&mut self, limiter: LimiterRef, limits: Limits, now: Millis) -> Result<(), Stale> {
        let slot = self.limiters.get(limiter).ok_or(Stale)?;
        self.limiters[slot].set_limits(limits, now);
        self.tend(slot, now);
        Ok(())
    }

    /// Until then (`Millis::MAX`: until resumed) nothing behind it sends.
    pub fn suspend(&mut self, limiter: LimiterRef, until: Millis) -> Result<(), Stale> {
        let slot = self.limiters.get(limiter).ok_or(Stale)?;
        self.limiters[slot].suspended_until = until;
        self.soon(slot);
        Ok(())
    }

    pub fn resume(&mut self, limiter: LimiterRef, now: Millis) -> Result<(), Stale> {
        let slot = self.limiters.get(limiter).ok_or(Stale)?;
        self.limiters[slot].suspended_until = 0;
        self.tend(slot, now);
        Ok(())
    }

    /// `false`: lanes or nodes hold it, or it is gone.
    pub fn remove_limiter(&mut self, limiter: LimiterRef) -> bool {
        let found = self.limiters.get(limiter).filter(|&slot| self.limiters[slot].holders == 0);
        if let Some(slot) = found {
            self.limiters.free(slot);
        }
        found.is_some()
    }

    pub fn limiter(&self, limiter: LimiterRef, now: Millis) -> Option<LimiterView> {
        let mut record = self.limiters[self.limiters.get(limiter)?].clone();
        Some(LimiterView {
            limiter,
            limits: record.limits,
            tokens: record.tokens(now),
            in_use: record.connections,
            suspended_until: record.suspended_until,
            waiting: record.waiting,
        })
    }

    pub fn limiters(&self) -> Vec<LimiterRef> {
        let used = (0..self.limiters.end()).filter(|&slot| self.limiters[slot].used);
        used.map(|slot| self.limiters.reference(slot)).collect()
    }

    /// A limiter of this node beside those of its lane ((tenant, provider), node); `None` takes it away.
    pub fn limit_node(&mut self, node: NodeRef, limiter: Option<LimiterRef>) -> Result<(), Stale> {
        let slot = self.nodes.get(node).ok_or(Stale)?;
        let limiter = match limiter {
            Some(limiter) => Some(self.limiters.get(limiter).ok_or(Stale)?),
            None => None,
        };
        self.drop_node_limiter(slot);
        if let Some(limiter) = limiter {
            self.limiters[limiter].holders += 1;
            self.nodes.limiters.insert(slot, limiter);
            self.nodes.slots[slot].mark(Mark::Limited, true);
        }
        Ok(())
    }

    pub(crate) fn drop_node_limiter(&mut self, node: u32) {
        if !self.nodes.slots[node].is(Mark::Limited) {
            return;
        }
        self.return_node_token(node);
        if self.nodes.slots[node].stand == Stand::Parked {
            self.back_in_turn(node);
        }
        self.nodes.slots[node].mark(Mark::Limited, false);
        if let Some(limiter) = self.nodes.limiters.remove(&node) {
            self.limiters[limiter].holders -= 1;
        }
    }
}

/// Lanes that wait.
impl Index {
    /// The place that the lane takes: of the flow that it would serve next.
    fn ticket(&mut self, lane: u32, owner: Owner) -> Option<FlowKey> {
        let flow = self.lanes[lane].fair.pick(&mut self.flows.slots, &SHARES)?;
        Some(FlowKey { owner, ..self.flows.slots[flow].key })
    }

    pub(crate) fn park_lane(&mut self, lane: u32, bar: Bar, now: Millis) {
        self.return_grants(lane);
        let (limiter, owner) = match bar {
            Bar::Tokens(limiter) => (limiter, Owner::Tokens(limiter)),
            Bar::Room(limiter) => (limiter, Owner::Window(limiter)),
        };
        self.enter_line(lane, owner);
        self.set_alarm(limiter, now);
    }

    fn enter_line(&mut self, lane: u32, owner: Owner) {
        let Some(key) = self.ticket(lane, owner) else { return };
        let flow = self.flows.hold(key);
        self.change_line(lane, NO_LINE); // its links are needed here
        self.lanes[lane].parked = flow;
        self.lanes[lane].parked_top = self.lanes[lane].fair.top().unwrap_or(key.class);
        let mut lanes = self.flows.slots[flow].lanes;
        lanes.push_back(&mut self.lanes, lane);
        self.flows.slots[flow].lanes = lanes;
        self.arrive(owner, flow);
    }

    /// A flow at a limiter has one member more.
    fn arrive(&mut self, owner: Owner, flow: u32) {
        let (limiter, tokens) = limiter_of(owner);
        let record = &mut self.limiters[limiter];
        record.waiting += 1;
        let fair = if tokens { &mut record.tokens_wanted } else { &mut record.room_wanted };
        fair.activate(&mut self.flows.slots, flow);
    }

    /// A flow at a limiter has one member fewer.
    fn depart(&mut self, flow: u32) {
        let (limiter, tokens) = limiter_of(self.flows.slots[flow].key.owner);
        let record = &mut self.limiters[limiter];
        record.waiting -= 1;
        if self.flows.slots[flow].is_empty() {
            let fair = if tokens { &mut record.tokens_wanted } else { &mut record.room_wanted };
            fair.deactivate(&mut self.flows.slots, flow);
        }
        self.flows.release(flow);
    }

    /// What a waiting lane waits for.
    pub(crate) fn waits_for(&self, lane: u32) -> Bar {
        match limiter_of(self.flows.slots[self.lanes[lane].parked].key.owner) {
            (limiter, true) => Bar::Tokens(limiter),
            (limiter, false) => Bar::Room(limiter),
        }
    }

    pub(crate) fn unpark_lane(&mut self, lane: u32) {
        let flow = std::mem::replace(&mut self.lanes[lane].parked, NONE);
        let mut lanes = self.flows.slots[flow].lanes;
        lanes.remove(&mut self.lanes, lane);
        self.flows.slots[flow].lanes = lanes;
        self.depart(flow);
    }

    /// A waiting lane that has got more urgent work than it came with takes its place anew.
    pub(crate) fn move_up(&mut self, lane: u32) {
        let owner = self.flows.slots[self.lanes[lane].parked].key.owner;
        if self.lanes[lane].fair.top().is_some_and(|top| top < self.lanes[lane].parked_top) {
            self.unpark_lane(lane);
            self.enter_line(lane, owner);
        }
    }

    pub(crate) fn keep_tokens(&mut self, lane: u32) {
        if !std::mem::replace(&mut self.lanes[lane].tokens_kept, true) {
            for limiter in self.lanes[lane].limiters() {
                self.limiters[limiter].granted += 1;
            }
        }
    }

    fn keep_room(&mut self, lane: u32) {
        if !std::mem::replace(&mut self.lanes[lane].room_kept, true) {
            for limiter in self.lanes[lane].limiters() {
                self.limiters[limiter].granted_rooms += 1;
            }
        }
    }

    /// What is kept for the lane goes to others.
    pub(crate) fn return_grants(&mut self, lane: u32) {
        self.return_tokens(lane);
        self.return_room(lane);
    }

    fn return_tokens(&mut self, lane: u32) {
        if std::mem::take(&mut self.lanes[lane].tokens_kept) {
            for limiter in self.lanes[lane].limiters() {
                self.limiters[limiter].granted -= 1;
                self.soon(limiter);
            }
        }
    }

    pub(crate) fn return_room(&mut self, lane: u32) {
        if std::mem::take(&mut self.lanes[lane].room_kept) {
            for limiter in self.lanes[lane].limiters() {
                self.limiters[limiter].granted_rooms -= 1;
                self.soon(limiter);
            }
        }
    }

    /// A message is sent: one token of each limiter, kept or not.
    pub(crate) fn spend(&mut self, lane: u32, node: u32, now: Millis) {
        let kept = std::mem::take(&mut self.lanes[lane].tokens_kept);
        for limiter in self.lanes[lane].limiters() {
            self.limiters[limiter].granted -= u32::from(kept);
            self.limiters[limiter].spend(now);
        }
        self.spend_of_node(node, now);
    }
}

/// Nodes that wait for a limiter of their own.
impl Index {
    /// The node's own limiter, unless it is one of its lane's too: then it counts once.
    fn own_limiter(&self, node: u32) -> Option<u32> {
        let record = &self.nodes.slots[node];
        if !record.is(Mark::Limited) {
            return None;
        }
        let limiter = *self.nodes.limiters.get(&node)?;
        (record.lane == NONE || self.lanes[record.lane].limiters().all(|other| other != limiter)).then_some(limiter)
    }

    fn spend_of_node(&mut self, node: u32, now: Millis) {
        let Some(limiter) = self.own_limiter(node) else { return };
        if self.nodes.slots[node].is(Mark::Granted) {
            self.nodes.slots[node].mark(Mark::Granted, false);
            self.limiters[limiter].granted -= 1;
        }
        self.limiters[limiter].spend(now);
    }

    /// The node's own limiter, if it has no token for it.
    pub(crate) fn bar_of_node(&mut self, node: u32, now: Millis) -> Option<u32> {
        let limiter = self.own_limiter(node)?;
        if self.limiters[limiter].waiting > 0 {
            self.tend(limiter, now);
        }
        let granted = self.nodes.slots[node].is(Mark::Granted);
        (!granted && self.limiters[limiter].free_tokens(now) == 0).then_some(limiter)
    }

    /// Out of its lane's order into the limiter's.
    pub(crate) fn park_node(&mut self, node: u32, limiter: u32, now: Millis) {
        self.leave_turn(node);
        let key = self.nodes.slots[node].key;
        let owner = Owner::Tokens(limiter);
        let flow = self.flows.hold(FlowKey { owner, tenant: key.tenant, campaign: key.campaign, class: key.class });
        let mut nodes = self.flows.slots[flow].nodes;
        nodes.push_back(&mut self.nodes.slots, node);
        self.flows.slots[flow].nodes = nodes;
        self.nodes.slots[node].child = flow;
        self.nodes.slots[node].stand = Stand::Parked;
        self.arrive(owner, flow);
        if self.nodes.slots[node].lane != NONE {
            self.update_lane(self.nodes.slots[node].lane);
        }
        self.set_alarm(limiter, now);
    }

    /// Out of the limiter's order into its lane's.
    fn back_in_turn(&mut self, node: u32) {
        self.leave_turn(node);
        self.join_turn(node);
        let lane = self.nodes.slots[node].lane;
        if lane != NONE {
            self.update_lane(lane);
        }
    }

    /// Out of the limiter's order; the caller says where the node stands.
    pub(crate) fn unpark_node(&mut self, node: u32) {
        let flow = std::mem::replace(&mut self.nodes.slots[node].child, NONE);
        let mut nodes = self.flows.slots[flow].nodes;
        nodes.remove(&mut self.nodes.slots, node);
        self.flows.slots[flow].nodes = nodes;
        self.depart(flow);
    }

    pub(crate) fn return_node_token(&mut self, node: u32) {
        if self.nodes.slots[node].is(Mark::Granted) {
            self.nodes.slots[node].mark(Mark::Granted, false);
            if let Some(&limiter) = self.nodes.limiters.get(&node) {
                self.limiters[limiter].granted -= 1;
                self.soon(limiter);
            }
        }
    }
}

/// Giving out what there is.
impl Index {
    /// To be looked at in the next call that knows the time.
    pub(crate) fn soon(&mut self, limiter: u32) {
        if !self.limiters[limiter].dirty {
            self.limiters[limiter].dirty = true;
            self.dirty.push(limiter);
        }
    }

    pub(crate) fn tend_dirty(&mut self, now: Millis) {
        while let Some(limiter) = self.dirty.pop() {
            self.limiters[limiter].dirty = false;
            if self.limiters[limiter].used {
                self.tend(limiter, now);
            }
        }
    }

    /// Looks at a limiter: whoever is next gets what there is, and an alarm is set for the next token.
    pub(crate) fn tend(&mut self, limiter: u32, now: Millis) {
        for _ in 0..GRANTS_PER_LOOK {
            if !self.grant_token(limiter, now) && !self.grant_room(limiter, now) {
                return self.set_alarm(limiter, now);
            }
        }
        self.soon(limiter);
    }

    /// Gives a token to who is next, or sends that one on to where more is lacking. `false`: there is nothing to give.
    fn grant_token(&mut self, limiter: u32, now: Millis) -> bool {
        let record = &mut self.limiters[limiter];
        if record.tokens_wanted.is_empty() || record.free_tokens(now) == 0 {
            return false;
        }
        let Some(flow) = record.tokens_wanted.pick(&mut self.flows.slots, &SHARES) else { return false };
        let lane = self.flows.slots[flow].lanes.head;
        record.tokens_wanted.charge(&mut self.flows.slots, flow, 1);
        if lane != NONE {
            self.grant_lane(lane, now);
            return true;
        }
        let node = self.flows.slots[flow].nodes.head;
        self.limiters[limiter].granted += 1;
        self.nodes.slots[node].mark(Mark::Granted, true);
        self.back_in_turn(node);
        true
    }

    fn grant_room(&mut self, limiter: u32, now: Millis) -> bool {
        let record = &mut self.limiters[limiter];
        if record.room_wanted.is_empty() || record.free_room() == 0 {
            return false;
        }
        let Some(flow) = record.room_wanted.pick(&mut self.flows.slots, &SHARES) else { return false };
        self.limiters[limiter].room_wanted.charge(&mut self.flows.slots, flow, 1);
        let lane = self.flows.slots[flow].lanes.head;
        self.grant_lane(lane, now);
        true
    }

    /// All that the lane needs, of all its limiters, or nothing: lanes that kept one thing and lacked another would keep
    /// each other waiting.
    fn grant_lane(&mut self, lane: u32, now: Millis) {
        self.unpark_lane(lane);
        let with_room = self.lanes[lane].needs_room();
        if let Some(bar) = self.lacks(lane, with_room, now) {
            return self.park_lane(lane, bar, now);
        }
        self.keep_tokens(lane);
        if with_room {
            self.keep_room(lane);
        }
        self.update_lane(lane);
    }

    /// While someone waits for tokens: an alarm for the next.
    fn set_alarm(&mut self, limiter: u32, now: Millis) {
        let record = &mut self.limiters[limiter];
        if record.tokens_wanted.is_empty() {
            record.alarm = 0;
            return;
        }
        let next = record.next_token(now);
        if record.alarm != next {
            record.alarm = next;
            self.alarms.push(Reverse((next, self.limiters.reference(limiter).to_bits())));
        }
    }

    /// Looks at limiters whose next token has come.
    pub(crate) fn ring_alarms(&mut self, now: Millis, steps: &mut usize) {
        while *steps > 0 && self.alarms.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((at, bits))) = self.alarms.pop() else { return };
            *steps -= 1;
            if let Some(slot) = self.limiters.get(LimiterRef::from_bits(bits))
                && self.limiters[slot].alarm == at
            {
                self.limiters[slot].alarm = 0;
                self.tend(slot, now);
            }
        }
    }
}

/// The limiter of a flow at a limiter, and whether it is tokens that are waited for.
fn limiter_of(owner: Owner) -> (u32, bool) {
    match owner {
        Owner::Tokens(limiter) => (limiter, true),
        Owner::Window(limiter) => (limiter, false),
        Owner::Lane(_) => unreachable!("only flows at limiters have waiting members"),
    }
}
