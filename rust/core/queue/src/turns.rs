//! How nodes stand in line: due entries join and leave their node, a node joins and leaves its lane's fair order or the
//! list of nodes that want a route.

use crate::entry::Spot;
use crate::flow::{FlowKey, Owner};
use crate::index::Index;
use crate::node::{Mark, Stand};
use crate::slab::NONE;
use crate::types::{LaneRef, NodeRef, Stale};

impl Index {
    /// A due entry joins its node, at the end or in front.
    pub(crate) fn join_node(&mut self, slot: u32, in_front: bool) {
        let node = self.entries[slot].node;
        let moves = in_front && self.nodes.slots[node].stand == Stand::Turn;
        if moves {
            self.lift_from_heap(node);
        }
        let mut due = self.nodes.slots[node].due;
        if in_front {
            due.push_front(&mut self.entries, slot);
        } else {
            due.push_back(&mut self.entries, slot);
        }
        self.entries[slot].set_spot(Spot::Ready);
        let record = &mut self.nodes.slots[node];
        record.due = due;
        record.ready += 1;
        let (lane, idle) = (record.lane, record.stand == Stand::Idle);
        self.tally.ready(self.entries[slot].class(), 1);
        if lane != NONE {
            self.lanes[lane].ready += 1;
        }
        if moves {
            self.put_in_heap(node);
        } else if idle {
            self.join_turn(node);
        }
        if lane != NONE {
            self.update_lane(lane);
        }
    }

    /// A due entry leaves its node. The node keeps its place unless that hangs on this entry.
    pub(crate) fn leave_node(&mut self, slot: u32) {
        let node = self.entries[slot].node;
        let record = &self.nodes.slots[node];
        let (lane, was_first, last) = (record.lane, record.due.head == slot, record.ready == 1);
        let moves = was_first && !last && record.stand == Stand::Turn;
        if moves {
            self.lift_from_heap(node);
        } else if last {
            self.leave_turn(node);
        }
        let mut due = self.nodes.slots[node].due;
        due.remove(&mut self.entries, slot);
        self.entries[slot].set_spot(Spot::Nowhere);
        self.nodes.slots[node].due = due;
        self.nodes.slots[node].ready -= 1;
        self.tally.ready(self.entries[slot].class(), -1);
        if moves {
            self.put_in_heap(node);
        } else if last {
            self.return_node_token(node);
        }
        if lane != NONE {
            self.lanes[lane].ready -= 1;
            self.update_lane(lane);
        }
    }

    /// A node with due entries, standing nowhere, gets into the line of its lane or of those that want a route.
    pub(crate) fn join_turn(&mut self, node: u32) {
        let record = &self.nodes.slots[node];
        if record.lane != NONE {
            let (flow, lane) = (record.flow, record.lane);
            self.put_in_heap(node);
            self.nodes.slots[node].stand = Stand::Turn;
            self.lanes[lane].fair.activate(&mut self.flows.slots, flow);
        } else if !record.is(Mark::Asked) {
            let class = record.key.class as usize;
            self.wanted[class].push_back(&mut self.nodes.slots, node);
            self.nodes.slots[node].stand = Stand::Wanted;
        }
    }

    /// Into its flow's heap, in the place that its first entry gives it.
    fn put_in_heap(&mut self, node: u32) {
        let flow = &mut self.flows.slots[self.nodes.slots[node].flow];
        flow.heap.insert(&mut self.nodes.slots, &self.entries, node);
    }

    /// Out of the heap. The flow keeps its turn: the node comes back, or the caller ends the turn.
    fn lift_from_heap(&mut self, node: u32) {
        let flow = &mut self.flows.slots[self.nodes.slots[node].flow];
        flow.heap.remove(&mut self.nodes.slots, &self.entries, node);
    }

    /// Out of whatever line it stands in.
    pub(crate) fn leave_turn(&mut self, node: u32) {
        let record = &self.nodes.slots[node];
        let (class, flow, lane) = (record.key.class as usize, record.flow, record.lane);
        match record.stand {
            Stand::Idle => return,
            Stand::Wanted => self.wanted[class].remove(&mut self.nodes.slots, node),
            Stand::Parked => self.unpark_node(node),
            Stand::Turn => {
                self.lift_from_heap(node);
                if self.flows.slots[flow].is_empty() {
                    self.lanes[lane].fair.deactivate(&mut self.flows.slots, flow);
                }
            }
        }
        self.nodes.slots[node].stand = Stand::Idle;
    }

