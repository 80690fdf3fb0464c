//! Taking: the next envelope of a lane.

use angarium_nouns::Millis;
use angarium_nouns::record::EntryState;

use crate::entry::{LEADS, PROBES, Spot};
use crate::flow::SHARES;
use crate::index::Index;
use crate::lines::Bar;
use crate::node::Mark;
use crate::slab::NONE;
use crate::types::{LaneRef, Leased, Take};

/// Siblings looked at beside those that stand next to each other in the node: a message to 100,000 domains is not
/// searched for the few that share this lane.
const SIBLING_STEPS: usize = 256;
/// Entries and nodes that rules and limiters take out of the line in one call, before the caller is asked to come
/// again.
const DETOURS: usize = 1024;

impl Index {
    /// The next message of this lane by class shares, flows, age: up to `limit` of its entries that are due on this
    /// lane are leased and pushed to `out`. Takes one token of every limiter.
    pub fn take(&mut self, lane: LaneRef, now: Millis, limit: usize, out: &mut Vec<Leased>) -> Take {
        let Some(lane) = self.lanes.get(lane) else { return Take::Stale };
        if let Some(answer) = self.refusal(lane, now) {
            return answer;
        }
        for _ in 0..DETOURS {
            let Some(flow) = self.lanes[lane].fair.pick(&mut self.flows.slots, &SHARES) else {
                return self.nothing(lane);
            };
            let node = self.flows.slots[flow].heap.root;
            let first = self.nodes.slots[node].due.head;
            if self.rules.are_live() && self.meet_rules(first, now) {
                continue;
            }
            if let Some(limiter) = self.bar_of_node(node, now) {
                self.park_node(node, limiter, now);
                continue;
            }
            self.spend(lane, node, now);
            return self.lease(lane, flow, first, limit.max(1), now, out);
        }
        Take::Later(now)
    }

    /// Why this lane may not send at all now.
    fn refusal(&mut self, lane: u32, now: Millis) -> Option<Take> {
        if !self.check_plan(lane, now) {
            return Some(Take::NoPlan);
        }
        let record = &self.lanes[lane];
        if record.asleep_until != 0 {
            let until = record.asleep_until;
            self.lanes[lane].hungry = true;
            return Some(Take::Asleep(until));
        }
        if record.probing && record.probe_out {
            self.lanes[lane].hungry = true;
            return Some(Take::Probing);
        }
        if record.fair.is_empty() {
            return Some(self.nothing(lane));
        }
        let waits_for = (record.parked != NONE).then(|| self.waits_for(lane));
        if matches!(waits_for, Some(Bar::Room(_))) {
            // It waits for another connection; this one is open.
            self.unpark_lane(lane);
        }
        if !matches!(waits_for, Some(Bar::Tokens(_))) {
            let bar = self.bar(lane, false, now)?;
            self.park_lane(lane, bar, now);
        }
        self.lanes[lane].hungry = true;
        let (Bar::Tokens(limiter) | Bar::Room(limiter)) = self.waits_for(lane);
        Some(Take::Later(self.limiters[limiter].next_token(now)))
    }

    fn nothing(&mut self, lane: u32) -> Take {
        self.lanes[lane].hungry = true;
        Take::Nothing
    }

    /// Leases the first entry and its siblings: those that stand next in the node, then others of the same flow.
    fn lease(&mut self, lane: u32, flow: u32, first: u32, limit: usize, now: Millis, out: &mut Vec<Leased>) -> Take {
        let (message, node) = (self.entries[first].message, self.entries[first].node);
        let before = out.len();
        self.lease_entry(first, lane, out);
        let probes = self.lanes[lane].probing;
        self.entries[first].prev = if probes { PROBES } else { LEADS };
        self.lanes[lane].probe_out = probes;
        self.lanes[lane].sending += 1;
        while out.len() - before < limit {
            // The node goes with its last entry only when that is closed, so it is still there.
            let next = self.nodes.slots[node].due.head;
            if next == NONE || self.entries[next].message != message || self.met(next, now) {
                break;
            }
            self.lease_entry(next, lane, out);
        }
        let mut sibling = self.entries[first].sibling;
        for _ in 0..SIBLING_STEPS {
            if sibling == first || out.len() - before == limit {
                break;
            }
            let next = self.entries[sibling].sibling;
            if self.is_sibling(sibling, node, flow) && !self.met(sibling, now) {
                self.lease_entry(sibling, lane, out);
            }
            sibling = next;
        }
        let cost = (out.len() - before) as u32;
        self.lanes[lane].fair.charge(&mut self.flows.slots, flow, cost);
        self.update_lane(lane);
        Take::Message(self.messages.slots[message].public())
    }

    /// A rule took the entry out of the line.
    fn met(&mut self, slot: u32, now: Millis) -> bool {
        self.rules.are_live() && self.meet_rules(slot, now)
    }

    /// Due in the same flow of the same lane, with the same TLS demand and behind no limiter of another node.
    fn is_sibling(&self, slot: u32, node: u32, flow: u32) -> bool {
        let entry = &self.entries[slot];
        if entry.spot() != Spot::Ready {
            return false;
        }
        let (own, other) = (&self.nodes.slots[node], &self.nodes.slots[entry.node]);
        entry.node == node
            || other.flow == flow
                && other.key.tls == own.key.tls
                && other.key.tag == own.key.tag
                && !other.is(Mark::Limited)
    }

    fn lease_entry(&mut self, slot: u32, lane: u32, out: &mut Vec<Leased>) {
        self.change_state(slot, EntryState::Leased);
        self.lanes[lane].leased += 1;
        let entry = &mut self.entries[slot];
        (entry.prev, entry.next) = (NONE, lane);
        let entry = &self.entries[slot];
        out.push(Leased {
            entry: self.entries.reference(slot),
            number: entry.number(),
            node: self.nodes.reference(entry.node),
            attempts: u16::from(entry.attempts),
            step: entry.step,
            expires: entry.expires(),
            reason: entry.reason(),
        });
    }
}
