//! What stands behind the state lock: the index, the names it numbers, and what is kept beside it.
//!
//! Only this room's procedures (commit, settle, routes, controls, …) change it, each within one hold of the lock.
//! It never touches the disk. Each change of an entry queues the fact that says so, in the order of the changes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use angarium_nouns::names::{NameId, Names};
use angarium_nouns::{Class, Lsn, MessageId, Millis};
use angarium_queue::{Closed, EntryRef, Index, Message, NodeKey, NodeRef};
use angarium_spool::Place;

use crate::brake::Brakes;
use crate::claims::Claims;
use crate::clock::Freeze;
use crate::facts::{Facts, KeptBody, Release};
use crate::lanes::Lanes;
use crate::late::Late;
use crate::ledger::LedgerPolicy;
use crate::remember::Remembered;
use crate::reports::Owed;
use crate::retention::Retention;
use crate::routes::Routes;
use crate::rules::Rules;
use crate::sleep::Asleep;
use crate::stats::Figures;
use crate::words::LastWords;

/// The tables of names, one for each kind that a node's key has.
#[derive(Debug, Default)]
pub(crate) struct NameTables {
    pub domains: Names,
    pub tags: Names,
    pub tenants: Names,
    pub campaigns: Names,
}

/// A node's key in words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeWords<'a> {
    pub domain: &'a str,
    pub tag: &'a str,
    pub tenant: &'a str,
    pub campaign: &'a str,
    pub tls: u8,
    pub class: Class,
}

#[derive(Default)]
pub(crate) struct State {
    pub index: Index,
    pub names: NameTables,
    pub policy: Arc<LedgerPolicy>,
    pub routes: Routes,
    pub lanes: Lanes,
    pub asleep: Asleep,
    pub brakes: Brakes,
    pub remembered: Remembered,
    pub owed: Owed,
    pub late: Late,
    pub words: LastWords,
    pub facts: Facts,
    pub rules: Rules,
    pub claims: Claims,
    /// What legal holds that stand look for in what arrives, by their numbers.
    pub standing: BTreeMap<u64, Vec<angarium_queue::Predicate>>,
    /// Stretches of the journal that are known to be damaged, and whether a fact says so.
    pub torn: BTreeMap<(u64, u64), bool>,
    pub torn_untold: bool,
    /// Body files of messages that have one.
    pub bodies: HashMap<MessageId, KeptBody>,
    /// In flight when a cancel met them: closed when they come back.
    pub cancelling: HashSet<EntryRef>,
    /// Keys of nodes that went while a checkpoint is written: their numbers must keep their meaning until its end.
    pub quarantine: Option<Vec<NodeKey>>,
    pub freeze: Freeze,
    pub retention: Retention,
    pub figures: Figures,
    /// Everything up to here is in the index.
    pub content_applied: Lsn,
    pub copies_applied: Lsn,
    /// Work appeared: call the waker when the lock is free.
    pub wake: bool,
}

fn hold(names: &mut Names, text: &str) -> NameId {
    if text.is_empty() { NameId(0) } else { names.hold(text) }
}

impl NameTables {
    pub fn hold(&mut self, words: NodeWords<'_>) -> NodeKey {
        NodeKey {
            domain: hold(&mut self.domains, words.domain),
            tag: hold(&mut self.tags, words.tag),
            tenant: hold(&mut self.tenants, words.tenant),
            campaign: hold(&mut self.campaigns, words.campaign),
            tls: words.tls,
            class: words.class,
        }
    }

    pub fn release(&mut self, key: NodeKey) {
        self.domains.release(key.domain);
        self.tags.release(key.tag);
        self.tenants.release(key.tenant);
        self.campaigns.release(key.campaign);
    }
}

impl State {
    /// The node of these words; a new one joins its route.
    pub fn node(&mut self, words: NodeWords<'_>) -> NodeRef {
        let key = self.names.hold(words);
        let (node, new) = self.index.node(key);
        if new {
            self.join_route(node, key);
        } else {
            self.release_names(key);
        }
        node
    }

    pub fn release_names(&mut self, key: NodeKey) {
        match &mut self.quarantine {
            Some(kept) => kept.push(key),
            None => self.names.release(key),
        }
    }

