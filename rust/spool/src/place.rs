//! The nouns of the spool: where a frame stands, what is handed in to be written, what comes back.

use angarium_nouns::{Lsn, MessageId};

/// The bit of a segment number that tells copied segments from content segments.
pub const COPIED_BIT: u32 = 0x8000_0000;

/// Which log a segment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    Content = 1,
    Journal = 2,
    /// Content copied forward out of segments that are mostly dead.
    Copied = 3,
}

/// Where a content frame stands. 12 bytes; good until the message is released or copied forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    /// Segment number; the highest bit set means the copied family.
    pub segment: u32,
    pub offset: u32,
    /// Bytes of payload.
    pub length: u32,
}

/// One content frame to be written. The worker that made the payload also summed it.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    pub id: MessageId,
    pub chunk: u32,
    pub copy: u32,
    /// The payload, in parts that are written one behind the other.
    pub parts: &'a [&'a [u8]],
    /// CRC32C of the whole payload (`crc32c::crc32c`, continued by `crc32c_append`).
    pub payload_crc: u32,
}

/// A committed group: frame `i` has LSN `first + i` and stands at `places[i]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub first: Lsn,
    pub places: Vec<Place>,
}

/// The highest LSN of each log (of its frames) that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    pub content: Lsn,
    pub journal: Lsn,
    pub copied: Lsn,
}

impl Marks {
    /// True when every log is durable at least as far as `other` says.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.content >= other.content && self.journal >= other.journal && self.copied >= other.copied
    }
}

/// One durable group of facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFrame {
    pub lsn: Lsn,
    pub payload: Vec<u8>,
}

/// A content frame as its header tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRef {
    pub lsn: Lsn,
    pub id: MessageId,
    pub chunk: u32,
    pub copy: u32,
    pub place: Place,
}
