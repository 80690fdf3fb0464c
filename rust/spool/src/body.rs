//! Body files: what is too large to stand in a log. Written while it arrives, synced with its folder before use.
//!
//! The name is the message's id and a number, so two attempts never meet. A body that is dropped unfinished is removed;
//! one that no open message names is removed at the next recovery. A full disk refuses the body (S4); any other failure
//! of a write or sync is a content fault (S5).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::{DiskFile, Site};
use crate::error::{CommitError, ReadError};
use crate::place::Family;
use crate::spool::Shared;
use crate::workshop::{is_full, write_all};

pub const BODIES: &str = "bodies";
/// Bytes gathered before a write, and asked to be written back at once.
const PIECE: usize = 1 << 20;
/// Bytes read at once when a body is verified.
const VERIFY_PIECE: usize = 256 * 1024;

/// A finished body file, as the content record names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFile {
    pub name: String,
    pub length: u64,
    /// CRC32C of all bytes.
    pub crc: u32,
}

pub fn body_path(name: &str) -> String {
    format!("{BODIES}/{name}")
}

/// True for names that this room gives: nothing else in a record may lead to a path.
pub fn is_body_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A body on its way in. Dropped unfinished, its file is removed.
pub struct BodyWriter {
    shared: Arc<Shared>,
    file: Arc<dyn DiskFile>,
    name: String,
    buffer: Vec<u8>,
    written: u64,
    crc: u32,
    finished: bool,
}

impl BodyWriter {
    pub(crate) fn new(shared: Arc<Shared>, name: String) -> Result<Self, CommitError> {
        let file = shared.disk.create(&body_path(&name)).map_err(|error| failed(&shared, "made", 0, &error))?;
        Ok(Self { shared, file, name, buffer: Vec::new(), written: 0, crc: 0, finished: false })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CommitError> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    pub fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self) -> Result<(), CommitError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let room = self.length();
        write_all(&*self.file, &self.buffer, self.written)
            .map_err(|error| failed(&self.shared, "written", room, &error))?;
        self.file.start_writeback(self.written, self.buffer.len() as u64);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Syncs file and folder. Slow: not on the committer, not on a worker of the engine.
    pub fn finish(mut self) -> Result<BodyFile, CommitError> {
        self.flush()?;
        self.file.sync(Site::BodyFile).map_err(|error| failed(&self.shared, "synced", self.written, &error))?;
        let folder = self.shared.disk.sync_folder(BODIES, Site::BodyFolder);
        folder.map_err(|error| failed(&self.shared, "synced", self.written, &error))?;
        self.finished = true;
        // One as large as that which found no room has been kept.
        let short = &self.shared.bodies_short;
        let _ = short.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| (bytes <= self.written).then_some(0));
        Ok(BodyFile { name: std::mem::take(&mut self.name), length: self.written, crc: self.crc })
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.shared.disk.unlink(&body_path(&self.name));
        }
    }
}

/// `length`: of the body as far as it has arrived.
fn failed(shared: &Shared, what: &str, length: u64, error: &std::io::Error) -> CommitError {
    if is_full(error) {
        shared.bodies_short.store(length + PIECE as u64, Ordering::Relaxed);
        return CommitError::Full;
    }
    shared.fault(Family::Content, &format!("a body file could not be {what}: {error}"))
}

/// A body file open for reading. It stays readable when its name is removed meanwhile.
pub struct BodyReader {
    file: Arc<dyn DiskFile>,
    about: BodyFile,
}

impl BodyReader {
    pub(crate) fn new(file: Arc<dyn DiskFile>, about: BodyFile) -> Self {
        Self { file, about }
    }

    pub fn length(&self) -> u64 {
        self.about.length
    }

    /// Fewer bytes than asked for only at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let io = |source| ReadError::Io { file: body_path(&self.about.name), source };
        self.file.read_at(buffer, offset).map_err(io)
    }

    /// Reads all of it once and compares length and CRC (S6). Do this before the first byte is sent.
    pub fn verify(&self) -> Result<(), ReadError> {
        let mut buffer = vec![0; VERIFY_PIECE];
        let (mut offset, mut crc) = (0, 0);
        loop {
            let count = self.read_at(&mut buffer, offset)?;
            if count == 0 {
                break;
            }
            crc = crc32c::crc32c_append(crc, &buffer[..count]);
            offset += count as u64;
        }
        if offset == self.about.length && crc == self.about.crc {
            return Ok(());
        }
        Err(ReadError::Damaged {
            file: body_path(&self.about.name),
            offset: 0,
            what: "length or checksum of the body differs",
        })
    }
}
