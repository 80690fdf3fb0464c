//! Fair order: classes with guaranteed shares, then deficit round robin over flows, then age.
//!
//! The same order serves the nodes of a lane and whoever waits behind an exhausted limiter. A [`Flow`] is the turn of
//! one tenant and campaign in one class at one owner. A class that has credit goes before less urgent ones; when no
//! class with work has credit, each gets its share anew, so that under full load classes get what their shares say,
//! and what a class leaves goes to the others (deficit round robin: Shreedhar and Varghese 1995).

use angarium_nouns::envelope::Class;
use angarium_nouns::names::NameId;

use crate::node::Heap;
use crate::slab::{Linked, List, NONE, Slab, Slot};
use crate::table::{Table, mix};

/// Recipients that a flow may send before it is another's turn. Small, so that a person's one mail waits for few of a
/// list's; an envelope larger than this is paid off over the next rounds.
const QUANTUM: i32 = 20;
/// Tokens that a flow may take from a limiter before it is another's turn. A lane that has sent comes back to wait
/// only afterwards, so turns longer than one would go to those who have many lanes.
const TOKEN_QUANTUM: i32 = 1;
/// Recipients of each class in one round when all have work.
pub(crate) const SHARES: [u32; 4] = [50, 25, 15, 10];

/// Whose order a flow is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Lane(u32),
    /// What waits for a token of this limiter.
    Tokens(u32),
    /// Lanes that wait for a connection in this limiter's window.
    Window(u32),
}

