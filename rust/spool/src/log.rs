//! The end of one log: where a group becomes durable.
//!
//! A group is written with one `pwritev` and one sync, padded to 4 KiB; LSNs are given here and nowhere else. After a
//! failed or short write, a failed sync, or a panic between the two, the group is refused and the log takes nothing
//! more (S5). Payload checksums come from the caller; only headers are summed here.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use angarium_nouns::{Lsn, MessageId};
use parking_lot::Mutex;

use crate::disk::{MAX_BUFFERS, Site};
use crate::error::CommitError;
use crate::format::{BLOCK, FrameHeader, Kind, SEGMENT_HEADER};
use crate::place::{Family, Place};
use crate::segment::{Segment, Shelf};
use crate::workshop::{Claim, Workshop};

/// Parts shorter than this are copied next to the headers: cheaper than a buffer of their own in the write.
const COPY_BELOW: usize = 1024;

/// One frame to write, of either log.
pub struct Item<'a> {
    pub kind: Kind,
    pub id: MessageId,
    pub chunk: u32,
    pub copy: u32,
    pub parts: &'a [&'a [u8]],
    pub payload_crc: u32,
}

impl Item<'_> {
    fn payload_len(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }
}

/// What was written: the first LSN, and the offset of each frame with its segment.
pub struct Written {
    pub first: Lsn,
    pub places: Vec<Place>,
}

#[derive(Default)]
struct End {
    segment: Option<Arc<Segment>>,
    offset: u32,
    /// The segment came when the disk was full, for those who may use the reserve.
    reserved: bool,
    /// Set while a group is being written: found set by the next one, it means a panic.
    in_flight: bool,
    scratch: Vec<u8>,
}

impl End {
    fn turn_to(&mut self, segment: Arc<Segment>, reserved: bool) {
        if let Some(old) = self.segment.replace(segment) {
            old.sealed.store(true, Ordering::Release);
        }
        self.offset = SEGMENT_HEADER;
        self.reserved = reserved;
    }
}

pub struct Log {
    family: Family,
    site: Site,
    end: Mutex<End>,
    durable: AtomicU64,
    faulty: AtomicBool,
    why: Mutex<Option<Arc<str>>>,
    pub groups: AtomicU64,
    pub frames: AtomicU64,
    pub bytes: AtomicU64,
}

/// What every log needs to write.
pub struct Means<'a> {
    pub workshop: &'a Workshop,
    pub shelf: &'a Shelf,
    pub next_lsn: &'a AtomicU64,
}

enum Piece<'a> {
    Scratch(Range<usize>),
    Part(&'a [u8]),
}

impl Log {
    pub fn new(family: Family) -> Self {
        let site = match family {
            Family::Content => Site::ContentCommit,
            Family::Journal => Site::JournalCommit,
            Family::Copied => Site::CopyCommit,
        };
        Self {
            family,
            site,
            end: Mutex::default(),
            durable: AtomicU64::new(0),
            faulty: AtomicBool::new(false),
            why: Mutex::new(None),
            groups: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// At start: goes on behind what was recovered.
    pub fn resume(&self, segment: Arc<Segment>, offset: u32, durable: Lsn) {
        let mut end = self.end.lock();
        end.offset = offset.next_multiple_of(BLOCK);
        end.segment = Some(segment);
        self.durable.store(durable.0, Ordering::Release);
    }

    pub fn set_durable(&self, durable: Lsn) {
        self.durable.store(durable.0, Ordering::Release);
    }

    pub fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    pub fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::Acquire)
    }

    /// S5: latched until the process ends.
    pub fn fault(&self, why: &str) -> CommitError {
        let why: Arc<str> = why.into();
        let first = self.why.lock().get_or_insert(why).clone();
        self.faulty.store(true, Ordering::Release);
        CommitError::Fault(first)
    }

    fn check(&self) -> Result<(), CommitError> {
        if !self.is_faulty() {
            return Ok(());
        }
        let why = self.why.lock().clone();
        Err(CommitError::Fault(why.unwrap_or_else(|| "unknown".into())))
    }

    /// The segment being written to; it is not sealed.
    pub fn current(&self) -> Option<Arc<Segment>> {
        self.end.lock().segment.clone()
    }

