//! A hash table that grows by one small part at a time (extendible hashing, Fagin 1979): no insert ever stops for a
//! rehash of all.
//!
//! A directory over the upper bits of a hash leads to segments of open addressing; a full segment is split in two. A cell
//! holds 32 bits of the hash beside the slot, so that a look-up touches one line of the table and the slot it was looking
//! for, and a split touches no slot at all. The table does not shrink: its size is that of the largest crowd so far.

use crate::slab::NONE;

/// Cells of a segment at first. Small: a split moves as many and is over in a microsecond.
const CELLS: usize = 256;
/// Upper bits of a hash that the directory may use; a segment of that depth grows instead of being split.
const MAX_DEPTH: u32 = 24;

#[derive(Debug, Clone, Copy)]
struct Cell {
    hash: u32,
    slot: u32,
}

const EMPTY: Cell = Cell { hash: 0, slot: NONE };

#[derive(Debug)]
struct Segment {
    /// A power of two of cells.
    cells: Box<[Cell]>,
    used: usize,
    /// Upper bits that all hashes in here have in common.
    depth: u32,
}

#[derive(Debug)]
pub(crate) struct Table {
    /// Segment of each prefix of `depth` bits.
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment>,
}

impl Default for Table {
    fn default() -> Self {
        Self { directory: vec![0], depth: 0, segments: vec![Segment::new(CELLS, 0)] }
    }
}

/// Spreads a key over 64 bits (the finaliser of `MurmurHash3`).
pub(crate) fn mix(key: u64) -> u64 {
    let key = (key ^ key >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let key = (key ^ key >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ key >> 33
}

impl Segment {
    fn new(cells: usize, depth: u32) -> Self {
        Self { cells: vec![EMPTY; cells].into(), used: 0, depth }
    }

    /// Five sixths: above that, chains of full cells grow long.
    fn is_full(&self) -> bool {
        self.used * 6 >= self.cells.len() * 5
    }

    fn mask(&self) -> usize {
        self.cells.len() - 1
    }

    /// The bits that all hashes in a segment have in common; it holds some.
    fn prefix(&self) -> usize {
        let some = self.cells.iter().find(|cell| cell.slot != NONE).map_or(0, |cell| cell.hash);
        (u64::from(some) >> (32 - self.depth)) as usize
    }

    fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<usize> {
        let mut at = hash as usize & self.mask();
        while self.cells[at].slot != NONE {
            if self.cells[at].hash == hash && is_it(self.cells[at].slot) {
                return Some(at);
            }
            at = (at + 1) & self.mask();
        }
        None
    }

    fn insert(&mut self, cell: Cell) {
        let mut at = cell.hash as usize & self.mask();
        while self.cells[at].slot != NONE {
            at = (at + 1) & self.mask();
        }
        self.cells[at] = cell;
        self.used += 1;
    }

    /// Empties a cell and moves up those behind it that may stand there, so that no look-up ends too early.
    fn remove(&mut self, mut hole: usize) {
        let mask = self.mask();
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            if self.cells[at].slot == NONE {
                break;
            }
            let home = self.cells[at].hash as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.cells[hole] = self.cells[at];
                hole = at;
            }
        }
        self.cells[hole] = EMPTY;
        self.used -= 1;
    }
}

impl Table {
    pub fn bytes(&self) -> usize {
        let cells: usize = self.segments.iter().map(|segment| segment.cells.len()).sum();
        cells * size_of::<Cell>() + self.segments.len() * size_of::<Segment>() + self.directory.len() * 4
    }

    /// Upper bits choose the segment, lower ones the cell.
    fn segment(&self, hash: u32) -> usize {
        // A shift by all 32 bits is none of Rust's.
        self.directory[(u64::from(hash) >> (32 - self.depth)) as usize] as usize
    }

    /// The slot under this hash that `is_it` knows.
    pub fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let segment = &self.segments[self.segment(hash as u32)];
        segment.find(hash as u32, is_it).map(|at| segment.cells[at].slot)
    }

    /// The caller has made sure that it is not there yet.
    pub fn insert(&mut self, hash: u64, slot: u32) {
        let hash = hash as u32;
        let mut at = self.segment(hash);
        while self.segments[at].is_full() {
            self.split(at);
            at = self.segment(hash);
        }
        self.segments[at].insert(Cell { hash, slot });
    }

    pub fn remove(&mut self, hash: u64, slot: u32) {
        let at = self.segment(hash as u32);
        let segment = &mut self.segments[at];
        if let Some(cell) = segment.find(hash as u32, |there| there == slot) {
            segment.remove(cell);
        }
    }

    fn split(&mut self, at: usize) {
        let depth = self.segments[at].depth;
        if depth == MAX_DEPTH {
            let larger = Segment::new(self.segments[at].cells.len() * 2, depth);
            return self.deal_out(at, larger, None);
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&segment| [segment, segment]).collect();
            self.depth += 1;
        }
        let new = self.segments.len();
        self.segments.push(Segment::new(CELLS, depth + 1));
        // The prefixes of the old segment stand together; the upper half of them goes over.
        let many = 1 << (self.depth - depth);
        let first = self.segments[at].prefix() << (self.depth - depth);
        self.directory[first + many / 2..first + many].fill(new as u32);
        self.deal_out(at, Segment::new(CELLS, depth + 1), Some(new));
    }

    /// Puts the cells of a segment into the one in its place, and into `other` those that belong there.
    fn deal_out(&mut self, at: usize, fresh: Segment, other: Option<usize>) {
        let old = std::mem::replace(&mut self.segments[at], fresh);
        let bit = old.depth;
        for cell in old.cells.into_iter().filter(|cell| cell.slot != NONE) {
            let goes = cell.hash << bit >> 31 == 1;
            let to = other.filter(|_| goes).unwrap_or(at);
            self.segments[to].insert(cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        /// With few bits of hash, so that segments fill, wrap around and split unevenly.
        #[test]
        fn as_a_set(steps in prop::collection::vec((any::<bool>(), 0..600u32), 1..3000), weak: bool) {
            let hash = |slot: u32| if weak { u64::from(slot % 7) << 29 } else { mix(u64::from(slot)) };
            let (mut table, mut set) = (Table::default(), HashSet::new());
            for (insert, slot) in steps {
                if insert && set.insert(slot) {
                    table.insert(hash(slot), slot);
                } else if !insert && set.remove(&slot) {
                    table.remove(hash(slot), slot);
                }
            }
            for slot in 0..600 {
                let found = table.find(hash(slot), |there| there == slot);
                prop_assert_eq!(found.is_some(), set.contains(&slot));
            }
        }
    }

    #[test]
    fn one_hash_for_all_still_works() {
        let mut table = Table::default();
        (0..2000).for_each(|slot| table.insert(0xdead_beef, slot));
        assert!((0..2000).all(|slot| table.find(0xdead_beef, |there| there == slot).is_some()));
        assert!(table.bytes() < 200 << 20);
    }
}
