//! Controls, plans and deadlines, told in short stories.
#![allow(clippy::unwrap_used)]

use angarium_nouns::envelope::Class;
use angarium_nouns::names::NameId;
use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, MessageId, Millis, Reason};
use angarium_queue::*;

const NOW: Millis = 1_790_000_000_000;
const TENANTS: u32 = 4;

/// Forty messages of four tenants to one lane, LSNs 1 to 40.
struct Site {
    index: Index,
    lane: LaneRef,
}

fn plan(valid: Millis, stale: Millis) -> LanePlan {
    LanePlan { window: 5, limiters: [None; LIMITERS_PER_LANE], valid, stale, back_off: BackOff::default() }
}

fn id(n: u64) -> MessageId {
    MessageId::new(1, NOW + n, n)
}

impl Site {
    fn new() -> Self {
        let mut index = Index::new();
        let lane = index.add_lane();
        index.set_plan(lane, &plan(Millis::MAX, Millis::MAX), NOW).unwrap();
        let mut site = Self { index, lane };
        (1..=40).for_each(|n| site.push(n, 0));
        site
    }

    fn push(&mut self, n: u64, expires: Millis) {
        let tenant = NameId(n as u32 % TENANTS);
        let (node, _) = self.index.node(NodeKey { domain: NameId(1), tenant, ..NodeKey::default() });
        let new = NewEntry {
            number: 0,
            node,
            state: EntryState::Waiting,
            due: NOW,
            expires,
            attempts: 0,
            step: 0,
            reason: Reason::Other,
        };
        let message = Message { id: id(n), place: Place::default(), lsn: Lsn(n), sender: n as u32 };
        self.index.insert(&message, &[new], NOW).unwrap();
        self.index.attach(node, self.lane).unwrap();
    }

    fn control(&mut self, number: u64, kind: ControlKind, predicate: Predicate) {
        let control = Control { number, kind, predicate, position: Lsn(40), until: 0 };
        self.index.add_control(control, NOW).unwrap();
    }

