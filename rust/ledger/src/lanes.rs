//! Lanes by their keys: who runs, with which plan, and what lanes sleep on.
//!
//! The index knows lanes as numbers with windows; this table gives them keys, hosts and plans. An answer "no route"
//! is a lane too: one whose mail the ledger itself settles, in bounded steps, so that a million entries of a domain
//! that is gone fail (or wait) the way all entries do.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use angarium_nouns::outcome::{Action, Judgement};
use angarium_nouns::record::EntryState;
use angarium_nouns::{EnhancedCode, MessageId, Millis, Outcome, Reason, Reply, Scope};
use angarium_queue::{BackOff, EntryRef, LIMITERS_PER_LANE, LanePlan, LaneRef, Leased, LimiterRef, Take};

use angarium_spool::Family;

use crate::lease::{EntryId, LaneId, LaneRun, LaneWanted, Lease, LeasedEntry, Settlement, Sleep};
use crate::ledger::Ledger;
use crate::route::{LaneKey, NoRoute, Plan, Route};
use crate::settle::Sleeper;
use crate::state::{Kept, State, received};
use crate::words::Words;

/// A plan may serve so long while it is asked for anew (queue-and-delivery: routes serve stale for an hour).
const STALE_PLAN: Millis = 3_600_000;
/// What was asked for and not answered is asked for again.
pub(crate) const ASK_AGAIN: Millis = 30_000;
/// Messages that one call settles on lanes without a route: a few milliseconds of the lock at most.
const REFUSALS_PER_CALL: usize = 512;
/// Due entries brought into turn by one call.
pub(crate) const DUE_PER_CALL: usize = 4096;

/// What is known of a lane beside its number.
pub(crate) struct LaneRecord {
    pub key: Arc<LaneKey>,
    pub hosts: Vec<String>,
    pub plan: Option<Arc<Plan>>,
    /// Of its own rate.
    pub limiter: Option<LimiterRef>,
    /// Tokens that its limiter had before a restart.
    pub saved: Option<u32>,
    pub refusal: Option<Arc<NoRoute>>,
    /// Routes that lead here.
    pub users: u32,
    /// It was tried since the start: its entries may expire.
    pub tried: bool,
    pub asleep: bool,
    /// What was said when it fell asleep.
    pub said: Words,
}

#[derive(Default)]
pub(crate) struct Lanes {
    by_key: HashMap<Arc<LaneKey>, LaneRef>,
    by_refusal: HashMap<Arc<NoRoute>, LaneRef>,
    records: HashMap<LaneRef, LaneRecord>,
    /// Limiters that plans name.
    shared: HashMap<Arc<str>, LimiterRef>,
    /// Plans asked for: when, which.
    asked: VecDeque<(Millis, LaneRef)>,
    /// No route leads there any more.
    unused: BTreeSet<LaneRef>,
}

impl Lanes {
    pub fn find(&self, key: &LaneKey) -> Option<LaneRef> {
        self.by_key.get(key).copied()
    }

    pub fn shared(&self) -> impl Iterator<Item = (&Arc<str>, &LimiterRef)> {
        self.shared.iter()
    }

    pub fn shared_by(&self, key: &str) -> Option<LimiterRef> {
        self.shared.get(key).copied()
    }

    pub fn share(&mut self, key: Arc<str>, limiter: LimiterRef) {
        self.shared.insert(key, limiter);
    }

    pub fn unshare(&mut self, key: &str) {
        self.shared.remove(key);
    }

    pub fn get(&self, lane: LaneRef) -> Option<&LaneRecord> {
        self.records.get(&lane)
    }

    pub fn get_mut(&mut self, lane: LaneRef) -> Option<&mut LaneRecord> {
        self.records.get_mut(&lane)
    }

    pub fn retry_table(&self, lane: LaneRef) -> u16 {
        self.get(lane).and_then(|record| record.plan.as_ref()).map_or(0, |plan| plan.retry_table)
    }

    pub fn of_site<'a>(&'a self, site: &'a str) -> impl Iterator<Item = LaneRef> + 'a {
        self.records.iter().filter(move |(_, record)| record.key.site == site).map(|(lane, _)| *lane)
    }

    pub fn site(&self, lane: LaneRef) -> &str {
        self.get(lane).map_or("", |record| &record.key.site)
    }

    /// Who takes this lane's mail: the first shared limiter of its plan, else its site; nobody where no route leads.
    pub fn provider(&self, lane: LaneRef) -> Option<&str> {
        let record = self.get(lane).filter(|record| record.refusal.is_none())?;
        let shared = record.plan.as_ref().and_then(|plan| plan.limiters.first());
        Some(shared.map_or(&record.key.site, |limiter| &limiter.key))
    }

