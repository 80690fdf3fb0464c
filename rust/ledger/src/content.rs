//! Content read back, verified (S6).
//!
//! What fails its check is never sent and never silently dropped: the entries are closed as lost, which says so in
//! the journal. A message may be copied forward between lease and reading; then it is read where it is now.

use std::borrow::Cow;
use std::ops::Deref;

use angarium_nouns::record::{ContentHead, Fact, Lost};
use angarium_nouns::{MessageId, Millis};
use angarium_spool::{BodyFile, BodyReader, Place, ReadError};

use crate::error::LoadError;
use crate::facts::Note;
use crate::lease::Lease;
use crate::ledger::Ledger;
use crate::state::{Kept, State};

/// Content read back and verified.
pub struct Content {
    pub head: ContentHead,
    pub body: ContentBody,
}

pub enum ContentBody {
    Inline(InlineBody),
    File(BodyReader),
}

/// The body's bytes behind the head, without a copy of their own.
#[derive(Debug)]
pub struct InlineBody {
    payload: Vec<u8>,
    start: usize,
}

impl Deref for InlineBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.payload[self.start..]
    }
}

impl Content {
    /// The first bytes of the body: all of an inline one, of a file as many as a report may carry.
    pub(crate) fn start(&self, limit: u64) -> Cow<'_, [u8]> {
        match &self.body {
            ContentBody::Inline(body) => Cow::Borrowed(body),
            ContentBody::File(file) => {
                let mut bytes = vec![0; file.length().min(limit) as usize];
                let read = file.read_at(&mut bytes, 0).unwrap_or(0);
                bytes.truncate(read);
                Cow::Owned(bytes)
            }
        }
    }
}

/// Splits a content payload into its head and where the body begins.
pub(crate) fn open_payload(payload: &[u8]) -> Result<(ContentHead, usize), String> {
    let short = || "the record ends early".to_owned();
    let (length, rest) = payload.split_first_chunk::<4>().ok_or_else(short)?;
    let length = u32::from_le_bytes(*length) as usize;
    let head = rest.get(..length).ok_or_else(short)?;
    let head = ContentHead::decode(head).map_err(|error| error.to_string())?;
    Ok((head, 4 + length))
}

/// A record as it stands in the log.
struct Record {
    head: ContentHead,
    /// Empty when the body has a file of its own.
    body: InlineBody,
}

impl Record {
    fn inline(self) -> Option<Content> {
        let whole = self.head.body.file.is_empty();
        whole.then(|| Content { head: self.head, body: ContentBody::Inline(self.body) })
    }
}

impl Ledger {
    /// Reads what a lease is about. Touches the disk: not on a worker when the file is cold.
    pub fn load(&self, lease: &Lease, now: Millis) -> Result<Content, LoadError> {
        match self.read_content(lease.id, lease.place) {
            Err(LoadError::Lost(_)) => self.content_or_lose(lease.id, now),
            other => other,
        }
    }

    /// The same for a worker: only what stands in the log itself. `None`: the body has a file of its own, which
    /// [`Ledger::load`] reads whole to verify it.
    pub fn load_inline(&self, lease: &Lease, now: Millis) -> Result<Option<Content>, LoadError> {
        match self.read_record(lease.id, lease.place) {
            Err(LoadError::Lost(_)) => self.content_or_lose(lease.id, now).map(Some),
            record => Ok(record?.inline()),
        }
    }

    /// The content of a message that is not closed, or that somebody claims, to be looked at. Cold.
    pub fn content(&self, id: MessageId) -> Result<Content, LoadError> {
        let place = self.state.lock().place_of(id);
        self.read_content(id, place.ok_or(LoadError::Unknown)?)
    }

    /// The same for a delivery or a report: what is lost is closed as lost.
    pub(crate) fn content_or_lose(&self, id: MessageId, now: Millis) -> Result<Content, LoadError> {
        let place_now = || self.state.lock().index.message(id).map(|message| Kept::of(&message).place);
        let mut place = place_now().ok_or(LoadError::Unknown)?;
        loop {
            match self.read_content(id, place) {
                Err(LoadError::Lost(why)) => match place_now() {
                    None => return Err(LoadError::Unknown),
                    Some(moved) if moved != place => place = moved,
                    Some(_) => {
                        self.lose(id, &why, now);
                        return Err(LoadError::Lost(why));
                    }
                },
                other => return other,
            }
        }
    }

    fn read_record(&self, id: MessageId, place: Place) -> Result<Record, LoadError> {
        let payload = self.spool.read(place, id).map_err(|error| LoadError::of(&error))?;
        let (head, start) = open_payload(&payload).map_err(LoadError::Lost)?;
        Ok(Record { head, body: InlineBody { payload, start } })
    }

    fn read_content(&self, id: MessageId, place: Place) -> Result<Content, LoadError> {
        let record = self.read_record(id, place)?;
        if record.head.body.file.is_empty() {
            return Ok(Content { head: record.head, body: ContentBody::Inline(record.body) });
        }
        let head = record.head;
        let file = BodyFile { name: head.body.file.clone(), length: head.body.length, crc: head.body.crc };
        let body = self.spool.read_body(&file).map_err(|error| LoadError::of(&error))?;
        body.verify().map_err(|error| LoadError::of(&error))?;
        Ok(Content { head, body: ContentBody::File(body) })
    }

    pub(crate) fn lose(&self, id: MessageId, why: &str, now: Millis) {
        self.change(|state| state.lose(id, why, now));
    }
}

impl LoadError {
    fn of(error: &ReadError) -> Self {
        match error {
            ReadError::Io { .. } => Self::Unreadable(error.to_string()),
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl State {
    pub fn tell_lost(&mut self, id: MessageId, number: u32, why: &str, now: Millis) {
        let fact = Lost { tag: Fact::LOST, at: now, id, number, why: 1 };
        self.facts.push(Note::Rare { fact: Box::new(Fact::Lost(fact)), strings: vec![why.to_owned()] });
    }
}
