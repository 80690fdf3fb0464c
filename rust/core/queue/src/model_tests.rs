//! The index against a naive model: a list of structs, walked from end to end for every question.

mod controls;

use std::collections::BTreeMap;

use angarium_nouns::envelope::Class;
use angarium_nouns::names::NameId;
use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, MessageId, Millis, Reason};
use proptest::prelude::*;

use crate::*;

const START: Millis = 1_790_000_000_000;
const NODES: u32 = 8;
const LANES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Insert { recipients: Vec<(u32, u64)> },
    Take { lane: usize, limit: usize },
    Settle { which: usize, how: u8, delay: u64 },
    Touch { which: usize, how: u8, delay: u64 },
    Advance { by: u64, limit: usize },
    Attach { node: u32, lane: usize },
    Detach { node: u32 },
    Control { kind: u8, by: u8, value: u32 },
    Lift,
    Sleep { lane: usize, by: u64 },
    Wake { lane: usize },
    Reload,
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..100u64, 1..100_000u64, 1..500_000_000u64]
}

fn step() -> impl Strategy<Value = Step> {
    let recipients = prop::collection::vec((0..NODES, delay()), 1..6);
    prop_oneof![
        6 => recipients.prop_map(|recipients| Step::Insert { recipients }),
        6 => (0..LANES, 1..5usize).prop_map(|(lane, limit)| Step::Take { lane, limit }),
        6 => (any::<usize>(), 0..7u8, delay()).prop_map(|(which, how, delay)| Step::Settle { which, how, delay }),
        4 => (any::<usize>(), 0..7u8, delay()).prop_map(|(which, how, delay)| Step::Touch { which, how, delay }),
        5 => (delay(), prop_oneof![Just(10_000usize), 1..4usize]).prop_map(|(by, limit)| Step::Advance { by, limit }),
        3 => (0..NODES, 0..LANES).prop_map(|(node, lane)| Step::Attach { node, lane }),
        1 => (0..NODES).prop_map(|node| Step::Detach { node }),
        2 => (0..6u8, 0..4u8, 0..4u32).prop_map(|(kind, by, value)| Step::Control { kind, by, value }),
        1 => Just(Step::Lift),
        1 => (0..LANES, 1..100_000u64).prop_map(|(lane, by)| Step::Sleep { lane, by }),
        1 => (0..LANES).prop_map(|lane| Step::Wake { lane }),
        1 => Just(Step::Reload),
    ]
}

/// Nodes differ in domain, tenant and class.
fn key(node: u32) -> NodeKey {
    let class = Class::ALL[node as usize % 4];
    NodeKey { domain: NameId(node), tenant: NameId(node / 4), class, ..NodeKey::default() }
}

#[derive(Debug, Clone)]
struct Row {
    id: MessageId,
    number: u32,
    node: u32,
    state: EntryState,
    due: Millis,
    ready: bool,
    attempts: u16,
    reason: Reason,
    /// What met it in flight.
    stop: Option<(Millis, Reason)>,
    closing: bool,
    /// Leased as the probe of its lane.
    probe: Option<usize>,
}

struct Pair {
    index: Index,
    rows: Vec<Row>,
    /// Due rows of each node in the order of joining, by (id, number).
    queues: BTreeMap<u32, Vec<(MessageId, u32)>>,
    lanes: Vec<LaneRef>,
    lane_of: BTreeMap<u32, usize>,
    asleep: [Option<Millis>; LANES],
    probing: [bool; LANES],
    probe_out: [bool; LANES],
    rules: Vec<Control>,
    now: Millis,
    /// The wheel was last brought to.
    advanced: Millis,
    sequence: u64,
}

impl Pair {
    fn new() -> Self {
        let mut index = Index::new();
        let lanes = (0..LANES).map(|_| index.add_lane()).collect::<Vec<_>>();
        let mut pair = Self {
            index,
            rows: Vec::new(),
            queues: BTreeMap::new(),
            lanes,
            lane_of: BTreeMap::new(),
            asleep: [None; LANES],
            probing: [false; LANES],
            probe_out: [false; LANES],
            rules: Vec::new(),
            now: START,
            advanced: START,
            sequence: 0,
        };
        pair.plan();
        pair
    }

