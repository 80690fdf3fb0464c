//! A hash table that grows by one bucket at a time (linear hashing, Litwin 1980): no insert ever stops for a rehash.
//!
//! It holds first slots of chains; the chains run through the slots of a slab, whose kind says how to hash
//! ([`Chained`]). Buckets stand in fixed pages. It does not shrink: its size is that of the largest crowd so far.

use crate::slab::{NONE, Slab};

/// A kind of slot that stands in a table.
pub(crate) trait Chained {
    fn hash(&self) -> u64;
    fn chain(&mut self) -> &mut u32;
    fn chained(&self) -> u32;
}

const HEADS: usize = 1024;

#[derive(Debug)]
pub(crate) struct Table {
    pages: Vec<Box<[u32; HEADS]>>,
    /// Buckets in use; always at least 1, room for them stands in `pages`.
    buckets: u32,
    /// Slots in chains.
    count: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self { pages: vec![Box::new([NONE; HEADS])], buckets: 1, count: 0 }
    }
}

/// Spreads a key over 64 bits (the finaliser of `MurmurHash3`).
pub(crate) fn mix(key: u64) -> u64 {
    let key = (key ^ key >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let key = (key ^ key >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ key >> 33
}

impl Table {
    pub fn bytes(&self) -> usize {
        self.pages.len() * (HEADS * 4 + size_of::<usize>())
    }

    fn bucket(&self, hash: u64) -> u32 {
        let size = self.buckets.next_power_of_two();
        let at = hash as u32 & (size - 1);
        if at < self.buckets { at } else { at & (size / 2 - 1) }
    }

    fn head(&mut self, bucket: u32) -> &mut u32 {
        &mut self.pages[bucket as usize / HEADS][bucket as usize % HEADS]
    }

    /// The first slot of the chain in which this hash would stand; follow [`Chained::chained`].
    pub fn first(&self, hash: u64) -> u32 {
        let bucket = self.bucket(hash);
        self.pages[bucket as usize / HEADS][bucket as usize % HEADS]
    }

    pub fn insert<T: Chained, const PAGE: usize>(&mut self, slab: &mut Slab<T, PAGE>, slot: u32) {
        let bucket = self.bucket(slab[slot].hash());
        let head = self.head(bucket);
        *slab[slot].chain() = *head;
        *head = slot;
        self.count += 1;
        if self.count > self.buckets {
            self.split(slab);
        }
    }

    pub fn remove<T: Chained, const PAGE: usize>(&mut self, slab: &mut Slab<T, PAGE>, slot: u32) {
        let next = slab[slot].chained();
        let bucket = self.bucket(slab[slot].hash());
        let head = self.head(bucket);
        if *head == slot {
            *head = next;
        } else {
            let mut before = *head;
            while slab[before].chained() != slot {
                before = slab[before].chained();
            }
            *slab[before].chain() = next;
        }
        self.count -= 1;
    }

    /// One bucket more: the chain of its lower half is dealt out anew.
    fn split<T: Chained, const PAGE: usize>(&mut self, slab: &mut Slab<T, PAGE>) {
        let new = self.buckets;
        if new as usize == self.pages.len() * HEADS {
            self.pages.push(Box::new([NONE; HEADS]));
        }
        let half = (new + 1).next_power_of_two() / 2;
        let mut slot = std::mem::replace(self.head(new - half), NONE);
        self.buckets += 1;
        while slot != NONE {
            let next = slab[slot].chained();
            let bucket = self.bucket(slab[slot].hash());
            let head = self.head(bucket);
            *slab[slot].chain() = *head;
            *head = slot;
            slot = next;
        }
    }
}
