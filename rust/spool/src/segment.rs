//! One use of a segment file, and the shelf on which all of them stand.
//!
//! A segment is known by family and number; copied segments have the highest bit of the number set, so that one
//! number is enough in a [`Place`]. Whoever reads from a segment holds its `Arc`: while somebody does, the file is not
//! recycled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use angarium_nouns::{Lsn, MessageId, Millis};
use parking_lot::{Mutex, RwLock};

use crate::disk::DiskFile;
use crate::error::ReadError;
use crate::format::{CONTENT_HEADER, FrameHeader, Kind, SEGMENT_HEADER, TRAILER, u32_at};
use crate::place::{COPIED_BIT, Family, Place};

pub struct Segment {
    pub family: Family,
    pub number: u32,
    pub nonce: u64,
    pub size: u32,
    pub file: Arc<dyn DiskFile>,
    /// LSN of the first and last frame; zero when there is none.
    pub first: AtomicU64,
    pub last: AtomicU64,
    /// Where the next frame would stand.
    pub used: AtomicU32,
    /// Frames written, and those of them that are not released.
    pub frames: AtomicU32,
    pub live: AtomicU32,
    pub live_bytes: AtomicU64,
    pub sealed: AtomicBool,
    /// When [`crate::Spool::reclaim`] first saw it sealed; zero before.
    pub sealed_since: AtomicU64,
    /// Journal only: LSNs and offsets, every [`Segment::INDEX_STEP`]. `None`: not read yet.
    pub index: Mutex<Option<Vec<(Lsn, u32)>>>,
}

impl Segment {
    /// Bytes of journal between two entries of the index: a follower reads at most this much for nothing.
    pub const INDEX_STEP: u32 = 64 * 1024;

    pub fn new(family: Family, number: u32, nonce: u64, size: u32, file: Arc<dyn DiskFile>) -> Self {
        Self {
            family,
            number,
            nonce,
            size,
            file,
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            used: AtomicU32::new(SEGMENT_HEADER),
            frames: AtomicU32::new(0),
            live: AtomicU32::new(0),
            live_bytes: AtomicU64::new(0),
            sealed: AtomicBool::new(false),
            sealed_since: AtomicU64::new(0),
            index: Mutex::new(None),
        }
    }

    pub fn name(&self) -> String {
        segment_name(self.family, self.number)
    }

    pub fn last_lsn(&self) -> Lsn {
        Lsn(self.last.load(Ordering::Acquire))
    }

    pub fn first_lsn(&self) -> Lsn {
        Lsn(self.first.load(Ordering::Acquire))
    }

    /// A frame was written (or found) at `offset`.
    pub fn note(&self, lsn: Lsn, offset: u32) {
        let _ = self.first.compare_exchange(0, lsn.0, Ordering::AcqRel, Ordering::Relaxed);
        self.last.store(lsn.0, Ordering::Release);
        self.frames.fetch_add(1, Ordering::Relaxed);
        if self.family == Family::Journal {
            let mut index = self.index.lock();
            let index = index.get_or_insert_default();
            if index.last().is_none_or(|&(_, at)| offset - at >= Self::INDEX_STEP) {
                index.push((lsn, offset));
            }
        }
    }

    /// What a checkpoint knew of a segment that is not walked again.
    pub fn restore(&self, first: Lsn, last: Lsn, used: u32) {
        self.first.store(first.0, Ordering::Release);
        self.last.store(last.0, Ordering::Release);
        self.set_used(used);
    }

    /// Before a walk, which notes every frame anew.
    pub fn forget(&self) {
        self.restore(Lsn(0), Lsn(0), SEGMENT_HEADER);
        self.frames.store(0, Ordering::Release);
        *self.index.lock() = None;
    }

    pub fn set_used(&self, used: u32) {
        self.used.store(used, Ordering::Release);
    }

    pub fn keep(&self, length: u32) {
        self.live.fetch_add(1, Ordering::AcqRel);
        self.live_bytes.fetch_add(u64::from(length), Ordering::AcqRel);
    }

