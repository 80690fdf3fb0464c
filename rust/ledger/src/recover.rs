//! Recovery: the newest checkpoint, then both logs in LSN order (spool.md, "Recovery").
//!
//! Content without facts is open in its recipients' initial states and gets a `received` fact marked recovered; a
//! closing fact without content is history; an entry that a fact shows open and whose content is not there is lost.
//! Facts are absolute, so it does not matter how much of them a checkpoint reflects already. A record that is intact
//! and not understood stops the start; it is never skipped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use angarium_nouns::record::{
    Claim, Claimed, ContentHead, Controlled, EntryState, Fact, Gap, Received, RecordError, Settled, Successor,
};
use angarium_nouns::{IdSource, Lsn, MessageId, Millis, Outcome, Reason};
use angarium_queue::{Cursor as Slots, EntryView, NewEntry};
use angarium_spool::{ContentRef, Damage, Disk, RecoveredFrame, Recovery, Spool};

use crate::checkpoint;
use crate::claims::Hold;
use crate::clock::Freeze;
use crate::content::open_payload;
use crate::control::ControlKind;
use crate::error::OpenError;
use crate::facts::{FrameRead, Release};
use crate::incoming::Prepared;
use crate::ledger::{Ledger, LedgerSettings, RecoveryReport};
use crate::predicate::Predicate;
use crate::reader::Cursor;
use crate::rules::Rule;
use crate::settle::Change;
use crate::state::{Kept, State};
use crate::words::Words;

/// Owed reports are collected again for this long after a start.
const OWED_AFTER_START: Millis = 5_000;
/// Slots looked at in one step of the last walk.
const STEP: usize = 65_536;

/// A spool whose lock is taken and whose headers are read; nothing is recovered yet.
pub struct Opening {
    disk: Arc<dyn Disk>,
    recovery: Recovery,
    settings: LedgerSettings,
}

impl Opening {
    /// Takes the lock: fails fast when another process holds the spool or a newer version wrote it.
    pub fn begin(disk: Arc<dyn Disk>, settings: LedgerSettings) -> Result<Self, OpenError> {
        let recovery = Spool::open(disk.clone(), settings.spool.clone())?;
        Ok(Self { disk, recovery, settings })
    }

    /// Reads the checkpoint and both logs; intake may open when it returns.
    pub fn recover(mut self, now: Millis) -> Result<(Ledger, RecoveryReport), OpenError> {
        let mut replay = Replay::new(&self.settings, now);
        replay.newest_fact = checkpoint::read(&self.recovery, &mut replay.state, now)?;
        replay.passing = checkpoint::read_passing(&self.recovery)?;
        replay.frames(&mut self.recovery)?;
        replay.settle_the_rest();
        replay.keep_content(&mut self.recovery);
        let followers = replay.state.claims.followers().values();
        followers.for_each(|follower| self.recovery.raise(Lsn(follower.cursor.lsn)));
        replay.journal_damage(self.recovery.damage());
        let mut report = replay.report(&self.recovery);
        // Torn ends are found while they are mended, after the replay.
        let (spool, epoch, mended) = self.recovery.finish_with_damage()?;
        report.epoch = epoch;
        report.cut += mended.iter().filter(|one| is_tail(one)).count() as u64;
        report.damage.extend(mended.iter().filter(|one| !is_tail(one)).map(ToString::to_string));
        // Torn stretches of the journal are among these.
        replay.state.figures.damaged = report.damage.len() as u64;
        replay.state.tell_torn(now);
        let ids = IdSource::new(self.settings.node, epoch);
        Ok((Ledger::new(self.disk, spool, ids, replay.state), report))
    }
}

struct Replay {
    state: State,
    now: Millis,
    /// Content replayed whose received fact was not seen yet.
    unannounced: HashMap<MessageId, (ContentHead, Arc<Prepared>)>,
    /// Entries that facts show open and whose content was not seen.
    missing: HashMap<MessageId, HashSet<u32>>,
    /// Entries that a replayed record closed, until their fact is seen.
    closed_by_record: BTreeMap<(MessageId, u32), Closing>,
    /// Closed already, and closing facts are to be replayed: by a record that the replay met before its facts, or
    /// before the checkpoint was written.
    passing: HashMap<MessageId, Release>,
    newest_fact: Millis,
    /// The frame that is being replayed.
    lsn: Lsn,
    recovered: u64,
    lost: u64,
}

