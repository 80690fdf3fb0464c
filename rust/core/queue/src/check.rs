//! The structure of an index, looked at from end to end: every list, ring, heap, count. For tests.

use angarium_nouns::record::EntryState;

use crate::entry::Spot;
use crate::flow::Owner;
use crate::index::Index;
use crate::lane::NO_LINE;
use crate::node::{Mark, Stand};
use crate::slab::NONE;

impl Index {
    pub(crate) fn check_all(&self) {
        for message in 0..self.messages.slots.end() {
            self.check_message(message);
        }
        for node in 0..self.nodes.slots.end() {
            if self.nodes.slots[node].is(Mark::Used) {
                self.check_node(node);
            }
        }
        for lane in 0..self.lanes.end() {
            if self.lanes[lane].used {
                self.check_lane(lane);
            }
        }
        self.check_limiters();
    }

    /// What limiters keep is kept for somebody, who waits for them stands in their order.
    fn check_limiters(&self) {
        for limiter in 0..self.limiters.end() {
            let record = &self.limiters[limiter];
            let lanes = || (0..self.lanes.end()).map(|lane| &self.lanes[lane]).filter(|lane| lane.used);
            let of_node = |node: &u32| self.nodes.limiters.get(node) == Some(&limiter);
            let nodes = || (0..self.nodes.slots.end()).filter(of_node).map(|node| &self.nodes.slots[node]);
            let tokens = lanes().filter(|lane| lane.tokens_kept && lane.limiters.contains(&limiter)).count();
            let of_nodes = nodes().filter(|node| node.is(Mark::Granted)).count();
            assert_eq!(record.granted as usize, tokens + of_nodes);
            let rooms = lanes().filter(|lane| lane.room_kept && lane.limiters.contains(&limiter)).count();
            assert_eq!(record.granted_rooms as usize, rooms);
            let flows = |slot: u32| match self.flows.slots[slot].key.owner {
                Owner::Lane(_) => None,
                Owner::Tokens(limiter) | Owner::Window(limiter) => Some(limiter),
            };
            let parked = lanes().filter(|lane| lane.parked != NONE && flows(lane.parked) == Some(limiter)).count();
            let nodes_parked = nodes().filter(|node| node.stand == Stand::Parked).count();
            assert_eq!(record.waiting as usize, parked + nodes_parked);
            let connections: u32 =
                lanes().filter(|lane| lane.limiters.contains(&limiter)).map(|lane| lane.connections).sum();
            assert_eq!(record.connections, connections);
        }
    }

    fn check_message(&self, message: u32) {
        let record = &self.messages.slots[message];
        if record.open == 0 {
            return;
        }
        assert_eq!(self.messages.find(record.id()), Some(message));
        let (last, mut slot, mut open, mut all) = (record.last(), record.last(), 0, 0);
        loop {
            slot = self.entries[slot].sibling;
            assert_eq!(self.entries[slot].message, message);
            open += u32::from(!self.entries[slot].is_closed());
            all += 1;
            if slot == last {
                break;
            }
        }
        assert_eq!(open, record.open);
        assert!(all < 2 * open.next_power_of_two().max(2) || all <= 64, "{all} slots for {open} open entries");
    }

    fn check_node(&self, node: u32) {
        let record = &self.nodes.slots[node];
        assert_eq!(self.nodes.find(&record.key), Some(node));
        let (mut slot, mut before, mut ready) = (record.due.head, NONE, 0);
        while slot != NONE {
            let entry = &self.entries[slot];
            assert_eq!((entry.node, entry.prev, entry.spot()), (node, before, Spot::Ready));
            assert_eq!(entry.state(), Some(EntryState::Waiting));
            (before, slot) = (slot, entry.next);
            ready += 1;
        }
        assert_eq!((record.due.tail, record.ready), (before, ready));
        let all =
            (0..self.entries.end()).filter(|&slot| !self.entries[slot].is_closed() && self.entries[slot].node == node);
        assert_eq!(all.count() as u32, record.entries);
        match record.stand {
            Stand::Idle => assert!(ready == 0 || record.lane == NONE && record.is(Mark::Asked)),
            Stand::Wanted => assert!(ready > 0 && record.lane == NONE),
            Stand::Turn => assert!(ready > 0 && self.flows.slots[record.flow].active),
            Stand::Parked => assert!(ready > 0 && record.is(Mark::Limited)),
        }
    }

    fn check_lane(&self, lane: u32) {
        let record = &self.lanes[lane];
        let nodes = (0..self.nodes.slots.end()).map(|node| &self.nodes.slots[node]);
        let own: Vec<_> = nodes.filter(|node| node.is(Mark::Used) && node.lane == lane).collect();
        assert_eq!((record.nodes as usize, record.ready), (own.len(), own.iter().map(|node| node.ready).sum()));
        let entries = (0..self.entries.end()).map(|slot| &self.entries[slot]);
        let leased = entries.filter(|entry| entry.state() == Some(EntryState::Leased) && entry.next == lane);
        assert_eq!(record.leased, leased.count() as u32);
        assert!(record.sending <= record.leased);
        if record.line != NO_LINE {
            assert!(record.ready > 0 && record.asleep_until == 0 && record.parked == NONE && record.has_plan);
        }
    }
}
