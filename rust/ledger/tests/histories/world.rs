//! One history: a ledger on a simulated disk, random work, crashes, and the oracle that watches.

use std::collections::BTreeMap;

use angarium_ledger::{
    Body, Control, ControlKind, Cursor, Incoming, LaneId, Lease, Ledger, Predicate, Settlement, Sleep,
};
use angarium_nouns::record::{Claim, ContentHead, EntryState, Recipient};
use angarium_nouns::{Judgement, MessageId, Millis, Outcome, Reply, Scope};
use angarium_spool::SimDisk;
use angarium_spool::sim::{Chance, Failure};

use crate::archive::Archive;
use crate::common::{self, START};
use crate::oracle::{Entry, Fate, Oracle, Promise};

const HOST: &str = "mx.example";
const DOMAINS: [&str; 3] = ["x.example", "y.example", "z.example"];
/// Attempts to open while the power fails in the middle of a recovery.
const OPENINGS: usize = 100;

/// What the peer says at this attempt: listings show the last one.
fn said(attempt: u16) -> String {
    format!("greylisted, attempt {attempt}")
}

/// What histories went through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub crashes: u64,
    pub messages: u64,
    pub bounces: u64,
    pub checkpoints: u64,
    pub copied: u64,
    pub recycled: u64,
    /// Contents read by the archive, and facts whose content it lost at the limit.
    pub read: u64,
    pub skipped: u64,
}

impl Seen {
    pub fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.messages += other.messages;
        self.bounces += other.bounces;
        self.checkpoints += other.checkpoints;
        self.copied += other.copied;
        self.recycled += other.recycled;
        self.read += other.read;
        self.skipped += other.skipped;
    }
}

