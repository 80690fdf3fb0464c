//! Claims in histories: a follower that reads content behind the facts, and legal holds.
//!
//! Once its claim is durable the follower must find the content of every message whose facts it has not passed,
//! whatever crashed, except what the limit of best effort took from it. What a legal hold keeps is there until it is
//! lifted.

use angarium_ledger::{Control, ControlKind, Cursor, JournalRecord, LoadError, Predicate};
use angarium_nouns::MessageId;
use angarium_nouns::record::{Claim, Fact};

use crate::world::World;

const NAME: &str = "archive";

pub struct Archive {
    claim: Claim,
    /// How far it has told that it has read.
    cursor: Cursor,
    told: bool,
    /// Its claim is durable for what was closed behind this.
    from: Option<u64>,
    /// Legal holds: (order, message), and whether the order is durable.
    holds: Vec<(u64, MessageId, bool)>,
}

impl Archive {
    pub fn new(seed: u64) -> Self {
        let claim = if seed.is_multiple_of(2) { Claim::Required } else { Claim::BestEffort };
        Self { claim, cursor: Cursor::default(), told: false, from: None, holds: Vec::new() }
    }
}

/// The message that a fact speaks of.
fn message_of(record: &JournalRecord) -> Option<MessageId> {
    match &record.fact {
        Fact::Received(fact) => Some(fact.id),
        Fact::Settled(fact) => Some(fact.id),
        _ => None,
    }
}

impl World {
    /// The archive reads on: facts, and the content that they speak of.
    pub fn read_content(&mut self) {
        let limit = 1 + self.chance.below(60) as usize;
        let Ok(page) = self.ledger().read_journal(self.archive.cursor, 0, limit) else { return };
        let views = self.ledger().followers();
        let skipped = views.iter().find(|view| view.name == NAME).map_or(0, |view| view.skipped);
        for record in &page.records {
            let Some(id) = message_of(record) else { continue };
            if self.archive.from.is_none_or(|from| record.lsn <= from) {
                continue;
            }
            if record.lsn <= skipped {
                self.seen.skipped += 1;
                continue;
            }
            self.must_be_there(id, &format!("of the fact at {}, read from {:?}", record.lsn, self.archive.cursor));
            self.seen.read += 1;
        }
        if self.ledger().follow(NAME, page.next, self.archive.claim, self.now).is_ok() {
            (self.archive.cursor, self.archive.told) = (page.next, true);
        }
    }

    fn must_be_there(&self, id: MessageId, what: &str) {
        match self.ledger().content(id) {
            Ok(content) => assert_eq!(content.head.id, id, "{}", self.context),
            Err(LoadError::Unreadable(_)) => {}
            Err(_) if self.disk.has_crashed() => {}
            Err(error) => panic!("{}: the content of {id}, {what}: {error}", self.context),
        }
    }

    pub fn claims_are_durable(&mut self) {
        if self.archive.told && self.archive.from.is_none() {
            self.archive.from = Some(self.ledger().journal_end().lsn);
        }
        self.archive.holds.iter_mut().for_each(|hold| hold.2 = true);
    }

    /// A legal hold begins, or one is lifted.
    pub fn keep_content(&mut self) {
        if !self.archive.holds.is_empty() && self.chance.percent(30) {
            let at = self.chance.below(self.archive.holds.len() as u64) as usize;
            let (rule, ..) = self.archive.holds.swap_remove(at);
            self.lift_hold(rule);
            return;
        }
        let ids: Vec<MessageId> = self.found().into_keys().map(|(id, _)| id).collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.chance.below(ids.len() as u64) as usize];
        let control = order(ControlKind::LegalHold, vec![id.to_string()], 0);
        let done = self.ledger().control(&control, self.now).expect("held");
        assert_eq!(done.changed, 1, "{}: {id}", self.context);
        self.archive.holds.push((done.rule, id, false));
    }

    fn lift_hold(&mut self, rule: u64) {
        // One whose order was not durable may be gone after a crash.
        let _ = self.ledger().control(&order(ControlKind::Lift, Vec::new(), rule), self.now);
    }

    /// After a crash.
    pub fn compare_claims(&mut self) {
        let end = self.ledger().journal_end().lsn;
        let view = self.ledger().followers().into_iter().find(|view| view.name == NAME);
        if let Some(view) = view {
            self.archive.cursor = view.cursor;
            self.archive.from = self.archive.from.or(Some(end));
            self.archive.told = true;
        } else {
            assert!(self.archive.from.is_none(), "{}: the archive is forgotten", self.context);
            (self.archive.cursor, self.archive.told) = (Cursor::default(), false);
        }
        self.archive.holds.retain(|hold| hold.2);
        for (rule, id, _) in self.archive.holds.clone() {
            self.must_be_there(id, &format!("under legal hold {rule}"));
        }
    }

    /// At the end nothing is claimed any more, and nothing is kept.
    pub fn let_go(&mut self) {
        for (rule, id, _) in std::mem::take(&mut self.archive.holds) {
            self.must_be_there(id, &format!("under legal hold {rule}, at the end"));
            assert!(self.ledger().rules().iter().any(|view| view.number == rule), "{}: {rule}", self.context);
        }
        // Some may be here whose order, or whose end, a crash left undecided.
        for view in self.ledger().rules() {
            self.lift_hold(view.number);
        }
        let _ = self.ledger().follow(NAME, Cursor::default(), Claim::Gone, self.now);
        self.ledger().follow("oracle", Cursor::default(), Claim::None, self.now).expect("followed");
        self.ledger().flush_journal(self.now).expect("flushed");
        let stats = self.ledger().stats(self.now);
        assert_eq!((stats.best_effort_bytes, stats.required_bytes), (0, 0), "{}", self.context);
    }
}

fn order(kind: ControlKind, ids: Vec<String>, rule: u64) -> Control {
    let predicate = Predicate { ids, ..Predicate::default() };
    Control { kind, predicate, by: "archive".into(), why: String::new(), until: None, rule, tag: None }
}
