//! A ledger on a simulated disk, and messages for it.
#![allow(dead_code)] // each test binary uses a part

use std::sync::Arc;

use angarium_ledger::{
    Body, Incoming, LaneId, Lease, Ledger, LedgerPolicy, LedgerSettings, OpenError, Plan, Protocol, RecoveryReport,
    Route, RouteAnswer, Settlement, SpoolSettings,
};
use angarium_nouns::outcome::Action;
use angarium_nouns::record::{ContentHead, Recipient};
use angarium_nouns::{Judgement, MessageId, Millis, Outcome, Reason, Reply, Scope};
use angarium_spool::SimDisk;

pub const START: Millis = 1_790_000_000_000;
pub const FAR: Millis = START + 400 * 86_400_000;

/// Content that followers of best effort may keep in these tests.
pub const BEST_EFFORT: u64 = 100_000;

pub fn settings() -> LedgerSettings {
    let spool = SpoolSettings {
        segment_size: 64 << 10,
        ready: 1,
        reserved: 1,
        free_floor: 0,
        copy_age: 1_000,
        ..SpoolSettings::default()
    };
    let policy = LedgerPolicy {
        report_delay: 0,
        hostname: "mx.example".into(),
        journal_keep: 3_600_000,
        best_effort_bytes: BEST_EFFORT,
        ..LedgerPolicy::default()
    };
    LedgerSettings { node: 7, spool, policy }
}

pub fn open(disk: &SimDisk, now: Millis) -> Result<(Ledger, RecoveryReport), OpenError> {
    Ledger::open(Arc::new(disk.clone()), settings(), now)
}

/// A message to these addresses, reportable, with a body that names its id.
pub fn message(id: MessageId, addresses: &[&str], now: Millis) -> Incoming {
    let recipient =
        |address: &&str| Recipient { address: (*address).to_owned(), may_report: true, ..Recipient::default() };
    let recipients: Vec<Recipient> = addresses.iter().map(recipient).collect();
    let head = ContentHead { id, received: now, sender: "sender@origin.example".into(), ..ContentHead::default() };
    let body = format!("Subject: test\r\nX-Id: {id}\r\n\r\nHello, world.\r\n");
    Incoming::prepare(head, &recipients, Body::Inline(body.into_bytes())).expect("prepared")
}

/// Everything goes to one smarthost from now on.
pub fn route_all(ledger: &Ledger, now: Millis) {
    for wanted in ledger.wanted_routes(1000, now) {
        let route = Route { kind: Protocol::Smtp, site: "relay.example".into(), ..Route::default() };
        assert!(ledger.set_route(wanted.key, RouteAnswer::Route(route), FAR, FAR, now));
    }
    for wanted in ledger.wanted_plans(1000, now) {
        assert!(ledger.set_plan(wanted.lane, Plan::default(), FAR, now));
    }
}

/// Leases of everything that is due, at most `most`.
pub fn take(ledger: &Ledger, now: Millis, most: usize) -> Vec<Lease> {
    route_all(ledger, now);
    let mut leases = Vec::new();
    for run in ledger.lanes_to_run(now, 100) {
        while leases.len() < most
            && let Some(lease) = ledger.take(run.lane, now, 100)
        {
            leases.push(lease);
        }
        end(ledger, run.lane, run.connections, now);
    }
    leases
}

pub fn end(ledger: &Ledger, lane: LaneId, connections: u32, now: Millis) {
    for _ in 0..connections {
        ledger.connection_ended(lane, now);
    }
}

pub fn judgement(outcome: Outcome) -> Judgement {
    let reason = match outcome {
        Outcome::Delivered => Reason::Done,
        Outcome::Deferred => Reason::Greylist,
        Outcome::Failed => Reason::NoSuchRecipient,
    };
    Judgement { outcome, scope: Scope::Recipient, action: Action::Continue, reason, rule: 0 }
}

pub fn reply(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Delivered => Reply::new(250, (2, 0, 0), "ok"),
        Outcome::Deferred => Reply::new(450, (4, 7, 1), "greylisted"),
        Outcome::Failed => Reply::new(550, (5, 1, 1), "no such user"),
    }
}

/// Settles each entry of a lease the same way.
pub fn settle(ledger: &Ledger, lease: &Lease, outcome: Outcome, now: Millis) -> Vec<bool> {
    let reply = reply(outcome);
    let results: Vec<Settlement<'_>> = lease
        .entries
        .iter()
        .map(|leased| Settlement {
            id: lease.id,
            entry: leased.entry,
            number: leased.number,
            judgement: judgement(outcome),
            reply: Some(&reply),
            host: "relay.example[192.0.2.1]:25",
            tls: "",
            owes_report: false,
            may_repeat: false,
            took: 5,
        })
        .collect();
    ledger.settle(&results, now)
}
