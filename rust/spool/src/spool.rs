//! The open spool: commit, read, release, reclaim. Every method takes `&self`; content, copies and journal have a
//! lock each, so that three threads may commit at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use angarium_nouns::{Lsn, MessageId, Millis};
use parking_lot::Mutex;

use crate::body::{BodyFile, BodyReader, BodyWriter, body_path, is_body_name};
use crate::checkpoint::{CheckpointWriter, Head, Position, References, Row, checkpoint_name};
use crate::disk::{Disk, DiskLock};
use crate::error::{CheckpointError, CommitError, ReadError, SpoolError};
use crate::format::{JournalPrefix, Kind, SEGMENT_HEADER};
use crate::journal;
use crate::log::{Item, Log, Means};
use crate::mend::Resume;
use crate::place::{COPIED_BIT, ContentRef, Family, Frame, Group, JournalFrame, Marks, Place};
use crate::recovery::{FAMILIES, Recovery};
use crate::segment::{Segment, Shelf, segment_name};
use crate::settings::SpoolSettings;
use crate::walk::{Step, Walk};
use crate::workshop::{Claim, Workshop};

/// Segments recycled by one call of [`Spool::reclaim`]: each is a rename and a sync of the folder.
const RECLAIM_STEP: usize = 8;
/// A sealed segment with less than one part in this many of its bytes live is worth copying.
const SPARSE: u64 = 4;

/// A sealed segment that is mostly dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyCandidate {
    pub segment: u32,
    pub live_frames: u32,
    pub live_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolStats {
    pub content_segments: u32,
    pub copied_segments: u32,
    pub journal_segments: u32,
    pub spare_segments: u32,
    /// Bytes of all segment files in use.
    pub segment_bytes: u64,
    pub live_frames: u64,
    pub live_bytes: u64,
    pub body_files_made: u64,
    pub content_groups: u64,
    pub content_frames: u64,
    pub content_bytes: u64,
    pub journal_groups: u64,
    pub journal_bytes: u64,
    pub copied_frames: u64,
    pub segments_recycled: u64,
    /// Segments a committer had to make itself because none was ready.
    pub segments_late: u64,
    pub checkpoints: u64,
    pub content_fault: bool,
    pub journal_fault: bool,
    pub full: bool,
}

/// When the marks last moved, and which of them stand in the journal.
#[derive(Default)]
struct Rest {
    seen: Marks,
    since: Option<Millis>,
    written: Marks,
}

/// What the open spool and its writers share.
pub struct Shared {
    pub disk: Arc<dyn Disk>,
    pub bodies_made: AtomicU64,
    /// Bytes that the last body found no room for; 0: they find it.
    pub bodies_short: AtomicU64,
    settings: SpoolSettings,
    id: u128,
    epoch: u32,
    next_lsn: Arc<AtomicU64>,
    shelf: Shelf,
    workshop: Workshop,
    content: Log,
    journal: Log,
    copied: Log,
    rest: Mutex<Rest>,
    /// The two newest checkpoints, oldest first.
    references: Mutex<VecDeque<References>>,
    next_checkpoint: AtomicU64,
    checkpoints: AtomicU64,
    /// Copies were made in this run: keep a segment for them ready.
    copying: AtomicBool,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

impl Shared {
    pub(crate) fn assemble(recovery: Recovery, resumes: Vec<Resume>) -> Result<Self, CommitError> {
        let next_lsn = Arc::new(AtomicU64::new(recovery.highest.0 + 1));
        let identity = recovery.identity;
        let (disk, settings) = (recovery.disk, recovery.settings);
        let workshop = Workshop::new(disk.clone(), settings.clone(), identity.spool, identity.epoch, next_lsn.clone());
        for (number, file) in recovery.spares {
            workshop.adopt_spare(number, file);
        }
        for family in FAMILIES {
            for segment in recovery.shelf.list(family) {
                workshop.number_seen(family, segment.number);
            }
        }
        let newest = recovery.references.first().map_or(0, |references| references.sequence);
        let shared = Self {
            disk,
            bodies_made: AtomicU64::new(0),
            bodies_short: AtomicU64::new(0),
            settings,
            id: identity.spool,
            epoch: identity.epoch,
            next_lsn,
            shelf: recovery.shelf,
            workshop,
            content: Log::new(Family::Content),
            journal: Log::new(Family::Journal),
            copied: Log::new(Family::Copied),
            rest: Mutex::default(),
            references: Mutex::new(recovery.references.into_iter().rev().collect()),
            next_checkpoint: AtomicU64::new(newest + 1),
            checkpoints: AtomicU64::new(0),
            copying: AtomicBool::new(false),
            lock: Mutex::new(Some(recovery.lock)),
        };
        shared.resume(resumes)?;
        Ok(shared)
    }

