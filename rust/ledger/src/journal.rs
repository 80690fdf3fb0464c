//! The journal: pending facts become frames, frames become durable, readers see what is durable.
//!
//! One thread flushes. What a fact closes is released only when the fact is durable (spool.md: reclaim); an order
//! is answered only then too. A flush that fails leaves its facts waiting and the fault stands (S5).

use angarium_nouns::Lsn;
use angarium_nouns::Millis;
use angarium_nouns::record::{Claim, Fact, Followed, Gap};
use angarium_spool::ReadError as SpoolReadError;

use crate::claims::{Follower, MOST_FOLLOWERS, Missed, Who};
use crate::error::{CommitError, FollowError, ReadError};
use crate::facts::{Frame, FrameRead, Note};
use crate::ledger::{Flushed, Ledger};
use crate::reader::{Cursor, FollowerView, JournalPage, JournalRecord};
use crate::state::State;

/// A frame is closed at this size, as content groups are at 1 MiB: half of it, since a fact is small.
const FRAME_BYTES: usize = 512 * 1024;
/// Damaged stretches remembered: more than that, and the disk is to be replaced.
const MOST_TORN: usize = 1024;
/// Frames read in one look by a reader.
const FRAMES_PER_READ: usize = 64;

impl Ledger {
    /// Facts that wait to be flushed. Above 0: flush within 50 ms; at once when [`Ledger::urgent_facts`].
    pub fn pending_facts(&self) -> usize {
        self.state.lock().facts.len()
    }

    /// An order, a follower or a checkpoint waits for its fact.
    pub fn urgent_facts(&self) -> bool {
        self.state.lock().facts.is_urgent()
    }

    /// Writes pending facts (one frame, more if they are many); releases what they close; moves the durable end.
    pub fn flush_journal(&self, now: Millis) -> Result<Flushed, CommitError> {
        let _one_at_a_time = self.flushing.lock();
        let mut notes = self.state.lock().facts.take();
        let mut flushed = Flushed::default();
        while !notes.is_empty() {
            let (count, payload) = self.frame(&notes);
            match self.spool.commit_journal(&payload) {
                Ok(lsn) => self.written(count, lsn, now),
                Err(error) => {
                    self.state.lock().facts.put_back(notes);
                    return Err(CommitError::journal(error));
                }
            }
            notes.drain(..count);
            flushed.written += count;
            flushed.bytes += payload.len();
        }
        flushed.facts = self.state.lock().facts.durable();
        Ok(flushed)
    }

    /// The payload of as many notes as one frame takes.
    fn frame(&self, notes: &[Note]) -> (usize, Vec<u8>) {
        let most = FRAME_BYTES.min(self.spool.max_payload() / 2);
        let mut frame = Frame::default();
        let mut count = 0;
        for note in notes {
            frame.add(note);
            count += 1;
            if frame.len() >= most {
                break;
            }
        }
        (count, frame.finish())
    }

    fn written(&self, count: usize, lsn: Lsn, now: Millis) {
        let released = self.change(|state| {
            state.facts.flushed_to(lsn);
            let closed = state.facts.written(count);
            let released: Vec<_> = closed.into_iter().filter_map(|one| state.claims.pass(one, lsn)).collect();
            state.trim_claims(now);
            released
        });
        for release in released {
            if let Some(body) = release.body {
                self.spool.remove_body(&body.name);
            }
            self.spool.release(release.place);
        }
    }

    /// `kinds`: bit N for facts of tag N; 0: all. Cursor all zero: the oldest.
    pub fn read_journal(&self, cursor: Cursor, kinds: u32, limit: usize) -> Result<JournalPage, ReadError> {
        let spool = self.spool_id();
        if cursor.spool != 0 && cursor.spool != spool {
            return Err(ReadError::OtherSpool);
        }
        let mut after = Lsn(cursor.lsn);
        let mut gap = false;
        let mut damaged = None;
        let mut records = Vec::new();
        let mut more = false;
        while records.len() < limit {
            let frames = match self.spool.read_journal(after, FRAMES_PER_READ) {
                Err(SpoolReadError::Retired { oldest }) if !gap => {
                    gap = cursor.lsn != 0;
                    after = Lsn(oldest.0.saturating_sub(1));
                    continue;
                }
                // Damage: what is gathered goes out first; the next call begins at the gap and passes it.
                Err(SpoolReadError::Gap { .. }) if !records.is_empty() => {
                    more = true;
                    break;
                }
                Err(SpoolReadError::Gap { after: from, next, .. }) => {
                    gap = true;
                    let (from, to) = (from.0.max(after.0), next.0.saturating_sub(1));
                    damaged = Some(damaged.map_or((from, to), |(first, _): (u64, u64)| (first, to)));
                    self.change(|state| state.tear(from, to));
                    after = Lsn(to.max(after.0 + 1));
                    continue;
                }
                other => other.map_err(|error| ReadError::Unreadable(error.to_string()))?,
            };
            if frames.is_empty() {
                more = false;
                break;
            }
            more = true;
            for frame in frames {
                if records.len() >= limit {
                    break;
                }
                records.extend(read_frame(&frame.payload, frame.lsn, kinds)?);
                after = frame.lsn;
            }
        }
        let next = Cursor { spool, epoch: self.spool.epoch(), lsn: after.0 };
        Ok(JournalPage { records, next, gap, damaged, more })
    }

