//! What keeps content and facts: followers, pins, legal holds, mail that is open; what happens at the limits; and the
//! brake on failures.

mod common;

use std::sync::Arc;

use angarium_ledger::{
    Body, BrakePolicy, CommitError, Control, ControlKind, Cursor, Incoming, JournalRecord, Ledger, LedgerPolicy,
    LedgerSettings, Predicate,
};
use angarium_nouns::record::{Claim, ContentHead, Fact, Gap, Recipient};
use angarium_nouns::{MessageId, Millis, Outcome};
use angarium_spool::SimDisk;

use common::{START, message, settings, settle, take};

const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

fn small(required: u64, best_effort: u64) -> LedgerSettings {
    let LedgerSettings { node, spool, policy } = settings();
    let policy = LedgerPolicy { required_bytes: required, best_effort_bytes: best_effort, ..policy };
    LedgerSettings { node, spool, policy }
}

fn start(disk: &SimDisk, settings: &LedgerSettings, now: Millis) -> Ledger {
    Ledger::open(Arc::new(disk.clone()), settings.clone(), now).expect("opened").0
}

fn order(kind: ControlKind, predicate: Predicate, rule: u64) -> Control {
    Control { kind, predicate, by: "test".into(), why: "case 7".into(), until: None, rule, tag: None }
}

fn to(domain: &str) -> Predicate {
    Predicate { domain: Some(domain.to_owned()), ..Predicate::default() }
}

fn submit(ledger: &Ledger, address: &str, now: Millis) -> Result<MessageId, CommitError> {
    let id = ledger.ids().reserve(now);
    ledger.commit(&[message(id, &[address], now)], now).map(|()| id)
}

/// Everything that waits is delivered and its facts are durable.
fn deliver(ledger: &Ledger, now: Millis) {
    for lease in take(ledger, now, 1000) {
        settle(ledger, &lease, Outcome::Delivered, now);
    }
    ledger.flush_journal(now).expect("flushed");
    // What the flush found out (gaps) is written too.
    ledger.flush_journal(now).expect("flushed");
}

fn facts(ledger: &Ledger) -> Vec<JournalRecord> {
    let (mut cursor, mut records) = (Cursor::default(), Vec::new());
    loop {
        let page = ledger.read_journal(cursor, 0, 10_000).expect("read");
        records.extend(page.records);
        cursor = page.next;
        if !page.more {
            return records;
        }
    }
}

#[test]
fn at_the_limit_of_required_claims_new_mail_waits_until_the_reader_reads() {
    let disk = SimDisk::new(81);
    let ledger = start(&disk, &small(1000, 1 << 30), START);
    ledger.follow("archive", ledger.journal_end(), Claim::Required, START).expect("followed");
    let mut taken = 0;
    let refused = loop {
        match submit(&ledger, "a@x.example", START) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        deliver(&ledger, START);
        assert!(taken < 100, "never refused");
    };
    assert!(matches!(refused, CommitError::Full) && taken > 1, "{refused:?} after {taken}");
    assert!(ledger.is_overclaimed() && !ledger.takes_mail());
    ledger.follow("archive", ledger.journal_end(), Claim::Required, START).expect("followed");
    ledger.flush_journal(START).expect("flushed");
    assert!(!ledger.is_overclaimed() && ledger.takes_mail());
    submit(&ledger, "a@x.example", START).expect("taken again");
}

/// A pin keeps content over restarts and reclaim; lifted, the content goes.
#[test]
fn a_pin_keeps_content_until_it_is_lifted() {
    let disk = SimDisk::new(82);
    let mut ledger = start(&disk, &settings(), START);
    let id = submit(&ledger, "a@x.example", START).expect("taken");
    let ids = Predicate { ids: vec![id.to_string()], ..Predicate::default() };
    let pin = ledger.control(&order(ControlKind::Pin, ids, 0), START).expect("pinned");
    assert_eq!(pin.changed, 1);
    deliver(&ledger, START);
    for n in 1..4 {
        ledger.close(START + n).expect("closed");
        drop(ledger);
        disk.restart();
        ledger = start(&disk, &settings(), START + n);
        assert_eq!(ledger.content(id).expect("kept").head.id, id, "start {n}");
    }
    ledger.control(&order(ControlKind::Lift, Predicate::default(), pin.rule), START + 9).expect("lifted");
    ledger.flush_journal(START + 9).expect("flushed");
    assert!(ledger.content(id).is_err(), "{:?}", ledger.rules());
    assert_eq!(ledger.stats(START + 9).best_effort_bytes, 0);
}

