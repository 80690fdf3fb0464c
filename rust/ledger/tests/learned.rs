//! What was learned outlives the process: sleeps, limiters, last words; by checkpoint and by facts.

mod common;

use angarium_ledger::{
    Control, ControlKind, Cursor, LaneId, Ledger, Plan, PlanLimiter, Predicate, Rate, Route, RouteAnswer, Settlement,
    Sleep,
};
use angarium_nouns::outcome::Action;
use angarium_nouns::record::Fact;
use angarium_nouns::{Judgement, MessageId, Millis, Outcome, Reason, Reply, Scope};
use angarium_spool::SimDisk;

use common::{FAR, START, end, message, open, route_all, settle, take};

const HOUR: Millis = 3_600_000;

fn refused(scope: Scope) -> Judgement {
    Judgement { outcome: Outcome::Deferred, scope, action: Action::Continue, reason: Reason::Connect, rule: 3 }
}

fn submit(ledger: &Ledger, now: Millis) -> MessageId {
    let id = ledger.ids().reserve(now);
    ledger.commit(&[message(id, &["a@x.example"], now)], now).expect("committed");
    id
}

fn only_lane(ledger: &Ledger, now: Millis) -> LaneId {
    route_all(ledger, now);
    let runs = ledger.lanes_to_run(now, 10);
    let lane = runs.first().expect("a lane runs").lane;
    for run in &runs {
        end(ledger, run.lane, run.connections, now);
    }
    lane
}

fn fall_asleep(ledger: &Ledger, now: Millis) -> Millis {
    let lane = only_lane(ledger, now);
    let reply = Reply::new(421, (4, 3, 2), "closed for today");
    let (scope, judgement) = (Scope::Lane, refused(Scope::Lane));
    ledger.sleep(&Sleep { scope, lane, object: "", judgement, reply: Some(&reply) }, now)
}

/// Until when the lane keeps its only entry waiting, with the words.
fn waits(ledger: &Ledger, id: MessageId) -> (Millis, String, &'static str) {
    let one = ledger.message(id).expect("it waits").recipients.remove(0);
    (one.due, one.text, one.reason)
}

/// With a checkpoint (a clean stop) and without one, by facts alone.
#[test]
fn a_sleeping_lane_sleeps_on() {
    for clean in [true, false] {
        let disk = SimDisk::new(71);
        let (ledger, _) = open(&disk, START).unwrap();
        let id = submit(&ledger, START);
        let until = fall_asleep(&ledger, START);
        assert!(until > START);
        ledger.flush_journal(START).unwrap();
        if clean {
            ledger.close(START).unwrap();
        }
        drop(ledger);
        disk.restart();
        let (ledger, _) = open(&disk, START + 1).unwrap();
        route_all(&ledger, START + 1);
        assert!(ledger.lanes_to_run(START + 2, 10).is_empty(), "clean {clean}");
        assert_eq!(waits(&ledger, id), (until, "closed for today".to_owned(), "connect"), "clean {clean}");
        // Its sleep over, one probe finds out; another failure sleeps longer than the first one.
        // A lane that slept from its first moment wants its plan only now.
        let mut runs = ledger.lanes_to_run(until, 10);
        route_all(&ledger, until);
        runs.extend(ledger.lanes_to_run(until, 10));
        assert!(runs.iter().all(|run| run.probe && run.connections == 1) && runs.len() == 1, "{runs:?}");
        let (scope, judgement, lane) = (Scope::Lane, refused(Scope::Lane), runs[0].lane);
        let again = ledger.sleep(&Sleep { scope, lane, object: "", judgement, reply: None }, until);
        assert!(again - until > until - START, "clean {clean}: {until} {again}");
    }
}

