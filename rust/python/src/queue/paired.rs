//! The index beside the tables of names that it is paired with: what a call of Python's means in numbers and back.

use std::collections::HashMap;
use std::sync::Arc;

use angarium_nouns::envelope::Class;
use angarium_nouns::names::{NameId, Names};
use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, MessageId, Millis, Reason};
use angarium_queue::{
    BackOff, Deferral, EntryRef, EntryView, Index, InsertError, LanePlan, LaneRef, LimiterRef, Message, NewEntry,
    NodeKey, NodeRef, Place, Predicate, Stale, Take,
};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use super::Leased;

/// Connections of a lane that was given no plan of its own.
const WINDOW: u32 = 20;

#[derive(Debug)]
pub(super) struct LaneOf {
    pub(super) lane: LaneRef,
    /// It was set up by name and stays when it is empty.
    pub(super) kept: bool,
}

#[derive(Debug, Default)]
pub(super) struct Paired {
    pub(super) index: Index,
    pub(super) domains: Names,
    pub(super) tenants: Names,
    pub(super) campaigns: Names,
    pub(super) lanes: HashMap<Arc<str>, LaneOf>,
    pub(super) lane_names: HashMap<LaneRef, Arc<str>>,
    pub(super) limiters: HashMap<String, LimiterRef>,
    pub(super) sequence: u64,
}

pub(super) fn stale(_: Stale) -> PyErr {
    PyKeyError::new_err("no such entry: it is closed")
}

pub(super) fn class_of(priority: &str) -> PyResult<Class> {
    let found = Class::ALL.into_iter().find(|class| class.name() == priority);
    found.ok_or_else(|| PyValueError::new_err(format!("a priority is urgent, high, normal or bulk, not {priority:?}")))
}

pub(super) fn state_of(name: &str) -> PyResult<EntryState> {
    let states = [EntryState::Waiting, EntryState::Held, EntryState::Leased, EntryState::Owing];
    let found = states.into_iter().find(|state| state.name() == name);
    found.ok_or_else(|| PyValueError::new_err(format!("a state is waiting, held, leased or owing, not {name:?}")))
}

/// An entry as a listing shows it: handle, message, number, domain, tenant, campaign, lane, priority, state, due,
/// expires, attempts.
pub(super) type ViewTuple =
    (u64, u128, u32, String, String, String, Option<String>, &'static str, &'static str, Millis, Millis, u16);

impl Paired {
    pub(super) fn lane(&mut self, name: &str, kept: bool, now: Millis) -> LaneRef {
        if let Some(record) = self.lanes.get_mut(name) {
            record.kept |= kept;
            return record.lane;
        }
        let lane = self.index.add_lane();
        let name: Arc<str> = name.into();
        self.lanes.insert(name.clone(), LaneOf { lane, kept });
        self.lane_names.insert(lane, name);
        let plan = plan_of(WINDOW, [None; 4]);
        // The lane was made just now.
        let _ = self.index.set_plan(lane, &plan, now);
        lane
    }

    pub(super) fn known_lane(&self, name: &str) -> PyResult<LaneRef> {
        let record = self.lanes.get(name).ok_or_else(|| PyKeyError::new_err(format!("no lane {name:?}")))?;
        Ok(record.lane)
    }

    /// The node of a domain; a new one is put on its lane. Only new nodes hold their names.
    fn node(&mut self, domain: &str, lane: &str, order: &Order<'_>) -> NodeRef {
        let (tag, tls, class) = (NameId(0), 0, order.class);
        let known = (self.domains.find(domain), self.tenants.find(order.tenant), self.campaigns.find(order.campaign));
        if let (Some(domain), Some(tenant), Some(campaign)) = known {
            let key = NodeKey { domain, tag, tenant, campaign, tls, class };
            if let Some(node) = self.index.find_node(&key) {
                return node;
            }
        }
        let lane = self.lane(lane, false, order.now);
        let domain = self.domains.hold(domain);
        let (tenant, campaign) = (self.tenants.hold(order.tenant), self.campaigns.hold(order.campaign));
        let (node, _) = self.index.node(NodeKey { domain, tag, tenant, campaign, tls, class });
        // Node and lane were looked up just now.
        let _ = self.index.attach(node, lane);
        node
    }

    pub(super) fn push(&mut self, message: u128, sites: &[Site], order: &Order<'_>) -> PyResult<()> {
        let mut entries = Vec::with_capacity(sites.len());
        for (number, site) in sites.iter().enumerate() {
            let node = self.node(&site.domain, site.lane.as_ref().unwrap_or(&site.domain), order);
            entries.push(order.entry(number as u32, node));
        }
        self.sequence += 1;
        let (id, lsn) = (MessageId(message), Lsn(self.sequence));
        let message = Message { id, place: Place::default(), lsn, sender: 0 };
        let inserted = self.index.insert(&message, &entries, order.now);
        inserted.map_err(|error| self.take_back(&entries, error))
    }

    /// A refused message leaves no nodes and names behind.
    fn take_back(&mut self, entries: &[NewEntry], error: InsertError) -> PyErr {
        for entry in entries {
            self.index.drop_node(entry.node);
        }
        self.tidy();
        PyValueError::new_err(error.to_string())
    }

    fn release_names(&mut self, key: &NodeKey) {
        self.domains.release(key.domain);
        self.tenants.release(key.tenant);
        self.campaigns.release(key.campaign);
    }

    /// Names and lanes of nodes that are gone.
    pub(super) fn tidy(&mut self) {
        let freed = self.index.freed_nodes();
        for (_, key) in &freed {
            self.release_names(key);
        }
        if !freed.is_empty() {
            self.drop_idle_lanes();
        }
    }

