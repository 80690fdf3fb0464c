//! The ways of a message through the ledger, one by one.

mod common;

use angarium_ledger::{Control, ControlKind, Cursor, NoRoute, Predicate, RouteAnswer};
use angarium_nouns::record::Fact;
use angarium_nouns::{MessageId, Outcome, Reason};
use angarium_spool::SimDisk;

use common::{FAR, START, message, open, route_all, settle, take};

fn control(kind: ControlKind, predicate: Predicate) -> Control {
    Control { kind, predicate, by: "test".into(), why: "test".into(), until: None, rule: 0, tag: None }
}

fn all() -> Predicate {
    Predicate { all: true, ..Predicate::default() }
}

#[test]
fn delivers_and_forgets() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk, START).unwrap();
    let id = ledger.ids().reserve(START);
    ledger.commit(&[message(id, &["a@x.example", "b@x.example", "c@y.example"], START)], START).unwrap();
    let leases = take(&ledger, START, 10);
    let numbers: Vec<u32> = leases.iter().flat_map(|lease| lease.entries.iter().map(|entry| entry.number)).collect();
    assert_eq!(numbers.len(), 3, "{leases:?}");
    for lease in &leases {
        let content = ledger.load(lease, START).unwrap();
        assert_eq!(content.head.id, id);
        assert!(settle(&ledger, lease, Outcome::Delivered, START + 10).iter().all(|settled| *settled));
        assert!(settle(&ledger, lease, Outcome::Delivered, START + 10).iter().all(|settled| !*settled));
    }
    let flushed = ledger.flush_journal(START + 10).unwrap();
    assert_eq!(flushed.written, 4);
    let stats = ledger.stats(START);
    assert_eq!((stats.received, stats.recipients, stats.delivered, stats.messages), (1, 3, 3, 0));
    let page = ledger.read_journal(Cursor::default(), 0, 100).unwrap();
    assert!(matches!(&page.records[0].fact, Fact::Received(fact) if fact.recipients.len() == 3));
    assert_eq!(page.records[0].strings[0], "sender@origin.example");
    assert_eq!(page.records.len(), 4);
    assert!(!page.gap && !page.more);
}

#[test]
fn comes_back_after_a_crash() {
    let disk = SimDisk::new(2);
    let ids: Vec<MessageId> = {
        let (ledger, _) = open(&disk, START).unwrap();
        let ids: Vec<MessageId> = (0..20).map(|_| ledger.ids().reserve(START)).collect();
        let group: Vec<_> = ids.iter().map(|id| message(*id, &["a@x.example", "b@y.example"], START)).collect();
        ledger.commit(&group, START).unwrap();
        let leases = take(&ledger, START, 5);
        assert!(!leases.is_empty());
        for lease in leases {
            settle(&ledger, &lease, Outcome::Delivered, START);
        }
        ledger.flush_journal(START).unwrap();
        for lease in take(&ledger, START, 3) {
            settle(&ledger, &lease, Outcome::Deferred, START);
        }
        ids
    };
    disk.restart();
    let (ledger, report) = open(&disk, START + 1000).unwrap();
    assert_eq!(report.damage, Vec::<String>::new());
    let stats = ledger.stats(START);
    assert_eq!(report.entries, 40 - 10, "five messages with two siblings each");
    assert_eq!(stats.states.iter().sum::<u64>(), 30);
    let mut left = 0;
    while let leases @ [_, ..] = &take(&ledger, START + 1000, 100)[..] {
        for lease in leases {
            assert!(ids.contains(&lease.id));
            ledger.load(lease, START).unwrap();
            left += settle(&ledger, lease, Outcome::Delivered, START + 1000).len();
        }
    }
    assert_eq!(left, 30);
}

#[test]
fn a_failure_bounces_once() {
    let disk = SimDisk::new(3);
    let (ledger, _) = open(&disk, START).unwrap();
    let id = ledger.ids().reserve(START);
    ledger.commit(&[message(id, &["a@x.example", "b@x.example"], START)], START).unwrap();
    for lease in take(&ledger, START, 10) {
        settle(&ledger, &lease, Outcome::Failed, START);
    }
    assert_eq!(ledger.stats(START).states, [0, 0, 0, 2]);
    let reports = ledger.reports_due(START + 1, 10);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].head().closes, [(id, 0), (id, 1)]);
    assert!(ledger.reports_due(START + 1, 10).is_empty(), "handed out");
    ledger.commit(&reports, START + 2).unwrap();
    ledger.commit(&reports, START + 2).unwrap();
    assert_eq!(ledger.stats(START).states, [1, 0, 0, 0]);
    let bounce = take(&ledger, START + 2, 10).remove(0);
    let content = ledger.load(&bounce, START + 2).unwrap();
    assert_eq!(content.head.sender, "");
    assert_eq!(content.head.recipients.get(0).unwrap().address, "sender@origin.example");
    settle(&ledger, &bounce, Outcome::Failed, START + 3);
    assert_eq!(ledger.stats(START).states, [0; 4], "a report that fails makes none");
    ledger.flush_journal(START + 3).unwrap();
}

