//! The record types of both logs, version 1. MessagePack, fixed field order, a version byte in front.
//!
//! A **content record** is what was promised: [`ContentHead`], then the body's bytes. A **fact** is what happened;
//! facts of one group stand in one journal frame behind a block of the strings that they speak of, so that facts
//! themselves are numbers and an erasure can blank addresses without touching them. Both are read by Python with
//! msgspec (array-like structs; a fact's first field is its tag).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::Millis;
use crate::envelope::{BodyType, Class, DsnNotify, DsnReturn, UnknownWord, as_number};
use crate::id::MessageId;
use crate::outcome::{Outcome, Reason, Scope};
use crate::reply::EnhancedCode;

pub const CONTENT_VERSION: u8 = 1;
/// The TLS demand of a message that came with REQUIRETLS: [`ContentHead::tls_demand`].
pub const REQUIRE_TLS: u8 = 3;
/// Recipients of one block; a reader finds recipient N by decoding block N / 256 alone.
pub const RECIPIENTS_PER_BLOCK: usize = 256;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record is of version {0}, this program reads up to 1")]
    Version(u8),
    #[error("the record cannot be read: {0}")]
    Format(String),
    #[error("the record has no recipient {0}")]
    NoRecipient(u32),
}

/// The facts of the session that a message came in by.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SessionFacts {
    pub session: u64,
    pub listener: u16,
    /// `192.0.2.1:25025`, or empty for mail that did not come over a socket.
    pub peer: String,
    pub hello: String,
    /// As in the Received field: SMTP, ESMTP, ESMTPS, LMTP, HTTP (RFC 3848).
    pub protocol: String,
    pub login: String,
    pub tls: String,
    /// The client was trusted (network or login): failures may be reported to the sender.
    pub trusted: bool,
}

/// Where the body's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BodyRef {
    pub length: u64,
    /// CRC32C over the body.
    pub crc: u32,
    /// Empty: inline, behind the head. Else a file of its own in the spool's `bodies/` folder.
    pub file: String,
}

/// Immutable parts of a rendering (queue-and-delivery: render).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Variant {
    /// Pattern of the envelope sender, empty: the message's own.
    pub sender: String,
    /// Header edits: (0 add in front | 1 remove, field name or line).
    pub edits: Vec<(u8, ByteBuf)>,
    /// Substitutions: (token, field of the recipient).
    pub substitutions: Vec<(String, String)>,
    pub signing: String,
}

/// The state in which an entry is, or in which a recipient begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[repr(u8)]
#[serde(into = "u8", try_from = "u8")]
pub enum EntryState {
    /// Waits for its due time or its turn.
    #[default]
    Waiting = 0,
    Held = 1,
    /// Leased to a delivery. Never stands in a log.
    Leased = 2,
    /// Failed, and a report is still owed.
    Owing = 3,
    Delivered = 4,
    Failed = 5,
    Cancelled = 6,
    Lost = 7,
}

as_number!(EntryState, "entry state", [Waiting, Held, Leased, Owing, Delivered, Failed, Cancelled, Lost]);

impl EntryState {
    pub fn is_closed(self) -> bool {
        self as u8 >= Self::Delivered as u8
    }

    pub fn name(self) -> &'static str {
        ["waiting", "held", "leased", "owing", "delivered", "failed", "cancelled", "lost"][self as usize]
    }
}

/// One recipient as promised.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recipient {
    pub address: String,
    /// ORCPT as `type;address`, its xtext read, or the address before expansion; empty if the same.
    pub original: String,
    pub notify: DsnNotify,
    /// Own envelope sender; `None`: the message's.
    pub sender: Option<String>,
    pub variant: u16,
    pub tenant: String,
    pub route_tag: String,
    /// The recipient that this one was expanded from.
    pub parent: Option<u32>,
    pub may_report: bool,
    pub state: EntryState,
    /// Due (waiting) or hold deadline (held; 0 for none).
    pub due: Millis,
    /// Why it is held.
    pub reason: Reason,
    /// Substitution fields: (name, value).
    pub fields: Vec<(String, String)>,
}

