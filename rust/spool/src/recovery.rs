//! What comes back after a stop or a crash: the newest valid checkpoint, then both logs in LSN order.
//!
//! Opening walks the headers of all frames behind the checkpoint's positions, finds the highest marks known durable,
//! and judges what is broken: at or below a mark it is damage (reported, set aside), above it a torn tail (kept as far
//! as it is whole, mended by `mend`). Payload checksums are looked at above the marks only; below, when they are read.
//! An intact frame or header of a later version stops the start; nothing that is understood in part is skipped.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use angarium_nouns::{Lsn, MessageId};

use crate::body::BODIES;
use crate::checkpoint::{References, Restored, Row, Unusable, checkpoint_name, parse_checkpoint_name};
use crate::disk::{Disk, DiskFile, DiskLock};
use crate::error::{Damage, ReadError, SpoolError};
use crate::format::{
    BLOCK, FrameHeader, Identity, JOURNAL_PREFIX, JournalPrefix, Kind, Misfit, SegmentHeader, TRAILER, VERSION, u32_at,
};
use crate::place::{ContentRef, Family, Marks, Place};
use crate::segment::{Segment, Shelf, parse_segment_name, parse_spare_name, segment_name};
use crate::settings::SpoolSettings;
use crate::walk::{Found, Step, Walk};

pub const IDENTITY: &str = "identity";
pub const DAMAGED: &str = "damaged";
const LOCK: &str = "lock";
/// Bytes of a content payload handed out with its frame: enough for nearly every record head.
const START: usize = 2048;

pub const FAMILIES: [Family; 3] = [Family::Content, Family::Journal, Family::Copied];

/// One frame, in LSN order over both logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveredFrame {
    /// `start`: the first bytes of the payload (all of it when it is short); ask [`Recovery::read`] for the whole.
    /// A frame with `copy > 0` moves a message that is open at this point; it opens none that was closed.
    Content { at: ContentRef, start: Vec<u8> },
    /// A group of facts. `content_durable` is how far content was durable when it was written.
    Journal { lsn: Lsn, content_durable: Lsn, payload: Vec<u8> },
}

/// A frame found by the walk, kept small: there may be millions.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    pub lsn: Lsn,
    pub offset: u32,
    pub end: u32,
    /// Index into [`LogTraces::segments`].
    pub segment: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Hole {
    pub segment: u32,
    pub from: u32,
    pub to: u32,
    pub after: Lsn,
    pub before: Lsn,
}

/// What the walk found of one log.
#[derive(Default)]
pub struct LogTraces {
    pub segments: Vec<Arc<Segment>>,
    pub frames: Vec<Trace>,
    pub holes: Vec<Hole>,
    /// The LSN before the first frame that may be met.
    base: Lsn,
    /// Segments with blocks that cannot be read: left as they are, never written again.
    pub unreadable: HashSet<u32>,
    /// Highest LSN of this log known durable.
    pub mark: Lsn,
    next: usize,
}

pub struct Recovery {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) settings: SpoolSettings,
    pub(crate) lock: Box<dyn DiskLock>,
    pub(crate) identity: Identity,
    pub(crate) shelf: Shelf,
    pub(crate) spares: Vec<(u32, Arc<dyn DiskFile>)>,
    pub(crate) checkpoint: Option<Restored>,
    pub(crate) references: Vec<References>,
    pub(crate) logs: [LogTraces; 3],
    pub(crate) damage: Vec<Damage>,
    pub(crate) highest: Lsn,
    bodies: HashSet<String>,
    clean: bool,
}