    pub(super) fn drop_idle_lanes(&mut self) {
        let (index, names) = (&mut self.index, &mut self.lane_names);
        self.lanes.retain(|_, record| {
            let goes = !record.kept && index.lane(record.lane).is_none_or(|view| view.nodes == 0 && view.failures == 0);
            let gone = goes && index.remove_lane(record.lane);
            if gone {
                names.remove(&record.lane);
            }
            !gone
        });
    }

    fn leased(&self, leased: &angarium_queue::Leased) -> Leased {
        let domain = self.index.node_view(leased.node).map_or(NameId(0), |view| view.key.domain);
        Leased {
            entry: leased.entry.to_bits(),
            number: leased.number,
            domain: self.domains.shared(domain),
            attempts: leased.attempts,
            step: leased.step,
            expires: leased.expires,
        }
    }

    pub(super) fn take(&mut self, lane: LaneRef, now: Millis, limit: usize) -> Answer {
        let mut out = Vec::new();
        match self.index.take(lane, now, limit, &mut out) {
            Take::Message(message) => Answer::Taken(message.id.0, out.iter().map(|one| self.leased(one)).collect()),
            Take::Later(at) | Take::Asleep(at) => Answer::Later(at),
            Take::Nothing | Take::Probing | Take::NoPlan | Take::Stale => Answer::Nothing,
        }
    }

    /// The message whose last entry this was.
    pub(super) fn settle(&mut self, entry: u64, outcome: Outcome, now: Millis) -> Result<Option<u128>, Stale> {
        let entry = EntryRef::from_bits(entry);
        let Outcome::Deferred(due) = outcome else {
            return Ok(self.index.close(entry)?.message.map(|message| message.id.0));
        };
        let step = self.index.view(entry).map_or(0, |view| view.step).saturating_add(1);
        self.index.defer(entry, Deferral { due, step, reason: Reason::Other, attempted: true }, now)?;
        Ok(None)
    }

    pub(super) fn view(&self, view: &EntryView) -> ViewTuple {
        let EntryView { entry, id, number, key, lane, state, due, expires, attempts, .. } = *view;
        let lane = lane.and_then(|lane| self.lane_names.get(&lane)).map(ToString::to_string);
        let domain = self.domains.text(key.domain).to_owned();
        let tenant = self.tenants.text(key.tenant).to_owned();
        let campaign = self.campaigns.text(key.campaign).to_owned();
        let (priority, state) = (key.class.name(), state.name());
        (entry.to_bits(), id.0, number, domain, tenant, campaign, lane, priority, state, due, expires, attempts)
    }

    /// `None`: a name that nothing here has, so nothing matches.
    pub(super) fn predicate(&self, wish: &Wish) -> PyResult<Option<Predicate>> {
        let mut predicate = Predicate::default();
        let names = [
            (&wish.tenant, &self.tenants, &mut predicate.tenant),
            (&wish.campaign, &self.campaigns, &mut predicate.campaign),
            (&wish.domain, &self.domains, &mut predicate.domain),
        ];
        for (text, table, place) in names {
            if let Some(text) = text {
                let Some(name) = table.find(text) else { return Ok(None) };
                *place = Some(name);
            }
        }
        if let Some(lane) = &wish.lane {
            let Some(record) = self.lanes.get(lane.as_str()) else { return Ok(None) };
            predicate.lane = Some(record.lane);
        }
        predicate.class = wish.priority.as_deref().map(class_of).transpose()?;
        predicate.state = wish.state.as_deref().map(state_of).transpose()?;
        predicate.ids = wish.message.map(MessageId).into_iter().collect();
        Ok(Some(predicate))
    }
}

/// A recipient's domain and its lane, if that is not the domain itself.
pub(super) struct Site {
    pub(super) domain: PyBackedStr,
    pub(super) lane: Option<PyBackedStr>,
}

/// What the entries of one push have in common.
pub(super) struct Order<'a> {
    pub(super) tenant: &'a str,
    pub(super) campaign: &'a str,
    pub(super) class: Class,
    pub(super) due: Millis,
    pub(super) expires: Millis,
    pub(super) now: Millis,
}

impl Order<'_> {
    fn entry(&self, number: u32, node: NodeRef) -> NewEntry {
        let (due, expires) = (self.due, self.expires);
        NewEntry { number, node, state: EntryState::Waiting, due, expires, attempts: 0, step: 0, reason: Reason::Other }
    }
}

/// What became of an entry.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Closed,
    Deferred(Millis),
}

impl Outcome {
    pub(super) fn of(outcome: &str, due: Option<Millis>) -> PyResult<Self> {
        match (outcome, due) {
            ("delivered" | "failed", _) => Ok(Self::Closed),
            ("deferred", Some(due)) => Ok(Self::Deferred(due)),
            ("deferred", None) => Err(PyValueError::new_err("a deferred entry needs a due time")),
            _ => Err(PyValueError::new_err(format!("an outcome is delivered, failed or deferred, not {outcome:?}"))),
        }
    }
}

/// A lane's answer, before it is Python's.
pub(super) enum Answer {
    Taken(u128, Vec<Leased>),
    Later(Millis),
    Nothing,
}

#[derive(Default)]
pub(super) struct Wish {
    pub(super) message: Option<u128>,
    pub(super) tenant: Option<String>,
    pub(super) campaign: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) lane: Option<String>,
    pub(super) priority: Option<String>,
    pub(super) state: Option<String>,
}

pub(super) fn plan_of(window: u32, limiters: [Option<LimiterRef>; 4]) -> LanePlan {
    LanePlan { window, limiters, valid: Millis::MAX, stale: Millis::MAX, back_off: BackOff::default() }
}
