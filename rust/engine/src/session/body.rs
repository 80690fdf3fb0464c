//! The body while it arrives: in memory up to a bound, beyond it in a file of its own (S7).
//!
//! [`Arriving::take`] never waits. When it says [`Room::Spill`], the session hands the body to the blocking pool
//! with [`Arriving::spill`] and reads nothing until it is back. What makes it fail is the disk: then the content is
//! dropped and the answer at the dot is the refusal.

use std::sync::Arc;

use angarium_ledger::{Body, BodyWriter, CommitError};

use super::budget::{Budget, Charge};

/// A body begins with so much, before 354: nearly all mail without pictures fits.
pub const FIRST_CHARGE: u64 = 16 << 10;
/// A body that goes to a file keeps so much memory between writes: one hop to the pool for each.
const FILE_CHUNK: u64 = 256 << 10;

/// The first spill of a body has at least so much: room for more Received fields than any policy allows.
const LEAST_BEGINNING: u64 = 64 << 10;

/// Can more be taken?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Room {
    More,
    Spill,
}

/// A body on its way in.
pub struct Arriving {
    memory: Vec<u8>,
    charge: Charge,
    inline_limit: u64,
    file: Option<BodyWriter>,
    /// Bytes in the file so far.
    written: u64,
}

impl Arriving {
    /// `expected`: the size declared at MAIL, 0 if none was.
    pub fn new(charge: Charge, inline_limit: u64, expected: u64, front: &[u8]) -> Self {
        let mut arriving = Self { memory: Vec::new(), charge, inline_limit, file: None, written: 0 };
        let wanted = (expected + front.len() as u64 + 64).clamp(1_024, inline_limit);
        let first = wanted.min(arriving.charge.bytes());
        if wanted <= first || arriving.charge.grow(wanted - first) {
            arriving.memory.reserve_exact(wanted as usize);
        }
        arriving.memory.extend_from_slice(front);
        arriving
    }

    /// Octets so far, what was put in front included.
    pub fn len(&self) -> u64 {
        self.written + self.memory.len() as u64
    }

    pub fn take(&mut self, bytes: &[u8]) -> Room {
        let needed = (self.memory.len() + bytes.len()) as u64;
        let room = self.room_for(needed);
        if needed > self.charge.bytes() {
            self.charge.force(needed - self.charge.bytes());
        }
        self.memory.extend_from_slice(bytes);
        room
    }

    fn room_for(&mut self, needed: u64) -> Room {
        let limit = if self.file.is_some() { FILE_CHUNK } else { self.inline_limit };
        if needed > limit {
            return Room::Spill;
        }
        let charged = self.charge.bytes();
        // What *stamp* must see of the beginning stays in memory, overdrawn if need be.
        if needed <= charged || needed <= LEAST_BEGINNING {
            return Room::More;
        }
        // Doubling as the vector does, so that what is charged is what is held.
        let more = (charged.max(needed - charged)).min(limit.saturating_sub(charged)).max(needed - charged);
        if self.charge.grow(more) { Room::More } else { Room::Spill }
    }

    /// Is the body in memory alone?
    pub fn is_inline(&self) -> bool {
        self.file.is_none()
    }

    /// The beginning: the whole of an inline body.
    pub fn memory(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// Writes what is in memory to the file; blocks. `open` makes the file when there is none.
    pub fn spill(&mut self, open: impl FnOnce() -> Result<BodyWriter, CommitError>) -> Result<(), CommitError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => open()?,
        };
        file.write(&self.memory)?;
        self.file = Some(file);
        self.written += self.memory.len() as u64;
        self.memory.clear();
        self.memory.shrink_to(FILE_CHUNK as usize);
        self.charge.shrink_to((self.memory.capacity() as u64).max(FIRST_CHARGE));
        Ok(())
    }

    /// A body that was never spilled.
    pub fn into_inline(self) -> (Body, Charge) {
        (Body::Inline(self.memory), self.charge)
    }

    /// Ends the file; blocks.
    pub fn finish(mut self) -> Result<(Body, Charge), CommitError> {
        let Some(file) = self.file.take() else { return Ok(self.into_inline()) };
        let file = file.finish()?;
        self.charge.shrink_to(0);
        Ok((Body::File(file), self.charge))
    }
}

/// A first charge, if there is one without waiting.
pub fn first_charge(budget: &Arc<Budget>) -> Option<Charge> {
    budget.try_charge(FIRST_CHARGE)
}