    /// The durable end, for a reader that wants only what is new.
    pub fn journal_end(&self) -> Cursor {
        Cursor { spool: self.spool_id(), epoch: self.spool.epoch(), lsn: self.spool.durable().journal.0 }
    }

    pub(crate) fn spool_id(&self) -> u64 {
        let id = self.spool.id();
        (id >> 64) as u64 ^ id as u64
    }

    /// A follower is there now (or, with [`Claim::Gone`], no more); durable when [`Flushed::facts`] reaches the token.
    pub fn follow(&self, name: &str, cursor: Cursor, claim: Claim, now: Millis) -> Result<u64, FollowError> {
        self.change(|state| {
            let known = state.claims.followers();
            match (known.contains_key(name), claim) {
                (false, Claim::Gone) => return Err(FollowError::Unknown(name.to_owned())),
                (false, _) if known.len() >= MOST_FOLLOWERS => return Err(FollowError::TooMany),
                _ => {}
            }
            state.follow(name, cursor, claim, now);
            Ok(state.facts.hurry())
        })
    }

    pub fn followers(&self) -> Vec<FollowerView> {
        let state = self.state.lock();
        let view = |(name, follower): (&String, &Follower)| FollowerView {
            name: name.clone(),
            cursor: follower.cursor,
            claim: follower.claim.name(),
            skipped: follower.skipped,
        };
        state.claims.followers().iter().map(view).collect()
    }
}

impl State {
    /// What the follower claims no more is free when the fact that says so is durable.
    fn follow(&mut self, name: &str, cursor: Cursor, claim: Claim, now: Millis) {
        let free = self.claims.follow(name, cursor, claim);
        for release in free {
            self.facts.release(release);
        }
        let Cursor { epoch, lsn, .. } = cursor;
        let fact = Followed { tag: Fact::FOLLOWED, at: now, follower: 1, epoch, lsn, claims: claim };
        self.facts.push(Note::Rare { fact: Box::new(Fact::Followed(fact)), strings: vec![name.to_owned()] });
    }

    /// Best effort at its limit: the oldest goes when the `gap` facts are durable.
    fn trim_claims(&mut self, now: Millis) {
        let (missed, free) = self.claims.trim(self.policy.best_effort_bytes);
        for release in free {
            self.facts.release(release);
        }
        for Missed { who, from, to } in missed {
            let (follower, pin) = match who {
                Who::Follower(name) => (vec![name], 0),
                Who::Pin(number) => (Vec::new(), number),
            };
            let fact = Gap { tag: Fact::GAP, at: now, follower: follower.len() as u32, from, to, pin };
            self.facts.push(Note::Rare { fact: Box::new(Fact::Gap(fact)), strings: follower });
        }
    }

    /// A stretch of the journal is damaged: counted once, and told once by the next step of upkeep.
    pub fn tear(&mut self, from: u64, to: u64) {
        // A recovery and a reader draw the edges of one stretch a little differently.
        let known = self.torn.keys().any(|(begin, end)| from < *end && *begin < to);
        if self.torn.len() < MOST_TORN && !known {
            self.torn.insert((from, to), false);
            self.figures.damaged += 1;
            self.torn_untold = true;
        }
    }

    /// The fact of each damaged stretch, for everybody who reads the journal.
    pub fn tell_torn(&mut self, now: Millis) {
        if !std::mem::take(&mut self.torn_untold) {
            return;
        }
        for ((from, to), told) in &mut self.torn {
            if !std::mem::replace(told, true) {
                let fact = Gap { tag: Fact::GAP, at: now, follower: 0, from: *from, to: *to, pin: 0 };
                self.facts.push(Note::Rare { fact: Box::new(Fact::Gap(fact)), strings: Vec::new() });
            }
        }
    }
}

/// The facts of one frame that are of these kinds (0: all), each with its own strings.
pub fn read_frame(payload: &[u8], lsn: Lsn, kinds: u32) -> Result<Vec<JournalRecord>, ReadError> {
    let unreadable = |error: angarium_nouns::record::RecordError| ReadError::Unreadable(error.to_string());
    let mut frame = FrameRead::open(payload).map_err(unreadable)?;
    let mut records = Vec::new();
    while let Some(mut fact) = frame.next_fact().map_err(unreadable)? {
        if kinds != 0 && kinds & (1 << fact.tag()) == 0 {
            continue;
        }
        let mut strings = Vec::new();
        fact.texts_mut(&mut |text| {
            if *text != 0 {
                strings.push(frame.text(*text).to_owned());
                *text = strings.len() as u32;
            }
        });
        records.push(JournalRecord { lsn: lsn.0, fact, strings });
    }
    Ok(records)
}
