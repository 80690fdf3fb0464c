//! Routes: which lane the entries of a (domain, route tag, TLS demand) wait on, and which are wanted.
//!
//! A node joins its route when it is made; a route that is known is there at once, one that is not is wanted as soon
//! as an entry is due. An answer attaches all its nodes, O(1) each. A route is asked for anew when it is no longer
//! valid, serves until it is stale, and is forgotten then if nobody waits.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use angarium_nouns::names::NameId;
use angarium_nouns::{Class, Millis};
use angarium_queue::{LaneRef, NodeKey, NodeRef};

use crate::lanes::ASK_AGAIN;
use crate::lease::RouteWanted;
use crate::ledger::Ledger;
use crate::route::RouteAnswer;
use crate::state::State;

/// Routes looked at by one step of upkeep.
const TIMERS_PER_STEP: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RouteKey {
    pub domain: NameId,
    pub tag: NameId,
    pub tls: u8,
}

impl RouteKey {
    fn of(key: NodeKey) -> Self {
        Self { domain: key.domain, tag: key.tag, tls: key.tls }
    }
}

pub(crate) struct RouteRecord {
    pub key: RouteKey,
    nodes: HashSet<NodeRef>,
    pub lane: Option<LaneRef>,
    /// As it was given, for the checkpoint.
    pub answer: Option<RouteAnswer>,
    pub valid: Millis,
    pub stale: Millis,
    /// When it was asked for; 0: nobody was asked.
    asked: Millis,
    since: Millis,
    class: Class,
}

#[derive(Default)]
pub(crate) struct Routes {
    by_key: HashMap<RouteKey, u32>,
    records: HashMap<u32, RouteRecord>,
    next: u32,
    /// When a route stops being valid or usable.
    timers: BTreeSet<(Millis, u32)>,
    /// Valid no more, still usable: to be asked for anew.
    refresh: VecDeque<u32>,
    /// Asked for: when, which.
    asked: VecDeque<(Millis, u32)>,
}

impl Routes {
    pub fn iter(&self) -> impl Iterator<Item = &RouteRecord> {
        self.records.values()
    }

    pub fn wanted(&self) -> usize {
        self.refresh.len() + self.asked.len()
    }

    fn next_timer(&self) -> Option<Millis> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn number(&self, key: NodeKey) -> Option<u32> {
        self.by_key.get(&RouteKey::of(key)).copied()
    }
}

impl State {
    /// A new node: it is attached at once if its route is known.
    pub fn join_route(&mut self, node: NodeRef, key: NodeKey) {
        let number = self.route(RouteKey::of(key));
        let Some(record) = self.routes.records.get_mut(&number) else { return };
        record.nodes.insert(node);
        record.class = record.class.min(key.class);
        if let Some(lane) = record.lane {
            let _ = self.index.attach(node, lane);
        }
    }

    pub fn leave_route(&mut self, node: NodeRef, key: NodeKey) {
        let Some(number) = self.routes.number(key) else { return };
        let Some(record) = self.routes.records.get_mut(&number) else { return };
        record.nodes.remove(&node);
        if record.nodes.is_empty() && record.lane.is_none() {
            self.forget_route(number);
        }
    }

    /// The record of a key, made if there is none. It holds the names of its domain and tag.
    fn route(&mut self, key: RouteKey) -> u32 {
        if let Some(number) = self.routes.by_key.get(&key) {
            return *number;
        }
        self.routes.next = self.routes.next.wrapping_add(1);
        let number = self.routes.next;
        hold_again(&mut self.names.domains, key.domain);
        hold_again(&mut self.names.tags, key.tag);
        let record = RouteRecord {
            key,
            nodes: HashSet::new(),
            lane: None,
            answer: None,
            valid: 0,
            stale: 0,
            asked: 0,
            since: 0,
            class: Class::Bulk,
        };
        self.routes.by_key.insert(key, number);
        self.routes.records.insert(number, record);
        number
    }

    fn forget_route(&mut self, number: u32) {
        let Some(record) = self.routes.records.remove(&number) else { return };
        self.routes.by_key.remove(&record.key);
        if record.lane.is_some() {
            self.routes.timers.remove(&(record.valid, number));
            self.routes.timers.remove(&(record.stale, number));
        }
        if let Some(lane) = record.lane {
            self.lanes.leave(lane);
        }
        let RouteKey { domain, tag, tls } = record.key;
        self.release_names(NodeKey { domain, tag, tls, ..NodeKey::default() });
    }

    fn wanted_routes(&mut self, limit: usize, now: Millis) -> Vec<RouteWanted> {
        let mut wanted = Vec::new();
        self.ask_again(now);
        for node in self.index.wanted_routes(limit) {
            let Some(key) = self.index.node_view(node).map(|view| view.key) else { continue };
            let Some(number) = self.routes.number(key) else { continue };
            wanted.extend(self.want(number, now));
        }
        while wanted.len() < limit {
            let Some(number) = self.routes.refresh.pop_front() else { break };
            wanted.extend(self.want(number, now));
        }
        wanted
    }

