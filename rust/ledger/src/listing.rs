//! Listings: entries by predicate, one message with all its recipients.
//!
//! The index gives numbers under the lock; envelopes are read from the spool without it. A message that cannot be
//! read is listed without its addresses.

use std::collections::HashMap;

use angarium_nouns::outcome::Reason;
use angarium_nouns::record::{ContentHead, EntryState, Recipient};
use angarium_nouns::{MessageId, Millis};
use angarium_queue::{Cursor as Slots, EntryRef, EntryView};

use crate::content::open_payload;
use crate::error::{FindError, LoadError};
use crate::ledger::Ledger;
use crate::predicate::{Found, FoundEntry, MessageView, Predicate, RecipientView};
use crate::rules::Selected;
use crate::state::{Kept, State, received};
use crate::words::Words;

/// Slots looked at in one hold of the lock, and in one listing: a page may come back short of its limit.
const STEPS_AT_ONCE: usize = 16_384;
/// Entries of a page.
const MOST: usize = 10_000;

/// What the lock gave of one entry.
struct Row {
    view: EntryView,
    site: String,
    shown: RecipientView,
    tenant: String,
    campaign: String,
}

impl Ledger {
    /// Entries in the order of the index. Reads envelopes from disk: cold.
    pub fn find(&self, predicate: &Predicate, after: &[u8], limit: usize) -> Result<Found, FindError> {
        let limit = limit.clamp(1, MOST);
        let (rows, after) = self.rows(predicate, after, limit)?;
        let mut heads: HashMap<MessageId, Option<(ContentHead, Vec<Recipient>)>> = HashMap::new();
        let entries = rows.into_iter().map(|row| {
            let head = heads.entry(row.view.id).or_insert_with(|| self.envelope(row.view.id));
            found(row, head.as_ref())
        });
        Ok(Found { entries: entries.collect(), after })
    }

    fn rows(&self, predicate: &Predicate, after: &[u8], limit: usize) -> Result<(Vec<Row>, Vec<u8>), FindError> {
        let mut place = Place::read(after)?;
        let mut rows = Vec::new();
        loop {
            let state = self.state.lock();
            let Some(next) = state.look(predicate, place, limit - rows.len(), &mut rows)? else {
                return Ok((rows, Vec::new()));
            };
            place = next;
            if rows.len() >= limit {
                return Ok((rows, place.written()));
            }
        }
    }

    fn envelope(&self, id: MessageId) -> Option<(ContentHead, Vec<Recipient>)> {
        let place = self.state.lock().index.message(id).map(|message| Kept::of(&message).place)?;
        let payload = self.spool.read(place, id).ok()?;
        let (head, _) = open_payload(&payload).ok()?;
        let recipients = head.recipients.all().ok()?;
        Some((head, recipients))
    }

    /// One message with all its recipients; those that are closed say no more than that. Cold.
    pub fn message(&self, id: MessageId) -> Result<MessageView, LoadError> {
        let (head, recipients) = match self.envelope(id) {
            Some(envelope) => envelope,
            None if self.state.lock().index.message(id).is_some() => {
                return Err(LoadError::Unreadable("its envelope cannot be read".to_owned()));
            }
            None => return Err(LoadError::Unknown),
        };
        let state = self.state.lock();
        let recipients = recipients.iter().zip(0..).map(|(recipient, number)| {
            let view = state.index.entry(id, number).and_then(|entry| state.index.view(entry));
            match view {
                Some(view) => RecipientView { address: recipient.address.clone(), ..state.shown(&view) },
                None => closed(id, number, recipient, &head),
            }
        });
        Ok(MessageView {
            id: id.to_string(),
            sender: head.sender.clone(),
            received: head.received,
            size: head.body.length,
            class: head.class.name(),
            tenant: head.tenant.clone(),
            campaign: head.campaign.clone(),
            peer: head.session.peer.clone(),
            hello: head.session.hello.clone(),
            login: head.session.login.clone(),
            recipients: recipients.collect(),
        })
    }
}

/// Where a listing goes on: which of its predicates (a site may have several lanes), and the slot; or in a list of
/// ids, how many of them are done.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    part: u32,
    slot: u32,
}

impl Place {
    fn read(bytes: &[u8]) -> Result<Self, FindError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let (part, slot) = bytes.split_first_chunk::<4>().ok_or(FindError::Place)?;
        let slot = slot.try_into().map_err(|_| FindError::Place)?;
        Ok(Self { part: u32::from_be_bytes(*part), slot: u32::from_be_bytes(slot) })
    }

    fn written(self) -> Vec<u8> {
        [self.part.to_be_bytes(), self.slot.to_be_bytes()].concat()
    }
}