/// Recipients in blocks of 256, each decodable by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recipients {
    count: u32,
    /// Little-endian u32 per block: where it ends in `blocks`.
    offsets: ByteBuf,
    blocks: ByteBuf,
}

impl Recipients {
    pub fn build(recipients: &[Recipient]) -> Self {
        let mut built = Self { count: recipients.len() as u32, ..Self::default() };
        for block in recipients.chunks(RECIPIENTS_PER_BLOCK) {
            encode_into(&mut built.blocks, &block);
            built.offsets.extend_from_slice(&(built.blocks.len() as u32).to_le_bytes());
        }
        built
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Decodes one block: recipients `number * 256` and on.
    pub fn block(&self, number: usize) -> Result<Vec<Recipient>, RecordError> {
        let end = |n: usize| -> Option<usize> {
            Some(u32::from_le_bytes(self.offsets.get(n * 4..n * 4 + 4)?.try_into().ok()?) as usize)
        };
        let start = if number == 0 { Some(0) } else { end(number - 1) };
        let missing = RecordError::NoRecipient((number * RECIPIENTS_PER_BLOCK) as u32);
        let (Some(start), Some(end)) = (start, end(number)) else { return Err(missing) };
        decode(self.blocks.get(start..end).ok_or(missing)?)
    }

    pub fn get(&self, number: u32) -> Result<Recipient, RecordError> {
        let index = number as usize;
        let mut block = self.block(index / RECIPIENTS_PER_BLOCK)?;
        let at = index % RECIPIENTS_PER_BLOCK;
        if at < block.len() { Ok(block.swap_remove(at)) } else { Err(RecordError::NoRecipient(number)) }
    }

    /// All of them, block by block.
    pub fn all(&self) -> Result<Vec<Recipient>, RecordError> {
        let mut all = Vec::with_capacity(self.count as usize);
        for number in 0..self.offsets.len() / 4 {
            all.extend(self.block(number)?);
        }
        Ok(all)
    }
}

/// What a record came from, when it is a successor of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[repr(u8)]
#[serde(into = "u8", try_from = "u8")]
pub enum Successor {
    #[default]
    None = 0,
    Bounce = 1,
    DelayNotice = 2,
    Forward = 3,
    Expansion = 4,
    Transfer = 5,
}

as_number!(Successor, "kind of successor", [None, Bounce, DelayNotice, Forward, Expansion, Transfer]);

/// The head of a content record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContentHead {
    pub version: u8,
    pub id: MessageId,
    pub received: Millis,
    pub session: SessionFacts,
    /// Envelope sender; empty for the null path.
    pub sender: String,
    pub body_type: BodyType,
    pub smtputf8: bool,
    pub ret: DsnReturn,
    pub envid: String,
    pub tenant: String,
    pub stream: String,
    pub campaign: String,
    pub class: Class,
    /// TLS demand of the message: 0 none of its own, 1 encrypt, 2 verify, 3 REQUIRETLS (verify, and the next host must
    /// promise to do the same: RFC 8689 4.2.1).
    pub tls_demand: u8,
    /// The sender's own deadline (DELIVERBY, TTL); `None`: the policy's.
    pub deadline: Option<Millis>,
    pub idempotency: Option<ByteBuf>,
    pub policy_generation: u64,
    /// Results of the stage *authenticate* ([`crate::Verdicts`]); empty: the sender was not judged.
    pub authentication: ByteBuf,
    pub body: BodyRef,
    pub variants: Vec<Variant>,
    pub recipients: Recipients,
    pub successor: Successor,
    /// Entries of other messages that this record's commit settles.
    pub closes: Vec<(MessageId, u32)>,
    /// DELIVERBY N: who is still undelivered then gets a notice, and goes on (RFC 2852 4).
    #[serde(default)]
    pub notify_by: Option<Millis>,
    /// DELIVERBY with T: passed on, and a relay reports that it did (RFC 2852 4).
    #[serde(default)]
    pub by_trace: bool,
    /// MT-PRIORITY as it came: what the next host is told (RFC 6710 4); `None`: the class as a number.
    #[serde(default)]
    pub priority: Option<i8>,
}

