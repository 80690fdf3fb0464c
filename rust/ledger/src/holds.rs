//! Orders that keep content: pins, over the messages that are there when they come; legal holds, over those that come
//! later too, until they are lifted, unless they name messages or what a message is not received with.
//!
//! The order has a number, by which it is lifted; each message that it keeps is told in a fact of its own, and the
//! order is answered when all of them are durable. What happens to the messages is nobody's business here: a message
//! under a legal hold is delivered, retried and expires like any other, only its bytes stay.

use std::collections::BTreeSet;

use angarium_nouns::record::{Claim, Claimed, Fact};
use angarium_nouns::{MessageId, Millis};
use angarium_queue::Cursor;

use crate::claims::{Hold, MOST_CLAIMED};
use crate::control::{Control, ControlDone, MAX_RULES};
use crate::error::ControlError;
use crate::facts::{Note, Release};
use crate::ledger::Ledger;
use crate::orders::{CHANGES_AT_ONCE, STEPS_AT_ONCE, Tally};
use crate::predicate::Predicate;
use crate::rules::Selected;
use crate::state::State;

impl Ledger {
    pub(crate) fn keep_content(
        &self,
        control: &Control,
        claim: Claim,
        now: Millis,
    ) -> Result<ControlDone, ControlError> {
        let ids = self.messages_of(control)?;
        if ids.len() > MOST_CLAIMED {
            return Err(ControlError::TooManyClaimed);
        }
        let stands =
            Some(&control.predicate).filter(|predicate| claim == Claim::Required && predicate.is_of_arrivals());
        let number = self.change(|state| {
            if stands.is_some() && state.standing.len() >= MAX_RULES {
                return Err(ControlError::TooManyRules);
            }
            let number = state.rules.next();
            let (by, why, stands) = (control.by.clone(), control.why.clone(), stands.cloned());
            state.begin_hold(Hold { number, claim, at: now, by, why, stands });
            Ok(number)
        })?;
        let mut tally = Tally::default();
        for ids in ids.chunks(CHANGES_AT_ONCE) {
            self.change(|state| {
                tally.changed += ids.iter().map(|id| u64::from(state.claim(number, *id, claim, now))).sum::<u64>();
            });
        }
        let done = self.change(|state| state.tell_control(number, control, tally, now));
        Ok(ControlDone { rule: number, ..done })
    }

    /// The messages that the order selects, open or kept.
    fn messages_of(&self, control: &Control) -> Result<Vec<MessageId>, ControlError> {
        let selected = {
            let state = self.state.lock();
            control.predicate.select(&state.names, &state.lanes)?
        };
        let mut ids = BTreeSet::new();
        match selected {
            Selected::Nothing => {}
            Selected::Listed(listed) => ids.extend(listed.into_iter().map(|(id, _)| id)),
            Selected::Walk(predicates) => {
                for predicate in &predicates {
                    let mut at = Some(Cursor::default());
                    let mut found = Vec::new();
                    while let Some(from) = at {
                        found.clear();
                        let state = self.state.lock();
                        at = state.index.find(predicate, from, CHANGES_AT_ONCE, STEPS_AT_ONCE, &mut found);
                        ids.extend(found.iter().filter_map(|entry| Some(state.index.view(*entry)?.id)));
                    }
                }
            }
        }
        Ok(ids.into_iter().collect())
    }
}

impl Predicate {
    /// It speaks only of what a message is received with.
    pub(crate) fn is_of_arrivals(&self) -> bool {
        let Self { ids, state, reason, lane, site, .. } = self;
        ids.is_empty() && state.is_none() && reason.is_none() && lane.is_none() && site.is_none()
    }
}

impl State {
    /// The order keeps what it is given from now on; one that stands looks at what arrives.
    pub fn begin_hold(&mut self, hold: Hold) {
        let number = hold.number;
        if let Some(predicate) = hold.stands.clone().filter(|_| !self.standing.contains_key(&number)) {
            // Its names keep their numbers as long as it stands.
            self.names.hold_of(&predicate);
            match predicate.select(&self.names, &self.lanes) {
                Ok(Selected::Walk(predicates)) => self.standing.insert(number, predicates),
                _ => None,
            };
        }
        self.claims.begin(hold);
    }

    /// Gives what nobody wants any more; `None`: there is no such order.
    pub fn lift_hold(&mut self, number: u64) -> Option<Vec<Release>> {
        let stood = self.claims.order(number)?.stands.clone();
        self.standing.remove(&number);
        if let Some(predicate) = stood {
            self.names.release_of(&predicate);
        }
        Some(self.claims.lift(number))
    }

    /// Legal holds that stand keep what arrives: told before the message itself is, so that no crash comes between.
    pub fn meet_holds(&mut self, id: MessageId, now: Millis) {
        if self.standing.is_empty() {
            return;
        }
        let entries = self.index.entries_of(id);
        let meets = |predicates: &[angarium_queue::Predicate]| {
            predicates.iter().any(|one| entries.iter().any(|entry| self.index.matches(one, *entry)))
        };
        let numbers: Vec<u64> =
            self.standing.iter().filter(|(_, predicates)| meets(predicates)).map(|(number, _)| *number).collect();
        for number in numbers {
            self.claim(number, id, Claim::Required, now);
        }
    }

    fn claim(&mut self, number: u64, id: MessageId, claim: Claim, now: Millis) -> bool {
        if self.place_of(id).is_none() || !self.claims.hold(number, id) {
            return false;
        }
        let fact = Claimed { tag: Fact::CLAIMED, at: now, id, control: number, claim };
        self.facts.push(Note::Rare { fact: Box::new(Fact::Claimed(fact)), strings: Vec::new() });
        true
    }
}
