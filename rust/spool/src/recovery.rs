//! What comes back after a stop or a crash: the newest valid checkpoint, then both logs in LSN order.

use angarium_nouns::Lsn;

use crate::error::{Damage, ReadError, SpoolError};
use crate::place::{ContentRef, Marks, Place};
use crate::spool::Spool;

/// One frame, in LSN order over both logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveredFrame {
    /// `start`: the first bytes of the payload (all of it when it is short); ask [`Recovery::read`] for the whole.
    /// A frame with `copy > 0` moves a message that is open at this point; it opens none that was closed.
    Content { at: ContentRef, start: Vec<u8> },
    /// A group of facts. `content_durable` is how far content was durable when it was written.
    Journal { lsn: Lsn, content_durable: Lsn, payload: Vec<u8> },
}

pub struct Recovery {}

impl Recovery {
    /// Pages of a section of the checkpoint that was chosen, in the order written; empty when there is none.
    pub fn section(&self, _number: u16) -> impl Iterator<Item = Result<Vec<u8>, ReadError>> + '_ {
        std::iter::empty()
    }
    /// What the checkpoint reflects; zero when there is none.
    pub fn checkpoint_marks(&self) -> Marks {
        todo!()
    }
    /// The next frame behind the checkpoint's positions. `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and an iterator of results would be skipped over")]
    pub fn next(&mut self) -> Result<Option<RecoveredFrame>, SpoolError> {
        todo!()
    }
    /// The whole payload, verified.
    pub fn read(&self, _at: &ContentRef) -> Result<Vec<u8>, ReadError> {
        todo!()
    }
    /// The content of an open message stands here: its segment is live. Call once for every open message.
    pub fn keep(&mut self, _place: Place) {
        todo!()
    }
    /// This body file is referred to by an open message; those not named are removed by [`Recovery::finish`].
    pub fn keep_body(&mut self, _name: &str) {
        todo!()
    }
    pub fn damage(&self) -> &[Damage] {
        &[]
    }
    /// True when the last run ended with [`Spool::close`].
    pub fn was_clean(&self) -> bool {
        todo!()
    }
    /// Mends the tails, raises the epoch, opens for writing.
    pub fn finish(self) -> Result<(Spool, u32), SpoolError> {
        todo!()
    }
}
