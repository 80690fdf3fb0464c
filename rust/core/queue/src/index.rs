//! The index itself: messages, entries, nodes, and every change of one entry.
//!
//! An entry is waiting (due: in its node's list; not yet: in the wheel), held (in the wheel if it has a deadline),
//! leased or owing (in no list). Each change takes it out of where it is ([`Index::lift_out`]) and puts it where its
//! new state says ([`Index::put`]); nothing else touches lists and figures. The other files of this room go on with
//! `impl Index`: routes and lanes, limiters, take, time, controls, search, pages.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use angarium_nouns::record::EntryState;
use angarium_nouns::{MessageId, Millis, Reason};

use crate::control::{Rules, Stopped};
use crate::entry::{Entries, Entry, Spot};
use crate::flow::Flows;
use crate::lane::LaneSlab;
use crate::limiter::LimiterSlab;
use crate::messages::Messages;
use crate::node::Nodes;
use crate::slab::{List, NONE};
use crate::tally::Tally;
use crate::types::{
    Closed, Deferral, EntryRef, EntryView, InsertError, MAX_NUMBER, Message, NewEntry, NodeKey, NodeRef, NodeView,
    Place, Stale, Stop,
};
use crate::wheel::Wheel;

/// When to look at a slot of this generation again; stale ones are skipped.
pub(crate) type Alarms = BinaryHeap<Reverse<(Millis, u64)>>;

/// All waiting mail of one spool.
#[derive(Debug)]
pub struct Index {
    pub(crate) entries: Entries,
    pub(crate) messages: Messages,
    pub(crate) nodes: Nodes,
    pub(crate) flows: Flows,
    pub(crate) lanes: LaneSlab,
    pub(crate) limiters: LimiterSlab,
    pub(crate) wheel: Wheel,
    pub(crate) tally: Tally,
    /// Nodes that want a route, by class, in the order in which they began to.
    pub(crate) wanted: [List; 4],
    /// Lanes that want a plan, by class.
    pub(crate) planless: [VecDeque<u64>; 4],
    /// Lanes to run, by class.
    pub(crate) runnable: [List; 4],
    pub(crate) asleep: Alarms,
    pub(crate) alarms: Alarms,
    /// Limiters to look at as soon as the time is known.
    pub(crate) dirty: Vec<u32>,
    pub(crate) rules: Rules,
    /// What met entries in flight.
    pub(crate) stopped: HashMap<u32, Stopped>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            entries: Entries::default(),
            messages: Messages::default(),
            nodes: Nodes::default(),
            flows: Flows::default(),
            lanes: LaneSlab::default(),
            limiters: LimiterSlab::default(),
            wheel: Wheel::default(),
            tally: Tally::default(),
            wanted: [List::EMPTY; 4],
            planless: std::array::from_fn(|_| VecDeque::new()),
            runnable: [List::EMPTY; 4],
            asleep: Alarms::default(),
            alarms: Alarms::default(),
            dirty: Vec::new(),
            rules: Rules::default(),
            stopped: HashMap::new(),
        }
    }
}

/// Nodes and messages.
impl Index {
    pub fn new() -> Self {
        Self::default()
    }

    /// The node of this key, made if there is none; `true`: it is new (hold its names). A node lives until its last
    /// entry closes (see [`Self::freed_nodes`]) and, if it never gets one, until [`Self::drop_node`].
    pub fn node(&mut self, key: NodeKey) -> (NodeRef, bool) {
        let found = self.nodes.find(&key);
        let slot = found.unwrap_or_else(|| self.nodes.add(key));
        (self.nodes.reference(slot), found.is_none())
    }

    pub fn find_node(&self, key: &NodeKey) -> Option<NodeRef> {
        self.nodes.find(key).map(|slot| self.nodes.reference(slot))
    }

    pub fn node_view(&self, node: NodeRef) -> Option<NodeView> {
        let record = &self.nodes.slots[self.nodes.get(node)?];
        let lane = (record.lane != NONE).then(|| self.lanes.reference(record.lane));
        Some(NodeView { node, key: record.key, lane, entries: record.entries, ready: record.ready })
    }