struct Closing {
    view: EntryView,
    change: Change,
    release: Option<Release>,
}

impl Replay {
    fn new(settings: &LedgerSettings, now: Millis) -> Self {
        let state = State { policy: Arc::new(settings.policy.clone()), ..State::default() };
        Self {
            state,
            now,
            unannounced: HashMap::new(),
            missing: HashMap::new(),
            closed_by_record: BTreeMap::new(),
            passing: HashMap::new(),
            newest_fact: 0,
            lsn: Lsn(0),
            recovered: 0,
            lost: 0,
        }
    }

    fn frames(&mut self, recovery: &mut Recovery) -> Result<(), OpenError> {
        while let Some(frame) = recovery.next()? {
            match frame {
                RecoveredFrame::Content { at, start } => self.content(recovery, &at, &start)?,
                RecoveredFrame::Journal { lsn, payload, .. } => self.journal(lsn, &payload)?,
            }
            self.state.tidy();
        }
        Ok(())
    }

    fn content(&mut self, recovery: &Recovery, at: &ContentRef, start: &[u8]) -> Result<(), OpenError> {
        if at.copy > 0 {
            self.moved(at);
            return Ok(());
        }
        self.state.content_applied = self.state.content_applied.max(at.lsn);
        let head = match head_of(start) {
            Some(head) => head.map_err(|error| not_understood(at.id, &error))?,
            None => match recovery.read(at.place, at.id) {
                Ok(payload) => open_payload(&payload).map_err(|why| not_understood(at.id, &why))?.0,
                // Damage that recovery reports; facts tell whether anything of it was open.
                Err(_) => return Ok(()),
            },
        };
        let recipients = head.recipients.all().map_err(|error| not_understood(at.id, &error))?;
        let message = Arc::new(Prepared::new(&head, &recipients));
        self.state.insert(&head, &message, at.place, at.lsn, self.now);
        for &(id, number) in &head.closes {
            match head.successor {
                Successor::DelayNotice => self.state.told_late(id),
                _ => self.close_by_record(id, number),
            }
        }
        self.unannounced.insert(at.id, (head, message));
        Ok(())
    }

    /// A copy: what is open lies there from now on.
    fn moved(&mut self, at: &ContentRef) {
        self.state.copies_applied = self.state.copies_applied.max(at.lsn);
        if let Some(message) = self.state.index.message(at.id) {
            let kept = Kept { place: at.place, ..Kept::of(&message) };
            self.state.index.set_place(at.id, kept.pack());
        }
        self.state.claims.moved(at.id, None, at.place);
    }

    fn close_by_record(&mut self, id: MessageId, number: u32) {
        let state = &mut self.state;
        let Some(view) = state.index.entry(id, number).and_then(|entry| state.index.view(entry)) else { return };
        let change = state.successor_change(&view);
        let release = self.close(&view);
        self.closed_by_record.insert((id, number), Closing { view, change, release });
    }

    /// Closes without a fact to come: what it releases, if the message is through.
    fn close(&mut self, view: &EntryView) -> Option<Release> {
        self.state.owed.settle(view.id, view.number);
        self.state.close_now(view.entry)
    }

    fn journal(&mut self, lsn: Lsn, payload: &[u8]) -> Result<(), OpenError> {
        self.lsn = lsn;
        self.state.facts.flushed_to(lsn);
        let wrong = |error: RecordError| OpenError::NotUnderstood(format!("frame {} of the journal: {error}", lsn.0));
        let mut frame = FrameRead::open(payload).map_err(wrong)?;
        while let Some(fact) = frame.next_fact().map_err(wrong)? {
            self.newest_fact = self.newest_fact.max(fact.at());
            match &fact {
                Fact::Received(fact) => self.received(fact),
                Fact::Settled(fact) => self.settled(fact, &frame),
                Fact::Lost(fact) => self.closed(fact.id, fact.number),
                Fact::Controlled(fact) => self.controlled(fact, &frame)?,
                Fact::Followed(fact) => {
                    let cursor = Cursor { spool: 0, epoch: fact.epoch, lsn: fact.lsn };
                    let _free = self.state.claims.follow(frame.text(fact.follower), cursor, fact.claims);
                }
                Fact::Gap(fact) => self.missed(fact, frame.text(fact.follower)),
                Fact::Claimed(fact) => self.claimed(fact),
                Fact::Slept(fact) => self.state.slept_before(fact, &frame, self.now),
            }
        }
        Ok(())
    }

