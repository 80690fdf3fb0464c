//! Reports that are owed, and the bounces that pay them.
//!
//! A failure that may be reported is owed at once and collected with others of its content and report address for a
//! while; then one report is written as a successor (null sender), whose record closes what it reports in its own
//! commit. What was handed out and not committed (a full disk) is handed out again a minute later.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use angarium_message::Header;
use angarium_message::report::{Action, Original, RecipientReport, Report, status_of};
use angarium_nouns::record::{ContentHead, EntryState, Recipient, SessionFacts, Successor};
use angarium_nouns::{MessageId, Millis, Outcome, Reason};
use angarium_queue::EntryView;

use crate::content::Content;
use crate::incoming::{Body, Incoming, report_address, reports};
use crate::ledger::{Ledger, LedgerPolicy};
use crate::settle::Change;
use crate::state::State;
use crate::words::Words;

/// A report that was handed out and not seen committed is made again after this.
pub(crate) const HANDED_OUT: Millis = 60_000;
/// The host that stands in facts of mailboxes of our own.
const LOCAL: &str = "maildir";

#[derive(Debug)]
struct OwedMessage {
    due: Millis,
    recipients: BTreeMap<u32, Words>,
}

#[derive(Debug, Default)]
pub(crate) struct Owed {
    messages: HashMap<MessageId, OwedMessage>,
    due: BTreeSet<(Millis, MessageId)>,
}

impl Owed {
    pub fn add(&mut self, id: MessageId, number: u32, words: Words, due: Millis) {
        let message = self.messages.entry(id).or_insert_with(|| OwedMessage { due, recipients: BTreeMap::new() });
        message.recipients.insert(number, words);
        self.due.insert((message.due, id));
    }

    pub fn words(&self, id: MessageId, number: u32) -> Option<Words> {
        self.messages.get(&id)?.recipients.get(&number).cloned()
    }

    pub fn settle(&mut self, id: MessageId, number: u32) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        message.recipients.remove(&number);
        if message.recipients.is_empty() {
            self.forget(id);
        }
    }

    pub fn forget(&mut self, id: MessageId) {
        if let Some(message) = self.messages.remove(&id) {
            self.due.remove(&(message.due, id));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (MessageId, u32, &Words)> {
        self.messages
            .iter()
            .flat_map(|(id, message)| message.recipients.iter().map(move |(number, words)| (*id, *number, words)))
    }

    pub fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Messages whose time came; each comes again later unless it is settled.
    fn take_due(&mut self, now: Millis, limit: usize) -> Vec<MessageId> {
        let ready: Vec<_> = self.due.iter().take_while(|(due, _)| *due <= now).take(limit).copied().collect();
        for (due, id) in &ready {
            self.due.remove(&(*due, *id));
            if let Some(message) = self.messages.get_mut(id) {
                message.due = now + HANDED_OUT;
                self.due.insert((message.due, *id));
            }
        }
        ready.into_iter().map(|(_, id)| id).collect()
    }
}

/// One owed entry, as it was when its report was begun.
pub(crate) struct Debt {
    pub view: EntryView,
    pub words: Words,
}

/// What a report says of its entries, and what its record does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    /// `None`: each by what became of it.
    pub action: Option<Action>,
    pub successor: Successor,
}

impl Ledger {
    /// Reports that are to be written now, as successors: commit them like other mail. Reads content: cold.
    pub fn reports_due(&self, now: Millis, limit: usize) -> Vec<Incoming> {
        let (debts, policy) = {
            let mut state = self.state.lock();
            let ids = state.owed.take_due(now, limit);
            let debts: Vec<_> = ids.into_iter().map(|id| (id, state.debts(id))).collect();
            (debts, state.policy.clone())
        };
        debts.into_iter().flat_map(|(id, debts)| self.reports_of(id, &debts, &policy, now)).collect()
    }

    fn reports_of(&self, id: MessageId, debts: &[Debt], policy: &LedgerPolicy, now: Millis) -> Vec<Incoming> {
        // What cannot be read is closed as lost by the attempt to read it.
        let Ok(content) = self.content_or_lose(id, now) else { return Vec::new() };
        let Ok(recipients) = content.head.recipients.all() else {
            self.lose(id, "its recipients cannot be read", now);
            return Vec::new();
        };
        // What failed and what went well are told apart.
        let mut groups: BTreeMap<(&str, bool), Vec<(&Recipient, &Debt)>> = BTreeMap::new();
        let mut silent = Vec::new();
        for debt in debts {
            let well = debt.view.reason == Reason::Done;
            match recipients.get(debt.view.number as usize) {
                Some(recipient) if well || reports(&content.head, recipient) => {
                    let to = report_address(&content.head, recipient);
                    groups.entry((to, well)).or_default().push((recipient, debt));
                }
                _ => silent.push(debt.view),
            }
        }
        self.close_silently(&silent, now);
        let told = Told { action: None, successor: Successor::Bounce };
        let ids = &self.ids;
        groups
            .iter()
            .filter_map(|((to, _), group)| report(&content, to, group, policy, told, (ids.reserve(now), now)))
            .collect()
    }

