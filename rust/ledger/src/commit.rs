//! Commit: from a group of prepared messages to a promise.
//!
//! The group is written and synced by the spool without any lock of ours, then each message enters the index, what
//! its record closes is settled in the same step, and the received facts are queued. Between the two a message is
//! durable but not indexed; a checkpoint begins at what is indexed, so a crash there loses nothing.

use std::sync::Arc;

use angarium_nouns::record::{ContentHead, EntryState, Successor};
use angarium_nouns::{Lsn, MessageId, Millis, Reason};
use angarium_queue::{Message, NewEntry};
use angarium_spool::{Family, Frame, Group, Place};

use crate::error::{CommitError, FaultKind};
use crate::facts::{KeptBody, Note, RECIPIENTS_PER_FACT, Release};
use crate::incoming::{Incoming, LateAsk, Prepared, PreparedRecipient};
use crate::ledger::{Ledger, LedgerPolicy};
use crate::state::{Kept, NodeWords, Notice, State};

impl Ledger {
    /// One write, one fdatasync, then indexed; when it returns 250 may be said. One thread calls it. Reports may use
    /// the reserve of a full disk (S4) and are committed even when the rest of the group is refused.
    pub fn commit(&self, group: &[Incoming], now: Millis) -> Result<(), CommitError> {
        let _one_at_a_time = self.committing.lock();
        self.check_open()?;
        let (reports, mail): (Vec<&Incoming>, Vec<&Incoming>) = group.iter().partition(|one| one.is_report());
        let mail = self.commit_part(&mail, false, now);
        let reports = self.commit_part(&self.still_owed(reports), true, now);
        mail.and(reports)
    }

    fn commit_part(&self, part: &[&Incoming], reserved: bool, now: Millis) -> Result<(), CommitError> {
        if part.is_empty() {
            return Ok(());
        }
        // S5: a journal fault stops intake too; what is under way goes on.
        if !reserved && self.spool.is_faulty(Family::Journal) {
            return Err(CommitError::Fault(FaultKind::Journal, "no new mail is taken".into()));
        }
        if !reserved && self.is_overclaimed() {
            return Err(CommitError::Full);
        }
        let group = self.write_content(part, reserved)?;
        self.change(|state| {
            state.figures.group_size.add(part.len() as u64);
            for (n, (incoming, place)) in part.iter().zip(&group.places).enumerate() {
                let lsn = Lsn(group.first.0 + n as u64);
                state.admit(&incoming.head, &incoming.prepared, *place, lsn, now);
            }
            state.content_applied = Lsn(group.first.0 + part.len() as u64 - 1);
            state.wake = true;
        });
        Ok(())
    }

    fn write_content(&self, part: &[&Incoming], reserved: bool) -> Result<Group, CommitError> {
        let parts: Vec<Vec<&[u8]>> = part.iter().map(|one| one.payload()).collect();
        let frames: Vec<Frame<'_>> = part
            .iter()
            .zip(&parts)
            .map(|(one, parts)| Frame { id: one.head.id, chunk: 0, copy: 0, parts, payload_crc: one.payload_crc })
            .collect();
        let committed = if reserved { self.spool.commit_reserved(&frames) } else { self.spool.commit_content(&frames) };
        Ok(committed?)
    }

    /// A report whose entries were settled since it was written (it was made twice, or cancelled) is not sent.
    fn still_owed<'a>(&self, reports: Vec<&'a Incoming>) -> Vec<&'a Incoming> {
        if reports.is_empty() {
            return reports;
        }
        let state = self.state.lock();
        let owes = |&(id, number): &(MessageId, u32)| {
            let view = state.index.entry(id, number).and_then(|entry| state.index.view(entry));
            view.is_some_and(|view| view.state == EntryState::Owing)
        };
        let stands = |report: &&Incoming| match report.head.successor {
            Successor::DelayNotice => Self::is_late_still(&state, report),
            _ => report.head.closes.iter().any(owes),
        };
        reports.into_iter().filter(stands).collect()
    }
}

impl Incoming {
    fn is_report(&self) -> bool {
        matches!(self.head.successor, Successor::Bounce | Successor::DelayNotice)
    }

    fn payload(&self) -> Vec<&[u8]> {
        std::iter::once(self.encoded.as_slice()).chain(self.body.parts()).filter(|part| !part.is_empty()).collect()
    }
}

