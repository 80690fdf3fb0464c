//! Checkpoints: a snapshot of what the ledger holds, in pages with CRC, under opaque section numbers.

use crate::error::CheckpointError;
use crate::place::Marks;

/// Writes one checkpoint. Dropped unpublished, nothing remains of it.
pub struct CheckpointWriter {}

impl CheckpointWriter {
    /// The largest record: one page less its header.
    pub const MAX_RECORD: usize = 65_536 - 32;

    /// Appends one record to a section. Records are never split over pages; sections may be written in any order,
    /// each is read back as the concatenation of its records.
    pub fn write(&mut self, _section: u16, _record: &[u8]) -> Result<(), CheckpointError> {
        todo!()
    }
    /// `reflects`: the highest LSNs whose effects may stand in the pages. Refused (nothing remains) while that is not durable.
    pub fn publish(self, _reflects: Marks) -> Result<(), CheckpointError> {
        todo!()
    }
}