impl ContentHead {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.encode_into(&mut out);
        out
    }

    /// Appends the head to a record that is being built.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        encode_into(out, self);
    }

    /// Reads a head; the version is looked at before anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        // fixarray or array16 header, then the version.
        let version = match bytes {
            [0x90..=0x9f, version, ..] | [0xdc, _, _, version, ..] => *version,
            _ => return Err(RecordError::Format("no array in front".into())),
        };
        if version > CONTENT_VERSION {
            return Err(RecordError::Version(version));
        }
        decode(bytes)
    }
}

/// Index (from 1) of a string in its frame's block; 0 for none.
pub type Text = u32;

/// A message was made durable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Received {
    pub tag: u8,
    pub at: Millis,
    pub id: MessageId,
    pub size: u64,
    pub class: Class,
    pub sender: Text,
    /// The number of the first one listed: a message with many recipients is told in several facts.
    pub first: u32,
    /// In the order of their numbers.
    pub recipients: Vec<Text>,
    pub peer: Text,
    pub tenant: Text,
    pub campaign: Text,
    pub successor: Successor,
    /// Written by a recovery: the content was found without a fact.
    pub recovered: bool,
    /// What its sender was found to be: `spf=pass dmarc=fail action=tag`.
    #[serde(default)]
    pub verdicts: Text,
    /// The session that brought it, as its refusals and the log name it (in hexadecimal there); 0: none did.
    #[serde(default)]
    pub session: u64,
}

/// One entry was settled by an attempt (or without one: expired, cancelled, released). Absolute results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub tag: u8,
    pub at: Millis,
    pub id: MessageId,
    pub number: u32,
    pub state: EntryState,
    /// Due (waiting) or hold deadline (held; 0 for none).
    pub due: Millis,
    pub expires: Millis,
    pub attempts: u16,
    pub step: u8,
    pub outcome: Outcome,
    pub scope: Scope,
    pub reason: Reason,
    pub rule: u16,
    /// The peer's reply code, 0 for none.
    pub code: u16,
    /// Its enhanced code, class * 1,000,000 + subject * 1,000 + detail; 0 for none.
    pub status: u32,
    /// The peer's words.
    pub text: Text,
    /// The host spoken to, `name[address]:port`.
    pub host: Text,
    pub domain: Text,
    /// The route tag that a reroute gave; 0: as it was (the empty tag stands in the block like any other).
    pub tag_given: Text,
    /// From the lease to this, in milliseconds.
    pub took: u32,
    /// This may be, or lead to, a repeat.
    pub may_repeat: bool,
    /// Version, cipher suite and how the peer's certificate was judged; 0 for a connection in the clear.
    #[serde(default)]
    pub tls: Text,
}

impl Settled {
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        let (class, rest) = (self.status / 1_000_000, self.status % 1_000_000);
        (class != 0).then_some(EnhancedCode(class as u8, (rest / 1000) as u16, (rest % 1000) as u16))
    }

    /// How an enhanced code stands in a fact.
    pub fn status_number(code: Option<EnhancedCode>) -> u32 {
        code.map_or(0, |c| u32::from(c.0) * 1_000_000 + u32::from(c.1) * 1000 + u32::from(c.2))
    }
}

/// An attempt that settled no entry: the scope it speaks of sleeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slept {
    pub tag: u8,
    pub at: Millis,
    pub scope: Scope,
    /// Host, source or provider by its name; of a lane its site.
    pub object: Text,
    pub until: Millis,
    pub reason: Reason,
    pub rule: u16,
    pub code: u16,
    pub text: Text,
    /// The lane's port; 0 for what is no lane.
    #[serde(default)]
    pub port: u16,
    /// Failures one after the other: its back-off.
    #[serde(default)]
    pub failures: u8,
    /// The lane's key as JSON: what a replay puts to sleep again.
    #[serde(default)]
    pub lane: Text,
}

/// An operator's or program's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controlled {
    pub tag: u8,
    pub at: Millis,
    pub control: u64,
    /// hold, release, cancel, retry, flush, expire, reroute, suspend, resume, confirm-clock, lift.
    pub kind: Text,
    /// The predicate, JSON.
    pub predicate: Text,
    pub by: Text,
    pub why: Text,
    pub until: Millis,
    pub changed: u64,
}