    pub fn release(&self, length: u32) {
        let fewer = |live: u32| live.checked_sub(1);
        if self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer).is_ok() {
            let less = |bytes: u64| Some(bytes.saturating_sub(u64::from(length)));
            let _ = self.live_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        }
    }

    /// First sight of a sealed segment starts its age; returns since when.
    pub fn seen_sealed(&self, now: Millis) -> Millis {
        match self.sealed_since.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => now,
            Err(since) => since,
        }
    }

    /// The payload of the content frame at `place`, verified against header, id and CRC (S6).
    pub fn read(&self, place: Place, id: MessageId) -> Result<Vec<u8>, ReadError> {
        let damaged = |what| ReadError::Damaged { file: self.name(), offset: u64::from(place.offset), what };
        let length = place.length as usize;
        let end = u64::from(place.offset) + (CONTENT_HEADER + length + TRAILER) as u64;
        if end > u64::from(self.size) {
            return Err(damaged("the place reaches beyond the segment"));
        }
        let mut bytes = vec![0; CONTENT_HEADER + length + TRAILER];
        let count = self.file.read_at(&mut bytes, u64::from(place.offset));
        let count = count.map_err(|source| ReadError::Io { file: self.name(), source })?;
        let header = FrameHeader::decode(&bytes, self.family, self.number, place.offset, self.nonce)
            .map_err(|_| damaged("the frame's header is broken"))?;
        if header.kind != Kind::Content || header.id != id || header.length != place.length {
            return Err(damaged("another frame stands there"));
        }
        let sum = u32_at(&bytes, CONTENT_HEADER + length);
        bytes.truncate(CONTENT_HEADER + length);
        bytes.drain(..CONTENT_HEADER);
        if count < CONTENT_HEADER + length + TRAILER || crc32c::crc32c(&bytes) != sum {
            return Err(damaged("the checksum of the payload differs"));
        }
        Ok(bytes)
    }
}

const NAMES: [(Family, &str); 3] =
    [(Family::Content, "content"), (Family::Journal, "journal"), (Family::Copied, "copied")];

pub fn segment_name(family: Family, number: u32) -> String {
    let name = NAMES.iter().find(|row| row.0 == family).map_or("", |row| row.1);
    format!("{name}-{number:08x}.log")
}

pub fn spare_name(number: u32) -> String {
    format!("spare-{number:08x}")
}

/// Family and number of a segment file's name.
pub fn parse_segment_name(name: &str) -> Option<(Family, u32)> {
    let (family, number) = name.strip_suffix(".log")?.split_once('-')?;
    let family = NAMES.iter().find(|row| row.1 == family)?.0;
    let number = parse_number(number)?;
    ((number & COPIED_BIT != 0) == (family == Family::Copied)).then_some((family, number))
}

pub fn parse_spare_name(name: &str) -> Option<u32> {
    parse_number(name.strip_prefix("spare-")?)
}

fn parse_number(text: &str) -> Option<u32> {
    if text.len() == 8 { u32::from_str_radix(text, 16).ok() } else { None }
}

/// All segments in use, by number.
#[derive(Default)]
pub struct Shelf {
    pub content: RwLock<BTreeMap<u32, Arc<Segment>>>,
    pub journal: RwLock<BTreeMap<u32, Arc<Segment>>>,
}

impl Shelf {
    pub fn of(&self, family: Family) -> &RwLock<BTreeMap<u32, Arc<Segment>>> {
        if family == Family::Journal { &self.journal } else { &self.content }
    }

    pub fn put(&self, segment: &Arc<Segment>) {
        self.of(segment.family).write().insert(segment.number, segment.clone());
    }

    pub fn content(&self, number: u32) -> Option<Arc<Segment>> {
        self.content.read().get(&number).cloned()
    }

    pub fn list(&self, family: Family) -> Vec<Arc<Segment>> {
        self.of(family).read().values().filter(|segment| segment.family == family).cloned().collect()
    }

    pub fn is_first(&self, segment: &Segment) -> bool {
        self.of(segment.family).read().first_key_value().is_some_and(|(&number, _)| number == segment.number)
    }

    /// Takes a segment off the shelf if nobody but the shelf (and the caller's own `Arc`) holds it.
    pub fn take_if_unread(&self, segment: &Arc<Segment>) -> bool {
        let mut shelf = self.of(segment.family).write();
        // The shelf's own and the caller's.
        let free = Arc::strong_count(segment) <= 2;
        free && shelf.remove(&segment.number).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (family, number) in [(Family::Content, 7), (Family::Journal, 0x7fff_ffff), (Family::Copied, COPIED_BIT | 1)]
        {
            assert_eq!(parse_segment_name(&segment_name(family, number)), Some((family, number)));
        }
        for wrong in
            ["content-7.log", "copied-00000001.log", "content-80000001.log", "spare-00000001", "x-00000001.log"]
        {
            assert_eq!(parse_segment_name(wrong), None, "{wrong}");
        }
        assert_eq!(parse_spare_name(&spare_name(258)), Some(258));
    }
}