    /// Frees a node that has no entries; `false` if it has some or is gone.
    pub fn drop_node(&mut self, node: NodeRef) -> bool {
        let Some(slot) = self.nodes.get(node).filter(|&slot| self.nodes.slots[slot].entries == 0) else { return false };
        self.remove_node(slot);
        true
    }

    /// Nodes that went away since the last call: release their names.
    pub fn freed_nodes(&mut self) -> Vec<(NodeRef, NodeKey)> {
        std::mem::take(&mut self.nodes.freed)
    }

    /// A message with its open entries. All or nothing. Live standing rules are applied at once.
    pub fn insert(&mut self, message: &Message, entries: &[NewEntry], now: Millis) -> Result<(), InsertError> {
        self.check(entries)?;
        if !self.messages.slots.has_room(1) {
            return Err(InsertError::Full);
        }
        if self.messages.find(message.id).is_some() {
            return Err(InsertError::Duplicate);
        }
        let slot = self.messages.add(message);
        self.add_entries(slot, entries, now);
        Ok(())
    }

    /// More entries of a message that waits (recovery reads blocks of recipients one by one).
    pub fn extend(&mut self, id: MessageId, entries: &[NewEntry], now: Millis) -> Result<(), InsertError> {
        self.check(entries)?;
        let slot = self.messages.find(id).ok_or(InsertError::Unknown)?;
        self.add_entries(slot, entries, now);
        Ok(())
    }

    fn check(&self, entries: &[NewEntry]) -> Result<(), InsertError> {
        if entries.is_empty() {
            return Err(InsertError::Empty);
        }
        if !self.entries.has_room(entries.len()) {
            return Err(InsertError::Full);
        }
        for entry in entries {
            if entry.number > MAX_NUMBER {
                return Err(InsertError::Number);
            }
            if entry.state.is_closed() {
                return Err(InsertError::Closed);
            }
            self.nodes.get(entry.node).ok_or(InsertError::Stale)?;
        }
        Ok(())
    }

    fn add_entries(&mut self, message: u32, entries: &[NewEntry], now: Millis) {
        let received = self.messages.slots[message].id().millis();
        for new in entries {
            let slot = self.add_entry(message, new);
            let state = kept_state(new.state);
            self.tally.enter(self.entries[slot].class(), state, received);
            self.put(slot, now);
            if self.rules.are_live() {
                self.meet_since(slot, 0, now);
            }
        }
    }

    fn add_entry(&mut self, message: u32, new: &NewEntry) -> u32 {
        let class = self.nodes.slots[new.node.slot].key.class;
        let mut entry = Entry::new(message, new.node.slot, class, self.rules.mark());
        entry.set_number(new.number);
        fill(&mut entry, new);
        let slot = self.entries.add(entry);
        self.nodes.slots[new.node.slot].entries += 1;
        let owner = &mut self.messages.slots[message];
        owner.open += 1;
        // The message knows the last of its ring; behind that one comes the first.
        let last = owner.last();
        owner.set_last(slot);
        if last == NONE {
            self.entries[slot].sibling = slot;
        } else {
            self.entries[slot].sibling = self.entries[last].sibling;
            self.entries[last].sibling = slot;
        }
        slot
    }

    /// The content was copied: from now on it lies there. `false`: no such message.
    pub fn set_place(&mut self, id: MessageId, place: Place) -> bool {
        let found = self.messages.find(id);
        if let Some(slot) = found {
            self.messages.set_place(slot, place);
        }
        found.is_some()
    }

    pub fn message(&self, id: MessageId) -> Option<Message> {
        self.messages.find(id).map(|slot| self.messages.slots[slot].public())
    }

    pub fn message_of(&self, entry: EntryRef) -> Option<Message> {
        let slot = self.entries.open(entry)?;
        Some(self.messages.slots[self.entries[slot].message].public())
    }