impl State {
    /// One look of a listing; where it goes on, or `None` at its end.
    fn look(
        &self,
        predicate: &Predicate,
        place: Place,
        limit: usize,
        rows: &mut Vec<Row>,
    ) -> Result<Option<Place>, FindError> {
        let mut found: Vec<EntryRef> = Vec::new();
        let next = match predicate.select(&self.names, &self.lanes)? {
            Selected::Nothing => None,
            Selected::Listed(ids) => {
                let Some((id, number)) = ids.get(place.slot as usize) else { return Ok(None) };
                found = match number {
                    Some(number) => self.index.entry(*id, *number).into_iter().collect(),
                    None => self.index.entries_of(*id),
                };
                Some(Place { slot: place.slot + 1, ..place })
            }
            Selected::Walk(predicates) => {
                let Some(predicate) = predicates.get(place.part as usize) else { return Ok(None) };
                let next = self.index.find(predicate, Slots(place.slot), limit, STEPS_AT_ONCE, &mut found);
                let following = Place { part: place.part + 1, slot: 0 };
                Some(next.map_or(following, |slot| Place { slot: slot.0, ..place }))
            }
        };
        let views = found.into_iter().filter_map(|entry| self.index.view(entry));
        rows.extend(views.map(|view| Row {
            site: view.lane.map_or_else(String::new, |lane| self.lanes.site(lane).to_owned()),
            shown: self.shown(&view),
            tenant: self.names.tenants.text(view.key.tenant).to_owned(),
            campaign: self.names.campaigns.text(view.key.campaign).to_owned(),
            view,
        }));
        Ok(next)
    }

    fn shown(&self, view: &EntryView) -> RecipientView {
        let (words, reason, due) = self.said(view);
        RecipientView {
            id: format!("{}.{}", view.id, view.number),
            number: view.number,
            address: String::new(),
            domain: self.names.domains.text(view.key.domain).to_owned(),
            state: view.state.name(),
            class: view.key.class.name(),
            due,
            expires: view.expires,
            attempts: view.attempts,
            reason: reason.name(),
            code: words.code,
            text: words.text.to_string(),
            host: words.host.to_string(),
            site: view.lane.map_or_else(String::new, |lane| self.lanes.site(lane).to_owned()),
            closed: false,
        }
    }
}

impl State {
    /// What was said last of an entry, why it waits, and until when.
    pub fn said(&self, view: &EntryView) -> (Words, Reason, Millis) {
        let words = self.words.of(view.entry).cloned().or_else(|| self.owed.words(view.id, view.number));
        self.asleep(view).unwrap_or_else(|| (words.unwrap_or_default(), view.reason, view.due))
    }

    /// What keeps an entry behind a lane that sleeps: the reason and the words of the lane, and until when.
    fn asleep(&self, view: &EntryView) -> Option<(Words, Reason, Millis)> {
        let lane = view.lane.filter(|_| view.state == EntryState::Waiting)?;
        let sleeping = self.index.lane(lane).filter(|lane| lane.asleep_until > view.due)?;
        let said = self.lanes.get(lane).map(|record| record.said.clone())?;
        let due = if sleeping.asleep_until == Millis::MAX { view.due } else { sleeping.asleep_until };
        Some((said, sleeping.reason, due))
    }
}

fn found(row: Row, envelope: Option<&(ContentHead, Vec<Recipient>)>) -> FoundEntry {
    let recipient = envelope.and_then(|(_, recipients)| recipients.get(row.view.number as usize));
    let address = recipient.map_or_else(String::new, |recipient| recipient.address.clone());
    FoundEntry {
        message: row.view.id.to_string(),
        sender: envelope.map_or_else(String::new, |(head, _)| head.sender.clone()),
        received: envelope.map_or_else(|| received(row.view.id), |(head, _)| head.received),
        size: envelope.map_or(0, |(head, _)| head.body.length),
        tenant: row.tenant,
        campaign: row.campaign,
        recipient: RecipientView { address, site: row.site, ..row.shown },
    }
}

/// A recipient that is not open any more: the journal knows how it ended.
fn closed(id: MessageId, number: u32, recipient: &Recipient, head: &ContentHead) -> RecipientView {
    RecipientView {
        id: format!("{id}.{number}"),
        number,
        address: recipient.address.clone(),
        domain: crate::incoming::domain_key(&recipient.address),
        state: "closed",
        class: head.class.name(),
        due: 0,
        expires: 0,
        attempts: 0,
        reason: "",
        code: 0,
        text: String::new(),
        host: String::new(),
        site: String::new(),
        closed: true,
    }
}