/// At the limit of best effort the pin numbered N and a follower that calls itself "pin N" each lose what is theirs,
/// and a replay of the facts says the same.
#[test]
fn a_follower_may_call_itself_a_pin() {
    let disk = SimDisk::new(83);
    let few = small(1 << 30, 600);
    let ledger = start(&disk, &few, START);
    let first = submit(&ledger, "a@x.example", START).expect("taken");
    let ids = Predicate { ids: vec![first.to_string()], ..Predicate::default() };
    let pin = ledger.control(&order(ControlKind::Pin, ids, 0), START).expect("pinned").rule;
    let name = format!("pin {pin}");
    ledger.follow(&name, ledger.journal_end(), Claim::BestEffort, START).expect("followed");
    for _ in 0..20 {
        deliver(&ledger, START);
        submit(&ledger, "a@x.example", START).expect("taken");
    }
    deliver(&ledger, START);
    let gaps: Vec<(u64, bool)> = facts(&ledger)
        .iter()
        .filter_map(|record| match &record.fact {
            Fact::Gap(Gap { pin, follower, .. }) => Some((*pin, *follower != 0)),
            _ => None,
        })
        .collect();
    assert!(gaps.contains(&(pin, false)) && gaps.contains(&(0, true)), "{gaps:?}");
    let views = |ledger: &Ledger| (ledger.followers(), ledger.rules());
    let before = views(&ledger);
    assert!(before.0[0].skipped > 0 && before.1[0].messages == 0, "{before:?}");
    drop(ledger);
    disk.restart();
    let after = views(&start(&disk, &few, START + 1));
    assert_eq!((after.0[0].skipped, after.1[0].messages), (before.0[0].skipped, 0));
}

#[test]
fn a_legal_hold_covers_mail_that_comes_later() {
    let disk = SimDisk::new(84);
    let mut ledger = start(&disk, &settings(), START);
    // Nobody has written to that domain yet.
    let hold = ledger.control(&order(ControlKind::LegalHold, to("x.example"), 0), START).expect("held");
    assert_eq!(hold.changed, 0);
    ledger.flush_journal(START).expect("flushed");
    let mut held = Vec::new();
    for n in 1..5 {
        held.push(submit(&ledger, "a@x.example", START + n).expect("taken"));
        let free = submit(&ledger, "a@y.example", START + n).expect("taken");
        if n % 2 == 0 {
            // Content is durable, its facts are not: the recovery finds it, and the hold does.
            drop(ledger);
            disk.restart();
            ledger = start(&disk, &settings(), START + n);
        }
        deliver(&ledger, START + n);
        if n == 3 {
            ledger.close(START + n).expect("closed");
            drop(ledger);
            disk.restart();
            ledger = start(&disk, &settings(), START + n);
        }
        assert!(held.iter().all(|id| ledger.content(*id).is_ok()), "round {n}: {:?}", ledger.rules());
        assert!(ledger.content(free).is_err(), "round {n}");
    }
    let view = ledger.rules().remove(0);
    assert_eq!((view.messages, view.predicate, view.why.as_str()), (4, to("x.example"), "case 7"));
    ledger.control(&order(ControlKind::Lift, Predicate::default(), hold.rule), START + 9).expect("lifted");
    let later = submit(&ledger, "a@x.example", START + 10).expect("taken");
    deliver(&ledger, START + 10);
    assert!(held.iter().chain([&later]).all(|id| ledger.content(*id).is_err()));
}

/// A day's journal is wanted; the facts about mail that is still open stay, however old.
#[test]
fn the_journal_is_kept_back_to_the_oldest_open_mail() {
    for waits in [true, false] {
        let disk = SimDisk::new(85);
        let ledger = start(&disk, &settings(), START);
        let id = submit(&ledger, "a@x.example", START).expect("taken");
        let first = if waits { Outcome::Deferred } else { Outcome::Delivered };
        for lease in take(&ledger, START, 10) {
            settle(&ledger, &lease, first, START);
        }
        let mut now = START;
        for _ in 0..60 {
            now += 1_800_000;
            for _ in 0..8 {
                submit(&ledger, "b@y.example", now).expect("taken");
                for lease in take(&ledger, now, 1000).iter().filter(|lease| lease.id != id) {
                    settle(&ledger, lease, Outcome::Delivered, now);
                }
                ledger.flush_journal(now).expect("flushed");
            }
            for _ in 0..100 {
                if !ledger.maintain(now) {
                    break;
                }
                ledger.flush_journal(now).expect("flushed");
            }
        }
        assert!(now < START + 4 * DAY, "the message has not expired");
        let there = facts(&ledger);
        let is_of = |record: &&JournalRecord| matches!(&record.fact, Fact::Received(fact) if fact.id == id);
        assert_eq!(there.iter().find(is_of).is_some(), waits, "{} facts", there.len());
    }
}