    /// Handle of one recipient, if open.
    pub fn entry(&self, id: MessageId, number: u32) -> Option<EntryRef> {
        let message = self.messages.find(id)?;
        let last = self.messages.slots[message].last();
        let is_it = |slot: u32| {
            let entry = &self.entries[slot];
            entry.message == message && entry.number() == number && !entry.is_closed()
        };
        // Entries that came in together mostly lie side by side.
        let guess = last.wrapping_add(number).wrapping_sub(self.entries[last].number());
        let found = if guess < self.entries.end() && is_it(guess) {
            Some(guess)
        } else {
            self.ring(last).find(|&slot| is_it(slot))
        };
        found.map(|slot| self.entries.reference(slot))
    }

    /// Open entries of a message, in the order in which they came.
    pub fn entries_of(&self, id: MessageId) -> Vec<EntryRef> {
        let Some(message) = self.messages.find(id) else { return Vec::new() };
        let open = self.ring(self.messages.slots[message].last()).filter(|&slot| !self.entries[slot].is_closed());
        open.map(|slot| self.entries.reference(slot)).collect()
    }

    /// All slots of a ring, from behind `last` to it.
    fn ring(&self, last: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.entries[last].sibling;
        std::iter::successors(Some(first), move |&slot| (slot != last).then(|| self.entries[slot].sibling))
    }

    pub fn view(&self, entry: EntryRef) -> Option<EntryView> {
        let record = &self.entries[self.entries.open(entry)?];
        let message = &self.messages.slots[record.message];
        let node = &self.nodes.slots[record.node];
        Some(EntryView {
            entry,
            id: message.id(),
            number: record.number(),
            node: self.nodes.reference(record.node),
            key: node.key,
            lane: (node.lane != NONE).then(|| self.lanes.reference(node.lane)),
            state: record.state()?,
            due: record.due(),
            expires: record.expires(),
            attempts: u16::from(record.attempts),
            step: record.step,
            reason: record.reason(),
            lsn: message.lsn(),
            sender: message.sender(),
        })
    }
}

/// Changes of one entry.
impl Index {
    pub(crate) fn open(&self, entry: EntryRef) -> Result<u32, Stale> {
        self.entries.open(entry).ok_or(Stale)
    }

    pub(crate) fn state(&self, slot: u32) -> EntryState {
        self.entries[slot].state().unwrap_or(EntryState::Delivered)
    }

    /// Out of its list; a lease ends.
    pub(crate) fn lift_out(&mut self, slot: u32) {
        match self.entries[slot].spot() {
            Spot::Ready => self.leave_node(slot),
            Spot::Wheel => self.wheel.remove(&mut self.entries, slot),
            Spot::Nowhere if self.state(slot) == EntryState::Leased => self.end_lease(slot),
            Spot::Nowhere => {}
        }
    }

    /// Into the list that its state and due time ask for.
    pub(crate) fn put(&mut self, slot: u32, now: Millis) {
        let entry = &self.entries[slot];
        match self.state(slot) {
            EntryState::Waiting if entry.due() <= now => self.join_node(slot, false),
            EntryState::Waiting => self.wheel.insert(&mut self.entries, slot),
            EntryState::Held if entry.due() != 0 => self.wheel.insert(&mut self.entries, slot),
            _ => {}
        }
    }

    /// Lifts out and gives the new state; [`Self::put`] follows.
    pub(crate) fn change_state(&mut self, slot: u32, to: EntryState) {
        self.lift_out(slot);
        let from = self.state(slot);
        self.tally.change(self.entries[slot].class(), from, to);
        self.entries[slot].set_state(to);
    }

    /// Delivered, failed, cancelled or lost: the entry is gone. From any state.
    pub fn close(&mut self, entry: EntryRef) -> Result<Closed, Stale> {
        let slot = self.open(entry)?;
        Ok(self.close_slot(slot))
    }

    fn close_slot(&mut self, slot: u32) -> Closed {
        self.lift_out(slot);
        self.forget_stop(slot);
        let (class, state) = (self.entries[slot].class(), self.state(slot));
        let entry = &mut self.entries[slot];
        let (message, node) = (entry.message, entry.node);
        entry.set_state(EntryState::Delivered);
        entry.generation = entry.generation.wrapping_add(1);
        self.tally.leave(class, state, self.messages.slots[message].id().millis());
        self.leave_for_good(node);
        let open = self.messages.slots[message].open - 1;
        self.messages.slots[message].open = open;
        if open == 0 {
            self.free_ring(message);
            return Closed { message: Some(self.messages.remove(message)) };
        }
        if open.is_power_of_two() {
            self.compact_ring(message);
        }
        Closed { message: None }
    }