#[test]
fn retries_and_expires() {
    let disk = SimDisk::new(4);
    let (ledger, _) = open(&disk, START).unwrap();
    let id = ledger.ids().reserve(START);
    ledger.commit(&[message(id, &["a@x.example"], START)], START).unwrap();
    let mut now = START;
    let mut attempts = 0;
    while ledger.stats(now).states[3] == 0 {
        for lease in take(&ledger, now, 10) {
            attempts += 1;
            settle(&ledger, &lease, Outcome::Deferred, now);
        }
        now = ledger.next_due(now).unwrap().max(now + 1);
        assert!(attempts < 1000);
    }
    assert!(now - START >= 5 * 86_400_000 && now - START < 6 * 86_400_000, "{}", now - START);
    assert!(attempts > 20, "{attempts}");
    assert_eq!(ledger.reports_due(now, 10).len(), 1);
}

#[test]
fn no_route_fails_or_waits() {
    for failed in [true, false] {
        let disk = SimDisk::new(5);
        let (ledger, _) = open(&disk, START).unwrap();
        let ids: Vec<MessageId> = (0..10).map(|_| ledger.ids().reserve(START)).collect();
        let group: Vec<_> = ids.iter().map(|id| message(*id, &["a@gone.example"], START)).collect();
        ledger.commit(&group, START).unwrap();
        let wanted = ledger.wanted_routes(10, START);
        assert_eq!(wanted.len(), 1);
        assert_eq!((wanted[0].domain.as_str(), wanted[0].waiting), ("gone.example", 10));
        let (code, enhanced, text) = (550, "5.1.2".to_owned(), "no such domain".to_owned());
        let answer = NoRoute { failed, code, enhanced, text, reason: Reason::Dns };
        assert!(ledger.set_route(wanted[0].key, RouteAnswer::NoRoute(answer), FAR, FAR, START));
        assert!(ledger.lanes_to_run(START, 10).is_empty());
        let states = if failed { [0, 0, 0, 10] } else { [10, 0, 0, 0] };
        assert_eq!(ledger.stats(START).states, states);
        assert!(ledger.wanted_routes(10, START).is_empty());
        let view = ledger.message(ids[0]).unwrap();
        assert_eq!((view.recipients[0].code, view.recipients[0].text.as_str()), (550, "no such domain"));
    }
}

#[test]
fn orders_are_obeyed() {
    let disk = SimDisk::new(6);
    let (ledger, _) = open(&disk, START).unwrap();
    let ids: Vec<MessageId> = (0..10).map(|_| ledger.ids().reserve(START)).collect();
    let group: Vec<_> = ids.iter().map(|id| message(*id, &["a@x.example", "b@y.example"], START)).collect();
    ledger.commit(&group, START).unwrap();
    let of_y = Predicate { domain: Some("Y.example".into()), ..Predicate::default() };
    let held = ledger.control(&control(ControlKind::Hold, of_y.clone()), START).unwrap();
    assert!(ledger.urgent_facts());
    assert!(ledger.flush_journal(START).unwrap().facts >= held.token);
    assert_eq!(ledger.stats(START).states, [10, 10, 0, 0]);
    let late = ledger.ids().reserve(START);
    ledger.commit(&[message(late, &["c@y.example"], START)], START).unwrap();
    assert_eq!(ledger.stats(START).states, [10, 11, 0, 0], "a rule stands for what comes");
    let one = Predicate { ids: vec![format!("{}.1", ids[3])], ..Predicate::default() };
    assert_eq!(ledger.control(&control(ControlKind::Cancel, one), START).unwrap().changed, 1);
    assert_eq!(ledger.stats(START).states, [10, 10, 0, 0]);
    ledger.flush_journal(START).unwrap();
    drop(ledger);

    disk.restart();
    let (ledger, _) = open(&disk, START + 5).unwrap();
    assert_eq!(ledger.stats(START).states, [10, 10, 0, 0], "held over a crash");
    let more = ledger.ids().reserve(START);
    ledger.commit(&[message(more, &["c@y.example"], START)], START).unwrap();
    assert_eq!(ledger.stats(START).states, [10, 11, 0, 0], "the rule stands over a crash");
    let lift = control(ControlKind::Lift, of_y.clone());
    ledger.control(&lift, START).unwrap();
    assert_eq!(ledger.control(&control(ControlKind::Release, of_y), START).unwrap().changed, 11);
    assert_eq!(ledger.stats(START).states, [21, 0, 0, 0]);
    let leases = take(&ledger, START + 5, 2);
    let in_flight = leases.iter().map(|lease| lease.entries.len() as u64).sum::<u64>();
    assert_eq!(ledger.control(&control(ControlKind::Cancel, all()), START + 5).unwrap().too_late, in_flight);
    assert!(ledger.is_stopped(leases[0].entries[0].entry));
    ledger.give_back(&leases[0], &leases[0].entries, START + 6);
    settle(&ledger, &leases[1], Outcome::Delivered, START + 6);
    assert_eq!(ledger.stats(START).states, [0; 4]);
    assert!(ledger.control(&control(ControlKind::Cancel, Predicate::default()), START).is_err());
}

