//! Due times of a million entries: a hierarchical timing wheel (Varghese and Lauck 1987), lists through the entries.
//!
//! Seven levels of 64 slots cover 42 bits of milliseconds. Putting in and taking out cost O(1); an entry is moved at
//! most six times before it is due. A slot whose time has come is emptied into `pending`, which the caller works
//! through in bounded steps. An entry's slot follows from its due time and the wheel's own time, so it is not stored.

use angarium_nouns::Millis;

use crate::entry::{Entries, NEVER, Spot};
use crate::slab::{List, NONE};

const LEVELS: usize = 7;
const SLOTS: usize = 64;
const SLOT_BITS: u32 = 6;

#[derive(Debug)]
pub(crate) struct Wheel {
    /// All slots that begin at or before this are in `pending` or gone.
    elapsed: Millis,
    occupied: [u64; LEVELS],
    slots: Box<[List; LEVELS * SLOTS]>,
    pending: List,
}

impl Default for Wheel {
    fn default() -> Self {
        let slots = Box::new([List::EMPTY; LEVELS * SLOTS]);
        Self { elapsed: 0, occupied: [0; LEVELS], slots, pending: List::EMPTY }
    }
}

impl Wheel {
    /// Level and slot of a time beyond `elapsed`: the highest digit in which they differ.
    fn place(&self, due: Millis) -> (usize, usize) {
        let level = (due ^ self.elapsed).ilog2() / SLOT_BITS;
        let slot = due >> (level * SLOT_BITS) & (SLOTS as u64 - 1);
        (level as usize, slot as usize)
    }

    /// Puts an entry where its due time says.
    pub fn insert(&mut self, entries: &mut Entries, entry: u32) {
        let due = entries[entry].due();
        entries[entry].set_spot(Spot::Wheel);
        if due <= self.elapsed {
            return self.pending.push_back(entries, entry);
        }
        let (level, slot) = self.place(due);
        self.slots[level * SLOTS + slot].push_back(entries, entry);
        self.occupied[level] |= 1 << slot;
    }

    /// Takes out an entry that is in the wheel; its due time is still the one it was put in with.
    pub fn remove(&mut self, entries: &mut Entries, entry: u32) {
        let due = entries[entry].due();
        entries[entry].set_spot(Spot::Nowhere);
        // A slot becomes pending as a whole, its entries are not told. Only the ends of a list matter to a removal, so
        // an entry in the middle of `pending` may as well be taken out of the slot where it would be put now.
        if due <= self.elapsed || self.pending.head == entry || self.pending.tail == entry {
            return self.pending.remove(entries, entry);
        }
        let (level, slot) = self.place(due);
        let list = &mut self.slots[level * SLOTS + slot];
        list.remove(entries, entry);
        if list.is_empty() {
            self.occupied[level] &= !(1 << slot);
        }
    }

    /// The first slot that holds something: when it begins, and which it is.
    fn first(&self) -> Option<(Millis, usize, usize)> {
        let mut first: Option<(Millis, usize, usize)> = None;
        for level in 0..LEVELS {
            // All slots of a level that are occupied lie ahead of `elapsed` in the turn of the level above.
            if self.occupied[level] != 0 {
                let slot = self.occupied[level].trailing_zeros() as usize;
                let above = SLOT_BITS * (level as u32 + 1);
                let begin = self.elapsed >> above << above | (slot as u64) << (SLOT_BITS * level as u32);
                if first.is_none_or(|(earliest, ..)| begin < earliest) {
                    first = Some((begin, level, slot));
                }
            }
        }
        first
    }

    /// No later than the first due time.
    pub fn next_due(&self) -> Option<Millis> {
        if self.pending.is_empty() { self.first().map(|(begin, ..)| begin) } else { Some(self.elapsed) }
    }

    /// The next entry that is due by `now`, out of the wheel. Looks at no more than `steps` entries and counts them
    /// down; at 0 there may be more.
    pub fn pop(&mut self, entries: &mut Entries, now: Millis, steps: &mut usize) -> Option<u32> {
        let now = now.min(NEVER - 1);
        while *steps > 0 {
            let entry = self.pending.head;
            if entry == NONE {
                if !self.turn(now) {
                    return None;
                }
                continue;
            }
            *steps -= 1;
            self.pending.remove(entries, entry);
            // Only what is due at the very beginning of its slot leaves; the rest goes to finer slots, so that a late
            // call still gives entries in the order of their due times.
            if entries[entry].due() <= self.elapsed {
                entries[entry].set_spot(Spot::Nowhere);
                return Some(entry);
            }
            self.insert(entries, entry);
        }
        None
    }

    /// Moves on to the next slot that begins by `now` and makes it pending; else to `now`, and `false`.
    fn turn(&mut self, now: Millis) -> bool {
        let Some((begin, level, slot)) = self.first().filter(|(begin, ..)| *begin <= now) else {
            self.elapsed = self.elapsed.max(now);
            return false;
        };
        self.elapsed = begin;
        self.occupied[level] &= !(1 << slot);
        self.pending = std::mem::replace(&mut self.slots[level * SLOTS + slot], List::EMPTY);
        true
    }
}