    pub fn is_overclaimed(&self) -> bool {
        self.claims.bytes().1 >= self.policy.required_bytes || self.claims.is_full()
    }

    /// Names of nodes that went are given back, and their routes forget them.
    pub fn tidy(&mut self) {
        for (node, key) in self.index.freed_nodes() {
            self.leave_route(node, key);
            self.release_names(key);
        }
    }

    /// Closes an entry. The fact that says so must be queued next: with it the content of a message that is through
    /// is released.
    pub fn close(&mut self, entry: EntryRef) {
        if let Some(release) = self.close_now(entry) {
            self.facts.release(release);
        }
    }

    /// Closes an entry; gives what its message releases, if that was the last one.
    pub fn close_now(&mut self, entry: EntryRef) -> Option<Release> {
        self.words.forget(entry);
        self.cancelling.remove(&entry);
        let Ok(Closed { message: Some(message) }) = self.index.close(entry) else { return None };
        self.owed.forget(message.id);
        self.late.forget(message.id);
        let (id, place) = (message.id, Kept::of(&message).place);
        Some(Release { id, place, body: self.bodies.remove(&id), wanted_by_nobody: false })
    }

    /// Where a message's content lies while anybody may read it: open, on its way out, or claimed.
    pub fn place_of(&self, id: MessageId) -> Option<Place> {
        let open = self.index.message(id).map(|message| Kept::of(&message).place);
        open.or_else(|| self.claims.place(id)).or_else(|| self.facts.place_of(id))
    }
}

/// Whether failures of a message's recipients are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reports {
    None = 0,
    All = 1,
    /// Recipients differ: the record says which.
    Mixed = 2,
}

/// A message's place with three facts about it, packed into the index's opaque place: a bit of a segment number
/// (segments have 64 KiB at least, so 2^30 of them are 64 TiB), two of a length (segments have 1 GiB at most) and two
/// of an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub id: MessageId,
    pub place: Place,
    pub reports: Reports,
    /// The sender set the deadline (DELIVERBY, TTL): it counts without an attempt.
    pub strict: bool,
    pub notice: Notice,
}

/// Whether the sender of a message hears that it is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Notice {
    #[default]
    None = 0,
    Asked = 1,
    Told = 2,
}

const STRICT: u32 = 1 << 30;
/// Records begin at multiples of 64.
const NOTICE: u32 = 3;
const REPORTS_SHIFT: u32 = 30;

impl Kept {
    pub fn of(message: &Message) -> Self {
        let packed = message.place;
        let reports = match packed.length >> REPORTS_SHIFT {
            0 => Reports::None,
            1 => Reports::All,
            _ => Reports::Mixed,
        };
        let notice = match packed.offset & NOTICE {
            0 => Notice::None,
            1 => Notice::Asked,
            _ => Notice::Told,
        };
        let place = Place {
            segment: packed.segment & !STRICT,
            offset: packed.offset & !NOTICE,
            length: packed.length & ((1 << REPORTS_SHIFT) - 1),
        };
        Self { id: message.id, place, reports, strict: packed.segment & STRICT != 0, notice }
    }

    pub fn pack(&self) -> angarium_queue::Place {
        angarium_queue::Place {
            segment: self.place.segment | if self.strict { STRICT } else { 0 },
            offset: self.place.offset | self.notice as u32,
            length: self.place.length | (self.reports as u32) << REPORTS_SHIFT,
        }
    }
}

/// When the message was received, by its id.
pub(crate) fn received(id: MessageId) -> Millis {
    id.millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_its_marks() {
        let (none, asked, told) = (Notice::None, Notice::Asked, Notice::Told);
        for reports in [Reports::None, Reports::All, Reports::Mixed] {
            for (strict, segment, notice) in [(false, 0x8000_0007, told), (true, 7, asked), (true, 1 << 28, none)] {
                let place = Place { segment, offset: 64, length: (1 << 30) - 1 };
                let kept = Kept { id: MessageId(5), place, reports, strict, notice };
                let message = Message { id: MessageId(5), place: kept.pack(), ..Message::default() };
                assert_eq!(Kept::of(&message), kept);
            }
        }
    }
}
