//! What can go wrong with the spool, one variant per cause.

use std::fmt;
use std::io;
use std::sync::Arc;

use angarium_nouns::Lsn;

/// Why the spool does not open.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("another process holds the spool")]
    Held,
    #[error(
        "{file} was written by a newer Angarium (format {found}, this one reads up to {known}): start that version, or restore a spool of this one"
    )]
    Newer { file: String, found: u32, known: u32 },
    #[error("{file} belongs to another spool")]
    Foreign { file: String },
    #[error("{file} cannot be read: {source}")]
    Unreadable { file: String, source: io::Error },
    #[error("the disk is too full to open the spool")]
    Full,
    #[error("{file} cannot be written: {source}")]
    Unwritable { file: String, source: io::Error },
    #[error("the segment size must be a multiple of 4096 between 65536 and 1073741824, not {0}")]
    SegmentSize(u32),
}

/// Why a group was not committed. The whole group is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// S4: no room for new mail; heals by itself.
    #[error("the disk is full")]
    Full,
    /// S5: the log takes nothing more in this process.
    #[error("the log is faulty: {0}")]
    Fault(Arc<str>),
    /// The frame does not fit into a segment; large bodies go to their own file.
    #[error("a frame of {length} bytes does not fit into a segment ({limit} at most)")]
    TooLarge { length: u64, limit: u64 },
}

/// Why something could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// S6: what stands there is not what was written.
    #[error("{file} is damaged at {offset}: {what}")]
    Damaged { file: String, offset: u64, what: &'static str },
    /// The segment or body file is no longer (or was never) there.
    #[error("{file} is not there")]
    Gone { file: String },
    /// The journal no longer reaches back that far.
    #[error("the journal begins at {}", oldest.0)]
    Retired { oldest: Lsn },
    /// Frames between `after` and `next` are broken; go on with `next - 1` as the place read up to.
    #[error("{file} is damaged at {offset}: facts between {} and {} are lost", after.0, next.0)]
    Gap { file: String, offset: u64, after: Lsn, next: Lsn },
    #[error("{file} cannot be read: {source}")]
    Io { file: String, source: io::Error },
}

/// Why a checkpoint was not published.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It reflects more than is durable; flush both logs and publish again later.
    #[error("the checkpoint reflects more than is durable")]
    NotDurable,
    #[error("section {0} is the spool's own")]
    Section(u16),
    #[error("a record of {0} bytes is larger than a page of a checkpoint")]
    RecordTooLarge(usize),
    #[error("the checkpoint cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// What recovery found broken and set aside. Everything else was recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// Durable frames that are broken: between LSN `after` and `before` something is lost.
    Frames { file: String, offset: u64, length: u64, after: Lsn, before: Option<Lsn>, kept: Option<String> },
    /// An unfinished end, cut as a crash leaves it; not a loss of anything promised up to the last mark.
    Tail { file: String, offset: u64, length: u64, kept: Option<String> },
    /// Blocks of a segment cannot be read; it is not written to any more.
    Unreadable { file: String },
    /// A segment that must be there is not.
    MissingSegment { file: String },
    /// The header of a segment is broken (its frames are recovered when its nonce is known from elsewhere).
    SegmentHeader { file: String },
    /// A checkpoint is broken; the previous one was used.
    Checkpoint { file: String },
    /// The identity file is broken; it was rebuilt from the segments.
    Identity,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let copy = |kept: &Option<String>| kept.as_ref().map_or("no copy".to_owned(), |name| format!("copy in {name}"));
        match self {
            Self::Frames { file, offset, length, after, before, kept } => {
                let before = before.map_or(String::new(), |before| format!(" and before {}", before.0));
                let place = format!("{length} bytes at {offset} of {file} are broken");
                write!(f, "{place}: frames after LSN {}{before} are lost ({})", after.0, copy(kept))
            }
            Self::Tail { file, offset, length, kept } => {
                write!(f, "an unfinished end of {length} bytes at {offset} of {file} was cut ({})", copy(kept))
            }
            Self::Unreadable { file } => write!(f, "blocks of {file} cannot be read; it is not written to any more"),
            Self::MissingSegment { file } => write!(f, "{file} is missing"),
            Self::SegmentHeader { file } => write!(f, "the header of {file} is broken"),
            Self::Checkpoint { file } => write!(f, "{file} is broken; an earlier checkpoint was used"),
            Self::Identity => f.write_str("the identity file is broken; it was rebuilt from the segments"),
        }
    }
}

impl Damage {
    /// True for an end that a crash tore: cut, kept, counted, and no loss of anything promised.
    pub fn is_tail(&self) -> bool {
        matches!(self, Self::Tail { .. })
    }
}
