//! What happened: facts, each with its tag in front.

use serde::{Deserialize, Serialize};

use super::{EntryState, RecordError, Successor, decode_from, encode_into};
use crate::Millis;
use crate::envelope::{Class, UnknownWord, as_number};
use crate::id::MessageId;
use crate::outcome::{Outcome, Reason, Scope};
use crate::reply::EnhancedCode;

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
