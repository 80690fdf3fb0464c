//! Mail that is late: senders who asked to hear of that, and when they are told (RFC 3461 4.1, RFC 2852 4).
//!
//! Only messages of which somebody asked are here; a mark beside their place in the index says so over restarts, and
//! another that they were told. A notice is a successor like a bounce, but closes nothing: its record marks the message,
//! in the same commit. Told is once. What was handed out and not committed is looked at again a minute later.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use angarium_message::report::Action;
use angarium_nouns::record::{ContentHead, EntryState, Recipient, Successor};
use angarium_nouns::{MessageId, Millis};
use angarium_queue::EntryView;

use crate::incoming::{Incoming, LateAsk, report_address};
use crate::ledger::{Ledger, LedgerPolicy};
use crate::reports::{Debt, HANDED_OUT, Told, report};
use crate::state::{Kept, Notice, State};

/// When to look at which message; it goes when the message does.
#[derive(Debug, Default)]
pub(crate) struct Late {
    due: BTreeSet<(Millis, MessageId)>,
    of: HashMap<MessageId, Millis>,
}

impl Late {
    pub fn wait(&mut self, id: MessageId, due: Millis) {
        if let Some(before) = self.of.insert(id, due) {
            self.due.remove(&(before, id));
        }
        self.due.insert((due, id));
    }

    pub fn forget(&mut self, id: MessageId) {
        if let Some(due) = self.of.remove(&id) {
            self.due.remove(&(due, id));
        }
    }

    pub fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Messages whose time came; each comes again later unless it is told or put off.
    fn take_due(&mut self, now: Millis, limit: usize) -> Vec<MessageId> {
        let ready: Vec<_> = self.due.iter().take_while(|(due, _)| *due <= now).take(limit).map(|(_, id)| *id).collect();
        for id in &ready {
            self.wait(*id, now + HANDED_OUT);
        }
        ready
    }
}

impl LateAsk {
    pub fn of(head: &ContentHead, recipients: &[Recipient]) -> Self {
        let may = |recipient: &&Recipient| {
            recipient.may_report && !recipient.notify.is_never() && !report_address(head, recipient).is_empty()
        };
        let delay = recipients.iter().filter(may).any(|recipient| recipient.notify.wants_delay());
        let by = head.notify_by.filter(|_| recipients.iter().any(|recipient| may(&recipient)));
        Self { delay, by }
    }

    /// The earliest moment at which somebody is to be told.
    pub fn due(self, received: Millis, policy: &LedgerPolicy) -> Option<Millis> {
        let delay = (self.delay && policy.delay_after > 0).then(|| received.saturating_add(policy.delay_after));
        [delay, self.by].into_iter().flatten().min()
    }
}

impl Ledger {
    /// Notices that are to be written now, as successors: commit them like other mail. Reads content: cold.
    pub fn notices_due(&self, now: Millis, limit: usize) -> Vec<Incoming> {
        let (waiting, policy) = {
            let mut state = self.state.lock();
            let ids = state.late.take_due(now, limit);
            let waiting: Vec<_> = ids.into_iter().map(|id| (id, state.waiting(id))).collect();
            (waiting, state.policy.clone())
        };
        waiting.into_iter().flat_map(|(id, debts)| self.notices_of(id, &debts, &policy, now)).collect()
    }

    fn notices_of(&self, id: MessageId, debts: &[Debt], policy: &LedgerPolicy, now: Millis) -> Vec<Incoming> {
        let Ok(content) = self.content_or_lose(id, now) else { return Vec::new() };
        // Its own attempt finds out what cannot be read.
        let Ok(recipients) = content.head.recipients.all() else { return Vec::new() };
        let mut groups: BTreeMap<&str, Vec<(&Recipient, &Debt)>> = BTreeMap::new();
        let mut next: Option<Millis> = None;
        for debt in debts {
            let Some(recipient) = recipients.get(debt.view.number as usize) else { continue };
            let ask = LateAsk::of(&content.head, std::slice::from_ref(recipient));
            let Some(at) = ask.due(content.head.received, policy) else { continue };
            // What is not to be sent before then (FUTURERELEASE) is not late until as long after.
            let at = if is_early(&debt.view, now) { at.max(debt.view.due + (at - content.head.received)) } else { at };
            if at <= now {
                groups.entry(report_address(&content.head, recipient)).or_default().push((recipient, debt));
            } else {
                next = Some(next.map_or(at, |other| other.min(at)));
            }
        }
        if groups.is_empty() {
            self.change(|state| match next {
                Some(at) => state.late.wait(id, at),
                None => state.told_late(id),
            });
        }
        let told = Told { action: Some(Action::Delayed), successor: Successor::DelayNotice };
        let ids = &self.ids;
        groups
            .iter()
            .filter_map(|(to, group)| report(&content, to, group, policy, told, (ids.reserve(now), now)))
            .collect()
    }

    /// A notice whose message was told, or has left, since it was written is not sent.
    pub(crate) fn is_late_still(state: &State, notice: &Incoming) -> bool {
        notice.head().closes.iter().any(|&(id, number)| state.is_untold(id) && state.index.entry(id, number).is_some())
    }
}

/// It waits for a time that its sender named.
fn is_early(view: &EntryView, now: Millis) -> bool {
    view.attempts == 0 && view.due > now
}

impl State {
    /// The message comes in, or back: somebody may want to hear that it is late.
    pub fn expect_late(&mut self, id: MessageId, received: Millis, ask: LateAsk) {
        match ask.due(received, &self.policy) {
            Some(due) if self.is_untold(id) => self.late.wait(id, due),
            _ => {}
        }
    }

    /// After a restart: what is known of a message beside the index is that somebody asked.
    pub fn look_late(&mut self, id: MessageId, now: Millis) {
        if self.is_untold(id) && !self.late.of.contains_key(&id) {
            self.late.wait(id, now);
        }
    }

    pub fn is_untold(&self, id: MessageId) -> bool {
        self.index.message(id).is_some_and(|message| Kept::of(&message).notice == Notice::Asked)
    }

    /// The record of a notice says that the sender of this message knows.
    pub fn told_late(&mut self, id: MessageId) {
        self.late.forget(id);
        let Some(message) = self.index.message(id) else { return };
        self.index.set_place(id, Kept { notice: Notice::Told, ..Kept::of(&message) }.pack());
    }

    /// Recipients of a message that are under way, with what was said last.
    fn waiting(&self, id: MessageId) -> Vec<Debt> {
        let entries = self.index.entries_of(id);
        let views = entries.into_iter().filter_map(|entry| self.index.view(entry));
        let under_way = views.filter(|view| matches!(view.state, EntryState::Waiting | EntryState::Leased));
        under_way
            .map(|view| {
                let (words, reason, _) = self.said(&view);
                Debt { view: EntryView { reason, ..view }, words }
            })
            .collect()
    }
}
