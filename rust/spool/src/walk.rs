//! Reading a segment from front to back: frames, padding, holes.
//!
//! A frame is believed when its header fits this use (nonce), this segment and this offset. Where none fits, bytes up
//! to the next believed frame are a hole; what a hole means (a torn tail, damage) is for the caller to judge.
//! Payloads are not looked at. An intact header from a later version ends the walk with an error.

use std::sync::Arc;

use angarium_nouns::Lsn;

use crate::disk::DiskFile;
use crate::format::{BLOCK, FrameHeader, Kind, Misfit, u64_at};
use crate::segment::Segment;

/// Searching for the next frame reads in pieces of this size.
const SEARCH: usize = 256 * 1024;

/// A frame and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub header: FrameHeader,
    pub offset: u32,
    /// Where the next frame may stand.
    pub end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Frame(Found),
    /// Bytes that are neither frame nor padding; a believed frame follows at `to`.
    Hole {
        from: u32,
        to: u32,
    },
}

/// An intact frame of this later format version: the walk cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewerFrame(pub u32);

pub struct Walk {
    segment: Arc<Segment>,
    window: Window,
    offset: u32,
    last: Lsn,
    /// Found behind a hole that was reported first.
    pending: Option<Found>,
}

impl Walk {
    /// Begins at `offset`, where a frame or the unwritten rest of the segment stands.
    pub fn new(segment: &Arc<Segment>, offset: u32) -> Self {
        let window = Window::new(segment.file.clone(), segment.size);
        Self { segment: segment.clone(), window, offset, last: Lsn(0), pending: None }
    }

    /// True when a block could not be read so far.
    pub fn met_unreadable(&self) -> bool {
        self.window.unreadable
    }

    pub fn next(&mut self) -> Result<Option<Step>, NewerFrame> {
        if let Some(found) = self.pending.take() {
            return Ok(Some(self.step_over(found)));
        }
        loop {
            if let Some(found) = self.frame_at(self.offset)? {
                return Ok(Some(self.step_over(found)));
            }
            if !self.skip_padding() {
                break;
            }
        }
        let from = self.offset;
        self.pending = self.search(from + self.segment.family.alignment())?;
        Ok(self.pending.map(|found| Step::Hole { from, to: found.offset }))
    }

    fn step_over(&mut self, found: Found) -> Step {
        self.offset = found.end;
        self.last = found.header.lsn;
        Step::Frame(found)
    }

    /// The frame that begins here, if one is believed.
    fn frame_at(&mut self, offset: u32) -> Result<Option<Found>, NewerFrame> {
        let segment = self.segment.clone();
        let bytes = self.window.get(offset, segment.family.header_len());
        let header = match FrameHeader::decode(bytes, segment.family, segment.number, offset, segment.nonce) {
            Ok(header) => header,
            Err(Misfit::Newer(version)) => return Err(NewerFrame(version)),
            Err(Misfit::Bad) => return Ok(None),
        };
        let end = u64::from(offset) + segment.family.frame_len(u64::from(header.length));
        // Sequence rises within a segment; only a gap repeats the LSN before it.
        let in_order = header.lsn > self.last || (header.kind == Kind::Gap && header.lsn == self.last);
        let fits = end <= u64::from(segment.size) && in_order;
        Ok(fits.then_some(Found { header, offset, end: end as u32 }))
    }

    /// Groups begin at 4 KiB; zeros up to there are padding.
    fn skip_padding(&mut self) -> bool {
        let next = self.offset.next_multiple_of(BLOCK);
        if next == self.offset || next > self.segment.size {
            return false;
        }
        let padding = self.window.get(self.offset, (next - self.offset) as usize);
        let zeros = padding.iter().all(|&byte| byte == 0);
        if zeros {
            self.offset = next;
        }
        zeros
    }

