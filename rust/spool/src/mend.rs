//! The end of recovery: tails are mended, the epoch rises, the logs open for writing.
//!
//! A tail's whole frames are written once more with the same bytes (what a failed sync left in the cache only is then
//! really on disk), holes between them are covered by gap frames, everything behind the last one is zeroed, and all of
//! it synced before the first new write. What is cut is first copied to `damaged/`. A crash in the middle changes
//! nothing: the next recovery finds the same frames and begins again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use angarium_nouns::{Lsn, MessageId};

use crate::disk::{Disk, Site};
use crate::error::{CommitError, Damage, SpoolError};
use crate::format::{BLOCK, FrameHeader, Identity, Kind, SEGMENT_HEADER, TRAILER};
use crate::recovery::{DAMAGED, FAMILIES, IDENTITY, LogTraces, Recovery, Trace, unreadable};
use crate::segment::{Segment, spare_name};
use crate::spool::{Shared, Spool};
use crate::walk::Walk;
use crate::workshop::write_all;

/// LSNs skipped by a recovery: more than any group in flight at a crash could have used.
const JUMP: u64 = 1 << 20;
/// The rest of a segment is read and cleared in pieces of this size.
const PIECE: usize = 1 << 20;

/// Where a log goes on.
pub struct Resume {
    pub segment: Option<Arc<Segment>>,
    pub offset: u32,
    pub durable: Lsn,
}

impl Recovery {
    /// Mends the tails, raises the epoch, removes body files that nothing names, opens for writing.
    pub fn finish(self) -> Result<(Spool, u32), SpoolError> {
        self.finish_with_damage().map(|(spool, epoch, _)| (spool, epoch))
    }

    /// The same, and what was found broken at the ends while they were mended (after [`Recovery::damage`]).
    pub fn finish_with_damage(mut self) -> Result<(Spool, u32, Vec<Damage>), SpoolError> {
        let known = self.damage.len();
        self.raise_epoch()?;
        let mut resumes = Vec::new();
        for family in FAMILIES {
            let log = std::mem::take(&mut self.logs[family as usize - 1]);
            resumes.push(self.mend_log(&log)?);
        }
        self.remove_orphan_bodies();
        let epoch = self.identity.epoch;
        let found = self.damage.split_off(known);
        let shared = Shared::assemble(self, resumes).map_err(|error| match error {
            CommitError::Full => SpoolError::Full,
            other => SpoolError::Unwritable { file: "a segment".into(), source: io::Error::other(other.to_string()) },
        })?;
        Ok((Spool::from_shared(Arc::new(shared)), epoch, found))
    }

    /// Durable before anything is written under the new epoch.
    fn raise_epoch(&mut self) -> Result<(), SpoolError> {
        let unwritable = |source| SpoolError::Unwritable { file: IDENTITY.into(), source };
        if self.identity.spool == 0 {
            let high = self.disk.random().map_err(unwritable)?;
            let low = self.disk.random().map_err(unwritable)?;
            self.identity.spool = u128::from(high) << 64 | u128::from(low);
        }
        self.identity.epoch += 1;
        self.highest.0 += JUMP;
        self.identity = Identity { highest: self.highest, ..self.identity };
        write_identity(&*self.disk, &self.identity).map_err(unwritable)
    }

    fn mend_log(&mut self, log: &LogTraces) -> Result<Resume, SpoolError> {
        let durable = log.frames.last().map_or(log.mark, |trace| trace.lsn.max(log.mark));
        let last_used = log.frames.last().map(|trace| trace.segment);
        let mut resume = Resume { segment: None, offset: 0, durable };
        for (index, segment) in log.segments.iter().enumerate() {
            let index = index as u32;
            if log.unreadable.contains(&index) {
                continue;
            }
            if Some(index) == last_used {
                resume.offset = self.mend_segment(log, index, segment)?;
                segment.sealed.store(false, Ordering::Release);
                let first = log.frames.iter().find(|trace| trace.segment == index).map_or(Lsn(0), |trace| trace.lsn);
                segment.restore(first, log.frames.last().map_or(Lsn(0), |trace| trace.lsn), resume.offset);
                resume.segment = Some(segment.clone());
            } else if last_used.is_none_or(|last| index > last) {
                self.retire_unused(segment)?;
            }
        }
        Ok(resume)
    }