    fn plan(&mut self) {
        let plan = LanePlan {
            window: 4,
            limiters: [None; LIMITERS_PER_LANE],
            valid: Millis::MAX,
            stale: Millis::MAX,
            back_off: BackOff::default(),
        };
        for &lane in &self.lanes {
            self.index.set_plan(lane, &plan, self.now).unwrap();
        }
    }

    fn handle(&self, at: usize) -> EntryRef {
        self.index.entry(self.rows[at].id, self.rows[at].number).unwrap()
    }

    fn find(&self, entry: EntryRef) -> usize {
        let view = self.index.view(entry).unwrap();
        self.rows.iter().position(|row| (row.id, row.number) == (view.id, view.number)).unwrap()
    }

    fn join(&mut self, at: usize, in_front: bool) {
        let row = &mut self.rows[at];
        row.ready = true;
        let queue = self.queues.entry(row.node).or_default();
        let place = if in_front { 0 } else { queue.len() };
        queue.insert(place, (row.id, row.number));
    }

    fn leave(&mut self, at: usize) {
        let row = &mut self.rows[at];
        if std::mem::take(&mut row.ready) {
            self.queues.get_mut(&row.node).unwrap().retain(|one| *one != (row.id, row.number));
        }
    }

    fn place(&mut self, at: usize) {
        if self.rows[at].state == EntryState::Waiting && self.rows[at].due <= self.now {
            self.join(at, false);
        }
    }

    fn hold(&mut self, at: usize, until: Millis, reason: Reason) {
        self.leave(at);
        let row = &mut self.rows[at];
        (row.state, row.due, row.reason) = (EntryState::Held, until, reason);
    }

    fn release(&mut self, at: usize) {
        let row = &mut self.rows[at];
        (row.state, row.due, row.reason) = (EntryState::Waiting, self.now, Reason::Other);
        self.join(at, false);
    }

    fn close(&mut self, at: usize) {
        self.leave(at);
        let row = self.rows.remove(at);
        if !self.rows.iter().any(|other| other.node == row.node) {
            self.lane_of.remove(&row.node);
        }
    }

    fn come_back(&mut self, at: usize) {
        if let Some((until, reason)) = self.rows[at].stop.take() {
            self.rows[at].closing = matches!(reason, Reason::Cancelled);
            self.hold(at, until, reason);
        }
    }

    fn insert(&mut self, recipients: &[(u32, u64)]) {
        self.sequence += 1;
        let id = MessageId::new(1, self.now, self.sequence);
        let mut entries = Vec::new();
        for (number, &(node, delay)) in recipients.iter().enumerate() {
            let due = self.now + delay;
            let handle = self.index.node(key(node)).0;
            entries.push(NewEntry {
                number: number as u32 * 3,
                node: handle,
                state: EntryState::Waiting,
                due,
                expires: 0,
                attempts: 2,
                step: 1,
                reason: Reason::Dns,
            });
            let row = Row {
                id,
                number: number as u32 * 3,
                node,
                state: EntryState::Waiting,
                due,
                ready: false,
                attempts: 2,
                reason: Reason::Dns,
                stop: None,
                closing: false,
                probe: None,
            };
            self.rows.push(row);
        }
        let message =
            Message { id, place: Place::default(), lsn: Lsn(self.sequence), sender: self.sequence as u32 % 3 };
        self.index.insert(&message, &entries, self.now).unwrap();
        assert_eq!(self.index.insert(&message, &entries, self.now), Err(InsertError::Duplicate));
        for at in self.rows.len() - recipients.len()..self.rows.len() {
            self.place(at);
            for rule in self.rules.clone() {
                self.meet(at, &rule);
            }
        }
    }