/// Content of an open entry that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    pub tag: u8,
    pub at: Millis,
    pub id: MessageId,
    pub number: u32,
    pub why: Text,
}

/// What a follower claims of the content that it has not passed, weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[repr(u8)]
#[serde(into = "u8", try_from = "u8")]
pub enum Claim {
    #[default]
    None = 0,
    /// At the limit of its class the oldest content goes, which a `gap` fact says.
    BestEffort = 1,
    /// At the limit of its class new mail gets 452.
    Required = 2,
    /// The follower is forgotten.
    Gone = 3,
}

as_number!(Claim, "claim", [None, BestEffort, Required, Gone]);

impl Claim {
    pub fn name(self) -> &'static str {
        ["none", "best-effort", "required", "gone"][self as usize]
    }
}

/// A follower has read so far, and what it claims of the content behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    pub tag: u8,
    pub at: Millis,
    pub follower: Text,
    /// Of its cursor: epoch and LSN.
    pub epoch: u32,
    pub lsn: u64,
    pub claims: Claim,
}

/// Something of this range is missing: content, for the follower or pin that a limit of claims took it from; the facts
/// themselves, for everybody, where the journal is damaged (neither follower nor pin).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub tag: u8,
    pub at: Millis,
    pub follower: Text,
    pub from: u64,
    pub to: u64,
    /// The order's number, of a pin; 0 for what is none.
    #[serde(default)]
    pub pin: u64,
}

/// A message's content is kept by an order (legal hold, pin), whatever becomes of the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    pub tag: u8,
    pub at: Millis,
    pub id: MessageId,
    /// The order's number, by which it is lifted.
    pub control: u64,
    /// `Required`: a legal hold, `BestEffort`: a pin.
    pub claim: Claim,
}

/// What happened, one of the kinds. In MessagePack an array whose first element is the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    Received(Received),
    Settled(Settled),
    Slept(Slept),
    Controlled(Controlled),
    Lost(Lost),
    Followed(Followed),
    Gap(Gap),
    Claimed(Claimed),
}

impl Fact {
    pub const RECEIVED: u8 = 1;
    pub const SETTLED: u8 = 2;
    pub const SLEPT: u8 = 3;
    pub const CONTROLLED: u8 = 4;
    pub const LOST: u8 = 5;
    pub const FOLLOWED: u8 = 6;
    pub const GAP: u8 = 7;
    pub const CLAIMED: u8 = 8;

    pub fn tag(&self) -> u8 {
        match self {
            Self::Received(_) => Self::RECEIVED,
            Self::Settled(_) => Self::SETTLED,
            Self::Slept(_) => Self::SLEPT,
            Self::Controlled(_) => Self::CONTROLLED,
            Self::Lost(_) => Self::LOST,
            Self::Followed(_) => Self::FOLLOWED,
            Self::Gap(_) => Self::GAP,
            Self::Claimed(_) => Self::CLAIMED,
        }
    }

    pub fn at(&self) -> Millis {
        match self {
            Self::Received(fact) => fact.at,
            Self::Settled(fact) => fact.at,
            Self::Slept(fact) => fact.at,
            Self::Controlled(fact) => fact.at,
            Self::Lost(fact) => fact.at,
            Self::Followed(fact) => fact.at,
            Self::Gap(fact) => fact.at,
            Self::Claimed(fact) => fact.at,
        }
    }