    fn received(&mut self, fact: &Received) {
        if self.unannounced.remove(&fact.id).is_none() && self.state.index.message(fact.id).is_none() {
            let numbers = fact.first..fact.first.saturating_add(fact.recipients.len() as u32);
            self.missing.entry(fact.id).or_default().extend(numbers);
        }
    }

    fn settled(&mut self, fact: &Settled, frame: &FrameRead<'_>) {
        if fact.host != 0
            && let Some(entry) = self.state.index.entry(fact.id, fact.number)
        {
            self.state.answered_before(entry);
        }
        if fact.state.is_closed() {
            return self.closed(fact.id, fact.number);
        }
        let state = &mut self.state;
        let Some(view) = state.index.entry(fact.id, fact.number).and_then(|entry| state.index.view(entry)) else {
            return;
        };
        if fact.tag_given != 0 {
            state.move_to_tag(&view, frame.text(fact.tag_given), self.now);
        }
        let Some(view) = state.index.view(view.entry) else { return };
        let to = NewEntry {
            number: fact.number,
            node: view.node,
            state: fact.state,
            due: fact.due,
            expires: fact.expires,
            attempts: fact.attempts,
            step: fact.step,
            reason: fact.reason,
        };
        // The view was just taken, so its handle is not stale.
        let _ = state.index.set(view.entry, &to, self.now);
        let words = Words {
            code: fact.code,
            enhanced: fact.enhanced(),
            text: frame.text(fact.text).into(),
            host: frame.text(fact.host).into(),
        };
        if fact.state == EntryState::Owing {
            state.owed.add(fact.id, fact.number, words, self.now + OWED_AFTER_START);
        } else if words != Words::default() {
            state.words.keep(view.entry, words);
        }
    }

    /// At the limit of best effort somebody lost content, or the journal is torn there.
    fn missed(&mut self, fact: &Gap, follower: &str) {
        let Gap { from, to, pin, .. } = *fact;
        let claims = &mut self.state.claims;
        let _free = match (pin, fact.follower) {
            (0, 0) => {
                self.state.torn.insert((from, to), true);
                Vec::new()
            }
            (0, _) => claims.miss(follower, to),
            (pin, _) => claims.unpin_up_to(pin, to),
        };
    }

    /// An order keeps a message's content. Who gave it, and why, its own fact says, which comes behind these.
    fn claimed(&mut self, fact: &Claimed) {
        let Claimed { at, id, control: number, claim, .. } = *fact;
        if !self.state.claims.is_hold(number) {
            let (by, why, stands) = (String::new(), String::new(), None);
            self.state.claims.begin(Hold { number, claim, at, by, why, stands });
        }
        self.state.claims.hold(number, id);
        self.state.rules.last = self.state.rules.last.max(number);
    }

    /// What a message gave back when this frame closed it: kept for whoever claims it.
    fn pass(&mut self, release: Option<Release>) {
        if let Some(release) = release {
            let _free = self.state.claims.pass(release, self.lsn);
        }
    }

    fn closed(&mut self, id: MessageId, number: u32) {
        if let Some(closing) = self.closed_by_record.remove(&(id, number)) {
            self.pass(closing.release);
        }
        // The last of its facts decides; it may be any of those that close an entry of the message.
        self.pass(self.passing.get(&id).cloned());
        if let Some(missing) = self.missing.get_mut(&id) {
            missing.remove(&number);
            if missing.is_empty() {
                self.missing.remove(&id);
            }
        }
        let view = self.state.index.entry(id, number).and_then(|entry| self.state.index.view(entry));
        if let Some(view) = view {
            let release = self.close(&view);
            if let Some(release) = release.clone().filter(|_| self.is_closed_by_record(id)) {
                self.passing.insert(id, release);
            }
            self.pass(release);
        }
    }