    fn take(&mut self, lane: usize, limit: usize) {
        let mut out = Vec::new();
        let answer = self.index.take(self.lanes[lane], self.now, limit, &mut out);
        let due: Vec<usize> = (0..self.rows.len())
            .filter(|&at| self.rows[at].ready && self.lane_of.get(&self.rows[at].node) == Some(&lane))
            .collect();
        if let Some(until) = self.asleep[lane] {
            assert_eq!(answer, Take::Asleep(until));
            return;
        }
        if self.probing[lane] && self.probe_out[lane] {
            assert_eq!((answer, out.len()), (Take::Probing, 0));
            return;
        }
        if due.is_empty() {
            assert_eq!((answer, out.len()), (Take::Nothing, 0));
            return;
        }
        let Take::Message(message) = answer else { panic!("{answer:?} with {} due", due.len()) };
        assert!((1..=limit).contains(&out.len()));
        let first = self.find(out[0].entry);
        self.check_first(first, &due);
        for one in &out {
            let at = self.find(one.entry);
            assert!(due.contains(&at) && self.rows[at].ready);
            assert_eq!(
                (self.rows[at].id, key(self.rows[at].node).tenant),
                (message.id, key(self.rows[first].node).tenant)
            );
            assert_eq!(key(self.rows[at].node).class, key(self.rows[first].node).class);
            self.leave(at);
            self.rows[at].state = EntryState::Leased;
            self.rows[at].probe = (at == first && self.probing[lane]).then_some(lane);
        }
        self.probe_out[lane] = self.probing[lane];
        // No sibling that would have fitted was left.
        let node = self.rows[first].node;
        let left = self.rows.iter().any(|row| row.ready && row.id == message.id && row.node == node);
        assert!(!left || out.len() == limit);
    }

    /// In its flow, the node whose first entry has been due longest comes first.
    fn check_first(&self, first: usize, due: &[usize]) {
        let flow = |row: &Row| (key(row.node).tenant, key(row.node).class);
        let heads = self.queues.iter().filter_map(|(node, queue)| queue.first().map(|head| (node, head)));
        let oldest = heads
            .filter_map(|(_, head)| due.iter().copied().find(|&at| (self.rows[at].id, self.rows[at].number) == *head))
            .filter(|&at| flow(&self.rows[at]) == flow(&self.rows[first]))
            .map(|at| self.rows[at].due)
            .min();
        assert_eq!(Some(self.rows[first].due), oldest);
    }

    fn advance(&mut self, by: u64, limit: usize) {
        self.now += by;
        let mut calls = 0;
        while self.index.advance(self.now, limit) {
            calls += 1;
            assert!(calls < 100_000);
        }
        self.advanced = self.now;
        for lane in 0..LANES {
            if self.asleep[lane].is_some_and(|until| until <= self.now) {
                (self.asleep[lane], self.probing[lane]) = (None, true);
            }
        }
        let mut due: Vec<usize> = (0..self.rows.len())
            .filter(|&at| {
                let row = &self.rows[at];
                let timed = matches!(row.state, EntryState::Waiting if !row.ready)
                    || row.state == EntryState::Held && row.due != 0;
                timed && row.due <= self.now
            })
            .collect();
        due.sort_by_key(|&at| self.rows[at].due);
        for at in due {
            if self.rows[at].state == EntryState::Held { self.release(at) } else { self.join(at, false) }
        }
        assert!(self.index.next_due().is_none_or(|due| due > self.now));
    }

    fn settle(&mut self, which: usize, how: u8, delay: u64) {
        let leased: Vec<usize> = (0..self.rows.len()).filter(|&at| self.rows[at].state == EntryState::Leased).collect();
        if leased.is_empty() {
            return;
        }
        let at = leased[which % leased.len()];
        if let Some(lane) = self.rows[at].probe.filter(|_| how < 5) {
            self.probe_out[lane] = false;
        }
        let entry = self.handle(at);
        match how {
            0 | 1 => {
                let closed = self.index.close(entry).unwrap();
                let id = self.rows[at].id;
                assert_eq!(closed.message.is_some(), self.rows.iter().filter(|row| row.id == id).count() == 1);
                self.close(at);
                assert_eq!(self.index.close(entry), Err(Stale));
            }
            2 => {
                let due = self.now + delay;
                let deferral = Deferral { due, step: 4, reason: Reason::Greylist, attempted: true };
                self.index.defer(entry, deferral, self.now).unwrap();
                let row = &mut self.rows[at];
                row.attempts += 1;
                (row.state, row.due, row.reason) = (EntryState::Waiting, due, Reason::Greylist);
                self.place(at);
                self.come_back(at);
            }
            3 => {
                self.index.give_back(entry).unwrap();
                self.rows[at].state = EntryState::Waiting;
                self.join(at, true);
                self.come_back(at);
            }
            4 => {
                self.index.owe(entry, Reason::Policy).unwrap();
                let row = &mut self.rows[at];
                (row.state, row.reason, row.stop) = (EntryState::Owing, Reason::Policy, None);
            }
            5 => {
                assert_eq!(self.index.hold(entry, 0, Reason::Policy), Ok(Stop::InFlight));
                self.stop(at, 0, Reason::Policy);
            }
            _ => {
                assert_eq!(self.index.cancel(entry), Ok(Stop::InFlight));
                self.stop(at, 0, Reason::Cancelled);
            }
        }
    }

