//! Orders carried out: one-shots walk the index in steps, lists are applied at once, rules begin or end to stand.
//!
//! Each changed entry gets its fact, the order its own at the end; the token is the number that must be durable
//! before the order is answered. Only a retry is not told entry by entry: a crash loses no more than the hurry.

use angarium_nouns::record::{Claim, Controlled, EntryState, Fact};
use angarium_nouns::{Lsn, MessageId, Millis, Outcome, Reason};
use angarium_queue::{Cursor, EntryRef, EntryView, NewEntry, Stop};

use crate::control::{Control, ControlDone, ControlKind};
use crate::error::ControlError;
use crate::facts::Note;
use crate::ledger::Ledger;
use crate::rules::{Rule, Selected};
use crate::settle::Change;
use crate::state::{NodeWords, State};

/// Slots looked at, and entries changed, in one hold of the lock: about a millisecond.
pub(crate) const STEPS_AT_ONCE: usize = 16_384;
pub(crate) const CHANGES_AT_ONCE: usize = 1024;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub changed: u64,
    pub too_late: u64,
}

impl Ledger {
    /// Applies an order. Answer it when [`crate::Flushed::facts`] reaches the token. Walks the index in steps: cold.
    pub fn control(&self, control: &Control, now: Millis) -> Result<ControlDone, ControlError> {
        match control.kind {
            ControlKind::Hold | ControlKind::Suspend if control.predicate.ids.is_empty() => self.stand(control, now),
            ControlKind::Suspend => Err(ControlError::Missing("a predicate without ids")),
            ControlKind::Lift | ControlKind::Resume => self.lift(control, now),
            ControlKind::ConfirmClock => Ok(self.at_once(control, now, |state| {
                state.freeze.end();
                1
            })),
            ControlKind::Reroute if control.tag.is_none() => Ok(self.refresh(control, now)),
            ControlKind::Flush => {
                self.change(State::wake_all);
                self.walk(control, now)
            }
            ControlKind::LegalHold => self.keep_content(control, Claim::Required, now),
            ControlKind::Pin => self.keep_content(control, Claim::BestEffort, now),
            _ => self.walk(control, now),
        }
    }

    fn at_once(&self, control: &Control, now: Millis, act: impl FnOnce(&mut State) -> u64) -> ControlDone {
        self.change(|state| {
            let changed = act(state);
            let number = state.rules.next();
            state.tell_control(number, control, Tally { changed, too_late: 0 }, now)
        })
    }

    /// A rule begins to stand, then meets what is there in steps.
    fn stand(&self, control: &Control, now: Millis) -> Result<ControlDone, ControlError> {
        let mut control = control.clone();
        let number = self.change(|state| {
            let number = state.rules.next();
            if control.kind == ControlKind::Hold {
                control.until = control.until.or(Some(now + state.policy.hold_after));
            }
            let position = state.content_applied.0;
            state.stand(Rule { number, control: control.clone(), position, at: now }, now)?;
            Ok(number)
        })?;
        let mut tally = Tally::default();
        let mut more = true;
        while more {
            self.change(|state| {
                more = state.index.sweep(now, STEPS_AT_ONCE);
                tally.changed += state.meet_rules(now);
            });
        }
        let done = self.change(|state| state.tell_control(number, &control, tally, now));
        Ok(ControlDone { rule: number, ..done })
    }

    fn lift(&self, control: &Control, now: Millis) -> Result<ControlDone, ControlError> {
        self.change(|state| {
            let numbers = state.rules.lifted_by(control);
            let mut done = None;
            for number in numbers {
                state.lift(number);
                done = Some(state.tell_control(number, control, Tally { changed: 1, too_late: 0 }, now));
            }
            let lifts = control.kind == ControlKind::Lift;
            if let Some(free) = lifts.then(|| state.lift_hold(control.rule)).flatten() {
                // Free when the fact that says so is durable: it is queued next.
                for release in free {
                    state.facts.release(release);
                }
                done = Some(state.tell_control(control.rule, control, Tally { changed: 1, too_late: 0 }, now));
            }
            done.ok_or(ControlError::NoRule(control.rule))
        })
    }