    fn resume(&self, resumes: Vec<Resume>) -> Result<(), CommitError> {
        for (family, resume) in FAMILIES.into_iter().zip(resumes) {
            let log = self.log(family);
            match resume.segment {
                Some(segment) => log.resume(segment, resume.offset, resume.durable),
                None => log.set_durable(resume.durable),
            }
        }
        // The new epoch stands in the journal before anything else of it does.
        self.write_marks(Kind::Mark)
    }

    pub fn log(&self, family: Family) -> &Log {
        match family {
            Family::Content => &self.content,
            Family::Journal => &self.journal,
            Family::Copied => &self.copied,
        }
    }

    fn means(&self) -> Means<'_> {
        Means { workshop: &self.workshop, shelf: &self.shelf, next_lsn: &self.next_lsn }
    }

    pub fn durable(&self) -> Marks {
        Marks { content: self.content.durable(), journal: self.journal.durable(), copied: self.copied.durable() }
    }

    pub fn fault(&self, family: Family, why: &str) -> CommitError {
        self.log(family).fault(why)
    }

    fn prefix(&self) -> [u8; crate::format::JOURNAL_PREFIX] {
        JournalPrefix { content: self.content.durable(), copied: self.copied.durable(), epoch: self.epoch }.encode()
    }

    fn write_journal(&self, kind: Kind, payload: &[u8]) -> Result<Lsn, CommitError> {
        let prefix = self.prefix();
        let payload_crc = crc32c::crc32c_append(crc32c::crc32c(&prefix), payload);
        let parts = [&prefix[..], payload];
        let item = Item { kind, id: MessageId::default(), chunk: 0, copy: 0, parts: &parts, payload_crc };
        self.journal.commit(&self.means(), &[item], Claim::Reserve).map(|written| written.first)
    }

    fn write_marks(&self, kind: Kind) -> Result<(), CommitError> {
        let marks = self.durable();
        self.write_journal(kind, &[])?;
        self.rest.lock().written = marks;
        Ok(())
    }

    fn write_content(&self, family: Family, frames: &[Frame<'_>], claim: Claim) -> Result<Group, CommitError> {
        if frames.is_empty() {
            return Ok(Group { first: self.log(family).durable(), places: Vec::new() });
        }
        let items: Vec<Item<'_>> = frames.iter().map(item_of).collect();
        let written = self.log(family).commit(&self.means(), &items, claim)?;
        Ok(Group { first: written.first, places: written.places })
    }

    /// Keeps the two newest; the one before them goes.
    pub fn checkpoint_published(&self, references: References) {
        let mut kept = self.references.lock();
        kept.push_back(references);
        while kept.len() > 2 {
            if let Some(old) = kept.pop_front() {
                let _ = self.disk.unlink(&checkpoint_name(old.sequence));
            }
        }
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    /// Where replay of a log begins when everything up to `lsn` is applied.
    fn position(&self, family: Family, lsn: Lsn) -> Position {
        // The current segment first: one that begins later holds later frames only.
        let current = self.log(family).current().map(|segment| segment.number);
        let segments = self.shelf.list(family);
        let later = segments.iter().find(|segment| segment.last_lsn() > lsn).map(|segment| segment.number);
        let last = segments.last().map(|segment| segment.number);
        let number = [later, current].into_iter().flatten().min().or(last).unwrap_or(0);
        Position { lsn, segment: number }
    }
}

fn item_of<'a>(frame: &Frame<'a>) -> Item<'a> {
    Item {
        kind: Kind::Content,
        id: frame.id,
        chunk: frame.chunk,
        copy: frame.copy,
        parts: frame.parts,
        payload_crc: frame.payload_crc,
    }
}

/// The open spool.
pub struct Spool {
    shared: Arc<Shared>,
}

