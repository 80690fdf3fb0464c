//! What the spool asks of a disk. Two answer: the real one and the simulated one.
//!
//! Names are relative to the spool's folder, at most one folder deep (`bodies/…`). A name made, renamed or removed is
//! durable only after [`Disk::sync_folder`] of its folder; bytes only after [`DiskFile::sync`]. Every sync names its
//! [`Site`], so that a test can leave one out and see whether anybody notices.

use std::io::{self, IoSlice};
use std::sync::Arc;

/// Why a sync is made. One variant for each place in the spool that syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// A group of content: what 250 waits for.
    ContentCommit,
    /// A group of facts.
    JournalCommit,
    /// A group of content copied forward.
    CopyCommit,
    /// Zeros of a fresh segment file: room that is really there.
    SegmentZeros,
    /// The name of a fresh segment file.
    SpareFolder,
    /// The header that begins a use of a segment file.
    SegmentHeader,
    /// The name under which a segment file is used.
    SegmentFolder,
    /// The name of a segment file that is no longer used.
    RetireFolder,
    /// A kept, rewritten and cleared tail at recovery.
    TailMended,
    /// Bytes set aside in `damaged/`.
    DamagedFile,
    /// The name of bytes set aside.
    DamagedFolder,
    /// A body file.
    BodyFile,
    /// The name of a body file.
    BodyFolder,
    /// A checkpoint before it gets its name.
    CheckpointFile,
    /// The name of a checkpoint.
    CheckpointFolder,
    /// The identity of the spool: id, epoch, highest LSN.
    IdentityFile,
    /// The name of the identity.
    IdentityFolder,
}

impl Site {
    pub const ALL: [Self; 17] = [
        Self::ContentCommit,
        Self::JournalCommit,
        Self::CopyCommit,
        Self::SegmentZeros,
        Self::SpareFolder,
        Self::SegmentHeader,
        Self::SegmentFolder,
        Self::RetireFolder,
        Self::TailMended,
        Self::DamagedFile,
        Self::DamagedFolder,
        Self::BodyFile,
        Self::BodyFolder,
        Self::CheckpointFile,
        Self::CheckpointFolder,
        Self::IdentityFile,
        Self::IdentityFolder,
    ];
}

/// Held while the spool is open; dropping it frees the folder.
pub trait DiskLock: Send + Sync {}

pub trait Disk: Send + Sync {
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes an empty file; one that exists is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Names (without the folder) of the files in `folder`; `""` is the spool's own folder. Sorted.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    fn make_folder(&self, name: &str) -> io::Result<()>;
    /// Replaces `to` if it exists.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn unlink(&self, name: &str) -> io::Result<()>;
    fn sync_folder(&self, folder: &str, site: Site) -> io::Result<()>;
    /// Bytes that new files may still take.
    fn free_bytes(&self) -> io::Result<u64>;
    /// `None` when another process holds the spool.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn DiskLock>>>;
    /// Unpredictable bits for ids and nonces (a seeded sequence in simulation).
    fn random(&self) -> io::Result<u64>;
}

pub trait DiskFile: Send + Sync {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// One write of at most [`MAX_BUFFERS`] buffers. Returns what was written: less than all is the caller's fault to find.
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Makes a fresh, empty file `length` bytes of zeros that are really written, so that later writes need no room (S4).
    fn fill_with_zeros(&self, length: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS.min(length as usize)];
        write_pieces(&zeros, length, |piece, offset| self.write_at(&[IoSlice::new(piece)], offset))
    }
    /// All written bytes and the length are durable when this returns `Ok`.
    fn sync(&self, site: Site) -> io::Result<()>;
    /// Begins to write back a range without waiting. A hint, never a promise.
    fn start_writeback(&self, offset: u64, length: u64);
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|length| length == 0)
    }
}

/// Zeros are written in pieces of this size.
pub(crate) const ZEROS: usize = 1 << 20;

/// Calls `write` with `zeros`, or what is left to do of them, until `length` bytes are written. A short write fails.
pub(crate) fn write_pieces(
    zeros: &[u8],
    length: u64,
    write: impl Fn(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut at = 0;
    while at < length {
        let piece = &zeros[..zeros.len().min((length - at) as usize)];
        if write(piece, at)? != piece.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += piece.len() as u64;
    }
    Ok(())
}

/// Buffers in one write: `IOV_MAX` of Linux.
pub const MAX_BUFFERS: usize = 1024;