    pub fn all(&self) -> impl Iterator<Item = LaneRef> {
        self.records.keys().copied()
    }

    pub fn leave(&mut self, lane: LaneRef) {
        let Some(record) = self.records.get_mut(&lane) else { return };
        record.users -= 1;
        if record.users == 0 {
            self.unused.insert(lane);
        }
    }
}

impl State {
    /// The lane of a route, made if there is none; one route more leads to it.
    pub fn lane_of(&mut self, route: &Route) -> LaneRef {
        let key = route.lane_key();
        let lane = match self.lanes.by_key.get(&key) {
            Some(lane) => *lane,
            None => self.new_lane(Arc::new(key), None),
        };
        if let Some(record) = self.lanes.records.get_mut(&lane) {
            record.hosts.clone_from(&route.hosts);
        }
        self.use_lane(lane)
    }

    /// The lane on which this answer is given to each entry.
    pub fn refusing_lane(&mut self, answer: NoRoute) -> LaneRef {
        if let Some(lane) = self.lanes.by_refusal.get(&answer) {
            return self.use_lane(*lane);
        }
        let answer = Arc::new(answer);
        let lane = self.new_lane(Arc::new(LaneKey::default()), Some(answer.clone()));
        self.lanes.by_refusal.insert(answer, lane);
        let plan = LanePlan {
            window: 1,
            limiters: [None; LIMITERS_PER_LANE],
            valid: Millis::MAX,
            stale: Millis::MAX,
            back_off: BackOff::default(),
        };
        let _ = self.index.set_plan(lane, &plan, 0);
        self.use_lane(lane)
    }

    fn new_lane(&mut self, key: Arc<LaneKey>, refusal: Option<Arc<NoRoute>>) -> LaneRef {
        let lane = self.index.add_lane();
        if refusal.is_none() {
            self.lanes.by_key.insert(key.clone(), lane);
        }
        let remembered = if refusal.is_none() { self.remembered.lane(&key) } else { None };
        let record = LaneRecord {
            key,
            hosts: Vec::new(),
            plan: None,
            limiter: None,
            saved: None,
            refusal,
            users: 0,
            tried: false,
            asleep: false,
            said: Words::default(),
        };
        self.lanes.records.insert(lane, record);
        if let Some(row) = remembered {
            self.recall(lane, row);
        }
        self.suspend_new_lane(lane);
        lane
    }

    fn use_lane(&mut self, lane: LaneRef) -> LaneRef {
        if let Some(record) = self.lanes.records.get_mut(&lane) {
            record.users += 1;
            self.lanes.unused.remove(&lane);
        }
        lane
    }

    /// Takes away lanes to which no route leads and on which nothing is under way.
    pub fn drop_unused_lanes(&mut self) {
        let unused: Vec<LaneRef> = self.lanes.unused.iter().copied().collect();
        for lane in unused {
            if !self.index.remove_lane(lane) {
                continue;
            }
            self.lanes.unused.remove(&lane);
            let Some(record) = self.lanes.records.remove(&lane) else { continue };
            match record.refusal {
                Some(answer) => self.lanes.by_refusal.remove(&answer),
                None => self.lanes.by_key.remove(&record.key),
            };
            self.drop_limiters(record.plan.as_deref(), record.limiter);
        }
    }

    fn wanted_plans(&mut self, limit: usize, now: Millis) -> Vec<LaneWanted> {
        while let Some((asked, lane)) = self.lanes.asked.front().copied() {
            if asked + ASK_AGAIN > now {
                break;
            }
            self.lanes.asked.pop_front();
            let _ = self.index.want_plan(lane);
        }
        let mut wanted = Vec::new();
        for lane in self.index.wanted_plans(limit) {
            let (Some(record), Some(view)) = (self.lanes.get(lane), self.index.lane(lane)) else { continue };
            let (key, hosts) = ((*record.key).clone(), record.hosts.clone());
            let (waiting, oldest) = (view.ready, self.index.oldest_in_turn(lane).unwrap_or(now));
            wanted.push(LaneWanted { lane: LaneId(lane.to_bits()), key, hosts, waiting, oldest });
            self.lanes.asked.push_back((now, lane));
        }
        wanted
    }