impl Spool {
    /// Locks the folder (makes what is missing) and reads headers; then replay with [`Recovery::next`].
    pub fn open(disk: Arc<dyn Disk>, settings: SpoolSettings) -> Result<Recovery, SpoolError> {
        Recovery::open(disk, settings)
    }

    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Identity of this spool, for cursors.
    pub fn id(&self) -> u128 {
        self.shared.id
    }

    pub fn epoch(&self) -> u32 {
        self.shared.epoch
    }

    /// The largest payload that [`Spool::commit_content`] takes.
    pub fn max_payload(&self) -> usize {
        let overhead = Family::Content.frame_len(0) as usize + Family::Content.alignment() as usize;
        (self.shared.settings.segment_size - SEGMENT_HEADER) as usize - overhead
    }

    /// Writes new mail with one write and one fdatasync. `Full` when only the reserve is left.
    pub fn commit_content(&self, frames: &[Frame<'_>]) -> Result<Group, CommitError> {
        self.shared.write_content(Family::Content, frames, Claim::Mail)
    }

    /// The same for what must go on when the disk is full (bounces, successors): may use the reserve.
    pub fn commit_reserved(&self, frames: &[Frame<'_>]) -> Result<Group, CommitError> {
        self.shared.write_content(Family::Content, frames, Claim::Reserve)
    }

    /// Copies of open messages (`copy` one higher) into the copied family.
    pub fn commit_copies(&self, frames: &[Frame<'_>]) -> Result<Group, CommitError> {
        self.shared.copying.store(true, Ordering::Relaxed);
        self.shared.write_content(Family::Copied, frames, Claim::Reserve)
    }

    /// One group of facts; durable when this returns.
    pub fn commit_journal(&self, payload: &[u8]) -> Result<Lsn, CommitError> {
        let marks = self.shared.durable();
        let lsn = self.shared.write_journal(Kind::Facts, payload)?;
        let mut rest = self.shared.rest.lock();
        rest.written.content = rest.written.content.max(marks.content);
        rest.written.copied = rest.written.copied.max(marks.copied);
        Ok(lsn)
    }

    pub fn durable(&self) -> Marks {
        self.shared.durable()
    }

    /// Call every few milliseconds when idle: after `rest` without a commit the marks are written down once.
    pub fn write_mark_if_rested(&self, now: Millis) -> Result<(), CommitError> {
        let marks = self.shared.durable();
        {
            let mut rest = self.shared.rest.lock();
            if rest.seen != marks || rest.since.is_none() {
                rest.seen = marks;
                rest.since = Some(now);
            }
            let since = rest.since.unwrap_or(now);
            if rest.written.covers(marks) || now.saturating_sub(since) < self.shared.settings.rest {
                return Ok(());
            }
        }
        self.shared.write_marks(Kind::Mark)?;
        // The mark's own LSN needs no mark: it holds no fact.
        let marks = self.shared.durable();
        let mut rest = self.shared.rest.lock();
        rest.written.journal = marks.journal;
        Ok(())
    }

    /// False while new mail would get [`CommitError::Full`] or `Fault`. Cheap: for MAIL.
    pub fn takes_mail(&self) -> bool {
        let shared = &self.shared;
        !shared.content.is_faulty() && !shared.journal.is_faulty() && !shared.workshop.refuses_mail()
    }

    /// Latches a log as faulty (S5: also for a panic of whoever commits to it).
    pub fn fault(&self, family: Family, why: &str) {
        let _ = self.shared.fault(family, why);
    }

    pub fn is_faulty(&self, family: Family) -> bool {
        self.shared.log(family).is_faulty()
    }

    /// The whole payload, verified.
    pub fn read(&self, place: Place, id: MessageId) -> Result<Vec<u8>, ReadError> {
        self.segment(place.segment)?.read(place, id)
    }

    fn segment(&self, number: u32) -> Result<Arc<Segment>, ReadError> {
        let family = if number & COPIED_BIT == 0 { Family::Content } else { Family::Copied };
        self.shared.shelf.content(number).ok_or_else(|| ReadError::Gone { file: segment_name(family, number) })
    }

    pub fn new_body(&self, id: MessageId) -> Result<BodyWriter, CommitError> {
        if self.shared.workshop.refuses_mail() {
            return Err(CommitError::Full);
        }
        let number = self.shared.bodies_made.fetch_add(1, Ordering::Relaxed);
        BodyWriter::new(self.shared.clone(), format!("{id}-{:x}-{number:x}", self.shared.epoch))
    }

    /// Less than so many bytes are free for new files, or the last one found no room.
    pub fn is_short_of_room(&self, below: u64) -> bool {
        self.shared.workshop.refuses_mail() || self.shared.disk.free_bytes().is_ok_and(|free| free < below)
    }

    /// A body with a file of its own found no room, and there is still none for one as large (S4). Heals by itself.
    pub fn is_short_of_bodies(&self) -> bool {
        let short = self.shared.bodies_short.load(Ordering::Relaxed);
        if short == 0 {
            return false;
        }
        let healed = self.shared.disk.free_bytes().is_ok_and(|free| free >= short);
        if healed {
            self.shared.bodies_short.store(0, Ordering::Relaxed);
        }
        !healed
    }

    pub fn read_body(&self, file: &BodyFile) -> Result<BodyReader, ReadError> {
        let path = body_path(&file.name);
        if !is_body_name(&file.name) {
            return Err(ReadError::Gone { file: path });
        }
        match self.shared.disk.open(&path) {
            Ok(opened) => Ok(BodyReader::new(opened, file.clone())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(ReadError::Gone { file: path }),
            Err(source) => Err(ReadError::Io { file: path, source }),
        }
    }

    /// The message is closed and the fact that closes it is durable. A file that stays behind after a crash is removed
    /// by the next recovery.
    pub fn remove_body(&self, name: &str) {
        if is_body_name(name) {
            let _ = self.shared.disk.unlink(&body_path(name));
        }
    }

    /// The message at this place is closed (its closing fact durable) or was copied forward (its copy durable).
    pub fn release(&self, place: Place) {
        if let Some(segment) = self.shared.shelf.content(place.segment) {
            segment.release(place.length);
        }
    }

    /// Keeps the segment of a place from being recycled for as long as the claim lives: a follower that reads content, a
    /// legal hold.
    pub fn claim(&self, place: Place) -> Result<SegmentClaim, ReadError> {
        Ok(SegmentClaim { _segment: self.segment(place.segment)? })
    }

    /// Up to `limit` durable groups of facts with LSN above `after`.
    pub fn read_journal(&self, after: Lsn, limit: usize) -> Result<Vec<JournalFrame>, ReadError> {
        journal::read(&self.shared.shelf, after, self.shared.journal.durable(), limit)
    }

    /// Makes and readies segments ahead of need; one bounded step (at most one file). True when more is wanted.
    pub fn prepare(&self) -> bool {
        self.shared.workshop.step(self.shared.copying.load(Ordering::Relaxed))
    }

    /// Recycles what nothing needs, a bounded number per call; returns how many. `journal_floor`: the oldest LSN that
    /// retention, followers or open content want to keep.
    pub fn reclaim(&self, now: Millis, journal_floor: Lsn) -> usize {
        let shared = &self.shared;
        let mut done = 0;
        for family in FAMILIES {
            for segment in shared.shelf.list(family) {
                if done == RECLAIM_STEP {
                    return done;
                }
                if !segment.sealed.load(Ordering::Acquire) {
                    continue;
                }
                segment.seen_sealed(now);
                if self.is_needed(&segment, journal_floor) || !shared.shelf.take_if_unread(&segment) {
                    continue;
                }
                done += usize::from(shared.workshop.retire(&segment).is_ok());
            }
        }
        done
    }

    /// Live content, facts above the floor, and whatever one of the two kept checkpoints refers to. The oldest segments
    /// of the journal go first: it has no holes.
    fn is_needed(&self, segment: &Segment, journal_floor: Lsn) -> bool {
        let references = self.shared.references.lock();
        if references.len() < 2 || references.iter().any(|references| references.refer_to(segment)) {
            return true;
        }
        match segment.family {
            Family::Journal => segment.last_lsn() >= journal_floor || !self.shared.shelf.is_first(segment),
            Family::Content | Family::Copied => segment.live.load(Ordering::Acquire) > 0,
        }
    }

    /// Sealed content segments under a quarter live and old enough, sparsest first.
    pub fn copy_candidates(&self, now: Millis, limit: usize) -> Vec<CopyCandidate> {
        let mut candidates = Vec::new();
        for segment in [Family::Content, Family::Copied].into_iter().flat_map(|family| self.shared.shelf.list(family)) {
            let (live_frames, live_bytes) =
                (segment.live.load(Ordering::Acquire), segment.live_bytes.load(Ordering::Acquire));
            let sealed = segment.sealed.load(Ordering::Acquire);
            if !sealed || live_frames == 0 || live_bytes * SPARSE >= u64::from(segment.size) {
                continue;
            }
            if now.saturating_sub(segment.seen_sealed(now)) >= self.shared.settings.copy_age {
                candidates.push(CopyCandidate { segment: segment.number, live_frames, live_bytes });
            }
        }
        candidates.sort_unstable_by_key(|candidate| candidate.live_bytes);
        candidates.truncate(limit);
        candidates
    }

    /// Headers of all frames of a content segment, for copying.
    pub fn frames_in(&self, segment: u32) -> Result<Vec<ContentRef>, ReadError> {
        let segment = self.segment(segment)?;
        let mut walk = Walk::new(&segment, SEGMENT_HEADER);
        let mut frames = Vec::new();
        while let Some(step) = walk.next().map_err(|error| journal::failed(&segment, error))? {
            let Step::Frame(found) = step else { continue };
            let header = found.header;
            if header.kind == Kind::Content {
                let place = Place { segment: segment.number, offset: found.offset, length: header.length };
                frames.push(ContentRef {
                    lsn: header.lsn,
                    id: header.id,
                    chunk: header.chunk,
                    copy: header.copy,
                    place,
                });
            }
        }
        Ok(frames)
    }

    /// `applied`: every frame up to these LSNs is applied in what the pages will show; replay begins behind them.
    pub fn begin_checkpoint(&self, applied: Marks) -> Result<CheckpointWriter, CheckpointError> {
        let shared = &self.shared;
        let position = |family, lsn| shared.position(family, lsn);
        let rows = FAMILIES.into_iter().flat_map(|family| shared.shelf.list(family));
        let head = Head {
            spool: shared.id,
            epoch: shared.epoch,
            sequence: shared.next_checkpoint.fetch_add(1, Ordering::AcqRel),
            content: position(Family::Content, applied.content),
            journal: position(Family::Journal, applied.journal),
            copied: position(Family::Copied, applied.copied),
            rows: rows.map(|segment| Row::of(&segment)).collect(),
        };
        CheckpointWriter::begin(shared.clone(), head)
    }

    pub fn stats(&self) -> SpoolStats {
        let shared = &self.shared;
        let count = |family| shared.shelf.list(family).len() as u32;
        let mut stats = SpoolStats {
            content_segments: count(Family::Content),
            copied_segments: count(Family::Copied),
            journal_segments: count(Family::Journal),
            spare_segments: shared.workshop.spares() as u32,
            body_files_made: shared.bodies_made.load(Ordering::Relaxed),
            content_groups: shared.content.groups.load(Ordering::Relaxed),
            content_frames: shared.content.frames.load(Ordering::Relaxed),
            content_bytes: shared.content.bytes.load(Ordering::Relaxed),
            journal_groups: shared.journal.groups.load(Ordering::Relaxed),
            journal_bytes: shared.journal.bytes.load(Ordering::Relaxed),
            copied_frames: shared.copied.frames.load(Ordering::Relaxed),
            segments_recycled: shared.workshop.recycled.load(Ordering::Relaxed),
            segments_late: shared.workshop.late.load(Ordering::Relaxed),
            checkpoints: shared.checkpoints.load(Ordering::Relaxed),
            content_fault: shared.content.is_faulty(),
            journal_fault: shared.journal.is_faulty(),
            full: shared.workshop.refuses_mail(),
            ..SpoolStats::default()
        };
        for segment in FAMILIES.into_iter().flat_map(|family| shared.shelf.list(family)) {
            stats.segment_bytes += u64::from(segment.size);
            stats.live_frames += u64::from(segment.live.load(Ordering::Relaxed));
            stats.live_bytes += segment.live_bytes.load(Ordering::Relaxed);
        }
        stats
    }

    /// Writes the end frame and frees the folder. Nothing may be committed afterwards.
    pub fn close(&self) -> Result<(), CommitError> {
        let ended = self.shared.write_marks(Kind::End);
        for family in FAMILIES {
            self.fault(family, "the spool is closed");
        }
        *self.shared.lock.lock() = None;
        ended
    }
}

/// Holds a segment in place; see [`Spool::claim`].
pub struct SegmentClaim {
    _segment: Arc<Segment>,
}