    fn stop(&mut self, at: usize, until: Millis, reason: Reason) {
        let row = &mut self.rows[at];
        if !matches!(row.stop, Some((_, Reason::Cancelled))) {
            row.stop = Some((until, reason));
        }
    }

    fn touch(&mut self, which: usize, how: u8, delay: u64) {
        let others: Vec<usize> = (0..self.rows.len()).filter(|&at| self.rows[at].state != EntryState::Leased).collect();
        if others.is_empty() {
            return;
        }
        let at = others[which % others.len()];
        let entry = self.handle(at);
        let state = self.rows[at].state;
        match how {
            0 => {
                let until = if delay == 0 { 0 } else { self.now + delay };
                let _ = self.index.hold(entry, until, Reason::Policy).unwrap();
                self.hold(at, until, Reason::Policy);
                self.rows[at].closing = false;
            }
            1 => {
                assert_eq!(self.index.release(entry, 0, self.now), Ok(state == EntryState::Held));
                if state == EntryState::Held {
                    self.release(at);
                    self.rows[at].closing = false;
                }
            }
            2 => {
                let waits = state == EntryState::Waiting && !self.rows[at].ready;
                assert_eq!(self.index.retry(entry, self.now), Ok(waits));
                if waits {
                    self.rows[at].due = self.now;
                    self.join(at, false);
                }
            }
            3 => {
                assert!(matches!(self.index.cancel(entry), Ok(Stop::Done(_))));
                self.close(at);
            }
            4 => {
                self.index.give_back(entry).unwrap();
            }
            5 => {
                // Over to another node.
                let (from, to) = (self.rows[at].node, (self.rows[at].node + 1) % NODES);
                let node = self.index.node(key(to)).0;
                self.index.move_entry(entry, node, self.now).unwrap();
                let queued = self.rows[at].ready;
                self.leave(at);
                self.rows[at].node = to;
                if queued {
                    self.join(at, false);
                }
                if !self.rows.iter().any(|row| row.node == from) {
                    self.lane_of.remove(&from);
                }
            }
            _ => {
                let node = self.index.find_node(&key(self.rows[at].node)).unwrap();
                let due = self.now + delay;
                let to = NewEntry {
                    number: 0,
                    node,
                    state: EntryState::Waiting,
                    due,
                    expires: 0,
                    attempts: 9,
                    step: 3,
                    reason: Reason::Tls,
                };
                self.index.set(entry, &to, self.now).unwrap();
                self.leave(at);
                let row = &mut self.rows[at];
                (row.state, row.due, row.attempts, row.reason) = (EntryState::Waiting, due, 9, Reason::Tls);
                row.closing = false;
                self.place(at);
            }
        }
    }

