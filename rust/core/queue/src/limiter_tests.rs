//! Limiters under random work: never more than the rate, never above a window, nobody forgotten.

use angarium_nouns::envelope::Class;
use angarium_nouns::names::NameId;
use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, MessageId, Millis, Reason};
use proptest::prelude::*;

use crate::*;

const START: Millis = 1_790_000_000_000;
const LANES: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    Insert { lane: usize, tenant: u32, class: usize, many: u64 },
    Pass { millis: u64 },
    Drive { messages: usize },
    CloseConnection,
    Settle { give_back: bool },
    Fail { lane: usize },
    Suspend { limiter: usize, millis: u64 },
    Resume { limiter: usize },
    Limits { limiter: usize, tokens: u32 },
    Plan { lane: usize, first: usize, second: usize },
    LimitTenant { tenant: u32, limiter: Option<usize> },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..LANES, 0..3u32, 0..4usize, 1..6u64)
            .prop_map(|(lane, tenant, class, many)| Step::Insert { lane, tenant, class, many }),
        6 => (0..3000u64).prop_map(|millis| Step::Pass { millis }),
        8 => (1..4usize).prop_map(|messages| Step::Drive { messages }),
        4 => Just(Step::CloseConnection),
        4 => any::<bool>().prop_map(|give_back| Step::Settle { give_back }),
        1 => (0..LANES).prop_map(|lane| Step::Fail { lane }),
        1 => (0..3usize, 1..5000u64).prop_map(|(limiter, millis)| Step::Suspend { limiter, millis }),
        1 => (0..3usize).prop_map(|limiter| Step::Resume { limiter }),
        1 => (0..3usize, 1..9u32).prop_map(|(limiter, tokens)| Step::Limits { limiter, tokens }),
        1 => (0..LANES, 0..3usize, 0..3usize).prop_map(|(lane, first, second)| Step::Plan { lane, first, second }),
        1 => (0..3u32, prop::option::of(0..3usize))
            .prop_map(|(tenant, limiter)| Step::LimitTenant { tenant, limiter }),
    ]
}

struct Site {
    index: Index,
    lanes: Vec<LaneRef>,
    limiters: Vec<LimiterRef>,
    open: Vec<LaneRef>,
    leased: Vec<EntryRef>,
    now: Millis,
    sequence: u64,
    sent: u64,
}

fn limits(tokens: u32) -> Limits {
    Limits { tokens, period: 1000, burst: 3, window: 4 }
}

impl Site {
    fn new() -> Self {
        let mut index = Index::new();
        let limiters = (0..3).map(|n| index.add_limiter(limits(n + 1), START)).collect();
        let lanes = (0..LANES).map(|_| index.add_lane()).collect();
        let (open, leased) = (Vec::new(), Vec::new());
        let mut site = Self { index, lanes, limiters, open, leased, now: START, sequence: 0, sent: 0 };
        for lane in 0..LANES {
            site.plan(lane, lane % 3, lane % 3);
        }
        site
    }

    fn plan(&mut self, lane: usize, first: usize, second: usize) {
        let second = (second != first).then(|| self.limiters[second]);
        let plan = LanePlan {
            window: 2,
            limiters: [Some(self.limiters[first]), second, None, None],
            valid: Millis::MAX,
            stale: Millis::MAX,
            back_off: BackOff { first: 500, most: 2000 },
        };
        self.index.set_plan(self.lanes[lane], &plan, self.now).unwrap();
    }

    fn insert(&mut self, lane: usize, tenant: u32, class: usize) {
        self.sequence += 1;
        let key = NodeKey {
            domain: NameId(lane as u32),
            tenant: NameId(tenant),
            class: Class::ALL[class],
            ..NodeKey::default()
        };
        let (node, _) = self.index.node(key);
        let entry = NewEntry {
            number: 0,
            node,
            state: EntryState::Waiting,
            due: self.now,
            expires: 0,
            attempts: 0,
            step: 0,
            reason: Reason::Other,
        };
        let id = MessageId::new(1, self.now, self.sequence);
        let message = Message { id, place: Place::default(), lsn: Lsn(self.sequence), sender: 0 };
        self.index.insert(&message, &[entry], self.now).unwrap();
        self.index.attach(node, self.lanes[lane]).unwrap();
    }