pub struct World {
    pub disk: SimDisk,
    pub chance: Chance,
    pub oracle: Oracle,
    pub now: Millis,
    ledger: Option<Ledger>,
    /// What a follower has been shown.
    shown: Vec<(u64, String)>,
    cursor: Cursor,
    pub context: String,
    pub seen: Seen,
    pub archive: Archive,
    /// Until when a host sleeps: as its last durable fact said, and as the last one of all says.
    naps: (Millis, Millis),
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            chance: Chance::new(seed ^ 0x5eed),
            oracle: Oracle::default(),
            now: START,
            ledger: None,
            shown: Vec::new(),
            cursor: Cursor::default(),
            context: format!("seed {seed}"),
            seen: Seen::default(),
            archive: Archive::new(seed),
            naps: (0, 0),
        }
    }

    pub fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().expect("open")
    }

    /// Opens; the power may fail while it does.
    pub fn open(&mut self, unsteady: bool) {
        for attempt in 0..OPENINGS {
            if unsteady && attempt < 3 && self.chance.percent(30) {
                let calls = 1 + self.chance.below(60);
                self.disk.crash_after(calls);
            }
            match common::open(&self.disk, self.now) {
                Ok((ledger, report)) if !self.disk.has_crashed() => {
                    assert!(report.damage.is_empty(), "{}: {report:?}", self.context);
                    assert_eq!(report.lost, 0, "{}", self.context);
                    self.ledger = Some(ledger);
                    return;
                }
                Err(error) if !self.disk.has_crashed() => panic!("{}: does not open: {error}", self.context),
                _ => self.disk.restart(),
            }
        }
        panic!("{}: never opens", self.context);
    }

    /// The power fails (or the process dies) and all comes back as promised.
    pub fn crash(&mut self) {
        self.look_back();
        drop(self.ledger.take());
        self.disk.calm();
        if self.chance.percent(25) && !self.disk.has_crashed() {
            self.disk.kill();
        } else {
            self.disk.restart();
        }
        self.now += self.chance.below(5_000);
        self.open(true);
        self.disk.crash_after(u64::MAX / 2);
        let found = self.found();
        self.oracle.compare(&found, &self.context);
        self.compare_journal();
        self.compare_claims();
        self.compare_naps();
    }

    /// A host that failed: its sleep is recorded once.
    fn host_fails(&mut self) {
        let judgement = Judgement { scope: Scope::Host, ..common::judgement(Outcome::Deferred) };
        let failure = Sleep { scope: Scope::Host, lane: LaneId(0), object: HOST, judgement, reply: None };
        self.naps.1 = self.ledger().sleep(&failure, self.now);
    }

    /// What slept when its fact was durable sleeps on.
    fn compare_naps(&mut self) {
        let until = self.ledger().asleep(Scope::Host, HOST, self.now).unwrap_or(0);
        let right = [self.naps.0, self.naps.1].into_iter().any(|nap| nap == until || nap <= self.now && until == 0);
        assert!(right, "{}: the host sleeps until {until}, told were {:?} at {}", self.context, self.naps, self.now);
        self.naps = (until, until);
    }

    fn look_back(&mut self) {
        let stats = self.ledger().stats(self.now);
        self.seen.add(Seen {
            crashes: 1,
            messages: stats.received,
            bounces: stats.bounces,
            checkpoints: stats.checkpoints,
            copied: stats.copied,
            recycled: stats.recycled,
            ..Seen::default()
        });
    }

    /// Every open entry with its state.
    pub fn found(&self) -> BTreeMap<Entry, Fate> {
        let all = Predicate { all: true, ..Predicate::default() };
        let mut found = BTreeMap::new();
        let mut after = Vec::new();
        loop {
            let page = self.ledger().find(&all, &after, 100).expect("listed");
            for entry in page.entries {
                let id: MessageId = entry.message.parse().expect("an id");
                let fate = match entry.recipient.state {
                    "held" => Fate::Held,
                    "owing" => Fate::Owing,
                    "waiting" => {
                        let attempts = entry.recipient.attempts;
                        let words = if attempts == 0 { String::new() } else { said(attempts) };
                        assert_eq!(entry.recipient.text, words, "{}: last words about {id}", self.context);
                        Fate::Waiting { attempts }
                    }
                    other => panic!("{}: {id} is {other} after a start", self.context),
                };
                found.insert((id, entry.recipient.number), fate);
            }
            after = page.after;
            if after.is_empty() {
                return found;
            }
        }
    }

    /// One random step. False: the power failed or a log is faulty, crash now.
    pub fn step(&mut self) -> bool {
        match self.chance.below(100) {
            0..25 => self.submit(),
            25..50 => self.deliver(),
            50..64 => self.flush(),
            64 => self.host_fails(),
            65..75 => self.order(),
            75..80 => self.report(),
            80..91 => self.upkeep(),
            91..95 => self.pass_time(),
            95..97 => self.fail_soon(),
            97 => self.keep_content(),
            98 => self.read_content(),
            _ => self.follow(),
        }
        let stats = self.ledger().stats(self.now);
        !self.disk.has_crashed() && !stats.content_fault && !stats.journal_fault
    }

    fn pass_time(&mut self) {
        self.now += [10, 60_000, 301_000, 301_000, 3_600_000][self.chance.below(5) as usize];
    }

    fn fail_soon(&mut self) {
        let failure = [Failure::Io, Failure::ShortWrite, Failure::NoSpace][self.chance.below(3) as usize];
        let calls = 1 + self.chance.below(40);
        self.disk.fail_after(calls, failure);
    }

    fn submit(&mut self) {
        let count = 1 + self.chance.below(4);
        let group: Vec<Incoming> = (0..count).filter_map(|_| self.message()).collect();
        if self.ledger().commit(&group, self.now).is_ok() {
            for incoming in &group {
                self.oracle.acknowledge(incoming.head().id);
            }
        }
    }

    fn message(&mut self) -> Option<Incoming> {
        let id = self.ledger().ids().reserve(self.now);
        let held = self.chance.percent(10);
        let recipients: Vec<Recipient> = (0..=self.chance.below(3))
            .map(|number| Recipient {
                address: format!("r{number}@{}", DOMAINS[self.chance.below(3) as usize]),
                may_report: true,
                state: if held { EntryState::Held } else { EntryState::Waiting },
                ..Recipient::default()
            })
            .collect();
        let starts = if held { Fate::Held } else { Fate::Waiting { attempts: 0 } };
        let promise = Promise { recipients: recipients.len() as u32, acknowledged: false, starts, closes: Vec::new() };
        let mut text = format!("X-Id: {id}\r\n\r\n");
        text.extend(std::iter::repeat_n('x', self.chance.below(9000) as usize));
        let body = if self.chance.percent(10) { self.body_file(id, &text)? } else { Body::Inline(text.into_bytes()) };
        let sender = "sender@origin.example".to_owned();
        let head = ContentHead { id, received: self.now, sender, ..ContentHead::default() };
        self.oracle.offer(id, promise);
        Some(Incoming::prepare(head, &recipients, body).expect("prepared"))
    }

    fn body_file(&self, id: MessageId, text: &str) -> Option<Body> {
        let mut writer = self.ledger().new_body(id).ok()?;
        writer.write(text.as_bytes()).ok()?;
        writer.finish().ok().map(Body::File)
    }

    fn deliver(&mut self) {
        let most = 1 + self.chance.below(6) as usize;
        for lease in common::take(self.ledger(), self.now, most) {
            self.attempt(&lease);
        }
    }

    fn attempt(&mut self, lease: &Lease) {
        for leased in &lease.entries {
            let fate = self.oracle.fate((lease.id, leased.number));
            let right = fate == Some(Fate::Waiting { attempts: leased.attempts });
            assert!(right || fate.is_none(), "{}: {}.{} leased, is {fate:?}", self.context, lease.id, leased.number);
        }
        match self.ledger().load(lease, self.now) {
            Ok(content) => {
                assert_eq!(content.head.id, lease.id, "{}", self.context);
                if content.head.sender.is_empty() {
                    assert!(!content.head.closes.is_empty(), "{}", self.context);
                }
            }
            Err(error) if self.disk.has_crashed() => drop(error),
            Err(error) => {
                let unreadable = matches!(error, angarium_ledger::LoadError::Unreadable(_));
                assert!(unreadable, "{}: {} {error}", self.context, lease.id);
            }
        }
        let kind = self.chance.below(10);
        if kind == 0 {
            return self.ledger().give_back(lease, &lease.entries, self.now);
        }
        for leased in &lease.entries {
            let outcome = match self.chance.below(10) {
                0..6 => Outcome::Delivered,
                6..9 => Outcome::Deferred,
                _ => Outcome::Failed,
            };
            let reply = match outcome {
                Outcome::Deferred => Reply { text: said(leased.attempts + 1).into(), ..common::reply(outcome) },
                other => common::reply(other),
            };
            let settlement = Settlement {
                id: lease.id,
                entry: leased.entry,
                number: leased.number,
                judgement: common::judgement(outcome),
                reply: Some(&reply),
                host: "relay.example[192.0.2.1]:25",
                tls: "",
                owes_report: false,
                may_repeat: false,
                took: 1,
            };
            assert_eq!(self.ledger().settle(&[settlement], self.now), [true], "{}", self.context);
            self.settled((lease.id, leased.number), outcome);
        }
    }

    /// What the oracle knows after an answer: a report is owed unless the message is one itself.
    fn settled(&mut self, entry: Entry, outcome: Outcome) {
        let report = !self.oracle.promises.get(&entry.0).is_none_or(|promise| promise.closes.is_empty());
        let attempts = match self.oracle.fate(entry) {
            Some(Fate::Waiting { attempts }) => attempts,
            _ => 0,
        };
        match outcome {
            Outcome::Delivered => self.oracle.deliver(entry),
            Outcome::Deferred => self.oracle.change(entry, Fate::Waiting { attempts: attempts + 1 }),
            Outcome::Failed => {
                self.oracle.ended.insert(entry);
                self.oracle.change(entry, if report { Fate::Closed } else { Fate::Owing });
            }
        }
    }

    pub fn flush(&mut self) {
        if self.ledger().flush_journal(self.now).is_ok() {
            self.oracle.flushed();
            self.claims_are_durable();
            self.naps.0 = self.naps.1;
        }
    }

    /// Orders about single entries: hold, release, cancel.
    fn order(&mut self) {
        let entries: Vec<(Entry, Fate)> = self.found_now().into_iter().collect();
        if entries.is_empty() {
            return;
        }
        let ((id, number), fate) = entries[self.chance.below(entries.len() as u64) as usize];
        let (kind, then) = match (self.chance.below(3), fate) {
            (0, Fate::Waiting { .. }) => (ControlKind::Hold, Fate::Held),
            (1, Fate::Held) => (ControlKind::Release, self.waits_again((id, number))),
            (2, Fate::Waiting { .. } | Fate::Held) => (ControlKind::Cancel, Fate::Closed),
            _ => return,
        };
        let predicate = Predicate { ids: vec![format!("{id}.{number}")], ..Predicate::default() };
        let control =
            Control { kind, predicate, by: "oracle".into(), why: String::new(), until: None, rule: 0, tag: None };
        let done = self.ledger().control(&control, self.now).expect("obeyed");
        assert_eq!((done.changed, done.too_late), (1, 0), "{}: {control:?} {fate:?}", self.context);
        if kind == ControlKind::Cancel {
            self.oracle.ended.insert((id, number));
        }
        self.oracle.change((id, number), then);
        if self.chance.percent(70) {
            self.flush();
        }
    }

    fn waits_again(&self, entry: Entry) -> Fate {
        let view = self.ledger().message(entry.0).ok();
        let attempts = view.and_then(|view| view.recipients.get(entry.1 as usize).map(|one| one.attempts));
        Fate::Waiting { attempts: attempts.unwrap_or(0) }
    }

    fn found_now(&self) -> BTreeMap<Entry, Fate> {
        self.found()
    }

    fn report(&mut self) {
        self.now += 1;
        let reports = self.ledger().reports_due(self.now, 10);
        for report in &reports {
            let starts = Fate::Waiting { attempts: 0 };
            let closes = report.head().closes.clone();
            self.oracle.offer(report.head().id, Promise { recipients: 1, acknowledged: false, starts, closes });
        }
        if self.ledger().commit(&reports, self.now).is_ok() {
            for report in &reports {
                self.oracle.acknowledge(report.head().id);
            }
        }
    }

    pub fn upkeep(&mut self) {
        for _ in 0..=self.chance.below(30) {
            self.now += self.chance.below(200);
            if !self.ledger().maintain(self.now) {
                break;
            }
            if self.chance.percent(50) {
                self.flush();
            }
        }
    }

    /// A follower reads on; what it is shown must stay.
    fn follow(&mut self) {
        let Ok(page) = self.ledger().read_journal(self.cursor, 0, 50) else { return };
        if page.gap {
            // A claim that a crash forgot: what was shown is retired.
            self.shown.clear();
        }
        self.cursor = page.next;
        self.shown
            .extend(page.records.iter().map(|record| (record.lsn, format!("{:?}{:?}", record.fact, record.strings))));
        let claim = if self.chance.percent(50) { Claim::Required } else { Claim::BestEffort };
        self.ledger().follow("oracle", self.cursor, claim, self.now).expect("followed");
    }

    /// All that was shown and is not retired is still there, and in the same order.
    fn compare_journal(&mut self) {
        let mut cursor = Cursor::default();
        let mut records = Vec::new();
        loop {
            let page = self.ledger().read_journal(cursor, 0, 1000).expect("read");
            records.extend(
                page.records.iter().map(|record| (record.lsn, format!("{:?}{:?}", record.fact, record.strings))),
            );
            cursor = page.next;
            if !page.more {
                break;
            }
        }
        let Some(oldest) = records.first().map(|(lsn, _)| *lsn) else {
            assert!(self.shown.is_empty(), "{}: the journal is gone", self.context);
            return;
        };
        let shown = self.shown.iter().filter(|(lsn, _)| *lsn >= oldest);
        let differs = shown.zip(&records).find(|(shown, there)| *shown != *there);
        assert!(differs.is_none(), "{}: shown and changed: {differs:?}", self.context);
        let last = self.shown.last().map_or(0, |(lsn, _)| *lsn);
        let there = records.last().map_or(0, |(lsn, _)| *lsn);
        assert!(there >= last, "{}: shown up to {last}, there is {there}", self.context);
    }

    /// A clean stop and start.
    pub fn restart(&mut self) {
        let closed = self.ledger().close(self.now).is_ok();
        if closed {
            self.oracle.flushed();
            self.naps.0 = self.naps.1;
        }
        self.crash();
    }

    /// Calm weather until nothing waits: everything promised comes to its end.
    pub fn drain(&mut self) {
        self.disk.calm();
        self.disk.crash_after(u64::MAX / 2);
        for _ in 0..10_000 {
            let held = Predicate { state: Some("held".into()), ..Predicate::default() };
            let kind = ControlKind::Release;
            let control = Control {
                kind,
                predicate: held,
                by: String::new(),
                why: String::new(),
                until: None,
                rule: 0,
                tag: None,
            };
            self.ledger().control(&control, self.now).expect("released");
            for lease in common::take(self.ledger(), self.now, 1000) {
                self.ledger()
                    .load(&lease, self.now)
                    .unwrap_or_else(|error| panic!("{}: {} {error}", self.context, lease.id));
                let settled = common::settle(self.ledger(), &lease, Outcome::Delivered, self.now);
                assert!(settled.iter().all(|settled| *settled), "{}", self.context);
                lease.entries.iter().for_each(|leased| self.oracle.deliver((lease.id, leased.number)));
            }
            self.report();
            self.ledger().flush_journal(self.now).unwrap_or_else(|error| panic!("{}: {error}", self.context));
            self.ledger().maintain(self.now);
            if self.found().is_empty() {
                return;
            }
            self.now += 600_000;
        }
        panic!("{}: it never ends", self.context);
    }
}