    /// Everything through checkpoint pages into a new index.
    fn reload(&mut self) {
        let (mut cursor, mut pages) = (Some(Cursor::default()), Vec::new());
        while let Some(from) = cursor {
            let mut page = Vec::new();
            cursor = self.index.write_page(from, 300, &mut page);
            assert!(page.len() <= 300);
            pages.push(page);
        }
        self.index = Index::new();
        self.index.advance(self.now, 1);
        self.lanes = (0..LANES).map(|_| self.index.add_lane()).collect();
        self.plan();
        (self.asleep, self.probing, self.probe_out) = ([None; LANES], [false; LANES], [false; LANES]);
        self.rules.clear();
        for page in pages {
            self.index.read_page(&page, self.now, &mut |key| key).unwrap();
        }
        self.queues.clear();
        self.lane_of.clear();
        for at in 0..self.rows.len() {
            let row = &mut self.rows[at];
            (row.ready, row.stop) = (false, None);
            if row.state == EntryState::Leased {
                row.state = EntryState::Waiting;
            }
        }
        for at in self.in_slot_order() {
            self.place(at);
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Insert { recipients } => self.insert(recipients),
            Step::Take { lane, limit } => self.take(*lane, *limit),
            Step::Settle { which, how, delay } => self.settle(*which, *how, *delay),
            Step::Touch { which, how, delay } => self.touch(*which, *how, *delay),
            Step::Advance { by, limit } => self.advance(*by, *limit),
            Step::Attach { node, lane } => {
                if let Some(handle) = self.index.find_node(&key(*node)) {
                    self.index.attach(handle, self.lanes[*lane]).unwrap();
                    self.lane_of.insert(*node, *lane);
                }
            }
            Step::Detach { node } => {
                if let Some(handle) = self.index.find_node(&key(*node)) {
                    self.index.detach(handle).unwrap();
                    self.lane_of.remove(node);
                }
            }
            Step::Control { kind, by, value } => self.control(*kind, *by, *value),
            Step::Lift => self.lift(),
            Step::Sleep { lane, by } => {
                let until = self.now + by;
                self.index.sleep_lane(self.lanes[*lane], until, Reason::Connect).unwrap();
                (self.asleep[*lane], self.probing[*lane], self.probe_out[*lane]) = (Some(until), false, false);
            }
            Step::Wake { lane } => {
                self.index.wake_lane(self.lanes[*lane]).unwrap();
                if self.asleep[*lane].take().is_some() {
                    self.probing[*lane] = true;
                }
            }
            Step::Reload => self.reload(),
        }
        self.check();
    }

    fn check(&mut self) {
        self.index.check_all();
        let counts = self.index.counts();
        let mut entries = [[0u64; 4]; 4];
        let (mut ready, mut oldest) = ([0u64; 4], [None::<Millis>; 4]);
        for row in &self.rows {
            let class = key(row.node).class as usize;
            entries[class][row.state as usize] += 1;
            ready[class] += u64::from(row.ready);
            let received = row.id.millis() / 1000 * 1000;
            oldest[class] = Some(oldest[class].map_or(received, |old| old.min(received)));
        }
        assert_eq!((counts.entries, counts.ready, counts.oldest), (entries, ready, oldest));
        for (at, row) in self.rows.iter().enumerate() {
            let view = self.index.view(self.handle(at)).unwrap();
            assert_eq!((view.id, view.number, view.key), (row.id, row.number, key(row.node)));
            assert_eq!((view.state, view.attempts, view.reason), (row.state, row.attempts, row.reason), "{row:?}");
            assert_eq!(view.lane, self.lane_of.get(&row.node).map(|&lane| self.lanes[lane]));
            assert_eq!(self.index.is_stopped(view.entry), row.stop.is_some());
            if matches!(row.state, EntryState::Waiting | EntryState::Held) {
                assert_eq!(view.due, row.due, "{row:?}");
            }
        }
        for touched in self.index.touched() {
            assert!(self.index.view(touched.entry).is_some());
        }
        self.check_wanted();
        self.check_find();
    }

    fn check_wanted(&mut self) {
        let wanted = self.index.wanted_routes(usize::MAX);
        let classes: Vec<Class> = wanted.iter().map(|&node| self.index.node_view(node).unwrap().key.class).collect();
        assert!(classes.is_sorted());
        for node in 0..NODES {
            let due = self.queues.get(&node).is_some_and(|queue| !queue.is_empty());
            let is_wanted = self.index.find_node(&key(node)).is_some_and(|handle| wanted.contains(&handle));
            assert_eq!(is_wanted, due && !self.lane_of.contains_key(&node));
        }
        for node in wanted {
            self.index.want_route(node).unwrap();
        }
    }

    fn check_find(&self) {
        let predicate = Predicate { tenant: Some(NameId(1)), state: Some(EntryState::Waiting), ..Predicate::default() };
        let (mut found, mut cursor) = (Vec::new(), Some(Cursor::default()));
        while let Some(after) = cursor {
            cursor = self.index.find(&predicate, after, 2, 5, &mut found);
        }
        let mut expected: Vec<_> = (0..self.rows.len())
            .filter(|&at| Self::matches(&self.rows[at], &predicate))
            .map(|at| self.handle(at))
            .collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn as_the_naive_model(steps in prop::collection::vec(step(), 1..120)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step);
        }
    }
}