    fn set_plan(&mut self, lane: LaneRef, plan: Plan, valid: Millis, now: Millis) -> bool {
        let Some(old) = self.lanes.get(lane).map(|record| record.limiter) else { return false };
        self.lanes.asked.retain(|(_, asked)| *asked != lane);
        let limiters = self.limiters_of(lane, &plan, now);
        let (window, stale) = (plan.connections.max(1), valid.saturating_add(STALE_PLAN));
        let lane_plan = LanePlan { window, limiters, valid, stale, back_off: BackOff::default() };
        if self.index.set_plan(lane, &lane_plan, now).is_err() {
            return false;
        }
        let served = self.lanes.get(lane).and_then(|record| record.plan.clone());
        let before = served.as_ref().map_or(0, |plan| plan.suspended_until);
        if plan.suspended_until > now {
            let _ = self.index.sleep_lane(lane, plan.suspended_until, Reason::Suspended);
        } else if before > now {
            // Only what a plan suspended is woken by a plan; a lane that failed keeps to its back-off.
            let _ = self.index.wake_lane(lane);
        }
        self.drop_limiters(served.as_deref(), old.filter(|_| limiters[0].is_none()));
        if let Some(record) = self.lanes.get_mut(lane) {
            record.limiter = limiters[0];
            record.plan = Some(Arc::new(plan));
        }
        true
    }

    fn lanes_to_run(&mut self, now: Millis, limit: usize) -> Vec<LaneRun> {
        let mut runs = Vec::new();
        let mut refusals = REFUSALS_PER_CALL;
        for run in self.index.lanes_to_run(now, limit) {
            let Some(record) = self.lanes.get(run.lane) else { continue };
            if let Some(answer) = record.refusal.clone() {
                self.refuse(run.lane, &answer, now, &mut refusals);
                continue;
            }
            let Some(plan) = record.plan.clone() else { continue };
            let same_host = self.uncertain_host(run.lane);
            let (lane, key) = (LaneId(run.lane.to_bits()), record.key.clone());
            let opened = (0..run.connections).filter(|_| self.index.connection_opened(run.lane) == Ok(true)).count();
            let (connections, wake, probe) = (opened as u32, run.wake, run.probe);
            if connections > 0 || wake > 0 {
                runs.push(LaneRun { lane, key, connections, wake, probe, same_host, plan });
            }
        }
        runs
    }

    /// The host that may have the next message of this lane already.
    fn uncertain_host(&self, lane: LaneRef) -> Option<Arc<str>> {
        let entry = self.index.first_in_turn(lane)?;
        self.index.view(entry).filter(|view| view.reason == Reason::Uncertain)?;
        self.words.of(entry).map(|words| words.host.clone()).filter(|host| !host.is_empty())
    }

    /// Gives the answer "no route" to what is due on its lane, `budget` entries at most.
    fn refuse(&mut self, lane: LaneRef, answer: &NoRoute, now: Millis, budget: &mut usize) {
        let reply = answer.reply();
        let outcome = if answer.failed { Outcome::Failed } else { Outcome::Deferred };
        let (scope, action, reason) = (Scope::Recipient, Action::Continue, answer.reason);
        let judgement = Judgement { outcome, scope, action, reason, rule: 0 };
        let _ = self.index.connection_opened(lane);
        while *budget > 0 {
            let Some((id, leased)) = self.take_from(lane, now, *budget) else { break };
            *budget = budget.saturating_sub(leased.len().max(1));
            for one in leased {
                let (entry, number) = (EntryId(one.entry.to_bits()), one.number);
                let (reply, host, tls, owes_report, may_repeat, took) = (Some(&reply), "", "", false, false, 0);
                self.settle(
                    &Settlement { id, entry, number, judgement, reply, host, tls, owes_report, may_repeat, took },
                    now,
                );
            }
        }
        let _ = self.index.connection_closed(lane, now);
        self.wake |= *budget == 0;
    }

    /// One message's entries of this lane, leased.
    fn take_from(&mut self, lane: LaneRef, now: Millis, limit: usize) -> Option<(MessageId, Vec<Leased>)> {
        let mut leased = Vec::new();
        match self.index.take(lane, now, limit, &mut leased) {
            Take::Message(message) if !leased.is_empty() => Some((message.id, leased)),
            _ => None,
        }
    }

    fn take(&mut self, lane: LaneId, now: Millis, limit: usize) -> Option<Lease> {
        let (id, leased) = self.take_from(LaneRef::from_bits(lane.0), now, limit)?;
        let view = self.index.view(leased.first()?.entry)?;
        let place = Kept::of(&self.index.message(id)?).place;
        let entries = leased.iter().map(LeasedEntry::of).collect();
        Some(Lease { lane, id, class: view.key.class, received: received(id), entries, place })
    }

