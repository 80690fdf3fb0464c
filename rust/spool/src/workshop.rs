//! Where segment files are made, made ready, and taken back.
//!
//! A file begins as a spare: its full size written with zeros and synced, so that later writes need no room (S4).
//! Making it ready writes a header with a fresh nonce, syncs, gives it its name, syncs the folder; only then a log may
//! use it. All of that happens ahead of need; a committer that finds nothing ready does it itself.
//! A number of spares is reserved: when the disk is full, only facts, copies and reports may use them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use angarium_nouns::Lsn;
use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, Site};
use crate::error::CommitError;
use crate::format::SegmentHeader;
use crate::place::{COPIED_BIT, Family};
use crate::segment::{Segment, Shelf, segment_name, spare_name};
use crate::settings::SpoolSettings;

/// Recycled files kept beyond the reserve; more are removed. Half a gibibyte at the default size.
const SPARES_KEPT: usize = 8;

struct Spare {
    number: u32,
    file: Arc<dyn DiskFile>,
}

#[derive(Default)]
struct Bench {
    spares: Vec<Spare>,
    ready: [VecDeque<Arc<Segment>>; 3],
    next_number: [u32; 3],
    next_spare: u32,
}

pub struct Workshop {
    disk: Arc<dyn Disk>,
    settings: SpoolSettings,
    spool: u128,
    epoch: u32,
    next_lsn: Arc<AtomicU64>,
    bench: Mutex<Bench>,
    /// One maker at a time, so that a committer in need waits for what is nearly done instead of beginning anew.
    at_work: Mutex<()>,
    /// The last attempt to make a file failed for want of room.
    full: AtomicBool,
    pub recycled: AtomicU64,
    pub late: AtomicU64,
}

/// What a log may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// New mail: never from the reserve.
    Mail,
    /// Facts, copies, reports.
    Reserve,
}