    /// Returns where the next group begins.
    fn mend_segment(&mut self, log: &LogTraces, index: u32, segment: &Arc<Segment>) -> Result<u32, SpoolError> {
        let frames: Vec<&Trace> = log.frames.iter().rev().take_while(|t| t.segment == index).collect();
        let tail: Vec<&Trace> = frames.iter().rev().copied().filter(|trace| trace.lsn > log.mark).collect();
        let settled = frames.iter().find(|trace| trace.lsn <= log.mark);
        let start = settled.map_or(SEGMENT_HEADER, |trace| trace.end);
        let before = settled.map_or(Lsn(0), |trace| trace.lsn);
        let end = tail.last().map_or(start, |trace| trace.end);
        if !tail.is_empty() {
            self.rewrite_tail(segment, start, end, before, &tail)?;
        }
        let cleared = self.clear_rest(segment, end)?;
        if cleared || !tail.is_empty() {
            segment.file.sync(Site::TailMended).map_err(|source| unwritable(segment, source))?;
        }
        Ok(end.next_multiple_of(BLOCK))
    }

    /// The same bytes once more, holes covered.
    fn rewrite_tail(
        &mut self,
        segment: &Arc<Segment>,
        start: u32,
        end: u32,
        before: Lsn,
        tail: &[&Trace],
    ) -> Result<(), SpoolError> {
        let mut bytes = vec![0; (end - start) as usize];
        segment.file.read_at(&mut bytes, u64::from(start)).map_err(|source| unreadable(&segment.name(), source))?;
        let (mut cursor, mut last) = (start, before);
        for trace in tail {
            let padding = &bytes[(cursor - start) as usize..(trace.offset - start) as usize];
            let is_padding = cursor.next_multiple_of(BLOCK) == trace.offset && padding.iter().all(|&byte| byte == 0);
            if cursor < trace.offset && !is_padding {
                self.report_tail(segment, cursor, trace.offset);
                let gap = gap_frame(segment, cursor, trace.offset, last.max(Lsn(1)).min(Lsn(trace.lsn.0 - 1)));
                bytes[(cursor - start) as usize..(trace.offset - start) as usize].copy_from_slice(&gap);
            }
            (cursor, last) = (trace.end, trace.lsn);
        }
        write_all(&*segment.file, &bytes, u64::from(start)).map_err(|source| unwritable(segment, source))
    }

    /// Zeroes what stands behind the last whole frame. Traces of this use are reported and copied first.
    fn clear_rest(&mut self, segment: &Arc<Segment>, end: u32) -> Result<bool, SpoolError> {
        let traces = Walk::new(segment, end).end_of_traces(end);
        if traces > end {
            self.report_tail(segment, end, traces);
        }
        let (mut at, mut cleared) = (end, false);
        let mut bytes = vec![0; PIECE];
        while at < segment.size {
            let count = PIECE.min((segment.size - at) as usize);
            let piece = &mut bytes[..count];
            segment.file.read_at(piece, u64::from(at)).map_err(|source| unreadable(&segment.name(), source))?;
            if piece.iter().any(|&byte| byte != 0) {
                piece.fill(0);
                write_all(&*segment.file, piece, u64::from(at)).map_err(|source| unwritable(segment, source))?;
                cleared = true;
            }
            at += count as u32;
        }
        Ok(cleared)
    }

