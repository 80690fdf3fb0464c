//! Fixed pages of slots with a free list: nothing moves, nothing is given back, freed slots are used again first.
//!
//! A page is allocated when all before it are full. A slot that is freed rises its generation, so that handles to
//! what was there are refused. Lists run through the slots themselves ([`List`]); [`NONE`] ends them.

use std::ops::{Index, IndexMut};

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// What a slab can hold.
pub(crate) trait Slot: Clone {
    const EMPTY: Self;
    /// Takes over the generation of what stood here before, raised by `by`; nothing for kinds without handles.
    fn keep_generation(&mut self, before: &Self, by: u16);
    /// Where the free list runs.
    fn free_link(&mut self) -> &mut u32;
}

/// Slots of one kind, `PAGE` (a power of two) to a page.
#[derive(Debug)]
pub(crate) struct Slab<T, const PAGE: usize> {
    pages: Vec<Box<[T; PAGE]>>,
    /// Slots that were ever used stand below it.
    end: u32,
    free: u32,
    used: u32,
}

impl<T, const PAGE: usize> Default for Slab<T, PAGE> {
    fn default() -> Self {
        Self { pages: Vec::new(), end: 0, free: NONE, used: 0 }
    }
}

impl<T, const PAGE: usize> Slab<T, PAGE> {
    /// One beyond the highest slot ever used.
    pub fn end(&self) -> u32 {
        self.end
    }

    pub fn used(&self) -> u32 {
        self.used
    }

    pub fn bytes(&self) -> usize {
        self.pages.len() * (PAGE * size_of::<T>() + size_of::<usize>())
    }
}

impl<T: Slot, const PAGE: usize> Slab<T, PAGE> {
    /// Whether `more` slots can be had at all.
    pub fn has_room(&self, more: usize) -> bool {
        self.used as usize + more < NONE as usize
    }

    /// A slot with this value; its generation is kept.
    pub fn add(&mut self, mut value: T) -> u32 {
        self.used += 1;
        let slot = self.free;
        if slot == NONE {
            return self.extend(value);
        }
        let old = &mut self[slot];
        let next_free = *old.free_link();
        value.keep_generation(old, 0);
        *old = value;
        self.free = next_free;
        slot
    }

    fn extend(&mut self, value: T) -> u32 {
        let slot = self.end;
        if slot as usize == self.pages.len() * PAGE {
            let page: Result<Box<[T; PAGE]>, _> = vec![T::EMPTY; PAGE].into_boxed_slice().try_into();
            let Ok(page) = page else { unreachable!("a page has PAGE slots") };
            self.pages.push(page);
        }
        self.end += 1;
        self[slot] = value;
        slot
    }

    pub fn free(&mut self, slot: u32) {
        let free = self.free;
        let value = &mut self[slot];
        let mut empty = T::EMPTY;
        empty.keep_generation(value, 1);
        *empty.free_link() = free;
        *value = empty;
        self.free = slot;
        self.used -= 1;
    }
}

impl<T, const PAGE: usize> Index<u32> for Slab<T, PAGE> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        &self.pages[slot as usize / PAGE][slot as usize % PAGE]
    }
}

impl<T, const PAGE: usize> IndexMut<u32> for Slab<T, PAGE> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.pages[slot as usize / PAGE][slot as usize % PAGE]
    }
}

/// Where a slot's list runs through it.
pub(crate) trait Linked {
    fn prev(&mut self) -> &mut u32;
    fn next(&mut self) -> &mut u32;
}

/// A list through slots of one slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List {
    pub head: u32,
    pub tail: u32,
}

impl List {
    pub const EMPTY: Self = Self { head: NONE, tail: NONE };

    pub fn is_empty(self) -> bool {
        self.head == NONE
    }

    pub fn push_back<T: Linked, const PAGE: usize>(&mut self, slab: &mut Slab<T, PAGE>, slot: u32) {
        *slab[slot].prev() = self.tail;
        *slab[slot].next() = NONE;
        match self.tail {
            NONE => self.head = slot,
            tail => *slab[tail].next() = slot,
        }
        self.tail = slot;
    }

    pub fn push_front<T: Linked, const PAGE: usize>(&mut self, slab: &mut Slab<T, PAGE>, slot: u32) {
        *slab[slot].prev() = NONE;
        *slab[slot].next() = self.head;
        match self.head {
            NONE => self.tail = slot,
            head => *slab[head].prev() = slot,
        }
        self.head = slot;
    }

    pub fn remove<T: Linked, const PAGE: usize>(&mut self, slab: &mut Slab<T, PAGE>, slot: u32) {
        let (prev, next) = (*slab[slot].prev(), *slab[slot].next());
        match prev {
            NONE => self.head = next,
            prev => *slab[prev].next() = next,
        }
        match next {
            NONE => self.tail = prev,
            next => *slab[next].prev() = prev,
        }
        *slab[slot].prev() = NONE;
        *slab[slot].next() = NONE;
    }

    pub fn pop_front<T: Linked, const PAGE: usize>(&mut self, slab: &mut Slab<T, PAGE>) -> Option<u32> {
        let head = self.head;
        if head == NONE {
            return None;
        }
        self.remove(slab, head);
        Some(head)
    }
}
