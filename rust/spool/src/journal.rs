//! Reading the journal for followers: durable groups of facts, from any LSN that is still kept.
//!
//! A segment's index says where to begin; it is made by the writer as it writes, by recovery as it walks, or here when a
//! follower first asks for an old segment. What is broken is named once as a gap, never stepped over in silence.

use std::sync::Arc;

use angarium_nouns::Lsn;

use crate::error::ReadError;
use crate::format::{BLOCK, JOURNAL_PREFIX, Kind};
use crate::place::{Family, JournalFrame};
use crate::recovery::{Trace, read_payload};
use crate::segment::{Segment, Shelf};
use crate::walk::{NewerFrame, Step, Walk};

/// What one call gathers.
struct Reading {
    after: Lsn,
    durable: Lsn,
    limit: usize,
    frames: Vec<JournalFrame>,
}

/// Whether to go on with the next segment.
enum Flow {
    On,
    Enough,
}

/// Up to `limit` groups above `after`, none beyond `durable`.
pub fn read(shelf: &Shelf, after: Lsn, durable: Lsn, limit: usize) -> Result<Vec<JournalFrame>, ReadError> {
    let segments = shelf.list(Family::Journal);
    let first = segments.first().map_or(Lsn(0), |segment| segment.first_lsn());
    if segments.first().is_some_and(|segment| segment.number > 1) && after.0 + 1 < first.0 {
        return Err(ReadError::Retired { oldest: first });
    }
    let mut reading = Reading { after, durable, limit, frames: Vec::new() };
    for segment in segments {
        let last = segment.last_lsn();
        if last <= after || segment.first_lsn() > durable || after >= durable {
            continue;
        }
        if let Flow::Enough = reading.read_segment(&segment)? {
            break;
        }
    }
    Ok(reading.frames)
}

impl Reading {
    fn read_segment(&mut self, segment: &Arc<Segment>) -> Result<Flow, ReadError> {
        let (mut last, start) = begin(segment, self.after)?;
        let mut walk = Walk::new(segment, start);
        let mut hole = None;
        while let Some(step) = walk.next().map_err(|error| failed(segment, error))? {
            let found = match step {
                Step::Hole { from, .. } => {
                    hole = Some(from);
                    continue;
                }
                Step::Frame(found) => found,
            };
            let lsn = found.header.lsn;
            if lsn > self.durable || self.frames.len() >= self.limit {
                return Ok(Flow::Enough);
            }
            if let Some(from) = hole.take()
                && self.after.0 + 1 < lsn.0
            {
                return self.gap(segment, from, last, lsn);
            }
            if lsn > self.after && found.header.kind == Kind::Facts {
                let trace = Trace { lsn, offset: found.offset, end: found.end, segment: 0 };
                let read = read_payload(segment, &trace).map_err(|error| ReadError::Io {
                    file: segment.name(),
                    source: std::io::Error::other(error.to_string()),
                })?;
                let Some((_, mut payload)) = read else { return self.gap(segment, found.offset, last, Lsn(lsn.0 + 1)) };
                payload.drain(..JOURNAL_PREFIX.min(payload.len()));
                self.frames.push(JournalFrame { lsn, payload });
            }
            last = lsn;
            // Behind the last durable frame lies nothing to read but the zeros of the segment.
            if last >= self.durable {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::On)
    }

    /// What was gathered before the gap goes out first; the next call meets the gap.
    fn gap(&self, segment: &Segment, offset: u32, after: Lsn, next: Lsn) -> Result<Flow, ReadError> {
        if self.frames.is_empty() {
            return Err(ReadError::Gap { file: segment.name(), offset: u64::from(offset), after, next });
        }
        Ok(Flow::Enough)
    }
}

/// The indexed frame at or before `after`, as (LSN before it, offset).
fn begin(segment: &Arc<Segment>, after: Lsn) -> Result<(Lsn, u32), ReadError> {
    let mut index = segment.index.lock();
    if index.is_none() {
        *index = Some(index_of(segment)?);
    }
    let entries = index.as_deref().unwrap_or_default();
    let count = entries.partition_point(|&(lsn, _)| lsn <= after);
    Ok(count.checked_sub(1).map_or((Lsn(0), BLOCK), |i| (Lsn(entries[i].0.0 - 1), entries[i].1)))
}

fn index_of(segment: &Arc<Segment>) -> Result<Vec<(Lsn, u32)>, ReadError> {
    let mut entries: Vec<(Lsn, u32)> = Vec::new();
    let mut walk = Walk::new(segment, BLOCK);
    while let Some(step) = walk.next().map_err(|error| failed(segment, error))? {
        if let Step::Frame(found) = step
            && entries.last().is_none_or(|&(_, at)| found.offset - at >= Segment::INDEX_STEP)
        {
            entries.push((found.header.lsn, found.offset));
        }
    }
    Ok(entries)
}

pub fn failed(segment: &Segment, NewerFrame(version): NewerFrame) -> ReadError {
    ReadError::Io { file: segment.name(), source: std::io::Error::other(format!("a frame of format {version}")) }
}
