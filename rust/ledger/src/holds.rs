//! Orders that keep content: legal holds and pins, over the messages that are there when they come.
//!
//! The order has a number, by which it is lifted; each message that it keeps is told in a fact of its own, and the
//! order is answered when all of them are durable. What happens to the messages is nobody's business here: a message
//! under a legal hold is delivered, retried and expires like any other, only its bytes stay.

use std::collections::BTreeSet;

use angarium_nouns::record::{Claim, Claimed, Fact};
use angarium_nouns::{MessageId, Millis};
use angarium_queue::Cursor;

use crate::claims::{Hold, MOST_CLAIMED};
use crate::control::{Control, ControlDone};
use crate::error::ControlError;
use crate::facts::Note;
use crate::ledger::Ledger;
use crate::orders::{CHANGES_AT_ONCE, STEPS_AT_ONCE, Tally};
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
        let number = self.change(|state| {
            let number = state.rules.next();
            let (by, why) = (control.by.clone(), control.why.clone());
            state.claims.begin(Hold { number, claim, at: now, by, why });
            number
        });
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

impl State {
    fn claim(&mut self, number: u64, id: MessageId, claim: Claim, now: Millis) -> bool {
        if self.place_of(id).is_none() || !self.claims.hold(number, id) {
            return false;
        }
        let fact = Claimed { tag: Fact::CLAIMED, at: now, id, control: number, claim };
        self.facts.push(Note::Rare { fact: Box::new(Fact::Claimed(fact)), strings: Vec::new() });
        true
    }
}
