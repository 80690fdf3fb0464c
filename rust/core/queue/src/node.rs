//! Nodes as they lie in memory: 64 bytes, findable by key; and the heap in which a flow keeps those with due entries.
//!
//! The heap is a pairing heap (Fredman and others 1986) by the due time of the node's first entry: putting in is O(1),
//! taking out O(log n) on average. Its links are those of the list in which a node without a lane waits for a route.

use std::collections::HashMap;

use angarium_nouns::Millis;
use angarium_nouns::envelope::Class;
use angarium_nouns::names::NameId;

use crate::entry::Entries;
use crate::slab::{Linked, List, NONE, Slab, Slot};
use crate::table::{Table, mix};
use crate::types::{NodeKey, NodeRef};

/// The one structure in which a node is, by its own links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Nothing is due, or its route has been asked for.
    Idle,
    /// In the list of nodes that want a route.
    Wanted,
    /// In its flow's heap.
    Turn,
    /// Behind an exhausted limiter of its own.
    Parked,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub key: NodeKey,
    generation: u16,
    pub stand: Stand,
    /// Of [`Mark`].
    marks: u8,
    pub lane: u32,
    /// Its turn at the lane.
    pub flow: u32,
    /// Due entries, in the order in which they became due.
    pub due: List,
    pub ready: u32,
    pub entries: u32,
    /// In a heap: the left sibling, or the parent of a first child.
    prev: u32,
    next: u32,
    /// In a heap: the first child. Parked: its turn at the limiter.
    pub child: u32,
}
// The key has 18 bytes and the three fields behind it 4, so they share two words.
const _: () = assert!(size_of::<Node>() <= 64);

/// What is true of a node besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mark {
    /// The slot is in use.
    Used = 1,
    /// Its route has been asked for.
    Asked = 2,
    /// It has a limiter of its own (in [`Nodes::limiters`]).
    Limited = 4,
    /// That limiter keeps a token for it.
    Granted = 8,
}

impl Node {
    pub fn is(&self, mark: Mark) -> bool {
        self.marks & mark as u8 != 0
    }

    pub fn mark(&mut self, mark: Mark, yes: bool) {
        self.marks = if yes { self.marks | mark as u8 } else { self.marks & !(mark as u8) };
    }
}

impl Slot for Node {
    const EMPTY: Self = Self {
        key: NodeKey {
            domain: NameId(0),
            tag: NameId(0),
            tenant: NameId(0),
            campaign: NameId(0),
            tls: 0,
            class: Class::Normal,
        },
        generation: 0,
        stand: Stand::Idle,
        marks: 0,
        lane: NONE,
        flow: NONE,
        due: List::EMPTY,
        ready: 0,
        entries: 0,
        prev: NONE,
        next: NONE,
        child: NONE,
    };

    fn keep_generation(&mut self, before: &Self, by: u16) {
        self.generation = before.generation.wrapping_add(by);
    }

    fn free_link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl Linked for Node {
    fn prev(&mut self) -> &mut u32 {
        &mut self.prev
    }

    fn next(&mut self) -> &mut u32 {
        &mut self.next
    }
}

fn hash(key: &NodeKey) -> u64 {
    let NodeKey { domain, tag, tenant, campaign, tls, class } = *key;
    let first = mix(u64::from(domain.0) << 32 | u64::from(tag.0));
    let second = mix(first ^ (u64::from(tenant.0) << 32 | u64::from(campaign.0)));
    mix(second ^ (u64::from(tls) << 8 | class as u64))
}

pub(crate) type NodeSlab = Slab<Node, 256>;

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    pub slots: NodeSlab,
    table: Table,
    /// Limiters of single nodes.
    pub limiters: HashMap<u32, u32>,
    /// Gone since the caller last asked.
    pub freed: Vec<(NodeRef, NodeKey)>,
}

impl Nodes {
    pub fn reference(&self, slot: u32) -> NodeRef {
        NodeRef { slot, generation: self.slots[slot].generation }
    }

