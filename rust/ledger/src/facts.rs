//! Facts that wait for the journal, and the frame that they become.
//!
//! State changes queue a [`Note`] each, under the lock, in order. The journal's committer takes them away, encodes
//! them without the lock ([`Frame`]), writes, and reports the number up to which all are durable; only then are the
//! places released that they close. A frame that was not written goes back in front.
//!
//! Payload: `u32 LE` length of the strings' block, the block (MessagePack array of str), `u32 LE` CRC32C of the
//! block, then facts back to back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use angarium_nouns::record::{Fact, Received, RecordError, Settled, Text};
use angarium_nouns::{Class, Lsn, MessageId, Millis};

use angarium_spool::Place;

use crate::incoming::Prepared;

/// Recipients told in one received fact: a fact stays far below a frame, whatever the list.
pub(crate) const RECIPIENTS_PER_FACT: usize = 256;

/// A fact with the strings that it will speak of.
#[derive(Debug)]
pub(crate) enum Note {
    /// Recipients `first` and on, at most [`RECIPIENTS_PER_FACT`].
    Received {
        at: Millis,
        id: MessageId,
        class: Class,
        message: Arc<Prepared>,
        first: u32,
        recovered: bool,
    },
    Settled {
        fact: Settled,
        text: Arc<str>,
        host: Arc<str>,
        domain: Arc<str>,
        tls: Arc<str>,
        tag: Option<Arc<str>>,
    },
    /// Numbers of strings count from 1 in `strings`.
    Rare {
        fact: Box<Fact>,
        strings: Vec<String>,
    },
}

/// A body that has a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptBody {
    pub name: Box<str>,
    pub length: u64,
}

/// What a message that is through gives back to the spool, unless somebody claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    pub id: MessageId,
    pub place: Place,
    pub body: Option<KeptBody>,
    /// Claims were looked at already.
    pub wanted_by_nobody: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    waiting: Vec<Note>,
    /// Facts queued since the start; the number of the last one.
    queued: u64,
    /// All up to here are durable.
    durable: u64,
    /// Places to be released when this number is durable.
    releases: VecDeque<(u64, Release)>,
    /// The last frame: everything up to it is applied in the state.
    flushed: Lsn,
    /// Somebody waits for this number (an order's answer, a checkpoint).
    urgent: u64,
}

impl Facts {
    pub fn push(&mut self, note: Note) -> u64 {
        self.waiting.push(note);
        self.queued += 1;
        self.queued
    }

    /// An answer waits for everything queued so far.
    pub fn hurry(&mut self) -> u64 {
        self.urgent = self.queued;
        self.queued
    }

    pub fn is_urgent(&self) -> bool {
        self.urgent > self.durable
    }

    pub fn durable(&self) -> u64 {
        self.durable
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn flushed_to(&mut self, lsn: Lsn) {
        self.flushed = lsn;
    }

    pub fn flushed(&self) -> Lsn {
        self.flushed
    }

    /// A message is closed, which the fact queued next says.
    pub fn release(&mut self, release: Release) {
        self.releases.push_back((self.queued + 1, release));
    }

    /// Where the content of a message lies that is closed and whose closing fact is not durable yet.
    pub fn place_of(&self, id: MessageId) -> Option<Place> {
        self.releases().find(|release| release.id == id && !release.wanted_by_nobody).map(|release| release.place)
    }

    /// What waits to be released.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        self.releases.iter().map(|(_, release)| release)
    }

    pub fn take(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.waiting)
    }

    /// What could not be written waits again, before what came since.
    pub fn put_back(&mut self, mut notes: Vec<Note>) {
        notes.append(&mut self.waiting);
        self.waiting = notes;
    }

    /// `count` facts became durable; gives what they release.
    pub fn written(&mut self, count: usize) -> Vec<Release> {
        self.durable += count as u64;
        let ready = self.releases.iter().take_while(|(number, _)| *number <= self.durable).count();
        self.releases.drain(..ready).map(|(_, release)| release).collect()
    }
}

/// A journal payload being built.
#[derive(Default)]
pub(crate) struct Frame {
    strings: Vec<u8>,
    count: u32,
    known: HashMap<Arc<str>, Text>,
    facts: Vec<u8>,
}

impl Frame {
    pub fn len(&self) -> usize {
        self.strings.len() + self.facts.len() + 13
    }

    pub fn add(&mut self, note: &Note) {
        match note {
            Note::Received { at, id, class, message, first, recovered } => {
                let fact = Received { tag: Fact::RECEIVED, at: *at, id: *id, class: *class, ..Received::default() };
                self.received(Received { first: *first, recovered: *recovered, ..fact }, message);
            }
            Note::Settled { fact, text, host, domain, tls, tag } => {
                let mut fact = fact.clone();
                fact.text = self.text(text);
                fact.host = self.shared(host);
                fact.domain = self.shared(domain);
                fact.tls = self.shared(tls);
                fact.tag_given = tag.as_ref().map_or(0, |tag| self.write(tag));
                Fact::Settled(fact).encode_into(&mut self.facts);
            }
            Note::Rare { fact, strings } => {
                let mut fact = (**fact).clone();
                fact.texts_mut(&mut |text| {
                    let string = (*text as usize).checked_sub(1).and_then(|n| strings.get(n));
                    *text = string.map_or(0, |string| self.text(string));
                });
                fact.encode_into(&mut self.facts);
            }
        }
    }