impl State {
    /// A durable message enters: entries in their initial states, what its record closes, its received fact.
    pub fn admit(&mut self, head: &ContentHead, message: &Arc<Prepared>, place: Place, lsn: Lsn, now: Millis) {
        self.insert(head, message, place, lsn, now);
        for &(id, number) in &head.closes {
            match head.successor {
                Successor::DelayNotice => self.told_late(id),
                _ => self.close_by_successor(id, number, now),
            }
        }
        self.figures.received += 1;
        self.figures.recipients += message.recipients.len() as u64;
        self.figures.bounces += u64::from(head.successor == Successor::Bounce);
        self.meet_holds(head.id, now);
        self.note_received(head, message, false, now);
        self.meet_rules(now);
    }

    /// Puts a message into the index; entries that are there already stay as they are (recovery).
    pub fn insert(&mut self, head: &ContentHead, message: &Prepared, place: Place, lsn: Lsn, now: Millis) {
        let expires = self.deadline(head);
        if !head.body.file.is_empty() {
            let body = KeptBody { name: head.body.file.as_str().into(), length: head.body.length };
            self.bodies.insert(head.id, body);
        }
        let known = self.index.message(head.id).is_some();
        let mut entries = Vec::with_capacity(message.recipients.len());
        for (number, recipient) in message.recipients.iter().enumerate() {
            let number = number as u32;
            if recipient.state.is_closed() || (known && self.index.entry(head.id, number).is_some()) {
                continue;
            }
            let node = self.node(NodeWords {
                domain: &recipient.domain,
                tag: &recipient.tag,
                tenant: &recipient.tenant,
                campaign: &head.campaign,
                tls: head.tls_demand,
                class: head.class,
            });
            let NewEntryState { state, due, reason } = NewEntryState::of(recipient, &self.policy, head.received);
            entries.push(NewEntry { number, node, state, due, expires, attempts: 0, step: 0, reason });
        }
        let notice = if message.late == LateAsk::default() { Notice::None } else { Notice::Asked };
        let kept = Kept { id: head.id, place, reports: message.reports, strict: head.deadline.is_some(), notice };
        let inserted = if known {
            self.index.extend(head.id, &entries, now)
        } else {
            let message = Message { id: head.id, place: kept.pack(), lsn, sender: message.sender_hash };
            self.index.insert(&message, &entries, now)
        };
        if notice == Notice::Asked {
            self.expect_late(head.id, head.received, message.late);
        }
        debug_assert!(inserted.is_ok() || entries.is_empty(), "{inserted:?}");
        if entries.is_empty() && !known {
            let body = self.bodies.remove(&head.id);
            self.facts.release(Release { id: head.id, place, body, wanted_by_nobody: false });
        }
    }

    fn deadline(&self, head: &ContentHead) -> Millis {
        let after = if head.sender.is_empty() { self.policy.expire_reports_after } else { self.policy.expire_after };
        head.deadline.unwrap_or(head.received.saturating_add(after))
    }

    pub fn note_received(&mut self, head: &ContentHead, message: &Arc<Prepared>, recovered: bool, now: Millis) {
        for first in (0..message.addresses.len()).step_by(RECIPIENTS_PER_FACT) {
            let (at, first) = (now, first as u32);
            let note =
                Note::Received { at, id: head.id, class: head.class, message: message.clone(), first, recovered };
            self.facts.push(note);
        }
    }

    /// The record of a successor settles an entry: a report was made for what failed; else it went on elsewhere.
    pub fn close_by_successor(&mut self, id: MessageId, number: u32, now: Millis) {
        let Some(view) = self.index.entry(id, number).and_then(|entry| self.index.view(entry)) else { return };
        let change = self.successor_change(&view);
        self.owed.settle(id, number);
        self.close(view.entry);
        self.tell(&view, change, now);
    }
}

/// The state in which a recipient enters.
struct NewEntryState {
    state: EntryState,
    due: Millis,
    reason: Reason,
}

impl NewEntryState {
    fn of(recipient: &PreparedRecipient, policy: &LedgerPolicy, received: Millis) -> Self {
        let held = recipient.state == EntryState::Held;
        let state = if held { EntryState::Held } else { EntryState::Waiting };
        let due = if held && recipient.due == 0 { received.saturating_add(policy.hold_after) } else { recipient.due };
        // That word is the rules' own: lifting one releases what bears it.
        let reason = if recipient.reason == Reason::Suspended { Reason::Policy } else { recipient.reason };
        Self { state, due, reason }
    }
}