    /// The last entry of a node is gone.
    pub(crate) fn remove_node(&mut self, node: u32) {
        self.detach_node(node);
        self.drop_node_limiter(node);
        self.nodes.remove(node);
    }

    fn detach_node(&mut self, node: u32) {
        self.leave_turn(node);
        let record = &mut self.nodes.slots[node];
        let (lane, flow, ready) = (record.lane, record.flow, record.ready);
        (record.lane, record.flow) = (NONE, NONE);
        record.mark(Mark::Asked, false);
        if lane != NONE {
            self.flows.release(flow);
            self.lanes[lane].nodes -= 1;
            self.lanes[lane].ready -= ready;
            self.update_lane(lane);
        }
    }
}

/// Nodes and their routes.
impl Index {
    /// Nodes with due entries and no lane, urgent first, then by age. Each is given once: it counts as asked for until
    /// it is attached or [`Self::want_route`] puts it back.
    pub fn wanted_routes(&mut self, limit: usize) -> Vec<NodeRef> {
        let mut given = Vec::new();
        for class in 0..4 {
            while given.len() < limit {
                let Some(node) = self.wanted[class].pop_front(&mut self.nodes.slots) else { break };
                self.nodes.slots[node].stand = Stand::Idle;
                self.nodes.slots[node].mark(Mark::Asked, true);
                given.push(self.nodes.reference(node));
            }
        }
        given
    }

    pub fn has_wanted_routes(&self) -> bool {
        self.wanted.iter().any(|list| !list.is_empty())
    }

    /// The answer is not coming, or not valid any more: a node without a lane is given again.
    pub fn want_route(&mut self, node: NodeRef) -> Result<(), Stale> {
        let slot = self.nodes.get(node).ok_or(Stale)?;
        self.nodes.slots[slot].mark(Mark::Asked, false);
        let record = &self.nodes.slots[slot];
        if record.lane == NONE && record.ready > 0 && record.stand == Stand::Idle {
            self.join_turn(slot);
        }
        Ok(())
    }

    /// O(1) whatever the node holds (and O(log nodes) in its place in line). Also moves a node between lanes.
    pub fn attach(&mut self, node: NodeRef, lane: LaneRef) -> Result<(), Stale> {
        let slot = self.nodes.get(node).ok_or(Stale)?;
        let lane = self.lanes.get(lane).ok_or(Stale)?;
        if self.nodes.slots[slot].lane == lane {
            return Ok(());
        }
        self.detach_node(slot);
        let key = self.nodes.slots[slot].key;
        let owner = Owner::Lane(lane);
        let flow = self.flows.hold(FlowKey { owner, tenant: key.tenant, campaign: key.campaign, class: key.class });
        let record = &mut self.nodes.slots[slot];
        (record.lane, record.flow) = (lane, flow);
        let ready = record.ready;
        self.lanes[lane].nodes += 1;
        self.lanes[lane].ready += ready;
        if ready > 0 {
            self.join_turn(slot);
        }
        self.update_lane(lane);
        Ok(())
    }

    /// O(1), as [`Self::attach`]. The node wants a route again as soon as it has due entries.
    pub fn detach(&mut self, node: NodeRef) -> Result<(), Stale> {
        let slot = self.nodes.get(node).ok_or(Stale)?;
        self.detach_node(slot);
        if self.nodes.slots[slot].ready > 0 {
            self.join_turn(slot);
        }
        Ok(())
    }

    /// Nodes of a lane. Looks at all nodes: for listings.
    pub fn nodes_of(&self, lane: LaneRef) -> Vec<NodeRef> {
        let Some(lane) = self.lanes.get(lane) else { return Vec::new() };
        let attached = |slot: &u32| self.nodes.slots[*slot].is(Mark::Used) && self.nodes.slots[*slot].lane == lane;
        (0..self.nodes.slots.end()).filter(attached).map(|slot| self.nodes.reference(slot)).collect()
    }
}