    /// Tenants of all that can be taken, one by one.
    fn drain(&mut self) -> Vec<u32> {
        let mut tenants = Vec::new();
        loop {
            let mut out = Vec::new();
            match self.index.take(self.lane, NOW, 1, &mut out) {
                Take::Message(_) => tenants.push(self.index.node_view(out[0].node).unwrap().key.tenant.0),
                Take::Nothing => return tenants,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn of_tenant(tenant: u32) -> Predicate {
    Predicate { tenant: Some(NameId(tenant)), ..Predicate::default() }
}

#[test]
fn nothing_is_taken_that_a_control_should_stop() {
    let mut site = Site::new();
    site.control(1, ControlKind::Hold, of_tenant(1));
    site.control(2, ControlKind::Cancel, of_tenant(2));
    site.control(3, ControlKind::Suspend, of_tenant(3));
    // No sweep has passed: the rules are met on the way out.
    assert_eq!(site.drain(), [0; 10]);
    let touched = site.index.touched();
    assert_eq!(touched.len(), 30);
    assert_eq!(touched.iter().filter(|one| one.kind == ControlKind::Cancel).count(), 10);
    // Later mail: the standing rules hold it, the one-shot does not.
    (41..=48).for_each(|n| site.push(n, 0));
    assert_eq!(site.drain().iter().filter(|tenant| **tenant == 2).count(), 2);
    // A suspend that is lifted lets go, a hold does not.
    assert!(site.index.lift(1) && site.index.lift(3) && !site.index.lift(9));
    while site.index.sweep(NOW, 3) {}
    assert_eq!(site.drain(), [3; 12]);
    assert_eq!(site.index.controls(), []);
    assert_eq!(site.index.counts().entries[Class::Normal as usize][EntryState::Held as usize], 12 + 10);
}

#[test]
fn a_list_is_applied_at_once() {
    let mut site = Site::new();
    let list = Predicate::with_ids(vec![id(7), id(3), id(99), id(7)]);
    site.control(1, ControlKind::Hold, list.clone());
    assert_eq!(site.index.controls(), []);
    assert_eq!(site.index.touched().len(), 2);
    let mut found = Vec::new();
    assert_eq!(site.index.find(&list, Cursor::default(), 10, 10, &mut found), None);
    let states: Vec<_> = found.iter().map(|&entry| site.index.view(entry).unwrap().state).collect();
    assert_eq!(states, [EntryState::Held; 2]);
    site.control(2, ControlKind::Release, list);
    assert_eq!(site.drain().len(), 40);
}

#[test]
fn at_most_256_are_live() {
    let mut site = Site::new();
    for number in 0..MAX_CONTROLS as u64 {
        let kind = if number % 2 == 0 { ControlKind::Hold } else { ControlKind::Retry };
        site.control(number, kind, of_tenant(100));
    }
    let control =
        |number| Control { number, kind: ControlKind::Hold, predicate: of_tenant(1), position: Lsn(1), until: 0 };
    assert_eq!(site.index.add_control(control(1000), NOW), Err(ControlError::TooMany));
    while site.index.sweep(NOW, 10) {}
    // The one-shots have passed.
    assert_eq!(site.index.controls().len(), MAX_CONTROLS / 2);
    assert_eq!(site.index.add_control(control(0), NOW), Err(ControlError::Duplicate));
    assert_eq!(site.index.add_control(control(1000), NOW), Ok(()));
}

#[test]
fn in_flight_is_told_and_stopped_when_it_comes_back() {
    let mut site = Site::new();
    let mut out = Vec::new();
    let _ = site.index.take(site.lane, NOW, 1, &mut out);
    let entry = out[0].entry;
    let tenant = site.index.node_view(out[0].node).unwrap().key.tenant.0;
    site.control(1, ControlKind::Cancel, of_tenant(tenant));
    while site.index.sweep(NOW, 7) {}
    let first = site.index.touched().into_iter().find(|one| one.entry == entry).unwrap();
    assert!(first.in_flight && site.index.is_stopped(entry));
    let deferral = Deferral { due: NOW, step: 1, reason: Reason::Greylist, attempted: true };
    site.index.defer(entry, deferral, NOW).unwrap();
    let touched = site.index.touched();
    assert_eq!((touched.len(), touched[0].entry, touched[0].in_flight), (1, entry, false));
    assert_eq!(site.index.view(entry).unwrap().state, EntryState::Held);
    assert!(!site.drain().contains(&tenant));
}

#[test]
fn plans_grow_old() {
    let mut site = Site::new();
    site.index.set_plan(site.lane, &plan(NOW + 1000, NOW + 5000), NOW).unwrap();
    let mut out = Vec::new();
    assert!(matches!(site.index.take(site.lane, NOW, 1, &mut out), Take::Message(_)));
    assert_eq!(site.index.wanted_plans(9), []);
    // No longer valid: it is wanted anew, and served until it is stale.
    assert!(matches!(site.index.take(site.lane, NOW + 2000, 1, &mut out), Take::Message(_)));
    assert_eq!(site.index.wanted_plans(9), [site.lane]);
    assert_eq!(site.index.wanted_plans(9), []);
    assert_eq!(site.index.take(site.lane, NOW + 5000, 1, &mut out), Take::NoPlan);
    site.index.set_plan(site.lane, &plan(NOW + 9000, NOW + 9000), NOW + 5000).unwrap();
    assert!(matches!(site.index.take(site.lane, NOW + 5000, 1, &mut out), Take::Message(_)));
}

#[test]
fn deadlines_are_found_in_bounded_steps() {
    let mut site = Site::new();
    (41..=60).for_each(|n| site.push(n, NOW + n));
    let (mut late, mut cursor, mut calls) = (Vec::new(), Some(Cursor::default()), 0);
    while let Some(from) = cursor {
        cursor = site.index.expired(NOW + 1000, from, 7, &mut late);
        calls += 1;
    }
    // Kept in whole seconds, rounded up.
    assert_eq!((late.len(), calls), (20, 9));
    assert_eq!(site.index.expired(NOW + 30, Cursor::default(), 100, &mut Vec::new()), None);
}

#[test]
fn limiters_come_back_with_what_they_had() {
    let mut index = Index::new();
    let limits = Limits { tokens: 10, period: 1000, burst: 5, window: 3 };
    let fresh = index.add_limiter(limits, NOW);
    assert_eq!(index.limiter(fresh, NOW).unwrap().tokens, 1);
    assert_eq!(index.limiter(fresh, NOW + 250).unwrap().tokens, 3);
    let back = index.restore_limiter(limits, 4, NOW);
    assert_eq!(index.limiter(back, NOW).unwrap().tokens, 4);
    assert_eq!(index.limiter(back, NOW + 60_000).unwrap().tokens, 5);
    assert_eq!(index.limiters(), [fresh, back]);
    assert!(index.remove_limiter(fresh) && !index.remove_limiter(fresh));
    assert_eq!(index.suspend(fresh, NOW), Err(Stale));
}