impl Recovery {
    pub(crate) fn open(disk: Arc<dyn Disk>, settings: SpoolSettings) -> Result<Self, SpoolError> {
        let size = settings.segment_size;
        if !size.is_multiple_of(BLOCK) || !(1 << 16..=1 << 30).contains(&size) {
            return Err(SpoolError::SegmentSize(size));
        }
        let lock = disk.lock(LOCK).map_err(|source| unreadable(LOCK, source))?.ok_or(SpoolError::Held)?;
        for folder in [BODIES, DAMAGED] {
            disk.make_folder(folder).map_err(|source| SpoolError::Unwritable { file: folder.into(), source })?;
        }
        let identity = Identity { spool: 0, epoch: 0, highest: Lsn(0) };
        let mut recovery = Self {
            disk,
            settings,
            lock,
            identity,
            shelf: Shelf::default(),
            spares: Vec::new(),
            checkpoint: None,
            references: Vec::new(),
            logs: Default::default(),
            damage: Vec::new(),
            highest: Lsn(0),
            bodies: HashSet::new(),
            clean: false,
        };
        recovery.read_folder()?;
        Ok(recovery)
    }

    /// The stages of opening, in order.
    fn read_folder(&mut self) -> Result<(), SpoolError> {
        let names = self.disk.list("").map_err(|source| unreadable("the spool's folder", source))?;
        let identified = self.read_identity(&names)?;
        self.read_checkpoints(&names)?;
        self.read_segments(&names, identified)?;
        for family in FAMILIES {
            self.walk_log(family)?;
        }
        self.find_marks()?;
        for family in FAMILIES {
            self.check_tail(family)?;
            self.judge(family);
        }
        self.note_highest();
        Ok(())
    }

