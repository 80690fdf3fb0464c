//! `angarium.queue`: the index for Python, paired with tables of names, so that domains, tenants and lanes are texts.
//!
//! What it means stands in `rust/core/queue`. Entries are ints (handles with a generation: a stale one is a `KeyError`).
//! One lock guards the whole; calls that take or give many release the interpreter while they hold it.

// PyO3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

use std::collections::HashMap;
use std::sync::Arc;

use angarium_nouns::envelope::Class;
use angarium_nouns::names::{NameId, Names};
use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, MessageId, Millis, Reason};
use angarium_queue::{
    BackOff, Counts, Cursor, Deferral, EntryRef, EntryView, Index, InsertError, LanePlan, LaneRef, Leased, LimiterRef,
    Limits, Message, NewEntry, NodeKey, Place, Predicate, Stale, Stop, Take,
};
use parking_lot::Mutex;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Connections of a lane that was given no plan of its own.
const WINDOW: u32 = 20;

#[derive(Debug)]
struct LaneOf {
    lane: LaneRef,
    /// It was set up by name and stays when it is empty.
    kept: bool,
}

#[derive(Debug, Default)]
struct Paired {
    index: Index,
    domains: Names,
    tenants: Names,
    campaigns: Names,
    lanes: HashMap<Arc<str>, LaneOf>,
    lane_names: HashMap<LaneRef, Arc<str>>,
    limiters: HashMap<String, LimiterRef>,
    sequence: u64,
}

fn stale(_: Stale) -> PyErr {
    PyKeyError::new_err("no such entry: it is closed")
}

fn class_of(priority: &str) -> PyResult<Class> {
    let found = Class::ALL.into_iter().find(|class| class.name() == priority);
    found.ok_or_else(|| PyValueError::new_err(format!("a priority is urgent, high, normal or bulk, not {priority:?}")))
}

fn state_of(name: &str) -> PyResult<EntryState> {
    let states = [EntryState::Waiting, EntryState::Held, EntryState::Leased, EntryState::Owing];
    let found = states.into_iter().find(|state| state.name() == name);
    found.ok_or_else(|| PyValueError::new_err(format!("a state is waiting, held, leased or owing, not {name:?}")))
}

/// An entry as a delivery gets it.
type LeasedTuple = (u64, u32, String, u16, u8, Millis);
/// An entry as a listing shows it: handle, message, number, domain, tenant, campaign, lane, priority, state, due,
/// expires, attempts.
type ViewTuple =
    (u64, u128, u32, String, String, String, Option<String>, &'static str, &'static str, Millis, Millis, u16);