    fn refresh(&self, control: &Control, now: Millis) -> ControlDone {
        self.at_once(control, now, |state| {
            let domain =
                control.predicate.domain.as_ref().map(|domain| state.names.domains.find(&domain.to_lowercase()));
            match domain {
                Some(None) => 0,
                domain => state.refresh_routes(domain.flatten()),
            }
        })
    }

    /// Every entry that the predicate selects and that was there when the order came.
    fn walk(&self, control: &Control, now: Millis) -> Result<ControlDone, ControlError> {
        let (selected, position) = {
            let state = self.state.lock();
            (control.predicate.select(&state.names, &state.lanes)?, state.content_applied)
        };
        let mut tally = Tally::default();
        match selected {
            Selected::Nothing => {}
            Selected::Listed(ids) => {
                for ids in ids.chunks(CHANGES_AT_ONCE) {
                    self.change(|state| ids.iter().for_each(|id| state.obey_listed(control, *id, &mut tally, now)));
                }
            }
            Selected::Walk(predicates) => {
                for predicate in &predicates {
                    self.walk_one(control, predicate, position, &mut tally, now);
                }
            }
        }
        Ok(self.change(|state| {
            state.wake = true;
            let number = state.rules.next();
            state.tell_control(number, control, tally, now)
        }))
    }

    fn walk_one(
        &self,
        control: &Control,
        predicate: &angarium_queue::Predicate,
        position: Lsn,
        tally: &mut Tally,
        now: Millis,
    ) {
        let mut at = Some(Cursor::default());
        let mut found = Vec::new();
        while let Some(from) = at {
            self.change(|state| {
                found.clear();
                at = state.index.find(predicate, from, CHANGES_AT_ONCE, STEPS_AT_ONCE, &mut found);
                for entry in &found {
                    state.obey(control, *entry, position, tally, now);
                }
            });
        }
    }
}

impl State {
    fn obey_listed(
        &mut self,
        control: &Control,
        (id, number): (MessageId, Option<u32>),
        tally: &mut Tally,
        now: Millis,
    ) {
        let entries = match number {
            Some(number) => self.index.entry(id, number).into_iter().collect(),
            None => self.index.entries_of(id),
        };
        for entry in entries {
            self.obey(control, entry, Lsn(u64::MAX), tally, now);
        }
    }

    fn obey(&mut self, control: &Control, entry: EntryRef, position: Lsn, tally: &mut Tally, now: Millis) {
        let Some(view) = self.index.view(entry) else { return };
        if view.lsn > position || view.state == EntryState::Owing {
            return;
        }
        if view.state == EntryState::Leased {
            tally.too_late += 1;
            self.obey_in_flight(control, entry, now);
            return;
        }
        tally.changed += u64::from(self.obey_waiting(control, &view, now));
    }

    /// The delivery is asked to stop before the dot; what it settles decides.
    fn obey_in_flight(&mut self, control: &Control, entry: EntryRef, now: Millis) {
        match control.kind {
            ControlKind::Cancel => {
                if matches!(self.index.cancel(entry), Ok(Stop::InFlight)) {
                    self.cancelling.insert(entry);
                }
            }
            ControlKind::Hold => {
                let until = control.until.unwrap_or(now + self.policy.hold_after);
                let _ = self.index.hold(entry, until, Reason::Policy).map(|_| ());
            }
            _ => {}
        }
    }