impl Workshop {
    pub fn new(
        disk: Arc<dyn Disk>,
        settings: SpoolSettings,
        spool: u128,
        epoch: u32,
        next_lsn: Arc<AtomicU64>,
    ) -> Self {
        let bench = Bench { next_number: [1, 1, COPIED_BIT | 1], next_spare: 1, ..Bench::default() };
        Self {
            disk,
            settings,
            spool,
            epoch,
            next_lsn,
            bench: Mutex::new(bench),
            at_work: Mutex::new(()),
            full: AtomicBool::new(false),
            recycled: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    /// At start: a spare that was found, of full size.
    pub fn adopt_spare(&self, number: u32, file: Arc<dyn DiskFile>) {
        let mut bench = self.bench.lock();
        bench.next_spare = bench.next_spare.max(number + 1);
        bench.spares.push(Spare { number, file });
    }

    /// At start: numbers up to this one were used.
    pub fn number_seen(&self, family: Family, number: u32) {
        let next = &mut self.bench.lock().next_number[slot(family)];
        *next = (*next).max(number + 1);
    }

    pub fn segment_size(&self) -> u32 {
        self.settings.segment_size
    }

    /// Segments taken for a group that did not come about.
    pub fn give_back(&self, segments: Vec<Arc<Segment>>, shelf: &Shelf) {
        let mut bench = self.bench.lock();
        for segment in segments.into_iter().rev() {
            shelf.of(segment.family).write().remove(&segment.number);
            bench.ready[slot(segment.family)].push_front(segment);
        }
    }

    pub fn spares(&self) -> usize {
        self.bench.lock().spares.len()
    }

    /// True when new mail must be refused: no room could be made, and the reserve is not whole.
    pub fn refuses_mail(&self) -> bool {
        self.full.load(Ordering::Acquire) && self.spares() < self.settings.reserved
    }

    /// A segment for a log to write to: a ready one, or one made on the spot.
    pub fn take(&self, family: Family, claim: Claim, shelf: &Shelf) -> Result<Arc<Segment>, CommitError> {
        if claim == Claim::Mail && self.refuses_mail() {
            return Err(CommitError::Full);
        }
        let segment = match self.pop_ready(family) {
            Some(segment) => segment,
            None => self.take_late(family, claim)?,
        };
        shelf.put(&segment);
        if let Some(wake) = &self.settings.wake {
            wake();
        }
        Ok(segment)
    }

    fn take_late(&self, family: Family, claim: Claim) -> Result<Arc<Segment>, CommitError> {
        let _at_work = self.at_work.lock();
        if let Some(segment) = self.pop_ready(family) {
            return Ok(segment);
        }
        self.late.fetch_add(1, Ordering::Relaxed);
        self.make_ready(family, claim).map_err(|error| {
            if is_full(&error) { CommitError::Full } else { CommitError::Fault(format!("segment: {error}").into()) }
        })
    }

    fn pop_ready(&self, family: Family) -> Option<Arc<Segment>> {
        self.bench.lock().ready[slot(family)].pop_front()
    }

    /// One step ahead of need. `true`: there is more to do. Errors are kept as fullness or surface at the next commit.
    pub fn step(&self, copying: bool) -> bool {
        let _at_work = self.at_work.lock();
        let (journal, content, copied, spares) = {
            let bench = self.bench.lock();
            let ready = |family| bench.ready[slot(family)].len();
            (ready(Family::Journal), ready(Family::Content), ready(Family::Copied), bench.spares.len())
        };
        // One of each before the reserve, the reserve before plenty.
        match () {
            () if journal < 1 => self.ready_ahead(Family::Journal, Claim::Reserve),
            () if content < 1 => self.ready_ahead(Family::Content, Claim::Mail),
            () if spares < self.settings.reserved => self.refill_reserve(),
            () if content < self.settings.ready => self.ready_ahead(Family::Content, Claim::Mail),
            () if copying && copied < 1 => self.ready_ahead(Family::Copied, Claim::Reserve),
            () => false,
        }
    }

    /// Needs `at_work`.
    fn ready_ahead(&self, family: Family, claim: Claim) -> bool {
        let Ok(segment) = self.make_ready(family, claim) else { return false };
        self.bench.lock().ready[slot(family)].push_back(segment);
        true
    }

    fn refill_reserve(&self) -> bool {
        match self.make_spare() {
            Ok(spare) => {
                self.bench.lock().spares.push(spare);
                true
            }
            Err(_) => false,
        }
    }

    /// Needs `at_work`.
    fn make_ready(&self, family: Family, claim: Claim) -> io::Result<Arc<Segment>> {
        let spare = self.find_spare(claim)?;
        // Taken only at the end: numbers of a log have no holes, so a missing segment is seen as missing.
        let number = self.bench.lock().next_number[slot(family)];
        let nonce = self.disk.random()?;
        let header = SegmentHeader {
            family,
            number,
            size: self.settings.segment_size,
            epoch: self.epoch,
            spool: self.spool,
            nonce,
            first: Lsn(self.next_lsn.load(Ordering::Acquire)),
        };
        write_all(&*spare.file, &header.encode(), 0)?;
        spare.file.sync(Site::SegmentHeader)?;
        self.disk.rename(&spare_name(spare.number), &segment_name(family, number))?;
        self.disk.sync_folder("", Site::SegmentFolder)?;
        self.bench.lock().next_number[slot(family)] += 1;
        Ok(Arc::new(Segment::new(family, number, nonce, self.settings.segment_size, spare.file)))
    }

    /// A spare beyond the reserve, else a new file, else (where the claim allows) one of the reserve.
    fn find_spare(&self, claim: Claim) -> io::Result<Spare> {
        {
            let mut bench = self.bench.lock();
            if bench.spares.len() > self.settings.reserved {
                return bench.spares.pop().ok_or_else(|| io::ErrorKind::NotFound.into());
            }
        }
        match self.make_spare() {
            Err(error) if is_full(&error) && claim == Claim::Reserve => self.bench.lock().spares.pop().ok_or(error),
            made => made,
        }
    }

    fn make_spare(&self) -> io::Result<Spare> {
        let number = {
            let mut bench = self.bench.lock();
            bench.next_spare += 1;
            bench.next_spare - 1
        };
        let name = spare_name(number);
        let made = self.zero_file(&name);
        self.full.store(made.as_ref().is_err_and(is_full), Ordering::Release);
        match made {
            Ok(file) => Ok(Spare { number, file }),
            Err(error) => {
                let _ = self.disk.unlink(&name);
                Err(error)
            }
        }
    }

    fn zero_file(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let size = u64::from(self.settings.segment_size);
        if self.disk.free_bytes()? < size + self.settings.free_floor {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.disk.create(name)?;
        file.fill_with_zeros(size)?;
        file.sync(Site::SegmentZeros)?;
        self.disk.sync_folder("", Site::SpareFolder)?;
        Ok(file)
    }

    /// Takes a file back. Its name is a spare's, durably, before anybody may write a new header into it.
    pub fn retire(&self, segment: &Segment) -> io::Result<()> {
        let _at_work = self.at_work.lock();
        if self.spares() >= self.settings.reserved + SPARES_KEPT || segment.size != self.settings.segment_size {
            return self.disk.unlink(&segment.name());
        }
        let number = {
            let mut bench = self.bench.lock();
            bench.next_spare += 1;
            bench.next_spare - 1
        };
        self.disk.rename(&segment.name(), &spare_name(number))?;
        self.disk.sync_folder("", Site::RetireFolder)?;
        self.recycled.fetch_add(1, Ordering::Relaxed);
        let mut bench = self.bench.lock();
        bench.spares.push(Spare { number, file: segment.file.clone() });
        if bench.spares.len() > self.settings.reserved {
            self.full.store(false, Ordering::Release);
        }
        Ok(())
    }
}

fn slot(family: Family) -> usize {
    family as usize - 1
}

pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes all of `bytes` or fails: a short write is an error (S5).
pub fn write_all(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let written = file.write_at(&[IoSlice::new(bytes)], offset)?;
    if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