impl Paired {
    fn lane(&mut self, name: &str, kept: bool, now: Millis) -> LaneRef {
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

    fn known_lane(&self, name: &str) -> PyResult<LaneRef> {
        let record = self.lanes.get(name).ok_or_else(|| PyKeyError::new_err(format!("no lane {name:?}")))?;
        Ok(record.lane)
    }

    fn push(&mut self, order: &Order, now: Millis) -> Result<(), InsertError> {
        let mut entries = Vec::with_capacity(order.recipients.len());
        for (number, (domain, lane)) in order.recipients.iter().enumerate() {
            let key = NodeKey {
                domain: self.domains.hold(domain),
                tenant: self.tenants.hold(&order.tenant),
                campaign: self.campaigns.hold(&order.campaign),
                tag: NameId(0),
                tls: 0,
                class: order.class,
            };
            let (node, new) = self.index.node(key);
            if new {
                let lane = self.lane(lane, false, now);
                // Node and lane were looked up just now.
                let _ = self.index.attach(node, lane);
            } else {
                self.release_names(&key);
            }
            entries.push(NewEntry {
                number: number as u32,
                node,
                state: EntryState::Waiting,
                due: order.due,
                expires: order.expires,
                attempts: 0,
                step: 0,
                reason: Reason::Other,
            });
        }
        self.sequence += 1;
        let id = MessageId(order.message);
        let message = Message { id, place: Place::default(), lsn: Lsn(self.sequence), sender: 0 };
        let inserted = self.index.insert(&message, &entries, now);
        if inserted.is_err() {
            for entry in entries {
                self.index.drop_node(entry.node);
            }
            self.tidy();
        }
        inserted
    }

    fn release_names(&mut self, key: &NodeKey) {
        self.domains.release(key.domain);
        self.tenants.release(key.tenant);
        self.campaigns.release(key.campaign);
    }

    /// Names and lanes of nodes that are gone.
    fn tidy(&mut self) {
        let freed = self.index.freed_nodes();
        for (_, key) in &freed {
            self.release_names(key);
        }
        if !freed.is_empty() {
            self.drop_idle_lanes();
        }
    }

    fn drop_idle_lanes(&mut self) {
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

    fn leased(&self, leased: &Leased) -> LeasedTuple {
        let domain = self.index.node_view(leased.node).map_or(NameId(0), |view| view.key.domain);
        let domain = self.domains.text(domain).to_owned();
        (leased.entry.to_bits(), leased.number, domain, leased.attempts, leased.step, leased.expires)
    }

    fn view(&self, view: &EntryView) -> ViewTuple {
        let EntryView { entry, id, number, key, lane, state, due, expires, attempts, .. } = *view;
        let lane = lane.and_then(|lane| self.lane_names.get(&lane)).map(ToString::to_string);
        let domain = self.domains.text(key.domain).to_owned();
        let tenant = self.tenants.text(key.tenant).to_owned();
        let campaign = self.campaigns.text(key.campaign).to_owned();
        let (priority, state) = (key.class.name(), state.name());
        (entry.to_bits(), id.0, number, domain, tenant, campaign, lane, priority, state, due, expires, attempts)
    }

    /// `None`: a name that nothing here has, so nothing matches.
    fn predicate(&self, wish: &Wish) -> PyResult<Option<Predicate>> {
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

struct Order {
    message: u128,
    recipients: Vec<(String, String)>,
    tenant: String,
    campaign: String,
    class: Class,
    due: Millis,
    expires: Millis,
}

#[derive(Default)]
struct Wish {
    message: Option<u128>,
    tenant: Option<String>,
    campaign: Option<String>,
    domain: Option<String>,
    lane: Option<String>,
    priority: Option<String>,
    state: Option<String>,
}

fn plan_of(window: u32, limiters: [Option<LimiterRef>; 4]) -> LanePlan {
    LanePlan { window, limiters, valid: Millis::MAX, stale: Millis::MAX, back_off: BackOff::default() }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct QueueIndex(Mutex<Paired>);

#[pymethods]
impl QueueIndex {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(Paired::default()))
    }

    #[allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    #[pyo3(signature = (message, recipients, *, now, tenant, campaign, priority, due, expires))]
    fn push(
        &self,
        message: u128,
        recipients: Vec<(String, String)>,
        now: Millis,
        tenant: String,
        campaign: String,
        priority: &str,
        due: Millis,
        expires: Millis,
    ) -> PyResult<()> {
        let class = class_of(priority)?;
        let order = Order { message, recipients, tenant, campaign, class, due, expires };
        self.0.lock().push(&order, now).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    #[pyo3(signature = (lane, *, connections, limiters, now))]
    fn set_lane(&self, lane: &str, connections: u32, limiters: Vec<String>, now: Millis) -> PyResult<()> {
        let mut paired = self.0.lock();
        let mut held = [None; 4];
        if limiters.len() > held.len() {
            return Err(PyValueError::new_err("a lane has at most 4 limiters"));
        }
        for (place, name) in held.iter_mut().zip(&limiters) {
            let limiter =
                paired.limiters.get(name).ok_or_else(|| PyKeyError::new_err(format!("no limiter {name:?}")))?;
            *place = Some(*limiter);
        }
        let lane = paired.lane(lane, true, now);
        paired.index.set_plan(lane, &plan_of(connections, held), now).map_err(stale)
    }

    #[pyo3(signature = (name, *, tokens, period, burst, connections, now))]
    fn set_limiter(
        &self,
        name: String,
        tokens: u32,
        period: Millis,
        burst: u32,
        connections: Option<u32>,
        now: Millis,
    ) -> PyResult<()> {
        let limits = Limits { tokens, period, burst, window: connections.unwrap_or(u32::MAX) };
        let mut paired = self.0.lock();
        if let Some(limiter) = paired.limiters.get(&name).copied() {
            return paired.index.set_limits(limiter, limits, now).map_err(stale);
        }
        let limiter = paired.index.add_limiter(limits, now);
        paired.limiters.insert(name, limiter);
        Ok(())
    }

    #[pyo3(signature = (*, now, limit))]
    fn advance(&self, py: Python<'_>, now: Millis, limit: usize) -> bool {
        py.detach(|| self.0.lock().index.advance(now, limit))
    }

    fn next_due(&self) -> Option<Millis> {
        self.0.lock().index.next_due()
    }

    /// (lane, connections, wake, probe)
    #[pyo3(signature = (*, now, limit))]
    fn lanes_to_run(&self, now: Millis, limit: usize) -> Vec<(String, u32, u32, bool)> {
        let mut paired = self.0.lock();
        let runs = paired.index.lanes_to_run(now, limit);
        let named = runs.into_iter().filter_map(|run| Some((paired.lane_names.get(&run.lane)?, run)));
        named.map(|(name, run)| (name.to_string(), run.connections, run.wake, run.probe)).collect()
    }

    fn connection_opened(&self, lane: &str) -> PyResult<bool> {
        let mut paired = self.0.lock();
        let lane = paired.known_lane(lane)?;
        paired.index.connection_opened(lane).map_err(stale)
    }

    #[pyo3(signature = (lane, *, now))]
    fn connection_closed(&self, lane: &str, now: Millis) -> PyResult<()> {
        let mut paired = self.0.lock();
        let lane = paired.known_lane(lane)?;
        paired.index.connection_closed(lane, now).map_err(stale)?;
        paired.drop_idle_lanes();
        Ok(())
    }

    #[pyo3(signature = (lane, *, now))]
    fn lane_failed(&self, lane: &str, now: Millis) -> PyResult<Millis> {
        let mut paired = self.0.lock();
        let lane = paired.known_lane(lane)?;
        paired.index.lane_failed(lane, Reason::Connect, now).map_err(stale)
    }

    fn lane_worked(&self, lane: &str) -> PyResult<()> {
        let mut paired = self.0.lock();
        let lane = paired.known_lane(lane)?;
        paired.index.lane_worked(lane).map_err(stale)
    }

    /// (message, entries), or when to ask again: None is when there is something new.
    #[pyo3(signature = (lane, *, now, limit))]
    fn take<'py>(&self, py: Python<'py>, lane: &str, now: Millis, limit: usize) -> PyResult<Bound<'py, PyAny>> {
        let mut paired = self.0.lock();
        let Some(record) = paired.lanes.get(lane) else { return Ok(py.None().into_bound(py)) };
        let (lane, mut out) = (record.lane, Vec::new());
        match paired.index.take(lane, now, limit, &mut out) {
            Take::Message(message) => {
                let entries: Vec<LeasedTuple> = out.iter().map(|leased| paired.leased(leased)).collect();
                Ok((message.id.0, entries).into_pyobject(py)?.into_any())
            }
            Take::Later(at) | Take::Asleep(at) => Ok(at.into_pyobject(py)?.into_any()),
            Take::Nothing | Take::Probing | Take::NoPlan | Take::Stale => Ok(py.None().into_bound(py)),
        }
    }

    /// The message whose last entry this was, or None.
    fn close(&self, entry: u64) -> PyResult<Option<u128>> {
        let mut paired = self.0.lock();
        let closed = paired.index.close(EntryRef::from_bits(entry)).map_err(stale)?;
        paired.tidy();
        Ok(closed.message.map(|message| message.id.0))
    }

    /// Messages whose last entries these were. Stale entries are passed over.
    fn close_many(&self, py: Python<'_>, entries: Vec<u64>) -> Vec<u128> {
        py.detach(|| {
            let mut paired = self.0.lock();
            let close = |entry: u64| paired.index.close(EntryRef::from_bits(entry)).ok()?.message;
            let closed = entries.into_iter().filter_map(close).map(|message| message.id.0).collect();
            paired.tidy();
            closed
        })
    }

    #[pyo3(signature = (entry, *, due, attempted, now))]
    fn defer(&self, entry: u64, due: Millis, attempted: bool, now: Millis) -> PyResult<()> {
        let mut paired = self.0.lock();
        let entry = EntryRef::from_bits(entry);
        let step = paired.index.view(entry).map_or(0, |view| view.step).saturating_add(u8::from(attempted));
        let deferral = Deferral { due, step, reason: Reason::Other, attempted };
        paired.index.defer(entry, deferral, now).map_err(stale)
    }

    fn give_back(&self, entry: u64) -> PyResult<()> {
        self.0.lock().index.give_back(EntryRef::from_bits(entry)).map_err(stale)
    }

    /// False: it is in flight and will be held when it comes back.
    #[pyo3(signature = (entry, *, until))]
    fn hold(&self, entry: u64, until: Millis) -> PyResult<bool> {
        let stop = self.0.lock().index.hold(EntryRef::from_bits(entry), until, Reason::Policy).map_err(stale)?;
        Ok(matches!(stop, Stop::Done(_)))
    }

    #[pyo3(signature = (entry, *, now))]
    fn release(&self, entry: u64, now: Millis) -> PyResult<bool> {
        let mut paired = self.0.lock();
        let entry = EntryRef::from_bits(entry);
        let expires = paired.index.view(entry).map_or(0, |view| view.expires);
        paired.index.release(entry, expires, now).map_err(stale)
    }

    #[pyo3(signature = (entry, *, now))]
    fn retry(&self, entry: u64, now: Millis) -> PyResult<bool> {
        self.0.lock().index.retry(EntryRef::from_bits(entry), now).map_err(stale)
    }

    /// (closed, message): closed is False while it is in flight; message as in `close`.
    fn cancel(&self, entry: u64) -> PyResult<(bool, Option<u128>)> {
        let mut paired = self.0.lock();
        let stop = paired.index.cancel(EntryRef::from_bits(entry)).map_err(stale)?;
        paired.tidy();
        Ok(match stop {
            Stop::Done(closed) => (true, closed.message.map(|message| message.id.0)),
            Stop::InFlight => (false, None),
        })
    }

    fn is_stopped(&self, entry: u64) -> bool {
        self.0.lock().index.is_stopped(EntryRef::from_bits(entry))
    }

    /// Entries that were cancelled in flight and have come back undelivered since the last call.
    fn stopped(&self) -> Vec<u64> {
        let touched = self.0.lock().index.touched();
        let cancelled = touched.into_iter().filter(|one| one.kind == angarium_queue::ControlKind::Cancel);
        cancelled.map(|one| one.entry.to_bits()).collect()
    }

    fn entry(&self, message: u128, number: u32) -> Option<u64> {
        self.0.lock().index.entry(MessageId(message), number).map(EntryRef::to_bits)
    }

    fn entry_view(&self, entry: u64) -> Option<ViewTuple> {
        let paired = self.0.lock();
        paired.index.view(EntryRef::from_bits(entry)).map(|view| paired.view(&view))
    }

    #[allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    #[pyo3(signature = (*, message, tenant, campaign, domain, lane, priority, state, after, limit))]
    fn find(
        &self,
        message: Option<u128>,
        tenant: Option<String>,
        campaign: Option<String>,
        domain: Option<String>,
        lane: Option<String>,
        priority: Option<String>,
        state: Option<String>,
        after: u32,
        limit: usize,
    ) -> PyResult<(Vec<ViewTuple>, Option<u32>)> {
        let paired = self.0.lock();
        let wish = Wish { message, tenant, campaign, domain, lane, priority, state };
        let Some(predicate) = paired.predicate(&wish)? else { return Ok((Vec::new(), None)) };
        let mut found = Vec::new();
        let next = paired.index.find(&predicate, Cursor(after), limit.max(1), usize::MAX, &mut found);
        let views = found.iter().filter_map(|&entry| paired.index.view(entry)).map(|view| paired.view(&view));
        Ok((views.collect(), next.map(|cursor| cursor.0)))
    }

    #[pyo3(signature = (*, now, after, steps))]
    fn expired(&self, now: Millis, after: u32, steps: usize) -> (Vec<u64>, Option<u32>) {
        let mut found = Vec::new();
        let next = self.0.lock().index.expired(now, Cursor(after), steps, &mut found);
        (found.into_iter().map(EntryRef::to_bits).collect(), next.map(|cursor| cursor.0))
    }

    /// (messages, nodes, lanes, entries by priority and state, ready by priority, oldest by priority)
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let Counts { messages, nodes, lanes, entries, ready, oldest } = self.0.lock().index.counts();
        (messages, nodes, lanes, entries, ready, oldest).into_pyobject(py)
    }

    fn nbytes(&self) -> usize {
        self.0.lock().index.bytes()
    }
}