impl Owner {
    fn number(self) -> u64 {
        match self {
            Self::Lane(slot) => u64::from(slot) << 2,
            Self::Tokens(slot) => u64::from(slot) << 2 | 1,
            Self::Window(slot) => u64::from(slot) << 2 | 2,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlowKey {
    pub owner: Owner,
    pub tenant: NameId,
    pub campaign: NameId,
    pub class: Class,
}

#[derive(Debug, Clone)]
pub(crate) struct Flow {
    pub key: FlowKey,
    /// Recipients it may still send in this round; below 0: what it has to pay off.
    deficit: i32,
    pub active: bool,
    /// Nodes with due entries, by age (owner: a lane).
    pub heap: Heap,
    /// Who waits, in the order of coming (owner: a limiter).
    pub lanes: List,
    pub nodes: List,
    /// Nodes attached, or waiting members.
    refs: u32,
    prev: u32,
    next: u32,
}

impl Slot for Flow {
    const EMPTY: Self = Self {
        key: FlowKey { owner: Owner::Lane(NONE), tenant: NameId(0), campaign: NameId(0), class: Class::Normal },
        deficit: 0,
        active: false,
        heap: Heap::EMPTY,
        lanes: List::EMPTY,
        nodes: List::EMPTY,
        refs: 0,
        prev: NONE,
        next: NONE,
    };

    fn keep_generation(&mut self, _before: &Self, _by: u16) {}

    fn free_link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl Linked for Flow {
    fn prev(&mut self) -> &mut u32 {
        &mut self.prev
    }

    fn next(&mut self) -> &mut u32 {
        &mut self.next
    }
}

fn hash(key: &FlowKey) -> u64 {
    let flow = mix(u64::from(key.tenant.0) << 32 | u64::from(key.campaign.0));
    mix(flow ^ (key.owner.number() << 2 | key.class as u64))
}

impl Flow {
    fn quantum(&self) -> i32 {
        if matches!(self.key.owner, Owner::Lane(_)) { QUANTUM } else { TOKEN_QUANTUM }
    }

    pub fn is_empty(&self) -> bool {
        self.heap.root == NONE && self.lanes.is_empty() && self.nodes.is_empty()
    }
}

pub(crate) type FlowSlab = Slab<Flow, 128>;

#[derive(Debug, Default)]
pub(crate) struct Flows {
    pub slots: FlowSlab,
    table: Table,
}

impl Flows {
    /// The flow of this key with one reference more.
    pub fn hold(&mut self, key: FlowKey) -> u32 {
        let found = self.table.find(hash(&key), |slot| self.slots[slot].key == key);
        let slot = found.unwrap_or_else(|| {
            let slot = self.slots.add(Flow { key, ..Flow::EMPTY });
            self.slots[slot].deficit = self.slots[slot].quantum();
            self.table.insert(hash(&key), slot);
            slot
        });
        self.slots[slot].refs += 1;
        slot
    }

    /// One reference fewer; an inactive flow goes with the last.
    pub fn release(&mut self, slot: u32) {
        self.slots[slot].refs -= 1;
        if self.slots[slot].refs == 0 {
            debug_assert!(!self.slots[slot].active);
            self.table.remove(hash(&self.slots[slot].key), slot);
            self.slots.free(slot);
        }
    }

    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.table.bytes()
    }
}

/// The order at one owner.
#[derive(Debug, Clone)]
pub(crate) struct Fair {
    /// Active flows by class; the first is next.
    rings: [List; 4],
    credits: [i32; 4],
}

impl Fair {
    pub const EMPTY: Self = Self { rings: [List::EMPTY; 4], credits: [0; 4] };

    pub fn is_empty(&self) -> bool {
        self.rings.iter().all(|ring| ring.is_empty())
    }

    /// Active flows, urgent first.
    pub fn flows<'a>(&'a self, flows: &'a FlowSlab) -> impl Iterator<Item = u32> + 'a {
        let there = |flow: u32| (flow != NONE).then_some(flow);
        self.rings
            .iter()
            .flat_map(move |ring| std::iter::successors(there(ring.head), move |flow| there(flows[*flow].next)))
    }

    /// The most urgent class with work.
    pub fn top(&self) -> Option<Class> {
        Class::ALL.into_iter().find(|class| !self.rings[*class as usize].is_empty())
    }

    /// The flow has work from now on. What it left unused is not saved up.
    pub fn activate(&mut self, flows: &mut FlowSlab, flow: u32) {
        if !flows[flow].active {
            let record = &mut flows[flow];
            record.active = true;
            record.deficit = record.deficit.min(record.quantum());
            let class = record.key.class as usize;
            self.rings[class].push_back(flows, flow);
        }
    }

    pub fn deactivate(&mut self, flows: &mut FlowSlab, flow: u32) {
        if flows[flow].active {
            flows[flow].active = false;
            let class = flows[flow].key.class as usize;
            self.rings[class].remove(flows, flow);
        }
    }

    /// Whose turn it is.
    pub fn pick(&mut self, flows: &mut FlowSlab, shares: &[u32; 4]) -> Option<u32> {
        let class = self.pick_class(shares)?;
        let ring = &mut self.rings[class as usize];
        loop {
            let flow = ring.head;
            if flows[flow].deficit > 0 {
                return Some(flow);
            }
            let quantum = flows[flow].quantum();
            if ring.tail == flow {
                flows[flow].deficit = quantum;
                return Some(flow);
            }
            flows[flow].deficit += quantum;
            ring.remove(flows, flow);
            ring.push_back(flows, flow);
        }
    }

    fn pick_class(&mut self, shares: &[u32; 4]) -> Option<Class> {
        let top = self.top()?;
        let rings = self.rings;
        let busy = |class: &Class| !rings[*class as usize].is_empty();
        if Class::ALL.iter().filter(|class| busy(class)).count() == 1 {
            return Some(top);
        }
        loop {
            let credits = self.credits;
            if let Some(class) = Class::ALL.into_iter().find(|class| busy(class) && credits[*class as usize] > 0) {
                return Some(class);
            }
            for (credit, share) in self.credits.iter_mut().zip(shares) {
                // A share of 0 would starve a class for ever, which no guarantee means.
                let share = (*share).max(1).cast_signed();
                *credit = (*credit + share).min(share);
            }
        }
    }

    /// This flow has sent so much.
    pub fn charge(&mut self, flows: &mut FlowSlab, flow: u32, cost: u32) {
        let cost = i32::try_from(cost).unwrap_or(i32::MAX);
        let class = flows[flow].key.class as usize;
        flows[flow].deficit = flows[flow].deficit.saturating_sub(cost);
        // A class that has the line for itself runs up no debt.
        let alone = self.rings.iter().enumerate().all(|(other, ring)| other == class || ring.is_empty());
        if !alone {
            self.credits[class] = self.credits[class].saturating_sub(cost);
        }
    }
}
