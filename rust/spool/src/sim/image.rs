//! One file of the simulated disk: what programs see, what would survive, and what a power failure makes of both.

use std::collections::{BTreeMap, BTreeSet};

use super::SECTOR;
use super::chance::Chance;

type Sector = [u8; SECTOR];

#[derive(Default)]
pub struct Image {
    pub seen: Vec<u8>,
    pub kept: Vec<u8>,
    /// Every version an unsynced sector had since its last sync.
    pub unsynced: BTreeMap<usize, Vec<Sector>>,
    pub allocated: u64,
    /// Sectors that can no longer be read.
    pub bad: BTreeSet<usize>,
}

impl Image {
    pub fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let version = sector_of(&self.seen, sector);
            self.unsynced.entry(sector).or_default().push(version);
        }
    }

    pub fn keep_sector(&mut self, sector: usize, bytes: &Sector, length: usize) {
        let start = sector * SECTOR;
        if start >= length {
            return;
        }
        let end = (start + SECTOR).min(length);
        if self.kept.len() < end {
            self.kept.resize(end, 0);
        }
        self.kept[start..end].copy_from_slice(&bytes[..end - start]);
    }

    /// Everything seen is kept, but for one sector that may be lost.
    pub fn sync(&mut self, lost: Option<usize>) {
        let length = self.seen.len();
        for sector in std::mem::take(&mut self.unsynced).into_keys() {
            if Some(sector) != lost {
                self.keep_sector(sector, &sector_of(&self.seen, sector), length);
            }
        }
        self.kept.resize(length, 0);
        self.allocated = length as u64;
    }

    /// A sync that failed: a part is on disk, and the cache believes that all of it is.
    pub fn sync_failed(&mut self, chance: &mut Chance) {
        let length = self.seen.len();
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if chance.percent(50) {
                self.keep_sector(sector, &versions[versions.len() - 1], length);
            }
        }
        self.kept.resize(length, 0);
        self.allocated = length as u64;
    }

    /// The power failed.
    pub fn crash(&mut self, chance: &mut Chance, odds: u64) {
        let length = if chance.percent(odds) { self.seen.len() } else { self.kept.len() };
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if chance.percent(odds) {
                let version = versions[chance.below(versions.len() as u64) as usize];
                self.keep_sector(sector, &version, length);
            }
        }
        self.kept.resize(length, 0);
        self.seen.clone_from(&self.kept);
        self.allocated = length as u64;
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> Sector {
    let mut copy = [0; SECTOR];
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(bytes.len());
    if start < end {
        copy[..end - start].copy_from_slice(&bytes[start..end]);
    }
    copy
}