    fn received(&mut self, mut fact: Received, message: &Prepared) {
        let addresses = message.addresses.iter().skip(fact.first as usize).take(RECIPIENTS_PER_FACT);
        fact.size = message.size;
        fact.sender = self.text(&message.sender);
        fact.recipients = addresses.map(|address| self.text(address)).collect();
        fact.peer = self.text(&message.peer);
        fact.tenant = self.text(&message.tenant);
        fact.campaign = self.text(&message.campaign);
        fact.successor = message.successor;
        fact.verdicts = self.text(&message.verdicts);
        fact.session = message.session;
        Fact::Received(fact).encode_into(&mut self.facts);
    }

    /// A string that hardly comes twice.
    fn text(&mut self, text: &str) -> Text {
        if text.is_empty() { 0 } else { self.write(text) }
    }

    /// A string that comes often: once in a frame.
    fn shared(&mut self, text: &Arc<str>) -> Text {
        if text.is_empty() {
            return 0;
        }
        if let Some(&number) = self.known.get(text) {
            return number;
        }
        let number = self.write(text);
        self.known.insert(text.clone(), number);
        number
    }

    fn write(&mut self, text: &str) -> Text {
        // Writing into a Vec cannot fail.
        let _ = rmp_serde::encode::write(&mut self.strings, text);
        self.count += 1;
        self.count
    }

    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(&(self.strings.len() as u32 + 5).to_le_bytes());
        // MessagePack array32: the count is known at the end only.
        out.push(0xdd);
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.strings);
        let crc = crc32c::crc32c(&out[4..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.facts);
        out
    }
}

/// A payload read back: its strings (blank if their block was erased or damaged) and its facts.
pub(crate) struct FrameRead<'a> {
    pub strings: Vec<&'a str>,
    #[cfg_attr(not(test), expect(dead_code, reason = "shown by tests; readers see blanks"))]
    pub strings_damaged: bool,
    facts: &'a [u8],
}

impl<'a> FrameRead<'a> {
    pub fn open(payload: &'a [u8]) -> Result<Self, RecordError> {
        let short = || RecordError::Format("the frame of facts ends early".into());
        let (length, rest) = payload.split_first_chunk::<4>().ok_or_else(short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (block, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        let (crc, facts) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let strings = if crc32c::crc32c(block) == u32::from_le_bytes(*crc) {
            rmp_serde::from_slice::<Vec<&str>>(block).ok()
        } else {
            None
        };
        let strings_damaged = strings.is_none();
        Ok(Self { strings: strings.unwrap_or_default(), strings_damaged, facts })
    }

    pub fn text(&self, number: Text) -> &'a str {
        (number as usize).checked_sub(1).and_then(|n| self.strings.get(n)).copied().unwrap_or("")
    }

    /// The next fact; `None` at the end.
    pub fn next_fact(&mut self) -> Result<Option<Fact>, RecordError> {
        if self.facts.is_empty() {
            return Ok(None);
        }
        let (fact, rest) = Fact::decode(self.facts)?;
        self.facts = rest;
        Ok(Some(fact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use angarium_nouns::record::Lost;

    fn rare(why: &str) -> Note {
        let fact = Fact::Lost(Lost { tag: Fact::LOST, at: 1, id: MessageId(2), number: 3, why: 1 });
        Note::Rare { fact: Box::new(fact), strings: vec![why.into()] }
    }

    #[test]
    fn reads_back_what_was_written() {
        let mut frame = Frame::default();
        frame.add(&rare("eaten"));
        frame.add(&rare("by mice"));
        let payload = frame.finish();
        let mut read = FrameRead::open(&payload).unwrap();
        let mut whys = Vec::new();
        while let Some(Fact::Lost(fact)) = read.next_fact().unwrap() {
            whys.push(read.text(fact.why));
        }
        assert_eq!(whys, ["eaten", "by mice"]);
    }

    #[test]
    fn damaged_strings_leave_the_facts() {
        let mut frame = Frame::default();
        frame.add(&rare("eaten"));
        let mut payload = frame.finish();
        payload[12] ^= 1;
        let mut read = FrameRead::open(&payload).unwrap();
        assert!(read.strings_damaged);
        assert!(matches!(read.next_fact(), Ok(Some(Fact::Lost(fact))) if read.text(fact.why).is_empty()));
        for length in 0..payload.len() {
            if let Ok(mut read) = FrameRead::open(&payload[..length]) {
                while let Ok(Some(_)) = read.next_fact() {}
            }
        }
    }

    #[test]
    fn releases_wait_for_their_facts() {
        let mut facts = Facts::default();
        facts.push(rare("one"));
        let release = Release { id: MessageId(2), place: Place::default(), body: None, wanted_by_nobody: false };
        facts.release(release.clone());
        facts.push(rare("the closing one"));
        assert_eq!(facts.take().len(), 2);
        assert_eq!(facts.written(1), []);
        assert_eq!(facts.written(1), [release]);
    }
}
