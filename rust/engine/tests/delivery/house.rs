//! A ledger on a real disk with delivery running over it, for the tests of delivery: submit, then read the journal.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use angarium_engine::clock::Clock;
use angarium_engine::delivery::{self, Delivery, DeliverySettings, Handover};
use angarium_engine::signing::Signing;
use angarium_ledger::{Body, Cursor, Incoming, Ledger, LedgerSettings, Plan, PlanHost, Protocol, Route, RouteAnswer};
use angarium_nouns::MessageId;
use angarium_nouns::record::{ContentHead, Fact, Recipient, Settled, Slept};
use angarium_spool::{RealDisk, SpoolSettings};
use parking_lot::Mutex;

static NUMBER: AtomicU32 = AtomicU32::new(0);
/// No case takes longer; a wait that reaches it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct House {
    pub ledger: Arc<Ledger>,
    pub delivery: Option<Delivery>,
    pub clock: Clock,
    pub folder: PathBuf,
    pub lent: Arc<Mutex<Vec<Handover>>>,
    plan: Plan,
    kind: Protocol,
    demand: u8,
    facts: Mutex<(Cursor, Vec<Fact>)>,
}

/// Time-outs that a test can wait for.
pub fn quick() -> DeliverySettings {
    DeliverySettings {
        hello: "us.example".into(),
        linger_ms: 50,
        connect_ms: 300,
        greeting_ms: 150,
        hello_ms: 150,
        mail_ms: 150,
        rcpt_ms: 150,
        data_ms: 150,
        block_ms: 300,
        dot_ms: 150,
        quit_ms: 50,
        handover_ms: 100,
        ..DeliverySettings::default()
    }
}

/// A plan for loopback peers, each a host of its own.
pub fn plan(ports: &[u16]) -> Plan {
    let host = |&port: &u16| PlanHost {
        name: format!("h{port}"),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        port,
        ..PlanHost::default()
    };
    Plan { hosts: ports.iter().map(host).collect(), connections: 1, ..Plan::default() }
}

impl House {
    pub fn open(kind: Protocol, plan: Plan, settings: DeliverySettings) -> Self {
        Self::open_with_demand(kind, plan, settings, 0)
    }

    /// The routes demand TLS: 1 encrypt, 2 verify.
    pub fn open_with_demand(kind: Protocol, plan: Plan, settings: DeliverySettings, demand: u8) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("delivery-house-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let clock = Clock::start();
        let spool = SpoolSettings { segment_size: 1 << 20, free_floor: 0, ..SpoolSettings::default() };
        let settings_of_ledger = LedgerSettings { node: 1, spool, ..LedgerSettings::default() };
        let disk = Arc::new(RealDisk::new(folder.join("spool")).unwrap());
        let (ledger, _) = Ledger::open(disk, settings_of_ledger, clock.now()).unwrap();
        let ledger = Arc::new(ledger);
        let lent = Arc::new(Mutex::new(Vec::new()));
        let door = Arc::clone(&lent);
        let door: delivery::Door = Arc::new(move |handover| {
            door.lock().push(handover);
            true
        });
        let runtime = tokio::runtime::Handle::current();
        let delivery = delivery::start(&runtime, Arc::clone(&ledger), clock, settings, door, Arc::new(Signing::new(1)));
        ledger.set_waker(delivery.waker());
        let facts = Mutex::new((Cursor::default(), Vec::new()));
        Self { ledger, delivery: Some(delivery), clock, folder, lent, plan, kind, demand, facts }
    }