    /// Asks for a route unless somebody was asked already.
    fn want(&mut self, number: u32, now: Millis) -> Option<RouteWanted> {
        let record = self.routes.records.get_mut(&number)?;
        if record.asked != 0 {
            return None;
        }
        record.asked = now.max(1);
        record.since = if record.since == 0 { now } else { record.since };
        self.routes.asked.push_back((record.asked, number));
        let views = record.nodes.iter().filter_map(|node| self.index.node_view(*node));
        let waiting = views.map(|view| view.entries).sum();
        Some(RouteWanted {
            key: number,
            domain: self.names.domains.text(record.key.domain).to_owned(),
            tag: self.names.tags.text(record.key.tag).to_owned(),
            tls: record.key.tls,
            waiting,
            class: record.class,
            oldest: record.since,
        })
    }

    /// Questions that nobody answered are put again.
    fn ask_again(&mut self, now: Millis) {
        while let Some((asked, number)) = self.routes.asked.front().copied() {
            if asked + ASK_AGAIN > now {
                break;
            }
            self.routes.asked.pop_front();
            let Some(record) = self.routes.records.get_mut(&number).filter(|record| record.asked == asked) else {
                continue;
            };
            record.asked = 0;
            self.routes.refresh.push_back(number);
        }
    }

    pub fn set_route(&mut self, number: u32, answer: RouteAnswer, valid: Millis, stale: Millis) -> bool {
        if !self.routes.records.contains_key(&number) {
            return false;
        }
        let lane = match answer.clone() {
            RouteAnswer::Route(route) => self.lane_of(&route),
            RouteAnswer::NoRoute(answer) => self.refusing_lane(answer),
        };
        let Some(record) = self.routes.records.get_mut(&number) else { return false };
        self.routes.timers.remove(&(record.valid, number));
        self.routes.timers.remove(&(record.stale, number));
        let before = record.lane.replace(lane);
        record.answer = Some(answer);
        (record.valid, record.stale) = (valid, stale.max(valid));
        (record.asked, record.since) = (0, 0);
        self.routes.timers.insert((valid, number));
        for node in &record.nodes {
            let _ = self.index.attach(*node, lane);
        }
        if let Some(before) = before {
            self.lanes.leave(before);
        }
        true
    }

    /// A route that a checkpoint remembers, if it may still serve.
    pub fn restore_route(&mut self, words: (&str, &str, u8), answer: RouteAnswer, valid: Millis, stale: Millis) {
        let (domain, tag, tls) = words;
        let words = crate::state::NodeWords { domain, tag, tenant: "", campaign: "", tls, class: Class::Normal };
        let key = self.names.hold(words);
        let number = self.route(RouteKey::of(key));
        self.names.release(key);
        self.set_route(number, answer, valid, stale);
    }

    /// Routes whose time came: valid no more (asked for anew), or stale (their nodes want one). True: there are more.
    pub fn route_timers(&mut self, now: Millis) -> bool {
        for _ in 0..TIMERS_PER_STEP {
            let Some(&(at, number)) = self.routes.timers.first().filter(|(at, _)| *at <= now) else { return false };
            self.routes.timers.remove(&(at, number));
            let Some(record) = self.routes.records.get_mut(&number) else { continue };
            if record.nodes.is_empty() {
                self.forget_route(number);
            } else if now >= record.stale {
                self.end_route(number);
            } else {
                self.routes.timers.insert((record.stale, number));
                self.routes.refresh.push_back(number);
                self.wake = true;
            }
        }
        true
    }

    fn end_route(&mut self, number: u32) {
        let Some(record) = self.routes.records.get_mut(&number) else { return };
        for node in &record.nodes {
            let _ = self.index.detach(*node);
        }
        record.answer = None;
        if let Some(lane) = record.lane.take() {
            self.lanes.leave(lane);
        }
        self.wake = true;
    }

    /// Asks anew for the routes of a domain (`None`: of all): what is attached stays until the answer comes.
    pub fn refresh_routes(&mut self, domain: Option<NameId>) -> u64 {
        let of = |record: &&RouteRecord| domain.is_none_or(|domain| record.key.domain == domain);
        let chosen = self.routes.records.iter().filter(|(_, record)| of(record) && record.lane.is_some());
        let numbers: Vec<u32> = chosen.map(|(number, _)| *number).collect();
        self.routes.refresh.extend(&numbers);
        self.wake = true;
        numbers.len() as u64
    }

    pub fn wants_routes(&self) -> bool {
        !self.routes.refresh.is_empty() || self.index.has_wanted_routes()
    }

    pub fn route_due(&self) -> Option<Millis> {
        self.routes.next_timer()
    }
}

fn hold_again(names: &mut angarium_nouns::names::Names, id: NameId) {
    let text = names.shared(id);
    names.hold(&text);
}

impl Ledger {
    /// Destinations without a route, urgent class and oldest first; each is given once until answered or 30 s went by.
    pub fn wanted_routes(&self, limit: usize, now: Millis) -> Vec<RouteWanted> {
        self.change(|state| {
            state.index.advance(now, crate::lanes::DUE_PER_CALL);
            state.wanted_routes(limit, now)
        })
    }

    /// False: nobody wants this key any more. `stale`: usable until then while it is asked for anew.
    pub fn set_route(&self, key: u32, answer: RouteAnswer, valid: Millis, stale: Millis, _now: Millis) -> bool {
        self.change(|state| {
            state.wake = true;
            state.set_route(key, answer, valid, stale)
        })
    }

    /// Whether `wanted_routes` and `wanted_plans` have something to give: the engine's level-triggered flags.
    pub fn wanted(&self, _now: Millis) -> (bool, bool) {
        let state = self.state.lock();
        (state.wants_routes(), state.index.has_wanted_plans())
    }
}