#[test]
fn reroutes() {
    let disk = SimDisk::new(7);
    let (ledger, _) = open(&disk, START).unwrap();
    let id = ledger.ids().reserve(START);
    ledger.commit(&[message(id, &["a@x.example"], START)], START).unwrap();
    route_all(&ledger, START);
    let order = Control { tag: Some("other".into()), ..control(ControlKind::Reroute, all()) };
    assert_eq!(ledger.control(&order, START).unwrap().changed, 1);
    ledger.flush_journal(START).unwrap();
    drop(ledger);
    disk.restart();
    let (ledger, _) = open(&disk, START).unwrap();
    let wanted = ledger.wanted_routes(10, START);
    assert_eq!(wanted.len(), 1);
    assert_eq!(wanted[0].tag, "other");
}

#[test]
fn lists_in_pages() {
    let disk = SimDisk::new(8);
    let (ledger, _) = open(&disk, START).unwrap();
    let ids: Vec<MessageId> = (0..25).map(|_| ledger.ids().reserve(START)).collect();
    let group: Vec<_> = ids.iter().map(|id| message(*id, &["a@x.example"], START)).collect();
    ledger.commit(&group, START).unwrap();
    let mut after = Vec::new();
    let mut seen = Vec::new();
    loop {
        let page = ledger.find(&all(), &after, 10).unwrap();
        assert!(page.entries.len() <= 10);
        seen.extend(page.entries.iter().map(|entry| entry.message.parse::<MessageId>().unwrap()));
        assert!(page.entries.iter().all(|entry| entry.recipient.address == "a@x.example"));
        after = page.after;
        if after.is_empty() {
            break;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, ids);
}

#[test]
fn a_checkpoint_shortens_the_start() {
    let disk = SimDisk::new(9);
    let (ledger, _) = open(&disk, START).unwrap();
    let mut now = START;
    for round in 0..30 {
        let ids: Vec<MessageId> = (0..10).map(|_| ledger.ids().reserve(now)).collect();
        let group: Vec<_> = ids.iter().map(|id| message(*id, &["a@x.example", "b@y.example"], now)).collect();
        ledger.commit(&group, now).unwrap();
        for lease in take(&ledger, now, 15) {
            settle(&ledger, &lease, if round % 3 == 0 { Outcome::Deferred } else { Outcome::Delivered }, now);
        }
        ledger.flush_journal(now).unwrap();
        now += 30_000;
        for _ in 0..100 {
            if !ledger.maintain(now) {
                break;
            }
            ledger.flush_journal(now).unwrap();
        }
    }
    let before = ledger.stats(now);
    drop(ledger);
    disk.restart();
    let (ledger, report) = open(&disk, now).unwrap();
    assert_eq!(report.damage, Vec::<String>::new());
    let after = ledger.stats(now);
    assert_eq!(
        (before.states.iter().sum::<u64>(), before.messages),
        (after.states.iter().sum::<u64>(), after.messages)
    );
    ledger.close(now).unwrap();
    drop(ledger);
    disk.restart();
    let (ledger, report) = open(&disk, now).unwrap();
    assert_eq!((report.entries, report.recovered), (after.states.iter().sum::<u64>(), 0));
    let leases = take(&ledger, now, 1000);
    assert!(leases.iter().all(|lease| ledger.load(lease, now).is_ok()));
}

/// Orders that stand are in the checkpoint, with the fields that they name and without those that they do not.
#[test]
fn rules_stand_after_a_checkpoint() {
    let disk = SimDisk::new(12);
    let (ledger, _) = open(&disk, START).unwrap();
    for predicate in [
        Predicate { domain: Some("x.example".into()), ..Predicate::default() },
        Predicate { tenant: Some("t".into()), before: Some(START + 9), ..Predicate::default() },
        all(),
    ] {
        ledger.control(&control(ControlKind::Hold, predicate), START).unwrap();
    }
    let site = Predicate { site: Some("relay.example".into()), ..Predicate::default() };
    ledger.control(&control(ControlKind::Suspend, site), START).unwrap();
    let rules = ledger.rules();
    assert_eq!(rules.len(), 4);
    ledger.close(START).unwrap();
    drop(ledger);
    disk.restart();
    let (ledger, _) = open(&disk, START + 1).unwrap();
    assert_eq!(ledger.rules(), rules);
}