    fn obey_waiting(&mut self, control: &Control, view: &EntryView, now: Millis) -> bool {
        match control.kind {
            ControlKind::Cancel => self.cancel(view, now),
            ControlKind::Expire => {
                let change = Change::of(view, EntryState::Failed, Outcome::Failed, Reason::Expired);
                self.expire(view, change, now);
            }
            ControlKind::Hold => return self.hold(control, view, now),
            ControlKind::Release => return self.release(view, now),
            ControlKind::Retry | ControlKind::Flush => {
                return self.index.retry(view.entry, now).unwrap_or(false);
            }
            ControlKind::Reroute => self.reroute(view, control.tag.as_deref().unwrap_or(""), now),
            _ => return false,
        }
        true
    }

    fn hold(&mut self, control: &Control, view: &EntryView, now: Millis) -> bool {
        let until = control.until.unwrap_or(now + self.policy.hold_after);
        if !matches!(self.index.hold(view.entry, until, Reason::Policy), Ok(Stop::Done(_))) {
            return false;
        }
        let mut change = Change::of(view, EntryState::Held, Outcome::Deferred, Reason::Policy);
        change.due = until;
        self.tell(view, change, now);
        true
    }

    /// Waits again with a retry clock that begins anew.
    fn release(&mut self, view: &EntryView, now: Millis) -> bool {
        // What a standing rule suspends is released by lifting the rule.
        if view.state != EntryState::Held || view.reason == Reason::Suspended {
            return false;
        }
        let expires = now + self.policy.expire_after;
        if !self.index.release(view.entry, expires, now).unwrap_or(false) {
            return false;
        }
        let mut change = Change::of(view, EntryState::Waiting, Outcome::Deferred, Reason::Other);
        (change.due, change.expires, change.step) = (now, expires, 0);
        self.tell(view, change, now);
        true
    }

    /// Under another route tag from now on; attempts, due time and deadline stay.
    fn reroute(&mut self, view: &EntryView, tag: &str, now: Millis) {
        self.move_to_tag(view, tag, now);
        let mut change = Change::of(view, view.state, Outcome::Deferred, view.reason);
        change.tag = Some(tag.into());
        self.tell(view, change, now);
    }

    pub fn move_to_tag(&mut self, view: &EntryView, tag: &str, now: Millis) {
        let domain = self.names.domains.shared(view.key.domain);
        let tenant = self.names.tenants.shared(view.key.tenant);
        let campaign = self.names.campaigns.shared(view.key.campaign);
        let (tls, class) = (view.key.tls, view.key.class);
        let node = self.node(NodeWords { domain: &domain, tag, tenant: &tenant, campaign: &campaign, tls, class });
        let to = NewEntry {
            number: view.number,
            node,
            state: view.state,
            due: view.due,
            expires: view.expires,
            attempts: view.attempts,
            step: view.step,
            reason: view.reason,
        };
        let _ = self.index.set(view.entry, &to, now);
    }

    pub fn wake_all(&mut self) {
        self.asleep.wake_all();
        self.remembered.wake_all();
        self.brakes.let_go();
        for lane in self.lanes.all().collect::<Vec<_>>() {
            let suspended = self.index.lane(lane).is_some_and(|view| view.asleep_until == Millis::MAX);
            if !suspended {
                let _ = self.index.wake_lane(lane);
            }
        }
    }

    pub(crate) fn tell_control(&mut self, number: u64, control: &Control, tally: Tally, now: Millis) -> ControlDone {
        let predicate = serde_json::to_string(&control.predicate).unwrap_or_default();
        let fact = Controlled {
            tag: Fact::CONTROLLED,
            at: now,
            control: number,
            kind: 1,
            predicate: 2,
            by: 3,
            why: 4,
            until: control.until.unwrap_or(0),
            changed: tally.changed,
        };
        let strings = vec![control.kind.name().to_owned(), predicate, control.by.clone(), control.why.clone()];
        self.facts.push(Note::Rare { fact: Box::new(Fact::Controlled(fact)), strings });
        let token = self.facts.hurry();
        ControlDone { token, changed: tally.changed, too_late: tally.too_late, rule: 0 }
    }
}
