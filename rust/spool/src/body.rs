//! Body files: what is too large to stand in a log. Written while it arrives, synced with its folder before use.

use crate::error::{CommitError, ReadError};

/// A finished body file, as the content record names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFile {
    pub name: String,
    pub length: u64,
    /// CRC32C of all bytes.
    pub crc: u32,
}

/// A body on its way in. Dropped unfinished, its file is removed.
pub struct BodyWriter {}

impl BodyWriter {
    pub fn write(&mut self, _bytes: &[u8]) -> Result<(), CommitError> {
        todo!()
    }
    pub fn length(&self) -> u64 {
        todo!()
    }
    /// Syncs file and folder. Slow: not on the committer, not on a worker of the engine.
    pub fn finish(self) -> Result<BodyFile, CommitError> {
        todo!()
    }
}

/// A body file open for reading.
pub struct BodyReader {}

impl BodyReader {
    pub fn length(&self) -> u64 {
        todo!()
    }
    pub fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> Result<usize, ReadError> {
        todo!()
    }
    /// Reads all of it once and compares length and CRC (S6). Do this before the first byte is sent.
    pub fn verify(&self) -> Result<(), ReadError> {
        todo!()
    }
}