    fn read_identity(&mut self, names: &[String]) -> Result<bool, SpoolError> {
        let bytes = match self.disk.open(IDENTITY) {
            Ok(file) => {
                read_whole(&*file, Identity::FILE_LEN as usize).map_err(|source| unreadable(IDENTITY, source))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(unreadable(IDENTITY, source)),
        };
        match Identity::decode_file(&bytes) {
            Ok(identity) => {
                self.identity = identity;
                return Ok(true);
            }
            Err(Misfit::Newer(found)) => return Err(newer(IDENTITY, found)),
            Err(Misfit::Bad) => {}
        }
        if names.iter().any(|name| parse_segment_name(name).is_some()) {
            self.damage.push(Damage::Identity);
        }
        Ok(false)
    }

    fn read_checkpoints(&mut self, names: &[String]) -> Result<(), SpoolError> {
        let mut sequences: Vec<u64> = names.iter().filter_map(|name| parse_checkpoint_name(name)).collect();
        sequences.sort_unstable_by(|a, b| b.cmp(a));
        for sequence in sequences {
            let name = checkpoint_name(sequence);
            match Restored::open(&*self.disk, &name) {
                Ok(restored) if self.references.len() < 2 => {
                    self.references.push(References::of(&restored.head));
                    self.checkpoint.get_or_insert(restored);
                }
                Ok(_) => {
                    let _ = self.disk.unlink(&name);
                }
                Err(Unusable::Newer(found)) => return Err(newer(&name, found)),
                Err(Unusable::Broken) => self.damage.push(Damage::Checkpoint { file: name }),
            }
        }
        Ok(())
    }

    fn read_segments(&mut self, names: &[String], identified: bool) -> Result<(), SpoolError> {
        let rows: BTreeMap<(Family, u32), Row> =
            self.checkpoint.iter().flat_map(|c| &c.head.rows).map(|row| ((row.family, row.number), *row)).collect();
        let mut identified = identified;
        if let (false, Some(checkpoint)) = (identified, &self.checkpoint) {
            self.identity.spool = checkpoint.head.spool;
            identified = true;
        }
        for name in names {
            if let Some((family, number)) = parse_segment_name(name) {
                let file = self.disk.open(name).map_err(|source| unreadable(name, source))?;
                self.read_segment(name, family, number, file, &mut identified, rows.get(&(family, number)))?;
            } else if let Some(number) = parse_spare_name(name) {
                self.read_spare(name, number)?;
            }
        }
        Ok(())
    }

    fn read_segment(
        &mut self,
        name: &str,
        family: Family,
        number: u32,
        file: Arc<dyn DiskFile>,
        identified: &mut bool,
        row: Option<&Row>,
    ) -> Result<(), SpoolError> {
        let block = read_whole(&*file, BLOCK as usize).unwrap_or_default();
        let (nonce, size) = match SegmentHeader::decode(&block, family, number) {
            Ok(header) => {
                if !std::mem::replace(identified, true) {
                    self.identity.spool = header.spool;
                }
                if header.spool != self.identity.spool {
                    return Err(SpoolError::Foreign { file: name.to_owned() });
                }
                self.identity.epoch = self.identity.epoch.max(header.epoch);
                self.highest = self.highest.max(header.first);
                (header.nonce, header.size)
            }
            Err(Misfit::Newer(found)) => return Err(newer(name, found)),
            Err(Misfit::Bad) => {
                self.damage.push(Damage::SegmentHeader { file: name.to_owned() });
                let Some(row) = row else { return self.set_aside(name) };
                (row.nonce, row.size)
            }
        };
        let segment = Segment::new(family, number, nonce, size, file);
        segment.sealed.store(true, std::sync::atomic::Ordering::Release);
        if let Some(row) = row.filter(|row| row.nonce == nonce) {
            segment.restore(row.first, row.last, row.used);
        }
        self.shelf.put(&Arc::new(segment));
        Ok(())
    }

    /// A segment whose frames cannot be told from others': kept for a person to look at.
    fn set_aside(&mut self, name: &str) -> Result<(), SpoolError> {
        let moved = self.disk.rename(name, &format!("{DAMAGED}/{name}"));
        moved.map_err(|source| SpoolError::Unwritable { file: name.to_owned(), source })
    }

    fn read_spare(&mut self, name: &str, number: u32) -> Result<(), SpoolError> {
        let file = self.disk.open(name).map_err(|source| unreadable(name, source))?;
        if file.len().is_ok_and(|length| length == u64::from(self.settings.segment_size)) {
            self.spares.push((number, file));
        } else {
            let _ = self.disk.unlink(name);
        }
        Ok(())
    }

    /// Reads the headers of one log from the checkpoint's position on.
    fn walk_log(&mut self, family: Family) -> Result<(), SpoolError> {
        let from = self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.head.position(family).segment);
        let segments: Vec<_> = self.shelf.list(family).into_iter().filter(|segment| segment.number >= from).collect();
        let mut expected = segments.first().map(|segment| if from == 0 { segment.number } else { from });
        let mut traces = LogTraces { base: self.base_of(family), ..LogTraces::default() };
        for segment in segments {
            while let Some(missing) = expected.filter(|&number| number < segment.number) {
                self.damage.push(Damage::MissingSegment { file: segment_name(family, missing) });
                expected = Some(missing + 1);
            }
            expected = Some(segment.number + 1);
            traces.walk(segment.clone(), from == 0)?;
            if traces.unreadable.contains(&(traces.segments.len() as u32 - 1)) {
                self.damage.push(Damage::Unreadable { file: segment.name() });
            }
        }
        self.logs[family as usize - 1] = traces;
        Ok(())
    }

    /// The LSN before the first frame that the walk of a log may meet.
    fn base_of(&self, family: Family) -> Lsn {
        let Some(checkpoint) = &self.checkpoint else { return Lsn(0) };
        let position = checkpoint.head.position(family);
        let rows = &checkpoint.head.rows;
        let row = rows.iter().find(|row| row.family == family && row.number == position.segment);
        let first = row.map_or(Lsn(0), |row| row.first);
        if first > Lsn(0) && first <= position.lsn { Lsn(first.0 - 1) } else { position.lsn }
    }