    pub fn get(&self, node: NodeRef) -> Option<u32> {
        let there = node.slot < self.slots.end() && self.slots[node.slot].generation == node.generation;
        (there && self.slots[node.slot].is(Mark::Used)).then_some(node.slot)
    }

    pub fn find(&self, key: &NodeKey) -> Option<u32> {
        self.table.find(hash(key), |slot| self.slots[slot].key == *key)
    }

    pub fn add(&mut self, key: NodeKey) -> u32 {
        let slot = self.slots.add(Node { key, marks: Mark::Used as u8, ..Node::EMPTY });
        self.table.insert(hash(&key), slot);
        slot
    }

    /// A node without entries that stands nowhere goes away.
    pub fn remove(&mut self, slot: u32) {
        let key = self.slots[slot].key;
        self.freed.push((self.reference(slot), key));
        self.table.remove(hash(&key), slot);
        self.slots.free(slot);
    }

    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.table.bytes()
    }
}

/// The heap of nodes that have due entries, by its root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heap {
    pub root: u32,
}

impl Heap {
    pub const EMPTY: Self = Self { root: NONE };

    fn key(nodes: &NodeSlab, entries: &Entries, node: u32) -> Millis {
        entries[nodes[node].due.head].due()
    }

    pub fn insert(&mut self, nodes: &mut NodeSlab, entries: &Entries, node: u32) {
        (nodes[node].prev, nodes[node].next, nodes[node].child) = (NONE, NONE, NONE);
        self.root = Self::merge(nodes, entries, self.root, node);
    }

    /// The root with the smaller key becomes the parent of the other.
    fn merge(nodes: &mut NodeSlab, entries: &Entries, a: u32, b: u32) -> u32 {
        if a == NONE || b == NONE {
            return if a == NONE { b } else { a };
        }
        let a_first = Self::key(nodes, entries, a) <= Self::key(nodes, entries, b);
        let (parent, child) = if a_first { (a, b) } else { (b, a) };
        let sibling = nodes[parent].child;
        if sibling != NONE {
            nodes[sibling].prev = child;
        }
        (nodes[child].prev, nodes[child].next) = (parent, sibling);
        nodes[parent].child = child;
        parent
    }

    /// Takes out a node that is in this heap. Its key and those of the others are what they were when it was put in.
    pub fn remove(&mut self, nodes: &mut NodeSlab, entries: &Entries, node: u32) {
        let rest = Self::merge_children(nodes, entries, nodes[node].child);
        if node == self.root {
            self.root = rest;
        } else {
            let (prev, next) = (nodes[node].prev, nodes[node].next);
            if nodes[prev].child == node {
                nodes[prev].child = next;
            } else {
                nodes[prev].next = next;
            }
            if next != NONE {
                nodes[next].prev = prev;
            }
            self.root = Self::merge(nodes, entries, self.root, rest);
        }
        (nodes[node].prev, nodes[node].next, nodes[node].child) = (NONE, NONE, NONE);
    }

    /// Two passes: pairs from left to right, then their results from right to left.
    fn merge_children(nodes: &mut NodeSlab, entries: &Entries, first: u32) -> u32 {
        let (mut child, mut pairs) = (first, NONE);
        while child != NONE {
            let second = nodes[child].next;
            let after = if second == NONE { NONE } else { nodes[second].next };
            for one in [child, second] {
                if one != NONE {
                    (nodes[one].prev, nodes[one].next) = (NONE, NONE);
                }
            }
            let pair = Self::merge(nodes, entries, child, second);
            nodes[pair].next = pairs;
            pairs = pair;
            child = after;
        }
        let mut root = NONE;
        while pairs != NONE {
            let pair = pairs;
            pairs = std::mem::replace(&mut nodes[pair].next, NONE);
            root = Self::merge(nodes, entries, root, pair);
        }
        root
    }
}