    fn is_closed_by_record(&self, id: MessageId) -> bool {
        self.closed_by_record.range((id, 0)..=(id, u32::MAX)).next().is_some()
    }

    fn controlled(&mut self, fact: &Controlled, frame: &FrameRead<'_>) -> Result<(), OpenError> {
        self.state.rules.last = self.state.rules.last.max(fact.control);
        let kind = frame.text(fact.kind);
        if kind == ControlKind::Lift.name() || kind == ControlKind::Resume.name() {
            self.state.lift(fact.control);
            let _free = self.state.lift_hold(fact.control);
            return Ok(());
        }
        if kind == ControlKind::Flush.name() {
            self.state.wake_all();
        }
        if let Some(claim) = ControlKind::claim_of(kind) {
            let (by, why) = (frame.text(fact.by).to_owned(), frame.text(fact.why).to_owned());
            let stands = standing(claim, frame.text(fact.predicate));
            self.state.begin_hold(Hold { number: fact.control, claim, at: fact.at, by, why, stands });
            return Ok(());
        }
        let Some(kind) = [ControlKind::Hold, ControlKind::Suspend].into_iter().find(|one| one.name() == kind) else {
            return Ok(());
        };
        let wrong = |error: serde_json::Error| OpenError::NotUnderstood(format!("order {}: {error}", fact.control));
        let predicate: Predicate = serde_json::from_str(frame.text(fact.predicate)).map_err(wrong)?;
        if !predicate.ids.is_empty() {
            return Ok(());
        }
        let control = crate::Control {
            kind,
            predicate,
            by: frame.text(fact.by).to_owned(),
            why: frame.text(fact.why).to_owned(),
            until: (fact.until != 0).then_some(fact.until),
            rule: 0,
            tag: None,
        };
        let rule = Rule { number: fact.control, control, position: self.state.content_applied.0, at: fact.at };
        // One that stands already came with the checkpoint.
        if self.state.rules.iter().all(|live| live.number != rule.number) {
            let _ = self.state.stand(rule, self.now);
        }
        Ok(())
    }

    /// What the logs leave open is said: recovered, closed by a successor, lost. These facts wait for the first flush.
    fn settle_the_rest(&mut self) {
        let (state, now) = (&mut self.state, self.now);
        for (head, message) in std::mem::take(&mut self.unannounced).into_values() {
            state.meet_holds(head.id, now);
            state.note_received(&head, &message, true, now);
            self.recovered += 1;
        }
        for ((id, _), closing) in std::mem::take(&mut self.closed_by_record) {
            if let Some(release) = closing.release.or_else(|| self.passing.remove(&id)) {
                state.claims.forget(id);
                state.facts.release(release);
            }
            state.tell(&closing.view, closing.change, now);
        }
        for (id, numbers) in std::mem::take(&mut self.missing) {
            for number in numbers {
                state.tell_lost(id, number, "its content is not in the spool", now);
                self.lost += 1;
            }
        }
        state.figures.lost += self.lost;
        state.freeze = Freeze::at_start(self.newest_fact, now);
        self.collect_owed();
        self.release_suspended();
        let state = &mut self.state;
        let (index, facts) = (&state.index, &state.facts);
        state.claims.prune(|id| index.message(id).is_some() || facts.place_of(id).is_some());
        state.index.advance(now, usize::MAX);
        state.meet_rules(now);
        state.tidy();
    }

    /// What a suspend held that stands no more waits again: a checkpoint may show it from before the rule was lifted.
    fn release_suspended(&mut self) {
        let (held, suspended) = (Some(EntryState::Held), Some(Reason::Suspended));
        let control = angarium_queue::Control {
            number: 0,
            kind: angarium_queue::ControlKind::Release,
            predicate: angarium_queue::Predicate { state: held, reason: suspended, ..Default::default() },
            position: Lsn(u64::MAX),
            until: 0,
        };
        // 256 rules may stand; then what is suspended waits for one of them to be lifted.
        if self.state.index.add_control(control, self.now).is_ok() {
            while self.state.index.sweep(self.now, STEP) {}
        }
    }

