//! Connections that live longer than a message: rest, resume, leave, make room; lanes that wake up.
use std::time::{Duration, Instant};

use crate::house::{House, plan, quick};
use crate::peer::{self, Offers, Peer};
use angarium_engine::delivery::DeliverySettings;
use angarium_ledger::{Control, ControlKind, Plan, Predicate, Protocol};
use angarium_nouns::record::EntryState;

const BODY: &[u8] = b"Subject: hello\r\n\r\nline\r\n";

fn patient() -> DeliverySettings {
    DeliverySettings { linger_ms: 60_000, ..quick() }
}

async fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn order(kind: ControlKind) -> Control {
    let predicate = Predicate { all: true, ..Predicate::default() };
    Control { kind, predicate, by: "test".into(), why: String::new(), until: None, rule: 0, tag: None }
}

fn said_quit(peer: &Peer) -> bool {
    peer.seen.lines.lock().iter().any(|line| line == "QUIT")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_come_one_by_one_share_a_connection() {
    let peer = peer::start(&["220 sink"], Offers::Everything).await;
    let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), patient());
    for number in 1..=20 {
        house.submit("s@b.example", &["r@x.example"], BODY);
        house.wait(number, 0).await;
    }
    assert_eq!(*peer.seen.connections.lock(), 1);
    house.stop().await;
    wait_for("QUIT at the stop", || said_quit(&peer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resting_connection_leaves_politely_when_its_time_is_up() {
    let peer = peer::start(&["220 sink"], Offers::Everything).await;
    let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), quick());
    house.submit("s@b.example", &["r@x.example"], BODY);
    house.wait(1, 0).await;
    wait_for("QUIT", || said_quit(&peer)).await;
    house.stop().await;
}

/// A peer that closes resting connections is not a peer that failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_may_close_a_resting_connection() {
    let peer = peer::start(&["220 !ehlo !mail !rcpt !data dot 250 close"], Offers::Everything).await;
    let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), patient());
    for number in 1..=5 {
        house.submit("s@b.example", &["r@x.example"], BODY);
        let (settled, slept) = house.wait(number, 0).await;
        assert!(slept.is_empty() && settled.iter().all(|fact| fact.attempts == 1));
    }
    assert_eq!(*peer.seen.connections.lock(), 5);
    house.stop().await;
}

/// At the limit of all connections a resting one gives way to a lane that has work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resting_connections_make_room() {
    let peer = peer::start(&["220 sink"], Offers::Everything).await;
    let settings = DeliverySettings { connections: 1, ..patient() };
    let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), settings);
    for (number, to) in ["r@x.example", "r@y.example", "r@z.example"].into_iter().enumerate() {
        house.submit("s@b.example", &[to], BODY);
        house.wait(number + 1, 0).await;
    }
    assert_eq!(*peer.seen.connections.lock(), 3);
    house.stop().await;
}

/// An old run's plan is not carried out when a new one names other hosts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_plan_moves_to_its_hosts() {
    let (old, new) =
        (peer::start(&["220 sink"], Offers::Everything).await, peer::start(&["220 sink"], Offers::Everything).await);
    let mut house = House::open(Protocol::Smtp, plan(&[old.port]), patient());
    house.submit("s@b.example", &["r@x.example"], BODY);
    let lane = house.wait(1, 0).await.0.len();
    assert_eq!(lane, 1);
    let now = house.clock.now();
    let report = house.delivery.as_ref().unwrap().plan_reports(10).remove(0);
    house.ledger.set_plan(angarium_ledger::LaneId(report.lane), plan(&[new.port]), now + 3_600_000, now);
    house.submit("s@b.example", &["r@x.example"], BODY);
    house.wait(2, 0).await;
    assert_eq!((old.seen.taken.lock().len(), new.seen.taken.lock().len()), (1, 1));
    house.stop().await;
}

/// Flush wakes the lane with one probe; behind it the rest goes out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_slept_is_probed_and_wakes_up() {
    let peer = peer::start(&["421", "421", "220 sink"], Offers::Everything).await;
    let mut house = House::open(Protocol::Smtp, Plan { connections: 3, ..plan(&[peer.port]) }, quick());
    for _ in 0..10 {
        house.submit("s@b.example", &["r@x.example"], BODY);
    }
    let (settled, slept) = house.wait(0, 1).await;
    assert_eq!((settled.len(), slept.len()), (0, 1));
    let flush = order(ControlKind::Flush);
    while house.facts().0.len() < 10 {
        house.ledger.control(&flush, house.clock.now()).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(house.facts().0.iter().all(|fact| fact.attempts == 1), "sleeping counted no attempts");
    house.stop().await;
}

/// Cancelled while the peer thinks about RCPT: it hears no body, and nothing is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_stops_an_entry_before_its_dot() {
    let peer = peer::start(&["220 !ehlo !mail rcpt pause 250 !data dot 250 sink"], Offers::Everything).await;
    let settings = DeliverySettings { rcpt_ms: 10_000, ..quick() };
    let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), settings);
    house.submit("s@b.example", &["r@x.example"], BODY);
    wait_for("RCPT", || peer.seen.lines.lock().iter().any(|line| line.starts_with("RCPT"))).await;
    let done = house.ledger.control(&order(ControlKind::Cancel), house.clock.now()).unwrap();
    peer.seen.go_on.notify_one();
    let (settled, _) = house.wait(1, 0).await;
    assert_eq!(settled[0].state, EntryState::Cancelled, "{done:?}");
    house.stop().await;
    assert!(peer.seen.taken.lock().is_empty());
}