    /// The highest marks that any frame or the checkpoint names.
    fn find_marks(&mut self) -> Result<(), SpoolError> {
        if let Some(checkpoint) = &self.checkpoint {
            for family in FAMILIES {
                let mark = &mut self.logs[family as usize - 1].mark;
                *mark = (*mark).max(checkpoint.head.position(family).lsn);
            }
        }
        let [content, journal, copied] = &mut self.logs;
        // Marks only grow, so the last group that is whole names the highest.
        for trace in journal.frames.iter().rev() {
            let segment = &journal.segments[trace.segment as usize];
            let Some((header, payload)) = read_payload(segment, trace)? else { continue };
            let Some(prefix) = JournalPrefix::decode(&payload) else { continue };
            content.mark = content.mark.max(prefix.content);
            copied.mark = copied.mark.max(prefix.copied);
            self.identity.epoch = self.identity.epoch.max(prefix.epoch);
            self.clean = header.kind == Kind::End;
            break;
        }
        Ok(())
    }

    /// Frames above the mark count only with a whole payload.
    fn check_tail(&mut self, family: Family) -> Result<(), SpoolError> {
        let log = &mut self.logs[family as usize - 1];
        let tail = log.frames.partition_point(|trace| trace.lsn <= log.mark);
        let mut kept = Vec::new();
        for trace in log.frames.drain(tail..) {
            if read_payload(&log.segments[trace.segment as usize], &trace)?.is_some() {
                kept.push(trace);
            }
        }
        log.frames.extend(kept);
        Ok(())
    }

    /// Reports what is broken at or below the mark, and sets a copy aside.
    fn judge(&mut self, family: Family) {
        let log = &self.logs[family as usize - 1];
        let mut broken: Vec<(Arc<Segment>, Hole)> = log
            .holes
            .iter()
            .filter(|hole| hole.after < log.mark)
            .map(|hole| (log.segments[hole.segment as usize].clone(), *hole))
            .collect();
        let last = log.frames.last().map_or(Lsn(0), |trace| trace.lsn);
        let floor = self.checkpoint.as_ref().map_or(Lsn(0), |checkpoint| checkpoint.head.position(family).lsn);
        if last < log.mark
            && log.mark > floor
            && let Some(segment) = log.segments.last()
        {
            let from = log.frames.last().map_or(BLOCK, |trace| trace.end);
            let index = log.segments.len() as u32 - 1;
            broken.push((segment.clone(), Hole { segment: index, from, to: from, after: last, before: log.mark }));
        }
        for (segment, mut hole) in broken {
            if hole.from == hole.to {
                hole.to = Walk::new(&segment, hole.from).end_of_traces(hole.from);
            }
            let kept = self.keep_copy(&segment, hole.from, hole.to);
            self.damage.push(Damage::Frames {
                file: segment.name(),
                offset: u64::from(hole.from),
                length: u64::from(hole.to - hole.from),
                after: hole.after,
                before: Some(hole.before),
                kept,
            });
        }
    }

    fn note_highest(&mut self) {
        let mut highest = self.highest.max(self.identity.highest);
        for log in &self.logs {
            highest = highest.max(log.mark);
            highest = log.frames.last().map_or(highest, |trace| highest.max(trace.lsn));
        }
        if let Some(checkpoint) = &self.checkpoint {
            let marks = checkpoint.reflects;
            highest = highest.max(marks.content).max(marks.journal).max(marks.copied);
            self.identity.epoch = self.identity.epoch.max(checkpoint.head.epoch);
        }
        self.highest = highest;
    }