#[test]
fn what_worked_since_or_was_flushed_is_awake() {
    let disk = SimDisk::new(72);
    let (ledger, _) = open(&disk, START).unwrap();
    submit(&ledger, START);
    fall_asleep(&ledger, START);
    let (kind, by, why) = (ControlKind::Flush, "test".to_owned(), String::new());
    let predicate = Predicate { all: true, ..Predicate::default() };
    let order = Control { kind, predicate, by, why, until: None, rule: 0, tag: None };
    ledger.control(&order, START + 1).unwrap();
    ledger.flush_journal(START + 1).unwrap();
    drop(ledger);
    disk.restart();
    let (ledger, _) = open(&disk, START + 2).unwrap();
    assert_eq!(take(&ledger, START + 3, 10).len(), 1);
}

#[test]
fn hosts_sleep_on_and_facts_name_the_port() {
    let disk = SimDisk::new(73);
    let (ledger, _) = open(&disk, START).unwrap();
    submit(&ledger, START);
    let wanted = ledger.wanted_routes(10, START).remove(0);
    let route = Route { site: "relay.example".into(), port: 2525, ..Route::default() };
    assert!(ledger.set_route(wanted.key, RouteAnswer::Route(route), FAR, FAR, START));
    let wanted = ledger.wanted_plans(10, START + 5).remove(0);
    assert_eq!(wanted.oldest / 1000, START / 1000);
    let lane = wanted.lane;
    let judgement = refused(Scope::Lane);
    ledger.sleep(&Sleep { scope: Scope::Lane, lane, object: "", judgement, reply: None }, START);
    let failure =
        Sleep { scope: Scope::Host, lane, object: "mx.example", judgement: refused(Scope::Host), reply: None };
    let until = ledger.sleep(&failure, START);
    ledger.flush_journal(START).unwrap();
    let page = ledger.read_journal(Cursor::default(), 1 << Fact::SLEPT, 10).unwrap();
    let slept: Vec<_> = page
        .records
        .iter()
        .map(|record| match &record.fact {
            Fact::Slept(fact) => (record.strings[fact.object as usize - 1].as_str(), fact.port, fact.failures),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(slept, [("relay.example", 2525, 1), ("mx.example", 0, 1)]);
    drop(ledger);
    disk.restart();
    let (ledger, _) = open(&disk, START + 1).unwrap();
    assert_eq!(ledger.asleep(Scope::Host, "mx.example", START + 1), Some(until));
    ledger.close(START + 1).unwrap();
    drop(ledger);
    disk.restart();
    let (ledger, _) = open(&disk, START + 2).unwrap();
    assert_eq!(ledger.asleep(Scope::Host, "mx.example", START + 2), Some(until));
}

#[test]
fn last_words_are_in_the_checkpoint() {
    let disk = SimDisk::new(74);
    let (mut ledger, _) = open(&disk, START).unwrap();
    let id = submit(&ledger, START);
    for lease in take(&ledger, START, 10) {
        settle(&ledger, &lease, Outcome::Deferred, START);
    }
    // From the first stop on replay begins behind the fact.
    for n in 1..4 {
        ledger.close(START + n).unwrap();
        drop(ledger);
        disk.restart();
        (ledger, _) = open(&disk, START + n).unwrap();
        assert_eq!(waits(&ledger, id).1, "greylisted", "after start {n}");
    }
}

fn plan(messages: u32, shared: &[&str]) -> Plan {
    let rate = Some(Rate { messages, per: HOUR });
    let limiter = |key: &&str| PlanLimiter { key: (*key).to_owned(), rate, ..PlanLimiter::default() };
    Plan { rate: None, limiters: shared.iter().map(limiter).collect(), ..Plan::default() }
}

fn serve(ledger: &Ledger, plan: &Plan, now: Millis) {
    for wanted in ledger.wanted_routes(100, now) {
        let route = Route { site: wanted.domain.clone(), ..Route::default() };
        assert!(ledger.set_route(wanted.key, RouteAnswer::Route(route), FAR, FAR, now));
    }
    for wanted in ledger.wanted_plans(100, now) {
        assert!(ledger.set_plan(wanted.lane, plan.clone(), FAR, now));
    }
}

/// Delivers what the limiters let through; how many messages that is.
fn deliver(ledger: &Ledger, now: Millis) -> usize {
    let mut count = 0;
    loop {
        let runs = ledger.lanes_to_run(now, 100);
        let before = count;
        for run in runs {
            while let Some(lease) = ledger.take(run.lane, now, 100) {
                count += 1;
                assert!(settle(ledger, &lease, Outcome::Delivered, now).iter().all(|settled| *settled));
            }
            end(ledger, run.lane, run.connections, now);
        }
        if count == before {
            return count;
        }
    }
}

fn to_many_domains(ledger: &Ledger, now: Millis) {
    let group: Vec<_> =
        (0..40).map(|n| message(ledger.ids().reserve(now), &[&format!("a@domain{}.example", n % 20)], now)).collect();
    ledger.commit(&group, now).expect("committed");
}

#[test]
fn twenty_lanes_share_one_limiter() {
    let disk = SimDisk::new(75);
    let (ledger, _) = open(&disk, START).unwrap();
    to_many_domains(&ledger, START);
    let shared = plan(10, &["provider:one"]);
    serve(&ledger, &shared, START);
    // It opens slowly: one token, then ten an hour for all twenty lanes together.
    assert_eq!(deliver(&ledger, START), 1);
    assert_eq!(deliver(&ledger, START + HOUR / 10), 1);
    assert_eq!(deliver(&ledger, START + 11 * HOUR / 10), 10);
    assert_eq!(deliver(&ledger, START + 11 * HOUR / 10), 0);
}

#[test]
fn an_exhausted_limiter_is_exhausted_after_a_restart() {
    for own in [true, false] {
        let disk = SimDisk::new(76);
        let (ledger, _) = open(&disk, START).unwrap();
        to_many_domains(&ledger, START);
        let rate = Some(Rate { messages: 1, per: HOUR });
        let slow = if own { Plan { rate, ..Plan::default() } } else { plan(1, &["provider:one"]) };
        serve(&ledger, &slow, START);
        let first = deliver(&ledger, START);
        assert_eq!(first, if own { 20 } else { 1 });
        ledger.close(START).unwrap();
        drop(ledger);
        disk.restart();
        let (ledger, _) = open(&disk, START + 1000).unwrap();
        serve(&ledger, &slow, START + 1000);
        assert_eq!(deliver(&ledger, START + 1000), 0, "own {own}");
        assert_eq!(deliver(&ledger, START + 1000 + HOUR), first, "own {own}");
    }
}

#[test]
fn a_suspended_limiter_stops_its_lanes_until_then() {
    let disk = SimDisk::new(77);
    let (ledger, _) = open(&disk, START).unwrap();
    to_many_domains(&ledger, START);
    let mut stopped = plan(1000, &["provider:one", "pool:two"]);
    stopped.limiters[1].suspended_until = START + HOUR;
    serve(&ledger, &stopped, START);
    assert_eq!(deliver(&ledger, START + HOUR - 1), 0);
    assert_eq!(deliver(&ledger, START + HOUR), 40);
}

/// No reply behind the dot: the next attempt is to begin at the host that may have the message, after a restart too.
#[test]
fn an_uncertain_entry_goes_to_the_same_host_first() {
    let disk = SimDisk::new(78);
    let (ledger, _) = open(&disk, START).unwrap();
    submit(&ledger, START);
    let lease = take(&ledger, START, 1).remove(0);
    let judgement = Judgement { scope: Scope::Recipient, reason: Reason::Uncertain, ..refused(Scope::Recipient) };
    let settlement = Settlement {
        id: lease.id,
        entry: lease.entries[0].entry,
        number: 0,
        judgement,
        reply: None,
        host: "mx2.example[192.0.2.2]:25",
        tls: "",
        may_repeat: true,
        took: 1,
        owes_report: false,
    };
    assert_eq!(ledger.settle(&[settlement], START), [true]);
    ledger.close(START).unwrap();
    drop(ledger);
    disk.restart();
    let later = START + 2 * HOUR;
    let (ledger, _) = open(&disk, later).unwrap();
    route_all(&ledger, later);
    let runs = ledger.lanes_to_run(later, 10);
    assert_eq!(runs[0].same_host.as_deref(), Some("mx2.example[192.0.2.2]:25"), "{runs:?}");
}
