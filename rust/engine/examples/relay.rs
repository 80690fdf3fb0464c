//! Measures delivery alone: fills a spool with messages, then drains it to a peer and prints the rate.
//!
//! `cargo run --release -p angarium-engine --example relay -- FOLDER PORT [MESSAGES] [CONNECTIONS] [BYTES]`; a peer is
//! `smtp-sink -c 127.0.0.1:PORT 1000`. The folder must not exist; it is left behind.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use angarium_engine::clock::Clock;
use angarium_engine::delivery::{self, DeliverySettings};
use angarium_engine::signing::Signing;
use angarium_ledger::{Body, Incoming, Ledger, LedgerSettings, Plan, PlanHost, Protocol, Route, RouteAnswer};
use angarium_nouns::record::{ContentHead, Recipient};
use angarium_spool::RealDisk;

const GROUP: usize = 256;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder");
    let port = arguments.next().expect("a port").parse().unwrap();
    let mut number = |default: u32| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (messages, connections, bytes) = (number(50_000), number(4), number(4_096));
    let clock = Clock::start();
    let disk = Arc::new(RealDisk::new(&folder).unwrap());
    let (ledger, _) = Ledger::open(disk, LedgerSettings::default(), clock.now()).unwrap();
    let ledger = Arc::new(ledger);
    fill(&ledger, clock, messages, bytes);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let started = Instant::now();
    let (settings, signing) = (DeliverySettings::default(), Arc::new(Signing::new(1)));
    let delivery =
        delivery::start(runtime.handle(), Arc::clone(&ledger), clock, settings, Arc::new(|_| false), signing);
    ledger.set_waker(delivery.waker());
    let flusher = flush_in_the_background(&ledger, clock);
    route(&ledger, clock, port, connections);
    delivery.wake();
    while ledger.stats(clock.now()).delivered < u64::from(messages) {
        std::thread::sleep(Duration::from_millis(5));
        assert!(started.elapsed() < Duration::from_mins(2), "{:?} {:?}", ledger.stats(0), delivery.plan_reports(9));
    }
    let took = started.elapsed();
    println!("{messages} messages in {took:?}: {:.0} a second", f64::from(messages) / took.as_secs_f64());
    flusher.store(true, Ordering::Relaxed);
    runtime.block_on(delivery.finish(Duration::from_secs(5)));
}

fn fill(ledger: &Ledger, clock: Clock, messages: u32, bytes: u32) {
    let line = b"0123456789012345678901234567890123456789012345678901234567\r\n";
    let body: Vec<u8> = line.iter().copied().cycle().take(bytes as usize / line.len() * line.len()).collect();
    let now = clock.now();
    let one = |_| {
        let head = ContentHead {
            id: ledger.ids().reserve(now),
            received: now,
            sender: "from@here.example".into(),
            ..ContentHead::default()
        };
        let recipient = Recipient { address: "to@there.example".into(), ..Recipient::default() };
        Incoming::prepare(head, &[recipient], Body::Inline(body.clone())).unwrap()
    };
    let mut left = messages as usize;
    while left > 0 {
        let group: Vec<_> = (0..left.min(GROUP)).map(one).collect();
        ledger.commit(&group, now).unwrap();
        ledger.maintain(now);
        left -= group.len();
    }
}

fn route(ledger: &Ledger, clock: Clock, port: u16, connections: u32) {
    let now = clock.now();
    let later = now + 3_600_000;
    for wanted in ledger.wanted_routes(10, now) {
        let route = Route { kind: Protocol::Smtp, site: "sink".into(), ..Route::default() };
        ledger.set_route(wanted.key, RouteAnswer::Route(route), later, later, now);
    }
    for wanted in ledger.wanted_plans(10, now) {
        let host = PlanHost {
            name: "sink".into(),
            addresses: vec!["127.0.0.1".parse().unwrap()],
            port,
            ..PlanHost::default()
        };
        let plan = Plan { hosts: vec![host], connections, ..Plan::default() };
        ledger.set_plan(wanted.lane, plan, later, now);
    }
}

/// As the engine's journal committer does.
fn flush_in_the_background(ledger: &Arc<Ledger>, clock: Clock) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, ledger) = (Arc::clone(&stop), Arc::clone(ledger));
    std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
            ledger.flush_journal(clock.now()).unwrap();
            ledger.maintain(clock.now());
        }
    });
    stop
}
