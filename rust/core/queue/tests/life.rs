//! The life of entries, told in short stories.
#![allow(clippy::unwrap_used)]

use angarium_nouns::envelope::Class;
use angarium_nouns::names::NameId;
use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, MessageId, Millis, Reason};
use angarium_queue::*;

const NOW: Millis = 1_790_000_000_000;

fn key(domain: u32) -> NodeKey {
    NodeKey { domain: NameId(domain), ..NodeKey::default() }
}

fn message(n: u64) -> Message {
    let id = MessageId::new(1, NOW, n);
    Message { id, place: Place { segment: 1, offset: n as u32 * 64, length: 10 }, lsn: Lsn(n), sender: 7 }
}

fn entry(number: u32, node: NodeRef) -> NewEntry {
    NewEntry {
        number,
        node,
        state: EntryState::Waiting,
        due: NOW,
        expires: 0,
        attempts: 0,
        step: 0,
        reason: Reason::Other,
    }
}

fn plan(window: u32) -> LanePlan {
    LanePlan {
        window,
        limiters: [None; LIMITERS_PER_LANE],
        valid: Millis::MAX,
        stale: Millis::MAX,
        back_off: BackOff::default(),
    }
}

/// An index with one message of `recipients` to one domain, its lane ready to send.
fn one_lane(recipients: u32) -> (Index, LaneRef, NodeRef) {
    let mut index = Index::new();
    let (node, new) = index.node(key(5));
    assert!(new);
    let entries: Vec<_> = (0..recipients).map(|number| entry(number, node)).collect();
    index.insert(&message(1), &entries, NOW).unwrap();
    assert_eq!(index.wanted_routes(10), [node]);
    let lane = index.add_lane();
    index.attach(node, lane).unwrap();
    assert_eq!(index.wanted_plans(10), [lane]);
    index.set_plan(lane, &plan(5), NOW).unwrap();
    (index, lane, node)
}

fn take(index: &mut Index, lane: LaneRef, now: Millis, limit: usize) -> (Take, Vec<Leased>) {
    let mut out = Vec::new();
    (index.take(lane, now, limit, &mut out), out)
}

#[test]
fn in_taken_closed() {
    let (mut index, lane, node) = one_lane(3);
    let run = index.lanes_to_run(NOW, 10);
    assert_eq!(run, [LaneRun { lane, connections: 3, wake: 0, probe: false }]);
    assert!(index.connection_opened(lane).unwrap());
    let (answer, leased) = take(&mut index, lane, NOW, 2);
    assert_eq!((answer, leased.len()), (Take::Message(message(1)), 2));
    assert_eq!(index.counts().entries[Class::Normal as usize], [1, 0, 2, 0]);
    assert_eq!(index.close(leased[0].entry), Ok(Closed { message: None }));
    assert_eq!(index.close(leased[0].entry), Err(Stale));
    assert_eq!(index.close(leased[1].entry), Ok(Closed { message: None }));
    let (_, rest) = take(&mut index, lane, NOW, 2);
    assert_eq!(rest[0].number, 2);
    assert_eq!(index.close(rest[0].entry), Ok(Closed { message: Some(message(1)) }));
    assert_eq!(index.freed_nodes(), [(node, key(5))]);
    assert_eq!(index.message(message(1).id), None);
    index.connection_closed(lane, NOW).unwrap();
    assert!(index.remove_lane(lane));
}

#[test]
fn deferred_and_due_again() {
    let (mut index, lane, _) = one_lane(1);
    let (_, leased) = take(&mut index, lane, NOW, 1);
    let later = NOW + 300_000;
    let deferral = Deferral { due: later, step: 1, reason: Reason::Greylist, attempted: true };
    index.defer(leased[0].entry, deferral, NOW).unwrap();
    assert_eq!(take(&mut index, lane, NOW, 1).0, Take::Nothing);
    index.advance(NOW, 100);
    let mut at = NOW;
    while let Some(due) = index.next_due().filter(|due| *due < later) {
        assert!(due > at);
        at = due;
        index.advance(at, 100);
        assert_eq!(take(&mut index, lane, at, 1).0, Take::Nothing);
    }
    index.advance(later, 100);
    let (_, leased) = take(&mut index, lane, later, 1);
    assert_eq!((leased[0].attempts, leased[0].step, leased[0].reason), (1, 1, Reason::Greylist));
}