    /// Another plan, before anything was submitted.
    pub fn with_plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }

    /// Commits a message and answers what it wants of routing and planning.
    pub fn submit(&self, sender: &str, recipients: &[&str], body: &[u8]) -> MessageId {
        self.submit_head(ContentHead { sender: sender.into(), ..ContentHead::default() }, recipients, body)
    }

    pub fn submit_head(&self, head: ContentHead, recipients: &[&str], body: &[u8]) -> MessageId {
        let to = |address: &&str| Recipient { address: (*address).into(), ..Recipient::default() };
        let recipients: Vec<_> = recipients.iter().map(to).collect();
        self.submit_all(vec![(head, recipients, body.to_vec())])[0]
    }

    /// One group for all, so that they wait together before anything is delivered.
    pub fn submit_all(&self, messages: Vec<(ContentHead, Vec<Recipient>, Vec<u8>)>) -> Vec<MessageId> {
        let now = self.clock.now();
        let incoming: Vec<_> = messages
            .into_iter()
            .map(|(head, recipients, body)| {
                let head = ContentHead { id: self.ledger.ids().reserve(now), received: now, ..head };
                Incoming::prepare(head, &recipients, Body::Inline(body)).unwrap()
            })
            .collect();
        self.ledger.commit(&incoming, now).unwrap();
        self.answer_wants();
        incoming.iter().map(|one| one.head().id).collect()
    }

    /// A body in a file of its own.
    pub fn submit_file(&self, recipients: &[Recipient], head: ContentHead, body: &[u8]) -> MessageId {
        let now = self.clock.now();
        let id = self.ledger.ids().reserve(now);
        let mut writer = self.ledger.new_body(id).unwrap();
        body.chunks(100_000).for_each(|chunk| writer.write(chunk).unwrap());
        let file = writer.finish().unwrap();
        let head = ContentHead { id, received: now, sender: "s@b.example".into(), ..head };
        self.ledger.commit(&[Incoming::prepare(head, recipients, Body::File(file)).unwrap()], now).unwrap();
        self.answer_wants();
        id
    }

    /// Routing and planning, as Python would.
    pub fn answer_wants(&self) {
        let now = self.clock.now();
        let later = now + 3_600_000;
        for wanted in self.ledger.wanted_routes(100, now) {
            let route =
                Route { kind: self.kind, site: wanted.domain, tls: self.demand.max(wanted.tls), ..Route::default() };
            self.ledger.set_route(wanted.key, RouteAnswer::Route(route), later, later, now);
        }
        for wanted in self.ledger.wanted_plans(100, now) {
            self.ledger.set_plan(wanted.lane, self.plan.clone(), later, now);
        }
    }

    /// Waits until the journal holds `settled` settlements and `slept` sleeps.
    pub async fn wait(&self, settled: usize, slept: usize) -> (Vec<Settled>, Vec<Slept>) {
        let end = Instant::now() + PATIENCE;
        loop {
            let (settlements, sleeps) = self.facts();
            if settlements.len() >= settled && sleeps.len() >= slept {
                return (settlements, sleeps);
            }
            assert!(Instant::now() < end, "waited for {settled}+{slept}, have {settlements:#?} {sleeps:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn facts(&self) -> (Vec<Settled>, Vec<Slept>) {
        self.ledger.flush_journal(self.clock.now()).unwrap();
        let mut facts = self.facts.lock();
        loop {
            let page = self.ledger.read_journal(facts.0, 0, 1_000).unwrap();
            facts.1.extend(page.records.iter().map(|record| record.fact.clone()));
            facts.0 = page.next;
            if !page.more {
                break;
            }
        }
        let settled =
            facts.1.iter().filter_map(|fact| if let Fact::Settled(one) = fact { Some(one.clone()) } else { None });
        let slept =
            facts.1.iter().filter_map(|fact| if let Fact::Slept(one) = fact { Some(one.clone()) } else { None });
        (settled.collect(), slept.collect())
    }

    /// How settled facts tell the TLS of their connections.
    pub fn told_tls(&self) -> Vec<String> {
        let page = self.ledger.read_journal(Cursor::default(), 0, 10_000).unwrap();
        let told = |record: &angarium_ledger::JournalRecord| match &record.fact {
            Fact::Settled(fact) => {
                Some((fact.tls as usize).checked_sub(1).map_or("", |n| record.strings[n].as_str()).to_owned())
            }
            _ => None,
        };
        page.records.iter().filter_map(told).collect()
    }

    /// Stops delivery and waits for its end; nothing may be left leased.
    pub async fn stop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            assert_eq!(delivery.finish(Duration::from_secs(5)).await, 0, "something had to be cut off");
        }
        let stats = self.ledger.stats(self.clock.now());
        assert_eq!(stats.states[2], 0, "something is still leased");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
