//! Search: which entries a predicate means, in pages; and the figures.

use angarium_nouns::{MessageId, Millis};

use crate::index::Index;
use crate::slab::NONE;
use crate::types::{Counts, Cursor, EntryRef, LaneRef, Predicate};

/// Flows whose first entry is looked at to tell how long a lane has waited: a lane has few, a large mailer thousands.
const FLOWS_LOOKED_AT: usize = 256;

impl Predicate {
    /// Messages by id.
    #[must_use]
    pub fn with_ids(mut ids: Vec<MessageId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        Self { ids, ..Self::default() }
    }
}

fn agrees<T: PartialEq + Copy>(wanted: Option<T>, has: T) -> bool {
    wanted.is_none_or(|wanted| wanted == has)
}

impl Index {
    pub fn matches(&self, predicate: &Predicate, entry: EntryRef) -> bool {
        self.entries.open(entry).is_some_and(|slot| self.matches_slot(predicate, slot))
    }

    /// From the cheapest to the dearest to look at: the entry, its node, its message.
    pub(crate) fn matches_slot(&self, predicate: &Predicate, slot: u32) -> bool {
        let entry = &self.entries[slot];
        let Some(state) = entry.state() else { return false };
        agrees(predicate.state, state)
            && agrees(predicate.class, entry.class())
            && agrees(predicate.reason, entry.reason())
            && self.node_matches(predicate, entry.node)
            && self.message_matches(predicate, entry.message)
    }

    fn node_matches(&self, predicate: &Predicate, node: u32) -> bool {
        let node = &self.nodes.slots[node];
        let lane = || (node.lane != NONE).then(|| self.lanes.reference(node.lane));
        agrees(predicate.domain, node.key.domain)
            && agrees(predicate.tenant, node.key.tenant)
            && agrees(predicate.campaign, node.key.campaign)
            && (predicate.lane.is_none() || predicate.lane == lane())
    }

    fn message_matches(&self, predicate: &Predicate, message: u32) -> bool {
        let message = &self.messages.slots[message];
        let received = message.id().millis();
        agrees(predicate.sender, message.sender())
            && predicate.received_from.is_none_or(|from| received >= from)
            && predicate.received_before.is_none_or(|before| received < before)
            && (predicate.ids.is_empty() || predicate.ids.binary_search(&message.id()).is_ok())
    }

    /// Entries of the set from `after` on, in the order of their slots (of their ids for a list of ids): at most
    /// `limit` and the siblings of the last, looking at no more than `steps` slots. `None`: the listing is through.
    pub fn find(
        &self,
        predicate: &Predicate,
        after: Cursor,
        limit: usize,
        steps: usize,
        out: &mut Vec<EntryRef>,
    ) -> Option<Cursor> {
        let wanted = out.len().saturating_add(limit);
        if !predicate.ids.is_empty() {
            return self.find_listed(predicate, after, wanted, out);
        }
        let end = self.entries.end();
        let until = after.0.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX)).min(end);
        let mut slot = after.0;
        while slot < until && out.len() < wanted {
            if self.matches_slot(predicate, slot) {
                out.push(self.entries.reference(slot));
            }
            slot += 1;
        }
        (slot < end).then_some(Cursor(slot))
    }

    fn find_listed(
        &self,
        predicate: &Predicate,
        after: Cursor,
        wanted: usize,
        out: &mut Vec<EntryRef>,
    ) -> Option<Cursor> {
        let mut at = after.0 as usize;
        while at < predicate.ids.len() && out.len() < wanted {
            let entries = self.entries_of(predicate.ids[at]);
            out.extend(entries.into_iter().filter(|&entry| self.matches(predicate, entry)));
            at += 1;
        }
        (at < predicate.ids.len()).then_some(Cursor(at as u32))
    }

    pub fn counts(&self) -> Counts {
        let messages = u64::from(self.messages.slots.used());
        Counts { messages, nodes: self.nodes.slots.used(), lanes: self.lanes.used(), ..self.tally.counts() }
    }

    /// The entry that is first in the line of the flow whose turn it is on this lane.
    pub fn first_in_turn(&self, lane: LaneRef) -> Option<EntryRef> {
        let flow = self.lanes[self.lanes.get(lane)?].fair.flows(&self.flows.slots).next()?;
        let node = self.flows.slots[flow].heap.root;
        let head = if node == NONE { NONE } else { self.nodes.slots[node].due.head };
        (head != NONE).then(|| self.entries.reference(head))
    }

    /// When the oldest was received of those entries of this lane that are first in their flow's line.
    pub fn oldest_in_turn(&self, lane: LaneRef) -> Option<Millis> {
        let fair = &self.lanes[self.lanes.get(lane)?].fair;
        let roots = fair.flows(&self.flows.slots).take(FLOWS_LOOKED_AT).map(|flow| self.flows.slots[flow].heap.root);
        let heads = roots.filter(|root| *root != NONE).map(|node| self.nodes.slots[node].due.head);
        let received = |entry: u32| self.messages.slots[self.entries[entry].message].id().millis();
        heads.filter(|head| *head != NONE).map(received).min()
    }
}