    /// Pages of a section of the checkpoint that was chosen, in the order written; empty when there is none.
    pub fn section(&self, number: u16) -> impl Iterator<Item = Result<Vec<u8>, ReadError>> + '_ {
        self.checkpoint.iter().flat_map(move |checkpoint| checkpoint.pages(number))
    }

    pub fn has_checkpoint(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// What the checkpoint reflects; zero when there is none.
    pub fn checkpoint_marks(&self) -> Marks {
        self.checkpoint.as_ref().map_or(Marks::default(), |checkpoint| checkpoint.reflects)
    }

    /// The next frame behind the checkpoint's positions. `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results invites skipping over errors")]
    pub fn next(&mut self) -> Result<Option<RecoveredFrame>, SpoolError> {
        loop {
            let earliest =
                FAMILIES.into_iter().filter_map(|family| self.peek(family).map(|trace| (trace.lsn, family))).min();
            let Some((_, family)) = earliest else { return Ok(None) };
            let log = &mut self.logs[family as usize - 1];
            let trace = log.frames[log.next];
            log.next += 1;
            let floor = self.checkpoint.as_ref().map_or(Lsn(0), |checkpoint| checkpoint.head.position(family).lsn);
            if trace.lsn <= floor {
                continue;
            }
            let segment = log.segments[trace.segment as usize].clone();
            let frame = if family == Family::Journal {
                self.journal_frame(&segment, &trace)?
            } else {
                content_frame(&segment, &trace)?
            };
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }

    fn peek(&self, family: Family) -> Option<&Trace> {
        let log = &self.logs[family as usize - 1];
        log.frames.get(log.next)
    }

    fn journal_frame(&mut self, segment: &Arc<Segment>, trace: &Trace) -> Result<Option<RecoveredFrame>, SpoolError> {
        let Some((header, mut payload)) = read_payload(segment, trace)? else {
            let kept = self.keep_copy(segment, trace.offset, trace.end);
            self.damage.push(Damage::Frames {
                file: segment.name(),
                offset: u64::from(trace.offset),
                length: u64::from(trace.end - trace.offset),
                after: Lsn(trace.lsn.0 - 1),
                before: Some(Lsn(trace.lsn.0 + 1)),
                kept,
            });
            return Ok(None);
        };
        if header.kind != Kind::Facts {
            return Ok(None);
        }
        let content_durable = JournalPrefix::decode(&payload).unwrap_or_default().content;
        payload.drain(..JOURNAL_PREFIX.min(payload.len()));
        Ok(Some(RecoveredFrame::Journal { lsn: header.lsn, content_durable, payload }))
    }

    /// The whole payload, verified.
    pub fn read(&self, place: Place, id: MessageId) -> Result<Vec<u8>, ReadError> {
        let name =
            || segment_name(if place.segment >> 31 == 0 { Family::Content } else { Family::Copied }, place.segment);
        let segment = self.shelf.content(place.segment).ok_or_else(|| ReadError::Gone { file: name() })?;
        segment.read(place, id)
    }

    /// The content of an open message stands here: its segment is live. Call once for every open message.
    pub fn keep(&mut self, place: Place) {
        if let Some(segment) = self.shelf.content(place.segment) {
            segment.keep(place.length);
        }
    }

    /// This body file is referred to by an open message; those not named are removed by [`Recovery::finish`].
    pub fn keep_body(&mut self, name: &str) {
        self.bodies.insert(name.to_owned());
    }

    /// An LSN that somebody outside the logs has seen (a follower's cursor): the sequence goes on above it.
    pub fn raise(&mut self, seen: Lsn) {
        self.highest = self.highest.max(seen);
    }

    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// True when the last run ended with [`crate::Spool::close`].
    pub fn was_clean(&self) -> bool {
        self.clean
    }

    pub(crate) fn remove_orphan_bodies(&self) {
        for name in self.disk.list(BODIES).unwrap_or_default() {
            if !self.bodies.contains(&name) {
                let _ = self.disk.unlink(&crate::body::body_path(&name));
            }
        }
    }
}

impl LogTraces {
    /// `complete`: the log is read from its very beginning, nothing may be missing before its first frame.
    fn walk(&mut self, segment: Arc<Segment>, complete: bool) -> Result<(), SpoolError> {
        let index = self.segments.len() as u32;
        let mut first = true;
        let mut walk = Walk::new(&segment, BLOCK);
        segment.forget();
        let mut hole: Option<(u32, u32)> = None;
        loop {
            match walk.next().map_err(|version| newer(&segment.name(), version.0))? {
                None => break,
                Some(Step::Hole { from, to }) => hole = Some((from, to)),
                Some(Step::Frame(found)) => {
                    let begins = std::mem::take(&mut first) && found.header.kind != Kind::Gap;
                    if let Some((from, to)) = hole.take() {
                        let after = self.last();
                        self.holes.push(Hole { segment: index, from, to, after, before: found.header.lsn });
                    } else if begins {
                        self.compare_end(index, &found, complete);
                    }
                    self.note(&segment, index, &found);
                }
            }
        }
        if walk.met_unreadable() {
            self.unreadable.insert(index);
        }
        self.segments.push(segment);
        Ok(())
    }

    fn last(&self) -> Lsn {
        self.frames.last().map_or(self.base, |trace| trace.lsn)
    }

    /// The first frame of a segment names the last one before it: if that was not found, the end of the segment before
    /// is broken.
    fn compare_end(&mut self, index: u32, found: &Found, complete: bool) {
        let last = self.last();
        if found.header.durable <= last || (index == 0 && !complete) {
            return;
        }
        let before = index.saturating_sub(1);
        let end = self.frames.iter().rev().find(|trace| trace.segment == before).map_or(BLOCK, |trace| trace.end);
        self.holes.push(Hole { segment: before, from: end, to: end, after: last, before: found.header.lsn });
    }

    fn note(&mut self, segment: &Segment, index: u32, found: &Found) {
        self.mark = self.mark.max(found.header.durable);
        if found.header.kind == Kind::Gap {
            return;
        }
        segment.note(found.header.lsn, found.offset);
        segment.set_used(found.end);
        self.frames.push(Trace { lsn: found.header.lsn, offset: found.offset, end: found.end, segment: index });
    }
}

fn content_frame(segment: &Arc<Segment>, trace: &Trace) -> Result<Option<RecoveredFrame>, SpoolError> {
    let length = segment.family.header_len();
    let mut bytes = vec![0; length + START.min((trace.end - trace.offset) as usize - length)];
    let count = segment
        .file
        .read_at(&mut bytes, u64::from(trace.offset))
        .map_err(|source| unreadable(&segment.name(), source))?;
    bytes.truncate(count);
    let header = FrameHeader::decode(&bytes, segment.family, segment.number, trace.offset, segment.nonce);
    let Ok(header) = header else { return Ok(None) };
    if header.kind != Kind::Content {
        return Ok(None);
    }
    bytes.drain(..length);
    bytes.truncate(header.length as usize);
    let place = Place { segment: segment.number, offset: trace.offset, length: header.length };
    let at = ContentRef { lsn: header.lsn, id: header.id, chunk: header.chunk, copy: header.copy, place };
    Ok(Some(RecoveredFrame::Content { at, start: bytes }))
}

/// Header and payload, if both are whole.
pub fn read_payload(segment: &Segment, trace: &Trace) -> Result<Option<(FrameHeader, Vec<u8>)>, SpoolError> {
    let mut bytes = vec![0; (trace.end - trace.offset) as usize];
    let count = segment
        .file
        .read_at(&mut bytes, u64::from(trace.offset))
        .map_err(|source| unreadable(&segment.name(), source))?;
    let Ok(header) = FrameHeader::decode(&bytes, segment.family, segment.number, trace.offset, segment.nonce) else {
        return Ok(None);
    };
    let (start, length) = (segment.family.header_len(), header.length as usize);
    if count < start + length + TRAILER {
        return Ok(None);
    }
    let sum = u32_at(&bytes, start + length);
    bytes.truncate(start + length);
    bytes.drain(..start);
    Ok((crc32c::crc32c(&bytes) == sum).then_some((header, bytes)))
}

fn read_whole(file: &dyn DiskFile, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

pub fn unreadable(file: &str, source: std::io::Error) -> SpoolError {
    SpoolError::Unreadable { file: file.to_owned(), source }
}

fn newer(file: &str, found: u32) -> SpoolError {
    SpoolError::Newer { file: file.to_owned(), found, known: u32::from(VERSION) }
}
