//! What goes between the ledger and those who deliver: wanted routes and plans, lanes to run, leases, settlements.
//!
//! A lease is some recipients of one message that share a lane. Whoever took it answers each entry once, by
//! `settle` or `give_back`; an answer for an entry that is not leased any more changes nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use angarium_nouns::{Class, Judgement, MessageId, Millis, Reply, Scope};
use angarium_spool::Place;

use crate::route::{LaneKey, Plan};

/// A lane, with its generation: one that is gone is refused, never misread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LaneId(pub u64);

/// One entry, with its generation; good until it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryId(pub u64);

/// A (domain, route tag, TLS demand) that has no valid route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteWanted {
    pub key: u32,
    pub domain: String,
    pub tag: String,
    pub tls: u8,
    /// Entries that wait for it, and the most urgent class and greatest age among them.
    pub waiting: u32,
    pub class: Class,
    pub oldest: Millis,
}

/// A lane that has work and no valid plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneWanted {
    pub lane: LaneId,
    #[serde(flatten)]
    pub key: LaneKey,
    pub hosts: Vec<String>,
    pub waiting: u32,
    /// When the oldest of those whose turn is next was received.
    pub oldest: Millis,
}

/// A lane on which more connections are useful now. Each is counted as open until `connection_ended`.
#[derive(Debug, Clone)]
pub struct LaneRun {
    pub lane: LaneId,
    pub key: Arc<LaneKey>,
    pub connections: u32,
    /// How many of its idle connections have work now.
    pub wake: u32,
    /// One probe wakes a lane that slept: a single connection with a single message.
    pub probe: bool,
    /// Where the next entry's last attempt ended without a reply behind the dot, `name[address]:port`: that host first,
    /// which knows whether it has the message.
    pub same_host: Option<Arc<str>>,
    pub plan: Arc<Plan>,
}

/// Recipients of one message, leased to one delivery.
#[derive(Debug, Clone)]
pub struct Lease {
    pub lane: LaneId,
    pub id: MessageId,
    pub class: Class,
    pub received: Millis,
    pub entries: Vec<LeasedEntry>,
    pub(crate) place: Place,
}

impl Lease {
    /// Bytes of the record, which are what a load holds in memory (a body with a file of its own stays there).
    pub fn record_len(&self) -> u32 {
        self.place.length
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasedEntry {
    pub entry: EntryId,
    /// Recipient number in the record.
    pub number: u32,
    /// Attempts before this one.
    pub attempts: u16,
}

/// What became of one leased entry. Scopes wider than a transaction return the entry with no attempt counted.
#[derive(Debug, Clone, Copy)]
pub struct Settlement<'a> {
    pub id: MessageId,
    pub entry: EntryId,
    pub number: u32,
    pub judgement: Judgement,
    /// The peer's words, if it said any.
    pub reply: Option<&'a Reply>,
    /// The host spoken to, `name[address]:port`.
    pub host: &'a str,
    /// The connection's TLS in words; empty for none.
    pub tls: &'a str,
    /// A report of the success is ours to write (RFC 3461 6.2): it was asked for, and nobody behind will.
    pub owes_report: bool,
    pub may_repeat: bool,
    /// Milliseconds from the lease to this.
    pub took: u32,
}

/// A failure of something wider than a transaction: it sleeps on its own back-off.
#[derive(Debug, Clone, Copy)]
pub struct Sleep<'a> {
    pub scope: Scope,
    /// The lane on which it was seen.
    pub lane: LaneId,
    /// Host, source, sender or provider by its name; empty for the lane itself.
    pub object: &'a str,
    pub judgement: Judgement,
    pub reply: Option<&'a Reply>,
}