    fn leave_for_good(&mut self, node: u32) {
        self.nodes.slots[node].entries -= 1;
        if self.nodes.slots[node].entries == 0 {
            self.remove_node(node);
        }
    }

    fn free_ring(&mut self, message: u32) {
        let last = self.messages.slots[message].last();
        let mut slot = self.entries[last].sibling;
        loop {
            let next = self.entries[slot].sibling;
            self.entries.free(slot);
            if slot == last {
                return;
            }
            slot = next;
        }
    }

    /// Frees the closed entries of a ring. Called when the number of open ones has fallen to a power of two: every
    /// second entry that it passes is then a closed one.
    fn compact_ring(&mut self, message: u32) {
        let last = self.messages.slots[message].last();
        let (mut slot, mut first, mut tail) = (self.entries[last].sibling, NONE, NONE);
        loop {
            let (next, at_end) = (self.entries[slot].sibling, slot == last);
            if self.entries[slot].is_closed() {
                self.entries.free(slot);
            } else {
                match tail {
                    NONE => first = slot,
                    tail => self.entries[tail].sibling = slot,
                }
                tail = slot;
            }
            if at_end {
                break;
            }
            slot = next;
        }
        self.entries[tail].sibling = first;
        self.messages.slots[message].set_last(tail);
    }

    /// Waits again until due. From any state.
    pub fn defer(&mut self, entry: EntryRef, deferral: Deferral, now: Millis) -> Result<(), Stale> {
        let slot = self.open(entry)?;
        self.change_state(slot, EntryState::Waiting);
        let record = &mut self.entries[slot];
        record.set_due(deferral.due);
        record.set_reason(deferral.reason);
        record.step = deferral.step;
        record.attempts = record.attempts.saturating_add(u8::from(deferral.attempted));
        self.put(slot, now);
        self.meet_stop(slot);
        Ok(())
    }

    /// Held until the deadline (0: none), then it waits again. In flight: marked, and held when it is given back or
    /// deferred.
    pub fn hold(&mut self, entry: EntryRef, until: Millis, reason: Reason) -> Result<Stop, Stale> {
        let slot = self.open(entry)?;
        if self.state(slot) == EntryState::Leased {
            self.stop_in_flight(slot, Stopped::hold(until, reason));
            return Ok(Stop::InFlight);
        }
        self.hold_slot(slot, until, reason);
        Ok(Stop::Done(Closed { message: None }))
    }

    pub(crate) fn hold_slot(&mut self, slot: u32, until: Millis, reason: Reason) {
        self.change_state(slot, EntryState::Held);
        self.entries[slot].set_due(until);
        self.entries[slot].set_reason(reason);
        self.put(slot, 0);
    }

    /// A held entry waits again, due now, its retry clock at step 0 and with this new deadline. `false`: it was not
    /// held.
    pub fn release(&mut self, entry: EntryRef, expires: Millis, now: Millis) -> Result<bool, Stale> {
        let slot = self.open(entry)?;
        let held = self.state(slot) == EntryState::Held;
        if held {
            self.entries[slot].set_expires(expires);
            self.release_slot(slot, now);
        }
        Ok(held)
    }

    pub(crate) fn release_slot(&mut self, slot: u32, now: Millis) {
        self.change_state(slot, EntryState::Waiting);
        self.entries[slot].set_due(now);
        self.entries[slot].set_reason(Reason::Other);
        self.entries[slot].step = 0;
        self.put(slot, now);
    }

    /// A waiting entry is due now. `false`: it does not wait.
    pub fn retry(&mut self, entry: EntryRef, now: Millis) -> Result<bool, Stale> {
        let slot = self.open(entry)?;
        Ok(self.retry_slot(slot, now))
    }

