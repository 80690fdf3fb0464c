//! Upkeep: one bounded step at a time of everything that nobody waits for.
//!
//! Marks at rest, segments ahead of need, routes whose time came, expiry, rules on entries that have not met them,
//! checkpoints, copying forward, reclaim. One thread calls it; a step holds the state lock for a millisecond at most.

use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, MessageId, Millis, Outcome, Reason};
use angarium_queue::Cursor as Slots;
use angarium_spool::{ContentRef, Frame, Place};

use crate::checkpoint::{Step, Writing};
use crate::error::CommitError;
use crate::ledger::Ledger;
use crate::quota::Walk;
use crate::settle::Change;
use crate::state::{Kept, State};

/// Slots looked at by one step of a walk.
pub(crate) const STEPS_AT_ONCE: usize = 16_384;
/// Between two walks for expired entries.
const EXPIRY_EVERY: Millis = 60_000;
/// Between two looks for segments to reclaim or to copy.
const RECLAIM_EVERY: Millis = 1_000;
/// Checkpoints (spool.md, "Recovery"): every five minutes, 256 MiB of journal, 1 GiB or 250,000 records of content.
const CHECKPOINT_EVERY: Millis = 300_000;
const CHECKPOINT_JOURNAL: u64 = 256 << 20;
const CHECKPOINT_CONTENT: u64 = 1 << 30;
const CHECKPOINT_RECORDS: u64 = 250_000;
/// After a failed checkpoint.
const CHECKPOINT_AGAIN: Millis = 10_000;
/// Copied forward in one step: a group of content.
const COPY_BYTES: usize = 1 << 20;
/// The pace of copying: a step every tenth of a second is 10 MiB/s at most.
const COPY_EVERY: Millis = 100;
/// Steps of a stop before it gives up on a checkpoint.
const STOP_STEPS: usize = 1_000_000;

/// Where upkeep is.
#[derive(Default)]
pub(crate) struct Upkeep {
    expiry_at: Option<Slots>,
    next_expiry: Millis,
    next_reclaim: Millis,
    next_checkpoint: Millis,
    next_copy: Millis,
    writing: Option<Writing>,
    /// Figures of the spool at the last checkpoint: bytes of journal, bytes and records of content.
    written: (u64, u64, u64),
    copying: Vec<ContentRef>,
    tenants: Walk,
}

impl Ledger {
    /// One bounded step. True: call again soon.
    pub fn maintain(&self, now: Millis) -> bool {
        let mut upkeep = self.upkeep.lock();
        // A fault is latched by the spool and shown in the figures.
        let _ = self.spool.write_mark_if_rested(now);
        let mut more = self.spool.prepare();
        more |= self.change(|state| state.upkeep(now));
        more |= self.expiry(&mut upkeep, now);
        more |= self.checkpoints(&mut upkeep, now);
        more |= self.copying(&mut upkeep, now);
        more |= self.count_tenants(&mut upkeep.tenants, now);
        if now >= upkeep.next_reclaim {
            upkeep.next_reclaim = now + RECLAIM_EVERY;
            self.spool.reclaim(now, self.journal_floor(now));
        }
        more
    }

    fn expiry(&self, upkeep: &mut Upkeep, now: Millis) -> bool {
        if upkeep.expiry_at.is_none() && now >= upkeep.next_expiry {
            upkeep.next_expiry = now + EXPIRY_EVERY;
            upkeep.expiry_at = Some(Slots::default());
        }
        let Some(from) = upkeep.expiry_at else { return false };
        upkeep.expiry_at = self.change(|state| state.expire_step(from, now));
        upkeep.expiry_at.is_some()
    }

    fn checkpoints(&self, upkeep: &mut Upkeep, now: Millis) -> bool {
        if upkeep.writing.is_none() && !self.wants_checkpoint(upkeep, now) {
            return false;
        }
        match self.checkpoint_step(&mut upkeep.writing, now) {
            Ok(Step::More) => true,
            Ok(Step::Waits) => false,
            Ok(Step::Done) => {
                upkeep.next_checkpoint = now + CHECKPOINT_EVERY;
                upkeep.written = self.written_so_far();
                false
            }
            Err(_) => {
                self.end_quarantine();
                upkeep.writing = None;
                upkeep.next_checkpoint = now + CHECKPOINT_AGAIN;
                upkeep.written = self.written_so_far();
                false
            }
        }
    }

    fn wants_checkpoint(&self, upkeep: &mut Upkeep, now: Millis) -> bool {
        if upkeep.next_checkpoint == 0 {
            upkeep.next_checkpoint = now + CHECKPOINT_EVERY;
        }
        let ((journal, content, records), before) = (self.written_so_far(), upkeep.written);
        let grown = journal - before.0 >= CHECKPOINT_JOURNAL
            || content - before.1 >= CHECKPOINT_CONTENT
            || records - before.2 >= CHECKPOINT_RECORDS;
        let idle = (journal, content, records) == before;
        grown || (now >= upkeep.next_checkpoint && !idle)
    }

    fn written_so_far(&self) -> (u64, u64, u64) {
        let stats = self.spool.stats();
        (stats.journal_bytes, stats.content_bytes, stats.content_frames)
    }