    /// The lane failed under an attempt: it sleeps, recorded once a sleep.
    pub fn lane_failed(&mut self, lane: LaneRef, result: &Settlement<'_>, now: Millis) {
        let failure = Sleep {
            scope: result.judgement.scope,
            lane: LaneId(lane.to_bits()),
            object: "",
            judgement: result.judgement,
            reply: result.reply,
        };
        self.sleep_lane(lane, &failure, now);
    }

    pub fn sleep_lane(&mut self, lane: LaneRef, failure: &Sleep<'_>, now: Millis) -> Millis {
        let sleeps = self.index.lane(lane).map_or(0, |view| view.asleep_until);
        let Some(record) = self.lanes.get_mut(lane) else { return now };
        record.tried = true;
        if sleeps > now {
            return sleeps;
        }
        record.asleep = true;
        record.said = Words::new(failure.reply, Arc::default());
        let key = record.key.clone();
        let until = self.index.lane_failed(lane, failure.judgement.reason, now).unwrap_or(now);
        let failures = self.index.lane(lane).map_or(0, |view| view.failures);
        self.tell_slept(failure, Sleeper::Lane(&key), (until, failures), now);
        until
    }

    /// An answer came on this lane, good or bad: it works.
    pub fn lane_answered(&mut self, lane: LaneRef) {
        let Some(record) = self.lanes.get_mut(lane) else { return };
        record.tried = true;
        if std::mem::take(&mut record.asleep) {
            let _ = self.index.lane_worked(lane);
        }
    }

    pub fn lane_worked(&mut self, lane: LaneId) {
        let lane = LaneRef::from_bits(lane.0);
        if let Some(record) = self.lanes.get_mut(lane) {
            record.asleep = false;
            let _ = self.index.lane_worked(lane);
        }
    }

    /// Whether mail behind this entry had its chance since the start.
    pub fn had_its_chance(&self, entry: EntryRef) -> bool {
        let lane = self.index.view(entry).filter(|view| view.state == EntryState::Waiting).and_then(|view| view.lane);
        lane.and_then(|lane| self.lanes.get(lane)).is_some_and(|record| record.tried)
    }
}

impl NoRoute {
    fn reply(&self) -> Reply {
        let enhanced = EnhancedCode::split(&self.enhanced).map(|(code, _)| code);
        let text = self.text.clone();
        Reply::checked(self.code, enhanced, text).unwrap_or(Reply::new(450, (4, 4, 4), "No route to the domain"))
    }
}

impl LeasedEntry {
    fn of(leased: &Leased) -> Self {
        Self { entry: EntryId(leased.entry.to_bits()), number: leased.number, attempts: leased.attempts }
    }
}

impl Ledger {
    /// Lanes without a valid plan; each is given once until answered or 30 s went by.
    pub fn wanted_plans(&self, limit: usize, now: Millis) -> Vec<LaneWanted> {
        self.change(|state| state.wanted_plans(limit, now))
    }

    /// False: the lane is gone.
    pub fn set_plan(&self, lane: LaneId, plan: Plan, valid: Millis, now: Millis) -> bool {
        self.change(|state| {
            state.wake = true;
            state.set_plan(LaneRef::from_bits(lane.0), plan, valid, now)
        })
    }

    /// Lanes on which more connections are useful; they count as open until `connection_ended`. None while the
    /// journal is faulty (S5: no new delivery starts).
    pub fn lanes_to_run(&self, now: Millis, limit: usize) -> Vec<LaneRun> {
        if self.spool.is_faulty(Family::Journal) {
            return Vec::new();
        }
        self.change(|state| {
            state.wake |= state.index.advance(now, DUE_PER_CALL);
            state.meet_rules(now);
            state.lanes_to_run(now, limit)
        })
    }

    /// A connection of a [`LaneRun`] is over, whatever became of it.
    pub fn connection_ended(&self, lane: LaneId, now: Millis) {
        self.change(|state| {
            let _ = state.index.connection_closed(LaneRef::from_bits(lane.0), now);
            state.wake = true;
        });
    }

    /// The next recipients (of one message; equal in sender and variant is the caller's to see) for this lane.
    /// None while the journal is faulty (S5).
    pub fn take(&self, lane: LaneId, now: Millis, max_recipients: u32) -> Option<Lease> {
        if self.spool.is_faulty(Family::Journal) {
            return None;
        }
        self.change(|state| {
            let lease = state.take(lane, now, max_recipients.max(1) as usize);
            state.meet_rules(now);
            lease
        })
    }
}