    /// Failures that nobody is told of.
    fn close_silently(&self, views: &[EntryView], now: Millis) {
        if views.is_empty() {
            return;
        }
        self.change(|state| {
            for view in views {
                state.close_by_successor(view.id, view.number, now);
            }
        });
    }
}

impl State {
    fn debts(&self, id: MessageId) -> Vec<Debt> {
        let Some(owed) = self.owed.messages.get(&id) else { return Vec::new() };
        let debt = |(number, words): (&u32, &Words)| {
            let view = self.index.view(self.index.entry(id, *number)?)?;
            (view.state == EntryState::Owing).then(|| Debt { view, words: words.clone() })
        };
        owed.recipients.iter().filter_map(debt).collect()
    }

    /// The message's content is gone: every entry of it is closed as lost, and says so.
    pub fn lose(&mut self, id: MessageId, why: &str, now: Millis) {
        for entry in self.index.entries_of(id) {
            let Some(view) = self.index.view(entry) else { continue };
            self.figures.lost += 1;
            self.close(entry);
            self.tell_lost(id, view.number, why, now);
            self.tell(&view, Change::of(&view, EntryState::Lost, Outcome::Failed, Reason::Lost), now);
        }
    }
}

/// A report to this address as a successor under this id.
pub(crate) fn report(
    content: &Content,
    to: &str,
    group: &[(&Recipient, &Debt)],
    policy: &LedgerPolicy,
    told: Told,
    (id, now): (MessageId, Millis),
) -> Option<Incoming> {
    let head = &content.head;
    let recipients: Vec<RecipientReport<'_>> =
        group.iter().map(|(recipient, debt)| of_recipient(recipient, debt, told.action)).collect();
    let bytes = content.start(policy.report_full_limit);
    let header = Header::scan(&bytes);
    let whole = head.body.length <= policy.report_full_limit;
    let body = whole.then(|| &bytes[header.body_start().min(bytes.len())..]);
    let boundary = id.to_string();
    let report = Report {
        reporter: &policy.hostname,
        to,
        id,
        now,
        boundary: &boundary,
        envelope_id: &head.envid,
        arrived: head.received,
        original_id: head.id,
        recipients: &recipients,
        ret: head.ret,
        original: Original { header: header.bytes(), body },
        eight_bit: false,
    };
    let written = report.write();
    let head = ContentHead {
        id,
        received: now,
        session: SessionFacts { trusted: true, ..SessionFacts::default() },
        body_type: written.body_type,
        smtputf8: written.smtputf8,
        tenant: head.tenant.clone(),
        class: head.class,
        tls_demand: head.tls_demand,
        successor: told.successor,
        closes: group.iter().map(|(_, debt)| (debt.view.id, debt.view.number)).collect(),
        ..ContentHead::default()
    };
    let recipient = Recipient { address: to.to_owned(), ..Recipient::default() };
    Incoming::prepare(head, &[recipient], Body::Inline(written.bytes)).ok()
}

fn of_recipient<'a>(recipient: &'a Recipient, debt: &'a Debt, action: Option<Action>) -> RecipientReport<'a> {
    let Debt { view, words } = debt;
    let action = action.unwrap_or(match view.reason {
        Reason::Done if words.host.as_ref() == LOCAL => Action::Delivered,
        Reason::Done => Action::Relayed,
        _ => Action::Failed,
    });
    let (outcome, class) = match action {
        Action::Failed => (Outcome::Failed, 5),
        Action::Delayed => (Outcome::Deferred, 4),
        Action::Delivered | Action::Relayed | Action::Expanded => (Outcome::Delivered, 2),
    };
    let status = words.enhanced.filter(|code| code.0 == class && view.reason != Reason::Expired);
    RecipientReport {
        recipient: &recipient.address,
        original: &recipient.original,
        action,
        status: status.unwrap_or_else(|| status_of(outcome, view.reason)),
        reason: view.reason,
        remote: &words.host,
        code: words.code,
        text: &words.text,
        attempts: u32::from(view.attempts),
        last_attempt: None,
        retry_until: (action == Action::Delayed).then_some(view.expires),
    }
}
