//! Entries as they lie in memory: 40 bytes each.
//!
//! An entry is in at most one list, and [`Spot`] says in which. Siblings (entries of one message) form a ring in the
//! order of their insertion. A closed entry stays in its ring until half of the message's entries are closed, or all:
//! so a close costs O(1) on average, however many recipients the message has.

use angarium_nouns::envelope::Class;
use angarium_nouns::record::EntryState;
use angarium_nouns::{Millis, Reason};

use crate::slab::{Linked, NONE, Slab, Slot};
use crate::types::{EntryRef, MAX_NUMBER};

/// Times are kept in 42 bits of milliseconds: until the year 2109, and what lies beyond is never.
pub(crate) const TIME_BITS: u32 = 42;
pub(crate) const NEVER: Millis = (1 << TIME_BITS) - 1;
const NUMBER_MASK: u32 = MAX_NUMBER;

/// The one list in which an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// Leased, owing, held without deadline.
    Nowhere,
    /// Its node's list of what is due.
    Ready,
    /// The wheel of due times.
    Wheel,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub message: u32,
    /// Recipient number in 22 bits, the highest 10 bits of `due`.
    number_and_due: u32,
    due: u32,
    /// Whole seconds, 0 for none.
    expires: u32,
    pub node: u32,
    pub sibling: u32,
    /// Leased: [`LEADS`] or [`PROBES`] if it is the first of its envelope.
    pub prev: u32,
    /// Leased: the lane.
    pub next: u32,
    /// Sequence of the last control checked, its low 16 bits.
    pub control: u16,
    pub generation: u16,
    /// State 3 bits, class 2, spot 2, stopped 1.
    flags: u8,
    pub attempts: u8,
    reason: u8,
    pub step: u8,
}

const _: () = assert!(size_of::<Entry>() == 40);

/// [`Entry::prev`] of the entry that stands for its envelope while it is leased.
pub(crate) const LEADS: u32 = 1;
/// The same, and the envelope is the probe of its lane.
pub(crate) const PROBES: u32 = 2;
const CLOSED: u8 = EntryState::Delivered as u8;

impl Slot for Entry {
    const EMPTY: Self = Self {
        message: NONE,
        number_and_due: 0,
        due: 0,
        expires: 0,
        node: NONE,
        sibling: NONE,
        prev: NONE,
        next: NONE,
        control: 0,
        generation: 0,
        flags: CLOSED,
        attempts: 0,
        reason: 0,
        step: 0,
    };

    fn keep_generation(&mut self, before: &Self, by: u16) {
        self.generation = before.generation.wrapping_add(by);
    }

    fn free_link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl Linked for Entry {
    fn prev(&mut self) -> &mut u32 {
        &mut self.prev
    }

    fn next(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl Entry {
    /// An entry of this node and message, to be filled.
    pub fn new(message: u32, node: u32, class: Class, control: u16) -> Self {
        let mut entry = Self { message, node, control, ..Self::EMPTY };
        entry.set_class(class);
        entry
    }

    pub fn number(&self) -> u32 {
        self.number_and_due & NUMBER_MASK
    }

    pub fn set_number(&mut self, number: u32) {
        self.number_and_due = self.number_and_due & !NUMBER_MASK | number;
    }

    pub fn due(&self) -> Millis {
        u64::from(self.number_and_due >> 22) << 32 | u64::from(self.due)
    }

    pub fn set_due(&mut self, due: Millis) {
        let due = due.min(NEVER);
        self.due = due as u32;
        self.number_and_due = self.number_and_due & NUMBER_MASK | ((due >> 32) as u32) << 22;
    }

    pub fn expires(&self) -> Millis {
        u64::from(self.expires) * 1000
    }

    pub fn set_expires(&mut self, expires: Millis) {
        self.expires = u32::try_from(expires.div_ceil(1000)).unwrap_or(u32::MAX);
    }

    /// `None`: closed or free.
    pub fn state(&self) -> Option<EntryState> {
        match self.flags & 7 {
            0 => Some(EntryState::Waiting),
            1 => Some(EntryState::Held),
            2 => Some(EntryState::Leased),
            3 => Some(EntryState::Owing),
            _ => None,
        }
    }

    pub fn set_state(&mut self, state: EntryState) {
        self.flags = self.flags & !7 | (state as u8).min(CLOSED);
    }

    pub fn is_closed(&self) -> bool {
        self.flags & 7 == CLOSED
    }

    pub fn class(&self) -> Class {
        Class::ALL[usize::from(self.flags >> 3 & 3)]
    }

    pub fn set_class(&mut self, class: Class) {
        self.flags = self.flags & !(3 << 3) | (class as u8) << 3;
    }

    pub fn spot(&self) -> Spot {
        [Spot::Nowhere, Spot::Ready, Spot::Wheel, Spot::Nowhere][usize::from(self.flags >> 5 & 3)]
    }

    pub fn set_spot(&mut self, spot: Spot) {
        self.flags = self.flags & !(3 << 5) | (spot as u8) << 5;
    }

    /// A control met it in flight.
    pub fn is_stopped(&self) -> bool {
        self.flags & 0x80 != 0
    }

    pub fn set_stopped(&mut self, stopped: bool) {
        self.flags = self.flags & 0x7f | u8::from(stopped) << 7;
    }

    pub fn reason(&self) -> Reason {
        Reason::try_from(self.reason).unwrap_or_default()
    }

    pub fn set_reason(&mut self, reason: Reason) {
        self.reason = reason as u8;
    }
}

pub(crate) const ENTRIES_PER_PAGE: usize = 1024;
pub(crate) type Entries = Slab<Entry, ENTRIES_PER_PAGE>;

impl Entries {
    pub fn reference(&self, slot: u32) -> EntryRef {
        EntryRef { slot, generation: self[slot].generation }
    }

    /// The slot behind a handle, if its entry is open.
    pub fn open(&self, entry: EntryRef) -> Option<u32> {
        let there = entry.slot < self.end() && self[entry.slot].generation == entry.generation;
        (there && !self[entry.slot].is_closed()).then_some(entry.slot)
    }
}