    /// What is owed and was not collected (a torn checkpoint, a stop) is collected again.
    fn collect_owed(&mut self) {
        let owing =
            angarium_queue::Predicate { state: Some(EntryState::Owing), ..angarium_queue::Predicate::default() };
        let mut at = Some(Slots::default());
        let mut found = Vec::new();
        while let Some(from) = at {
            found.clear();
            at = self.state.index.find(&owing, from, STEP, STEP, &mut found);
            for view in found.iter().filter_map(|entry| self.state.index.view(*entry)) {
                if self.state.owed.words(view.id, view.number).is_none() {
                    self.state.owed.add(view.id, view.number, Words::default(), self.now + OWED_AFTER_START);
                }
            }
        }
    }

    /// Facts that the replay did not find: whoever reads the journal is told where.
    fn journal_damage(&mut self, damage: &[Damage]) {
        for one in damage {
            if let Damage::Frames { file, after, before: Some(before), .. } = one
                && file.starts_with("journal-")
            {
                self.state.tear(after.0, before.0.saturating_sub(1));
            }
        }
    }

    /// The spool is told which places and body files are still needed.
    fn keep_content(&mut self, recovery: &mut Recovery) {
        let state = &self.state;
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut at = Some(Slots::default());
        while let Some(from) = at {
            found.clear();
            at = state.index.find(&angarium_queue::Predicate::default(), from, STEP, STEP, &mut found);
            for message in found.iter().filter_map(|entry| state.index.message_of(*entry)) {
                if seen.insert(message.id) {
                    recovery.keep(Kept::of(&message).place);
                }
            }
        }
        let asked: Vec<_> = seen.iter().copied().filter(|id| state.is_untold(*id)).collect();
        for release in state.facts.releases().chain(state.claims.kept().map(|kept| &kept.release)) {
            recovery.keep(release.place);
            release.body.iter().for_each(|body| recovery.keep_body(&body.name));
        }
        state.bodies.values().for_each(|body| recovery.keep_body(&body.name));
        for id in asked {
            self.state.look_late(id, self.now);
        }
    }

    fn report(&self, recovery: &Recovery) -> RecoveryReport {
        let counts = self.state.index.counts();
        let damage = recovery.damage();
        RecoveryReport {
            epoch: 0,
            entries: counts.entries.iter().flatten().sum(),
            messages: counts.messages,
            lost: self.lost,
            damage: damage.iter().filter(|one| !is_tail(one)).map(ToString::to_string).collect(),
            cut: damage.iter().filter(|one| is_tail(one)).count() as u64,
            recovered: self.recovered,
            frozen: self.state.freeze.why().map(str::to_owned),
        }
    }
}

/// What a legal hold keeps of the mail that comes, by its fact. A predicate that was blanked keeps what was told.
fn standing(claim: Claim, predicate: &str) -> Option<Predicate> {
    let predicate: Predicate = serde_json::from_str(predicate).ok()?;
    (claim == Claim::Required && predicate.is_of_arrivals()).then_some(predicate)
}

/// The head, if the first bytes hold all of it.
fn head_of(start: &[u8]) -> Option<Result<ContentHead, RecordError>> {
    let (length, rest) = start.split_first_chunk::<4>()?;
    Some(ContentHead::decode(rest.get(..u32::from_le_bytes(*length) as usize)?))
}

/// An end that was never promised, cut as a crash leaves it.
fn is_tail(damage: &Damage) -> bool {
    matches!(damage, Damage::Tail { .. })
}

fn not_understood(id: MessageId, error: &dyn std::fmt::Display) -> OpenError {
    OpenError::NotUnderstood(format!("content of {id}: {error}"))
}

impl State {
    /// What becomes of an entry that a successor's record closes: a report was made for what failed, else it went on.
    pub fn successor_change(&self, view: &EntryView) -> Change {
        if view.state != EntryState::Owing {
            return Change::of(view, EntryState::Delivered, Outcome::Delivered, Reason::Done);
        }
        let (state, outcome) = match view.reason {
            Reason::Done => (EntryState::Delivered, Outcome::Delivered),
            _ => (EntryState::Failed, Outcome::Failed),
        };
        let mut change = Change::of(view, state, outcome, view.reason);
        change.words = self.owed.words(view.id, view.number).unwrap_or_default();
        change
    }
}