    /// Visits each number of a string in the order of the fields: to move a fact to another block of strings.
    pub fn texts_mut(&mut self, visit: &mut dyn FnMut(&mut Text)) {
        match self {
            Self::Received(fact) => {
                visit(&mut fact.sender);
                fact.recipients.iter_mut().for_each(&mut *visit);
                [&mut fact.peer, &mut fact.tenant, &mut fact.campaign, &mut fact.verdicts].into_iter().for_each(visit);
            }
            Self::Settled(fact) => {
                let texts = [&mut fact.text, &mut fact.host, &mut fact.domain, &mut fact.tag_given, &mut fact.tls];
                texts.into_iter().for_each(visit);
            }
            Self::Slept(fact) => [&mut fact.object, &mut fact.text, &mut fact.lane].into_iter().for_each(visit),
            Self::Controlled(fact) => {
                let texts = [&mut fact.kind, &mut fact.predicate, &mut fact.by, &mut fact.why];
                texts.into_iter().for_each(visit);
            }
            Self::Lost(fact) => visit(&mut fact.why),
            Self::Followed(fact) => visit(&mut fact.follower),
            Self::Gap(fact) => visit(&mut fact.follower),
            Self::Claimed(_) => {}
        }
    }

    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Received(fact) => encode_into(out, fact),
            Self::Settled(fact) => encode_into(out, fact),
            Self::Slept(fact) => encode_into(out, fact),
            Self::Controlled(fact) => encode_into(out, fact),
            Self::Lost(fact) => encode_into(out, fact),
            Self::Followed(fact) => encode_into(out, fact),
            Self::Gap(fact) => encode_into(out, fact),
            Self::Claimed(fact) => encode_into(out, fact),
        }
    }

    /// Reads one fact; gives it with what stands behind it.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        let tag = match bytes {
            [0x90..=0x9f, tag, ..] | [0xdc, _, _, tag, ..] => *tag,
            _ => return Err(RecordError::Format("no array in front".into())),
        };
        let mut rest = bytes;
        let fact = match tag {
            Self::RECEIVED => Self::Received(decode_from(&mut rest)?),
            Self::SETTLED => Self::Settled(decode_from(&mut rest)?),
            Self::SLEPT => Self::Slept(decode_from(&mut rest)?),
            Self::CONTROLLED => Self::Controlled(decode_from(&mut rest)?),
            Self::LOST => Self::Lost(decode_from(&mut rest)?),
            Self::FOLLOWED => Self::Followed(decode_from(&mut rest)?),
            Self::GAP => Self::Gap(decode_from(&mut rest)?),
            Self::CLAIMED => Self::Claimed(decode_from(&mut rest)?),
            unknown => return Err(RecordError::Format(format!("unknown kind of fact {unknown}"))),
        };
        Ok((fact, rest))
    }
}

fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing into a Vec cannot fail, and no type here serialises in a way that MessagePack refuses.
    let written = rmp_serde::encode::write(out, value);
    debug_assert!(written.is_ok());
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    decode_from(&mut &bytes[..])
}

fn decode_from<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, RecordError> {
    rmp_serde::decode::from_read(bytes).map_err(|error| RecordError::Format(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(n: u32) -> Recipient {
        Recipient { address: format!("r{n}@example.org"), may_report: true, ..Recipient::default() }
    }

    #[test]
    fn head_reads_back() {
        let recipients: Vec<_> = (0..600).map(recipient).collect();
        let head = ContentHead {
            version: 1,
            id: MessageId(77),
            sender: "a@example.org".into(),
            recipients: Recipients::build(&recipients),
            closes: vec![(MessageId(1), 2)],
            ..ContentHead::default()
        };
        let read = ContentHead::decode(&head.encode()).unwrap();
        assert_eq!(read, head);
        assert_eq!(read.recipients.get(599).unwrap(), recipients[599]);
        assert_eq!(read.recipients.get(256).unwrap(), recipients[256]);
        assert_eq!(read.recipients.get(600), Err(RecordError::NoRecipient(600)));
        assert_eq!(read.recipients.all().unwrap(), recipients);
    }

    #[test]
    fn newer_head_is_refused() {
        let head = ContentHead { version: 9, ..ContentHead::default() };
        assert_eq!(ContentHead::decode(&head.encode()), Err(RecordError::Version(9)));
    }

    #[test]
    fn facts_read_back() {
        let fact = Fact::Lost(Lost { tag: Fact::LOST, at: 5, id: MessageId(3), number: 1, why: 2 });
        let mut bytes = Vec::new();
        fact.encode_into(&mut bytes);
        fact.encode_into(&mut bytes);
        let (first, rest) = Fact::decode(&bytes).unwrap();
        let (second, rest) = Fact::decode(rest).unwrap();
        assert_eq!((&first, &second, rest.len()), (&fact, &fact, 0));
        assert!(Fact::decode(b"\x91\x63").is_err());
    }
}
