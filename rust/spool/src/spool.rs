//! The open spool: commit, read, release, reclaim. Every method takes `&self`; content, copies and journal have a
//! lock each, so that three threads may commit at once.

use std::sync::Arc;

use angarium_nouns::{Lsn, MessageId, Millis};

use crate::body::{BodyFile, BodyReader, BodyWriter};
use crate::checkpoint::CheckpointWriter;
use crate::disk::Disk;
use crate::error::{CheckpointError, CommitError, ReadError, SpoolError};
use crate::place::{ContentRef, Family, Frame, Group, JournalFrame, Marks, Place};
use crate::recovery::Recovery;
use crate::settings::SpoolSettings;

/// A sealed segment that is mostly dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyCandidate {
    pub segment: u32,
    pub live_frames: u32,
    pub live_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolStats {
    pub content_segments: u32,
    pub copied_segments: u32,
    pub journal_segments: u32,
    pub spare_segments: u32,
    /// Bytes of all segment files.
    pub segment_bytes: u64,
    pub live_frames: u64,
    pub live_bytes: u64,
    pub body_files_made: u64,
    pub content_groups: u64,
    pub content_frames: u64,
    pub content_bytes: u64,
    pub journal_groups: u64,
    pub journal_bytes: u64,
    pub copied_frames: u64,
    pub segments_recycled: u64,
    /// Segments a committer had to make itself because none was ready.
    pub segments_late: u64,
    pub checkpoints: u64,
    pub content_fault: bool,
    pub journal_fault: bool,
    pub full: bool,
}

pub struct Spool {}

impl Spool {
    /// Locks the folder (makes what is missing) and reads headers; then replay with [`Recovery::next`].
    pub fn open(_disk: Arc<dyn Disk>, _settings: SpoolSettings) -> Result<Recovery, SpoolError> {
        todo!()
    }
    /// Identity of this spool, for cursors.
    pub fn id(&self) -> u128 {
        todo!()
    }
    pub fn epoch(&self) -> u32 {
        todo!()
    }
    /// The largest payload that [`Spool::commit_content`] takes.
    pub fn max_payload(&self) -> usize {
        todo!()
    }
    /// Writes new mail with one write and one fdatasync. `Full` when only the reserve is left.
    pub fn commit_content(&self, _frames: &[Frame<'_>]) -> Result<Group, CommitError> {
        todo!()
    }
    /// The same for what must go on when the disk is full (bounces, successors): may use the reserve.
    pub fn commit_reserved(&self, _frames: &[Frame<'_>]) -> Result<Group, CommitError> {
        todo!()
    }
    /// Copies of open messages (`copy` one higher) into the copied family.
    pub fn commit_copies(&self, _frames: &[Frame<'_>]) -> Result<Group, CommitError> {
        todo!()
    }
    pub fn commit_journal(&self, _payload: &[u8]) -> Result<Lsn, CommitError> {
        todo!()
    }
    pub fn durable(&self) -> Marks {
        todo!()
    }
    /// Call every few milliseconds when idle: after `rest` without a commit the marks are written once.
    pub fn write_mark_if_rested(&self, _now: Millis) -> Result<(), CommitError> {
        todo!()
    }
    /// False while new mail would get [`CommitError::Full`] or `Fault`. Cheap: for MAIL.
    pub fn takes_mail(&self) -> bool {
        todo!()
    }
    /// Latches a log as faulty (S5: also for a panic of whoever commits to it).
    pub fn fault(&self, _family: Family, _why: &str) {
        todo!()
    }
    /// The whole payload, verified.
    pub fn read(&self, _place: Place, _id: MessageId) -> Result<Vec<u8>, ReadError> {
        todo!()
    }
    pub fn new_body(&self, _id: MessageId) -> Result<BodyWriter, CommitError> {
        todo!()
    }
    pub fn read_body(&self, _file: &BodyFile) -> Result<BodyReader, ReadError> {
        todo!()
    }
    /// The message is closed and the fact that closes it is durable.
    pub fn remove_body(&self, _name: &str) {
        todo!()
    }
    /// The message at this place is closed (its closing fact durable) or was copied forward (its copy durable).
    pub fn release(&self, _place: Place) {
        todo!()
    }
    /// Up to `limit` durable groups of facts with LSN above `after`.
    pub fn read_journal(&self, _after: Lsn, _limit: usize) -> Result<Vec<JournalFrame>, ReadError> {
        todo!()
    }
    /// Makes and readies segments ahead of need; one bounded step (at most one file). True when more is wanted.
    pub fn prepare(&self) -> bool {
        todo!()
    }
    /// Recycles what nothing needs. `journal_floor`: the oldest LSN that retention, followers or open content want.
    pub fn reclaim(&self, _now: Millis, _journal_floor: Lsn) -> usize {
        todo!()
    }
    pub fn copy_candidates(&self, _now: Millis, _limit: usize) -> Vec<CopyCandidate> {
        todo!()
    }
    /// Headers of all frames of a content segment, for copying.
    pub fn frames_in(&self, _segment: u32) -> Result<Vec<ContentRef>, ReadError> {
        todo!()
    }
    /// `applied`: every frame up to these LSNs is applied in what the pages will show; replay begins behind them.
    pub fn begin_checkpoint(&self, _applied: Marks) -> Result<CheckpointWriter, CheckpointError> {
        todo!()
    }
    pub fn stats(&self) -> SpoolStats {
        todo!()
    }
    /// Writes the end frames and frees the folder. Nothing may be committed afterwards.
    pub fn close(&self) -> Result<(), CommitError> {
        todo!()
    }
}