/// Frames that rot: readers pass them, a `gap` fact says where, the figures count it, once.
#[test]
fn a_reader_passes_a_torn_stretch_of_the_journal() {
    for live in [true, false] {
        let disk = SimDisk::new(86);
        let mut ledger = start(&disk, &settings(), START);
        for n in 0..20 {
            submit(&ledger, "a@x.example", START + n).expect("taken");
            ledger.flush_journal(START + n).expect("flushed");
        }
        let all = facts(&ledger).len();
        // One frame a group, each group a block behind the header's; the first marks the epoch.
        for at in [64, 70] {
            assert!(disk.corrupt("journal-00000001.log", 4096 * 8 + at, |byte| byte ^ 1));
        }
        if !live {
            // A stop without a checkpoint: the replay meets the damage.
            drop(ledger);
            disk.kill();
            ledger = start(&disk, &settings(), START + 30);
        }
        let mut cursor = Cursor::default();
        let (mut records, mut gaps) = (Vec::new(), 0);
        loop {
            let page = ledger.read_journal(cursor, 0, 5).expect("read");
            gaps += u32::from(page.damaged.is_some());
            assert_eq!(page.gap, page.damaged.is_some());
            records.extend(page.records);
            cursor = page.next;
            if !page.more {
                break;
            }
        }
        let received = records.iter().filter(|one| matches!(one.fact, Fact::Received(_))).count();
        assert_eq!((received, gaps), (all - 1, 1), "live {live}");
        for _ in 0..3 {
            ledger.maintain(START + 40);
            ledger.flush_journal(START + 40).expect("flushed");
            let _ = facts(&ledger);
        }
        let told: Vec<JournalRecord> = facts(&ledger)
            .into_iter()
            .filter(|one| matches!(one.fact, Fact::Gap(Gap { follower: 0, pin: 0, .. })))
            .collect();
        assert_eq!(told.len(), 1, "live {live}");
        assert_eq!(ledger.stats(START + 40).damaged, 1, "live {live}");
    }
}

fn of_tenant(ledger: &Ledger, tenant: &str, now: Millis) {
    let id = ledger.ids().reserve(now);
    let head = ContentHead { id, received: now, tenant: tenant.into(), ..ContentHead::default() };
    let to = Recipient { address: "a@x.example".into(), ..Recipient::default() };
    let body = Body::Inline(vec![b'x'; 1000]);
    ledger.commit(&[Incoming::prepare(head, &[to], body).expect("prepared")], now).expect("taken");
}

/// S4: first for the tenant over its quota, and only while room is short.
#[test]
fn a_tenant_over_its_quota_waits_first_when_room_is_short() {
    let disk = SimDisk::new(87);
    let LedgerSettings { node, spool, policy } = settings();
    let policy = LedgerPolicy { tenant_quota: 5_000, quota_below: 1 << 20, ..policy };
    let ledger = start(&disk, &LedgerSettings { node, spool, policy }, START);
    for _ in 0..10 {
        of_tenant(&ledger, "large", START);
        of_tenant(&ledger, "", START);
    }
    of_tenant(&ledger, "small", START);
    let refuses = |now: Millis| {
        while ledger.maintain(now) {
            ledger.flush_journal(now).expect("flushed");
        }
        ["large", "small", ""].map(|tenant| ledger.refuses_tenant(tenant))
    };
    disk.set_capacity(1 << 30);
    assert_eq!(refuses(START), [false; 3]);
    disk.set_capacity(disk.used() + (1 << 19));
    assert_eq!(refuses(START + 10_000), [true, false, false]);
    assert!(ledger.takes_mail());
    deliver(&ledger, START + 10_000);
    assert_eq!(refuses(START + 20_000), [false; 3]);
}

/// A provider that suddenly refuses everything for one reason: after so many failures the rest waits.
#[test]
fn a_flood_of_failures_is_braked() {
    let disk = SimDisk::new(88);
    let LedgerSettings { node, spool, policy } = settings();
    let policy = LedgerPolicy { brake: BrakePolicy { failures: 10, multiple: 10 }, ..policy };
    let ledger = start(&disk, &LedgerSettings { node, spool, policy }, START);
    for _ in 0..30 {
        submit(&ledger, "a@x.example", START).expect("taken");
    }
    for lease in take(&ledger, START, 30) {
        settle(&ledger, &lease, Outcome::Failed, START);
    }
    let stats = ledger.stats(START);
    assert_eq!((stats.failed, stats.deferred), (9, 21));
    let braked = ledger.braked(START);
    assert_eq!((braked.len(), braked[0].provider.as_str()), (1, "relay.example"));
    // Nothing goes there meanwhile; an hour later a probe does.
    assert!(take(&ledger, START + HOUR - 1, 30).is_empty());
    assert!(ledger.braked(START + HOUR).is_empty());
    assert_eq!(take(&ledger, START + HOUR, 30).len(), 1);
}