    /// A segment made ready and never used becomes a spare again; its number is free.
    fn retire_unused(&mut self, segment: &Arc<Segment>) -> Result<(), SpoolError> {
        let traces = Walk::new(segment, SEGMENT_HEADER).end_of_traces(SEGMENT_HEADER);
        if traces > SEGMENT_HEADER {
            self.report_tail(segment, SEGMENT_HEADER, traces);
        }
        let number = self.spares.iter().map(|spare| spare.0).max().unwrap_or(0) + 1;
        self.disk.rename(&segment.name(), &spare_name(number)).map_err(|source| unwritable(segment, source))?;
        self.disk.sync_folder("", Site::RetireFolder).map_err(|source| unwritable(segment, source))?;
        self.shelf.of(segment.family).write().remove(&segment.number);
        if segment.size == self.settings.segment_size {
            self.spares.push((number, segment.file.clone()));
        }
        Ok(())
    }

    /// What is cut is kept and counted, unless it was reported as damage already.
    fn report_tail(&mut self, segment: &Segment, from: u32, to: u32) {
        let (file, from_byte) = (segment.name(), u64::from(from));
        let known = |damage: &Damage| matches!(damage, Damage::Frames { file: name, offset, .. } if *name == file && *offset == from_byte);
        if !self.damage.iter().any(known) {
            let kept = self.keep_copy(segment, from, to);
            self.damage.push(Damage::Tail { file, offset: from_byte, length: u64::from(to - from), kept });
        }
    }

    /// Copies bytes to `damaged/`, durably. Evidence, not a promise: when it fails the start goes on.
    pub(crate) fn keep_copy(&self, segment: &Segment, from: u32, to: u32) -> Option<String> {
        if from >= to {
            return None;
        }
        let name = format!("{DAMAGED}/{}-{from:08x}-{:08x}", segment.name(), to - from);
        let copy = || {
            let mut bytes = vec![0; (to - from) as usize];
            let count = segment.file.read_at(&mut bytes, u64::from(from))?;
            let file = self.disk.create(&name)?;
            write_all(&*file, &bytes[..count], 0)?;
            file.sync(Site::DamagedFile)?;
            self.disk.sync_folder(DAMAGED, Site::DamagedFolder)
        };
        copy().ok().map(|()| name.clone())
    }
}

/// A frame that covers a hole exactly. A hole held at least one frame, so it has room for one.
fn gap_frame(segment: &Segment, from: u32, to: u32, lsn: Lsn) -> Vec<u8> {
    let span = (to - from) as usize;
    let length = span.saturating_sub(segment.family.header_len() + TRAILER);
    let header = FrameHeader {
        kind: Kind::Gap,
        length: length as u32,
        nonce: segment.nonce,
        lsn,
        durable: Lsn(0),
        id: MessageId::default(),
        chunk: 0,
        copy: 0,
    };
    let mut bytes = Vec::with_capacity(span);
    header.encode(segment.family, segment.number, from, &mut bytes);
    bytes.resize(bytes.len() + length, 0);
    let sum = crc32c::crc32c(&vec![0; length]);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.resize(span, 0);
    bytes
}

/// Into the slot of this epoch; the other one keeps the last epoch until this one is whole. In place, so that a full
/// disk can be started from.
fn write_identity(disk: &dyn Disk, identity: &Identity) -> io::Result<()> {
    let slot = Identity::slot(identity.epoch);
    match disk.open(IDENTITY) {
        Ok(file) => {
            write_all(&*file, &identity.encode(), slot)?;
            file.sync(Site::IdentityFile)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = disk.create(IDENTITY)?;
            file.fill_with_zeros(Identity::FILE_LEN)?;
            write_all(&*file, &identity.encode(), slot)?;
            file.sync(Site::IdentityFile)?;
            disk.sync_folder("", Site::IdentityFolder)
        }
        Err(error) => Err(error),
    }
}

fn unwritable(segment: &Segment, source: io::Error) -> SpoolError {
    SpoolError::Unwritable { file: segment.name(), source }
}