    /// Writes one group.
    pub fn commit(&self, means: &Means<'_>, items: &[Item<'_>], claim: Claim) -> Result<Written, CommitError> {
        let mut end = self.end.lock();
        self.check()?;
        if std::mem::replace(&mut end.in_flight, true) {
            return Err(self.fault("a commit was broken off by a panic"));
        }
        let result = self.commit_runs(&mut end, means, items, claim);
        end.in_flight = false;
        result
    }

    fn commit_runs(
        &self,
        end: &mut End,
        means: &Means<'_>,
        items: &[Item<'_>],
        claim: Claim,
    ) -> Result<Written, CommitError> {
        if end.reserved && claim == Claim::Mail && means.workshop.refuses_mail() {
            return Err(CommitError::Full);
        }
        let size = means.workshop.segment_size();
        let runs = self.split(items, size, end)?;
        let mut fresh = self.take_segments(means, &runs, claim)?.into_iter();
        let first = means.next_lsn.fetch_add(items.len() as u64, Ordering::AcqRel);
        let mut written = Written { first: Lsn(first), places: Vec::with_capacity(items.len()) };
        for run in runs {
            if run.fresh
                && let Some(segment) = fresh.next()
            {
                end.turn_to(segment, claim == Claim::Reserve && means.workshop.refuses_mail());
            }
            let lsn = Lsn(first + run.items.start as u64);
            self.write_run(end, &items[run.items], lsn, &mut written.places)?;
        }
        Ok(written)
    }

    /// Cuts the group where a segment ends. Nearly always one run; more only when the group is larger than a segment.
    fn split(&self, items: &[Item<'_>], size: u32, end: &End) -> Result<Vec<Run>, CommitError> {
        let limit = u64::from(size - SEGMENT_HEADER);
        let lengths: Vec<u64> = items.iter().map(|item| self.family.frame_len(item.payload_len())).collect();
        if let Some(&length) = lengths.iter().find(|&&length| length > limit) {
            return Err(CommitError::TooLarge { length, limit });
        }
        let room = end.segment.as_ref().map_or(0, |segment| u64::from(segment.size.saturating_sub(end.offset)));
        if lengths.iter().sum::<u64>() <= room {
            return Ok(vec![Run { items: 0..items.len(), fresh: false }]);
        }
        let mut runs = vec![Run { items: 0..0, fresh: true }];
        let mut used = 0;
        for (i, length) in lengths.into_iter().enumerate() {
            if used + length > limit {
                runs.push(Run { items: i..i, fresh: true });
                used = 0;
            }
            used += length;
            if let Some(run) = runs.last_mut() {
                run.items.end = i + 1;
            }
        }
        Ok(runs)
    }

    /// All segments a group needs, before its first byte is written: a full disk refuses it whole.
    fn take_segments(&self, means: &Means<'_>, runs: &[Run], claim: Claim) -> Result<Vec<Arc<Segment>>, CommitError> {
        let mut taken = Vec::new();
        for _ in runs.iter().filter(|run| run.fresh) {
            match means.workshop.take(self.family, claim, means.shelf) {
                Ok(segment) => taken.push(segment),
                Err(error) => {
                    means.workshop.give_back(taken, means.shelf);
                    return Err(if let CommitError::Fault(why) = &error { self.fault(why) } else { error });
                }
            }
        }
        Ok(taken)
    }

    fn write_run(
        &self,
        end: &mut End,
        items: &[Item<'_>],
        first: Lsn,
        places: &mut Vec<Place>,
    ) -> Result<(), CommitError> {
        let Some(segment) = end.segment.clone() else { return Err(self.fault("no segment")) };
        let start = end.offset;
        let pieces = self.lay_out(&mut end.scratch, &segment, start, items, first, places);
        let slices: Vec<IoSlice<'_>> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Scratch(range) => IoSlice::new(&end.scratch[range.clone()]),
                Piece::Part(part) => IoSlice::new(part),
            })
            .collect();
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        match segment.file.write_at(&slices, u64::from(start)) {
            Ok(written) if written == total => {}
            Ok(_) => return Err(self.fault("a write was cut short")),
            Err(error) => return Err(self.fault(&format!("a write failed: {error}"))),
        }
        if let Err(error) = segment.file.sync(self.site) {
            return Err(self.fault(&format!("a sync failed: {error}")));
        }
        end.offset = start + total as u32;
        self.account(&segment, end.offset, first, total as u64, &places[places.len() - items.len()..]);
        Ok(())
    }

    /// Headers, checksums, short parts and padding go into `scratch`; long parts stay where they are.
    fn lay_out<'a>(
        &self,
        scratch: &mut Vec<u8>,
        segment: &Segment,
        start: u32,
        items: &[Item<'a>],
        first: Lsn,
        places: &mut Vec<Place>,
    ) -> Vec<Piece<'a>> {
        scratch.clear();
        let mut pieces = Vec::with_capacity(MAX_BUFFERS.min(2 * items.len() + 1));
        let durable = self.durable();
        let (mut offset, mut open) = (start, 0);
        for (i, item) in items.iter().enumerate() {
            let payload = item.payload_len();
            let header = FrameHeader {
                kind: item.kind,
                length: payload as u32,
                nonce: segment.nonce,
                lsn: Lsn(first.0 + i as u64),
                durable,
                id: item.id,
                chunk: item.chunk,
                copy: item.copy,
            };
            header.encode(self.family, segment.number, offset, scratch);
            for &part in item.parts {
                if part.len() < COPY_BELOW || pieces.len() + 3 > MAX_BUFFERS {
                    scratch.extend_from_slice(part);
                } else {
                    pieces.push(Piece::Scratch(open..scratch.len()));
                    open = scratch.len();
                    pieces.push(Piece::Part(part));
                }
            }
            scratch.extend_from_slice(&item.payload_crc.to_le_bytes());
            places.push(Place { segment: segment.number, offset, length: payload as u32 });
            let length = self.family.frame_len(payload);
            let written = self.family.header_len() as u64 + payload + 4;
            scratch.resize(scratch.len() + (length - written) as usize, 0);
            offset += length as u32;
        }
        let padding = offset.next_multiple_of(BLOCK) - offset;
        scratch.resize(scratch.len() + padding as usize, 0);
        pieces.push(Piece::Scratch(open..scratch.len()));
        pieces
    }

    fn account(&self, segment: &Segment, end: u32, first: Lsn, bytes: u64, places: &[Place]) {
        for (i, place) in places.iter().enumerate() {
            segment.note(Lsn(first.0 + i as u64), place.offset);
            if self.family != Family::Journal {
                segment.keep(place.length);
            }
        }
        segment.used.store(end, Ordering::Release);
        self.durable.store(first.0 + places.len() as u64 - 1, Ordering::Release);
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.frames.fetch_add(places.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Items that go into one segment with one write.
struct Run {
    items: Range<usize>,
    /// Begins a new segment.
    fresh: bool,
}