    /// The first believed frame at or behind `from`.
    fn search(&mut self, from: u32) -> Result<Option<Found>, NewerFrame> {
        let step = self.segment.family.alignment();
        let nonce = self.segment.nonce;
        let mut at = from;
        while at < self.segment.size {
            let piece = SEARCH.min((self.segment.size - at) as usize);
            let bytes = self.window.get(at, piece);
            // The nonce stands 16 bytes into a header, wholly within an aligned piece of 24 bytes or more.
            let candidates: Vec<u32> = (0..bytes.len().saturating_sub(23))
                .step_by(step as usize)
                .filter(|&i| u64_at(bytes, i + 16) == nonce)
                .map(|i| at + i as u32)
                .collect();
            for candidate in candidates {
                if let Some(found) = self.frame_at(candidate)? {
                    return Ok(Some(found));
                }
            }
            let advance = bytes_searched(piece, step);
            at += advance;
        }
        Ok(None)
    }

    /// Behind the last place at or after `from` that bears this use's nonce, frame or torn; `from` when there is none.
    pub fn end_of_traces(&mut self, from: u32) -> u32 {
        let step = self.segment.family.alignment();
        let (nonce, size) = (self.segment.nonce, self.segment.size);
        let (mut at, mut end) = (from, from);
        while at < size {
            let piece = SEARCH.min((size - at) as usize);
            let bytes = self.window.get(at, piece);
            let trace =
                (0..bytes.len().saturating_sub(23)).step_by(step as usize).filter(|&i| u64_at(bytes, i + 16) == nonce);
            for i in trace {
                let claimed = self.segment.family.frame_len(u64::from(crate::format::u32_at(bytes, i + 8)));
                let claimed = u64::from(at) + i as u64 + claimed.min(u64::from(size));
                end = end.max(claimed.min(u64::from(size)) as u32);
            }
            at += bytes_searched(piece, step);
        }
        end
    }
}

/// Pieces overlap so that no nonce is cut in two; the last piece is final.
fn bytes_searched(piece: usize, step: u32) -> u32 {
    if piece < SEARCH { piece as u32 } else { piece as u32 - 64u32.max(step) }
}

/// A window on a file, so that headers are not read one system call each. Unreadable blocks read as zeros: they show
/// up as holes and are judged like any other damage.
struct Window {
    file: Arc<dyn DiskFile>,
    size: u32,
    start: u32,
    bytes: Vec<u8>,
    /// A block could not be read.
    unreadable: bool,
}

impl Window {
    fn new(file: Arc<dyn DiskFile>, size: u32) -> Self {
        Self { file, size, start: 0, bytes: Vec::new(), unreadable: false }
    }

    /// `length` bytes at `offset`, fewer at the end of the segment.
    fn get(&mut self, offset: u32, length: usize) -> &[u8] {
        let length = length.min(self.size.saturating_sub(offset) as usize);
        let have = self.start as usize + self.bytes.len();
        if offset < self.start || offset as usize + length > have {
            let wanted = length.max(BLOCK as usize).min((self.size - offset.min(self.size)) as usize);
            self.load(offset, wanted);
        }
        let from = (offset - self.start) as usize;
        &self.bytes[from..from + length]
    }

    fn load(&mut self, offset: u32, wanted: usize) {
        self.start = offset;
        self.bytes.clear();
        self.bytes.resize(wanted, 0);
        if self.file.read_at(&mut self.bytes, u64::from(offset)).is_err() {
            self.load_blockwise(offset);
        }
    }

    /// Block by block, so that one bad block costs no more than itself.
    fn load_blockwise(&mut self, offset: u32) {
        let mut at = 0;
        while at < self.bytes.len() {
            let here = offset + at as u32;
            let count = ((here / BLOCK + 1) * BLOCK - here) as usize;
            let end = (at + count).min(self.bytes.len());
            let block = &mut self.bytes[at..end];
            if self.file.read_at(block, u64::from(here)).is_err() {
                block.fill(0);
                self.unreadable = true;
            }
            at = end;
        }
    }
}
