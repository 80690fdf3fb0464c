//! What was promised: the head of a content record, with its recipients in blocks.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{RecordError, decode, encode_into};
use crate::Millis;
use crate::envelope::{BodyType, Class, DsnNotify, DsnReturn, UnknownWord, as_number};
use crate::id::MessageId;
use crate::outcome::Reason;

pub const CONTENT_VERSION: u8 = 1;
/// The TLS demand of a message that came with REQUIRETLS: [`ContentHead::tls_demand`].
pub const REQUIRE_TLS: u8 = 3;
/// Recipients of one block; a reader finds recipient N by decoding block N / 256 alone.
pub const RECIPIENTS_PER_BLOCK: usize = 256;

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