    pub(crate) fn retry_slot(&mut self, slot: u32, now: Millis) -> bool {
        let waits = self.state(slot) == EntryState::Waiting && self.entries[slot].spot() == Spot::Wheel;
        if waits {
            self.lift_out(slot);
            self.entries[slot].set_due(now);
            self.put(slot, now);
        }
        waits
    }

    /// Failed, and a report is owed: out of every list until it is closed.
    pub fn owe(&mut self, entry: EntryRef, reason: Reason) -> Result<(), Stale> {
        let slot = self.open(entry)?;
        self.change_state(slot, EntryState::Owing);
        self.forget_stop(slot);
        self.entries[slot].set_reason(reason);
        Ok(())
    }

    /// Closes unless it is in flight; then the delivery is asked to stop ([`Self::is_stopped`]).
    pub fn cancel(&mut self, entry: EntryRef) -> Result<Stop, Stale> {
        let slot = self.open(entry)?;
        if self.state(slot) == EntryState::Leased {
            self.stop_in_flight(slot, Stopped::cancel());
            return Ok(Stop::InFlight);
        }
        Ok(Stop::Done(self.close_slot(slot)))
    }

    /// A leased entry comes back with no attempt counted, in front of its node. Any other stays as it is.
    pub fn give_back(&mut self, entry: EntryRef) -> Result<(), Stale> {
        let slot = self.open(entry)?;
        if self.state(slot) == EntryState::Leased {
            self.change_state(slot, EntryState::Waiting);
            self.join_node(slot, true);
            self.meet_stop(slot);
        }
        Ok(())
    }

    /// A cancel or hold met the entry while it was leased: do not send the dot.
    pub fn is_stopped(&self, entry: EntryRef) -> bool {
        self.entries.open(entry).is_some_and(|slot| self.entries[slot].is_stopped())
    }

    /// Sets an entry to what a fact says (replay): absolute, idempotent. Its number stays.
    pub fn set(&mut self, entry: EntryRef, to: &NewEntry, now: Millis) -> Result<(), Stale> {
        let slot = self.open(entry)?;
        self.nodes.get(to.node).ok_or(Stale)?;
        self.change_state(slot, kept_state(to.state));
        fill(&mut self.entries[slot], to);
        self.change_node(slot, to.node.slot);
        self.put(slot, now);
        Ok(())
    }

    /// The entry goes over to another node (reroute: another tag). Leased, it goes when the lease ends.
    pub fn move_entry(&mut self, entry: EntryRef, node: NodeRef, now: Millis) -> Result<(), Stale> {
        let slot = self.open(entry)?;
        self.nodes.get(node).ok_or(Stale)?;
        let queued = self.entries[slot].spot() == Spot::Ready;
        if queued {
            self.lift_out(slot);
        }
        self.change_node(slot, node.slot);
        if queued {
            self.put(slot, now);
        }
        Ok(())
    }

    /// Of an entry that is in no node's list.
    fn change_node(&mut self, slot: u32, node: u32) {
        let from = self.entries[slot].node;
        if from == node {
            return;
        }
        let (state, old) = (self.state(slot), self.entries[slot].class());
        let class = self.nodes.slots[node].key.class;
        let received = self.messages.slots[self.entries[slot].message].id().millis();
        self.tally.leave(old, state, received);
        self.tally.enter(class, state, received);
        self.entries[slot].node = node;
        self.entries[slot].set_class(class);
        self.nodes.slots[node].entries += 1;
        self.leave_for_good(from);
    }

    /// Memory of all pages and tables.
    pub fn bytes(&self) -> usize {
        self.entries.bytes()
            + self.messages.bytes()
            + self.nodes.bytes()
            + self.flows.bytes()
            + self.lanes.bytes()
            + self.limiters.bytes()
    }
}

/// Leases do not outlive the process.
fn kept_state(state: EntryState) -> EntryState {
    if state == EntryState::Leased { EntryState::Waiting } else { state }
}

fn fill(entry: &mut Entry, new: &NewEntry) {
    entry.set_state(kept_state(new.state));
    entry.set_due(new.due);
    entry.set_expires(new.expires);
    entry.set_reason(new.reason);
    entry.attempts = u8::try_from(new.attempts).unwrap_or(u8::MAX);
    entry.step = new.step;
}
