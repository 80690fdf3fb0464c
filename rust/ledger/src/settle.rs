//! Settle: the one place where an entry changes state after an attempt.
//!
//! Facts state absolute results, so replaying them is idempotent. Recipient and transaction scope settle entries; a
//! wider scope gives them back with no attempt counted and puts the lane to sleep, recorded once. A failure that may
//! be reported is owed a report and stays until the report's record closes it.

use std::sync::Arc;

use angarium_nouns::outcome::Action;
use angarium_nouns::record::{EntryState, Fact, Settled, Slept};
use angarium_nouns::{Millis, Outcome, Reason, Scope};
use angarium_queue::{Deferral, EntryRef, EntryView};

use crate::brake::{PAUSE, Verdict};
use crate::facts::Note;
use crate::lease::{EntryId, LaneId, Lease, LeasedEntry, Settlement, Sleep};
use crate::ledger::Ledger;
use crate::route::LaneKey;
use crate::state::{Kept, Reports, State, received};
use crate::words::Words;

/// Who sleeps.
#[derive(Clone, Copy)]
pub(crate) enum Sleeper<'a> {
    Lane(&'a LaneKey),
    /// A host, source, sender or provider.
    Named(&'a str),
}

/// What a settled fact says beside whom it is about.
pub(crate) struct Change {
    pub state: EntryState,
    pub due: Millis,
    pub expires: Millis,
    pub attempts: u16,
    pub step: u8,
    pub outcome: Outcome,
    pub scope: Scope,
    pub reason: Reason,
    pub rule: u16,
    pub words: Words,
    pub took: u32,
    pub may_repeat: bool,
    pub tls: Arc<str>,
    pub tag: Option<Arc<str>>,
}

impl Change {
    /// A change without an attempt.
    pub fn of(view: &EntryView, state: EntryState, outcome: Outcome, reason: Reason) -> Self {
        Self {
            state,
            due: view.due,
            expires: view.expires,
            attempts: view.attempts,
            step: view.step,
            outcome,
            scope: Scope::Recipient,
            reason,
            rule: 0,
            words: Words::default(),
            took: 0,
            may_repeat: false,
            tls: "".into(),
            tag: None,
        }
    }
}

impl Ledger {
    /// True for each entry that was still leased to the caller.
    pub fn settle(&self, results: &[Settlement<'_>], now: Millis) -> Vec<bool> {
        self.change(|state| {
            let settled = results.iter().map(|result| state.settle(result, now)).collect();
            state.freeze.attempted(now);
            state.meet_rules(now);
            state.wake = true;
            settled
        })
    }

    /// Returns entries with no attempt counted, due at once.
    pub fn give_back(&self, lease: &Lease, entries: &[LeasedEntry], now: Millis) {
        self.change(|state| {
            for leased in entries {
                if let Some(view) = state.leased(leased.entry, lease.id, leased.number) {
                    state.give_back(&view, now);
                }
            }
            state.meet_rules(now);
            state.wake = true;
        });
    }

    /// An order met this entry while it was leased: do not send the dot, give it back.
    pub fn is_stopped(&self, entry: EntryId) -> bool {
        self.state.lock().index.is_stopped(EntryRef::from_bits(entry.0))
    }

    /// Something wider than a transaction failed: it sleeps; says until when.
    pub fn sleep(&self, failure: &Sleep<'_>, now: Millis) -> Millis {
        self.change(|state| state.sleep(failure, now))
    }

    /// Until when this object sleeps, if it does: hosts of a plan are skipped meanwhile.
    pub fn asleep(&self, scope: Scope, object: &str, now: Millis) -> Option<Millis> {
        self.state.lock().asleep.until(scope, object, now)
    }

    /// A connection or a delivery got through: back-offs are forgotten.
    pub fn awake(&self, scope: Scope, lane: LaneId, object: &str, _now: Millis) {
        self.change(|state| {
            state.asleep.worked(scope, object);
            state.lane_worked(lane);
            state.wake = true;
        });
    }
}

impl State {
    /// The entry, if it is leased and is who the caller thinks it is.
    fn leased(&self, entry: EntryId, id: angarium_nouns::MessageId, number: u32) -> Option<EntryView> {
        let view = self.index.view(EntryRef::from_bits(entry.0))?;
        (view.state == EntryState::Leased && view.id == id && view.number == number).then_some(view)
    }

    pub fn settle(&mut self, result: &Settlement<'_>, now: Millis) -> bool {
        let Some(view) = self.leased(result.entry, result.id, result.number) else { return false };
        let judgement = result.judgement;
        self.figures.repeated += u64::from(result.may_repeat);
        // A sender that the peer dislikes is nobody else's trouble: its entries are settled like a transaction's.
        if judgement.scope > Scope::Sender {
            self.give_back(&view, now);
            if let Some(lane) = view.lane {
                self.lane_failed(lane, result, now);
            }
            return true;
        }
        if let Some(lane) = view.lane {
            self.lane_answered(lane);
        }
        if judgement.action == Action::ReturnRest {
            self.give_back(&view, now);
            return true;
        }
        let mut change = Change::of(&view, EntryState::Delivered, judgement.outcome, judgement.reason);
        change.attempts = view.attempts.saturating_add(1);
        change.scope = judgement.scope;
        change.rule = judgement.rule;
        change.words = Words::new(result.reply, shared(&mut self.figures.last_host, result.host));
        change.tls = shared(&mut self.figures.last_tls, result.tls);
        change.took = result.took;
        change.may_repeat = result.may_repeat || judgement.reason == Reason::Uncertain;
        match judgement.outcome {
            Outcome::Delivered => {
                self.note_result(&view, None, now);
                self.deliver(&view, change, result.owes_report, now);
            }
            Outcome::Deferred => self.defer(&view, change, now),
            Outcome::Failed if self.is_braked(&view, change.reason, now) => {
                change.outcome = Outcome::Deferred;
                self.defer(&view, change, now);
            }
            Outcome::Failed => self.fail(&view, change, now),
        }
        true
    }

    fn note_result(&mut self, view: &EntryView, failed: Option<Reason>, now: Millis) -> Verdict {
        let Some(provider) = view.lane.and_then(|lane| self.lanes.provider(lane)) else { return Verdict::Fails };
        self.brakes.note(provider, failed, self.policy.brake, now)
    }

    /// Too many of these fail at this provider: a failure cannot be undone, a deferral can. The lane is suspended.
    fn is_braked(&mut self, view: &EntryView, reason: Reason, now: Millis) -> bool {
        match self.note_result(view, Some(reason), now) {
            Verdict::Fails => return false,
            Verdict::Held => {}
            Verdict::Begins => {
                if let Some(lane) = view.lane {
                    let _ = self.index.sleep_lane(lane, now.saturating_add(PAUSE), Reason::Suspended);
                }
            }
        }
        true
    }

    /// Final, unless the sender is to be told.
    fn deliver(&mut self, view: &EntryView, mut change: Change, owes_report: bool, now: Millis) {
        self.figures.delivered += 1;
        self.figures.accept_to_delivered.add(now.saturating_sub(received(view.id)));
        if owes_report {
            change.state = EntryState::Owing;
            self.cancelling.remove(&view.entry);
            let _ = self.index.owe(view.entry, Reason::Done);
            self.owed.add(view.id, view.number, change.words.clone(), now + self.policy.report_delay);
        } else {
            self.close(view.entry);
        }
        self.tell(view, change, now);
    }

    /// Waits for its next attempt, unless its time is over or an order met it.
    pub fn defer(&mut self, view: &EntryView, mut change: Change, now: Millis) {
        if self.cancelling.remove(&view.entry) {
            return self.cancel(view, now);
        }
        if view.expires != 0 && now >= view.expires && !self.freeze.is_frozen(now) {
            return self.expire(view, change, now);
        }
        self.figures.deferred += 1;
        change.step = view.step.saturating_add(1);
        let table = view.lane.map_or(0, |lane| self.lanes.retry_table(lane));
        let wait = self.policy.retries.wait(table, change.reason, view.id, view.number, u16::from(change.step));
        change.due = now + wait;
        change.state = EntryState::Waiting;
        let deferral = Deferral { due: change.due, step: change.step, reason: change.reason, attempted: true };
        // The view was just taken, so its handle is not stale.
        let _ = self.index.defer(view.entry, deferral, now);
        self.words.keep(view.entry, change.words.clone());
        self.tell(view, change, now);
    }

    /// Final: a report is owed, or the entry is closed without one (backscatter, NOTIFY=NEVER, null sender).
    pub fn fail(&mut self, view: &EntryView, mut change: Change, now: Millis) {
        self.figures.failed += 1;
        let reports = self.index.message_of(view.entry).map_or(Reports::None, |message| Kept::of(&message).reports);
        if reports == Reports::None {
            change.state = EntryState::Failed;
            self.close(view.entry);
        } else {
            change.state = EntryState::Owing;
            self.cancelling.remove(&view.entry);
            let _ = self.index.owe(view.entry, change.reason);
            self.owed.add(view.id, view.number, change.words.clone(), now + self.policy.report_delay);
        }
        self.tell(view, change, now);
    }

    /// Its time is over: the last words of the last peer stand in the report.
    pub fn expire(&mut self, view: &EntryView, mut change: Change, now: Millis) {
        if change.words == Words::default() {
            change.words = self.words.of(view.entry).cloned().unwrap_or_default();
        }
        change.outcome = Outcome::Failed;
        change.reason = Reason::Expired;
        self.fail(view, change, now);
    }

    pub fn cancel(&mut self, view: &EntryView, now: Millis) {
        self.figures.cancelled += 1;
        self.close(view.entry);
        self.tell(view, Change::of(view, EntryState::Cancelled, Outcome::Failed, Reason::Cancelled), now);
    }

    /// Back with no attempt counted; closed if it was cancelled in flight.
    pub fn give_back(&mut self, view: &EntryView, now: Millis) {
        if self.cancelling.remove(&view.entry) {
            return self.cancel(view, now);
        }
        let _ = self.index.give_back(view.entry);
    }

    /// Queues the fact of a change.
    pub fn tell(&mut self, view: &EntryView, change: Change, now: Millis) -> u64 {
        let fact = Settled {
            tag: Fact::SETTLED,
            at: now,
            id: view.id,
            number: view.number,
            state: change.state,
            due: change.due,
            expires: change.expires,
            attempts: change.attempts,
            step: change.step,
            outcome: change.outcome,
            scope: change.scope,
            reason: change.reason,
            rule: change.rule,
            code: change.words.code,
            status: Settled::status_number(change.words.enhanced),
            text: 0,
            host: 0,
            domain: 0,
            tag_given: 0,
            took: change.took,
            may_repeat: change.may_repeat,
            tls: 0,
        };
        let domain = self.names.domains.shared(view.key.domain);
        let Words { text, host, .. } = change.words;
        self.facts.push(Note::Settled { fact, text, host, domain, tls: change.tls, tag: change.tag })
    }

    /// A lane, host, source, sender or provider failed as a whole.
    pub fn sleep(&mut self, failure: &Sleep<'_>, now: Millis) -> Millis {
        let lane = angarium_queue::LaneRef::from_bits(failure.lane.0);
        if failure.object.is_empty() || failure.scope == Scope::Lane {
            return self.sleep_lane(lane, failure, now);
        }
        match self.asleep.failed(failure.scope, failure.object, failure.judgement.reason, now) {
            None => self.asleep.until(failure.scope, failure.object, now).unwrap_or(now),
            Some(nap) => {
                self.tell_slept(failure, Sleeper::Named(failure.object), (nap.until, nap.failures), now);
                nap.until
            }
        }
    }

    /// `until` and how many failures that makes, one after the other.
    pub fn tell_slept(
        &mut self,
        failure: &Sleep<'_>,
        sleeper: Sleeper<'_>,
        (until, failures): (Millis, u8),
        now: Millis,
    ) {
        let words = Words::new(failure.reply, "".into());
        let (object, port, key) = match sleeper {
            Sleeper::Lane(key) => (&*key.site, key.port, serde_json::to_string(key).unwrap_or_default()),
            Sleeper::Named(object) => (object, 0, String::new()),
        };
        let fact = Slept {
            tag: Fact::SLEPT,
            at: now,
            scope: failure.scope,
            object: 1,
            until,
            reason: failure.judgement.reason,
            rule: failure.judgement.rule,
            code: words.code,
            text: 2,
            port,
            failures,
            lane: if key.is_empty() { 0 } else { 3 },
        };
        let strings = vec![object.to_owned(), words.text.to_string(), key];
        self.facts.push(Note::Rare { fact: Box::new(Fact::Slept(fact)), strings });
    }
}

/// The same text as last time is the same allocation: a lane speaks to one host for long.
fn shared(last: &mut Arc<str>, text: &str) -> Arc<str> {
    if **last != *text {
        *last = text.into();
    }
    last.clone()
}