    /// What a driver does: opens what it is told, and each connection sends some messages.
    fn drive(&mut self, messages: usize) {
        while self.index.advance(self.now, 50) {}
        for run in self.index.lanes_to_run(self.now, 100) {
            assert!(run.connections + run.wake > 0 || self.index.lane(run.lane).unwrap().in_use > 0);
            for _ in 0..run.connections {
                if self.index.connection_opened(run.lane).unwrap() {
                    self.open.push(run.lane);
                }
            }
            for _ in 0..messages {
                let mut out = Vec::new();
                if self.open.contains(&run.lane)
                    && matches!(self.index.take(run.lane, self.now, 3, &mut out), Take::Message(_))
                {
                    self.sent += 1;
                    self.leased.extend(out.iter().map(|leased| leased.entry));
                }
            }
        }
    }

    fn settle(&mut self, give_back: bool) {
        if let Some(entry) = self.leased.pop() {
            if give_back {
                self.index.give_back(entry).unwrap();
            } else {
                let _ = self.index.close(entry).unwrap();
            }
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Insert { lane, tenant, class, many } => (0..*many).for_each(|_| self.insert(*lane, *tenant, *class)),
            Step::Pass { millis } => self.now += millis,
            Step::Drive { messages } => self.drive(*messages),
            Step::CloseConnection => {
                if let Some(lane) = self.open.pop() {
                    self.index.connection_closed(lane, self.now).unwrap();
                }
            }
            Step::Settle { give_back } => self.settle(*give_back),
            Step::Fail { lane } => {
                self.index.lane_failed(self.lanes[*lane], Reason::Connect, self.now).unwrap();
            }
            Step::Suspend { limiter, millis } => {
                self.index.suspend(self.limiters[*limiter], self.now + millis).unwrap();
            }
            Step::Resume { limiter } => self.index.resume(self.limiters[*limiter], self.now).unwrap(),
            Step::Limits { limiter, tokens } => {
                self.index.set_limits(self.limiters[*limiter], limits(*tokens), self.now).unwrap();
            }
            Step::Plan { lane, first, second } => self.plan(*lane, *first, *second),
            Step::LimitTenant { tenant, limiter } => {
                let limiter = limiter.map(|at| self.limiters[at]);
                for lane in self.lanes.clone() {
                    for node in self.index.nodes_of(lane) {
                        if self.index.node_view(node).unwrap().key.tenant == NameId(*tenant) {
                            self.index.limit_node(node, limiter).unwrap();
                        }
                    }
                }
            }
        }
        self.index.check_all();
        for &limiter in &self.limiters {
            let view = self.index.limiter(limiter, self.now).unwrap();
            assert!(view.tokens <= 3);
        }
    }

    /// With time, and nobody failing, everything is sent.
    fn drain(&mut self) {
        for limiter in self.limiters.clone() {
            self.index.resume(limiter, self.now).unwrap();
        }
        for _ in 0..4000 {
            while !self.leased.is_empty() {
                self.settle(false);
            }
            while let Some(lane) = self.open.pop() {
                self.index.lane_worked(lane).unwrap();
                self.index.connection_closed(lane, self.now).unwrap();
            }
            if self.index.counts().messages == 0 {
                return;
            }
            self.now += 300;
            self.drive(2);
        }
        panic!("forgotten: {:?}", self.index.counts());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_forgotten(steps in prop::collection::vec(step(), 1..100)) {
        let mut site = Site::new();
        for step in &steps {
            site.run(step);
        }
        site.drain();
        site.index.check_all();
    }
}

#[test]
fn the_rate_is_kept() {
    let mut site = Site::new();
    for lane in 0..LANES {
        for n in 0..200 {
            site.insert(lane, n % 3, n as usize % 4);
        }
    }
    // Limiters give 1, 2 and 3 a second and had one token each to begin with.
    for _ in 0..1000 {
        site.now += 20;
        site.drive(3);
        while !site.leased.is_empty() {
            site.settle(false);
        }
    }
    assert!((119..=123).contains(&site.sent), "{}", site.sent);
}