#[test]
fn sleep_and_probe() {
    let (mut index, lane, _) = one_lane(3);
    let until = index.lane_failed(lane, Reason::Connect, NOW).unwrap();
    assert!((NOW + 51_000..=NOW + 69_000).contains(&until));
    assert_eq!(take(&mut index, lane, NOW, 1).0, Take::Asleep(until));
    assert_eq!(index.lanes_to_run(NOW, 10), []);
    index.advance(until, 10);
    assert_eq!(index.lanes_to_run(until, 10), [LaneRun { lane, connections: 1, wake: 0, probe: true }]);
    assert!(index.connection_opened(lane).unwrap());
    assert!(!index.connection_opened(lane).unwrap());
    let (_, leased) = take(&mut index, lane, until, 1);
    assert_eq!(take(&mut index, lane, until, 1).0, Take::Probing);
    index.give_back(leased[0].entry).unwrap();
    let longer = index.lane_failed(lane, Reason::Connect, until).unwrap();
    assert!(longer - until > 100_000);
    index.advance(longer, 10);
    index.lane_worked(lane).unwrap();
    assert_eq!(index.lane(lane).unwrap().failures, 0);
    assert_eq!(take(&mut index, lane, longer, 1).1[0].number, 0);
}

#[test]
fn held_released_cancelled() {
    let (mut index, lane, _) = one_lane(2);
    let id = message(1).id;
    let (first, second) = (index.entry(id, 0).unwrap(), index.entry(id, 1).unwrap());
    assert_eq!(index.hold(first, NOW + 1000, Reason::Policy), Ok(Stop::Done(Closed { message: None })));
    let (_, leased) = take(&mut index, lane, NOW, 9);
    assert_eq!(leased.len(), 1);
    assert_eq!(index.cancel(second), Ok(Stop::InFlight));
    assert!(index.is_stopped(second));
    index.give_back(second).unwrap();
    let touched = index.touched();
    assert_eq!((touched[0].entry, touched[0].kind), (second, ControlKind::Cancel));
    assert_eq!(take(&mut index, lane, NOW, 9).0, Take::Nothing);
    let _ = index.close(second).unwrap();
    index.advance(NOW + 1000, 9);
    assert_eq!(take(&mut index, lane, NOW + 1000, 9).1.len(), 1);
}

#[test]
fn a_limiter_is_shared_fairly() {
    let mut index = Index::new();
    let limits = Limits { tokens: 10, period: 1000, burst: 1, window: u32::MAX };
    let limiter = index.add_limiter(limits, NOW);
    // Tenant 1 has 20 lanes behind the limiter, tenant 2 has one.
    let mut sent = [0; 3];
    for lane_number in 0..21u32 {
        let tenant = if lane_number == 20 { 2 } else { 1 };
        let (node, _) = index.node(NodeKey { tenant: NameId(tenant), ..key(lane_number) });
        for n in 0..30 {
            let sequence = u64::from(lane_number) * 100 + n;
            index.insert(&message(sequence), &[entry(0, node)], NOW).unwrap();
        }
        let lane = index.add_lane();
        index.attach(node, lane).unwrap();
        let limited = LanePlan { limiters: [Some(limiter), None, None, None], ..plan(2) };
        index.set_plan(lane, &limited, NOW).unwrap();
    }
    for now in (NOW..NOW + 4000).step_by(50) {
        index.advance(now, 100);
        for run in index.lanes_to_run(now, 100) {
            for _ in 0..run.connections {
                if index.connection_opened(run.lane).unwrap() {
                    let (answer, leased) = take(&mut index, run.lane, now, 1);
                    assert!(matches!(answer, Take::Message(_)), "{answer:?}");
                    sent[index.node_view(leased[0].node).unwrap().key.tenant.0 as usize] += 1;
                    let _ = index.close(leased[0].entry).unwrap();
                    index.connection_closed(run.lane, now).unwrap();
                }
            }
        }
    }
    assert!((39..=41).contains(&(sent[1] + sent[2])), "{sent:?}");
    assert!(sent[2] >= 15, "{sent:?}");
}

#[test]
fn pages_bring_it_back() {
    let (mut index, _, node) = one_lane(700);
    for n in 2..50 {
        index.insert(&message(n), &[entry(0, node)], NOW).unwrap();
    }
    let (mut cursor, mut pages) = (Cursor::default(), Vec::new());
    loop {
        let mut page = Vec::new();
        let next = index.write_page(cursor, 4096, &mut page);
        assert!(page.len() <= 4096);
        pages.push(page);
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    let mut copy = Index::new();
    let mut entries = 0;
    for page in &pages {
        entries += copy.read_page(page, NOW, &mut |key| key).unwrap().entries;
        assert_eq!(copy.read_page(page, NOW, &mut |key| key).unwrap().entries, 0);
    }
    assert_eq!(entries, 748);
    assert_eq!(copy.counts().entries, index.counts().entries);
    assert_eq!(copy.message(message(9).id), Some(message(9)));
    for cut in 0..pages[0].len() {
        let between_messages = cut == 21 || cut >= 89;
        assert!(Index::new().read_page(&pages[0][..cut], NOW, &mut |key| key).is_err() || between_messages);
    }
}