    /// The oldest LSN of the journal that somebody wants.
    fn journal_floor(&self, now: Millis) -> Lsn {
        let (written, _, _) = self.written_so_far();
        let end = self.spool.durable().journal;
        let mut state = self.state.lock();
        let (keep, keep_bytes) = (state.policy.journal_keep, state.policy.journal_bytes);
        state.retention.note(now, end, written);
        let open = state.index.counts().oldest.into_iter().flatten().min();
        let floor = state.retention.floor(now, open, (keep, keep_bytes), written);
        state.claims.journal_floor().map_or(floor, |claimed| floor.min(claimed))
    }

    /// Copies a part of what is still open in a segment that is mostly dead.
    fn copying(&self, upkeep: &mut Upkeep, now: Millis) -> bool {
        if now < upkeep.next_copy {
            return false;
        }
        upkeep.next_copy = now + COPY_EVERY;
        if upkeep.copying.is_empty() {
            let Some(candidate) = self.spool.copy_candidates(now, 1).first().copied() else { return false };
            upkeep.copying = self.spool.frames_in(candidate.segment).unwrap_or_default();
        }
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(at) = upkeep.copying.pop() {
            let here = self.state.lock().place_to_copy(at.id) == Some(at.place);
            // What cannot be read stays where it is: whoever needs it finds that it is lost.
            if let (true, Ok(payload)) = (here, if here { self.spool.read(at.place, at.id) } else { Ok(Vec::new()) }) {
                bytes += payload.len();
                batch.push((at, payload));
            }
            if bytes >= COPY_BYTES {
                break;
            }
        }
        self.copy(&batch);
        !upkeep.copying.is_empty()
    }

    fn copy(&self, batch: &[(ContentRef, Vec<u8>)]) {
        if batch.is_empty() {
            return;
        }
        let parts: Vec<[&[u8]; 1]> = batch.iter().map(|(_, payload)| [payload.as_slice()]).collect();
        let frames: Vec<Frame<'_>> = batch
            .iter()
            .zip(&parts)
            .map(|((at, payload), parts)| Frame {
                id: at.id,
                chunk: at.chunk,
                copy: at.copy + 1,
                parts,
                payload_crc: crc32c::crc32c(payload),
            })
            .collect();
        // A fault is latched by the spool; the originals are still there.
        let Ok(group) = self.spool.commit_copies(&frames) else { return };
        for (n, ((at, _), place)) in batch.iter().zip(group.places).enumerate() {
            let lsn = Lsn(group.first.0 + n as u64);
            let unused = self.change(|state| state.moved(at.id, at.place, place, lsn));
            self.spool.release(unused);
        }
    }

    /// Flush, checkpoint, end frames. Nothing may be committed afterwards.
    pub fn close(&self, now: Millis) -> Result<(), CommitError> {
        let mut upkeep = self.upkeep.lock();
        let _one_at_a_time = self.committing.lock();
        self.shut();
        self.flush_journal(now)?;
        for _ in 0..STOP_STEPS {
            if !matches!(self.checkpoint_step(&mut upkeep.writing, now), Ok(Step::More | Step::Waits)) {
                break;
            }
            self.flush_journal(now)?;
        }
        self.flush_journal(now)?;
        self.spool.close().map_err(CommitError::journal)
    }
}

impl State {
    fn upkeep(&mut self, now: Millis) -> bool {
        let more = self.route_timers(now) | self.index.sweep(now, STEPS_AT_ONCE);
        self.drop_unused_lanes();
        self.meet_rules(now);
        self.tell_torn(now);
        more
    }

    /// Entries whose deadline has passed and that had their chance.
    fn expire_step(&mut self, from: Slots, now: Millis) -> Option<Slots> {
        let mut found = Vec::new();
        let next = self.index.expired(now, from, STEPS_AT_ONCE, &mut found);
        let frozen = self.freeze.is_frozen(now);
        for entry in found {
            let Some(view) = self.index.view(entry).filter(|view| view.state == EntryState::Waiting) else { continue };
            let strict = self.index.message_of(entry).is_some_and(|message| Kept::of(&message).strict);
            if strict || (!frozen && self.had_its_chance(entry)) {
                let change = Change::of(&view, EntryState::Failed, Outcome::Failed, Reason::Expired);
                self.expire(&view, change, now);
            }
        }
        next
    }

    /// Where content lies that is open or claimed.
    fn place_to_copy(&self, id: MessageId) -> Option<Place> {
        self.index.message(id).map(|message| Kept::of(&message).place).or_else(|| self.claims.place(id))
    }

    /// The copy is durable: what is open lies there now. Gives the place that nobody needs any more.
    fn moved(&mut self, id: MessageId, from: Place, to: Place, lsn: Lsn) -> Place {
        self.copies_applied = self.copies_applied.max(lsn);
        match self.index.message(id) {
            Some(message) if Kept::of(&message).place == from => {
                self.index.set_place(id, Kept { place: to, ..Kept::of(&message) }.pack());
                from
            }
            _ if self.claims.moved(id, Some(from), to) => from,
            // Closed meanwhile: its release names the old place, the copy is not needed.
            _ => to,
        }
    }
}
