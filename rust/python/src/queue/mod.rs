//! `angarium.queue`: the index for Python, paired with tables of names, so that domains, tenants and lanes are texts.
//!
//! What it means stands in `rust/core/queue`. Entries are ints (handles with a generation: a stale one is a `KeyError`).
//! One lock guards the whole; calls that take or give many release the interpreter while they hold it.

// PyO3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

mod paired;

use std::sync::Arc;

use angarium_nouns::{MessageId, Millis, Reason};
use angarium_queue::{Counts, Cursor, EntryRef, Limits, Stop};
use parking_lot::Mutex;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyTuple;

use paired::{Answer, Order, Outcome, Paired, Site, ViewTuple, Wish, class_of, plan_of, stale};

// Defaults of keywords stand as numbers, since stubs are checked against them. 100 recipients of an envelope are what
// every SMTP server takes (RFC 5321 4.5.3.1.8); 10,000 entries that become due in one call lock it for milliseconds.

/// One entry that a delivery has got.
#[pyclass(frozen, module = "angarium._core")]
pub struct Leased {
    #[pyo3(get)]
    entry: u64,
    #[pyo3(get)]
    number: u32,
    domain: Arc<str>,
    #[pyo3(get)]
    attempts: u16,
    #[pyo3(get)]
    step: u8,
    #[pyo3(get)]
    expires: Millis,
}

#[pymethods]
impl Leased {
    #[getter]
    fn domain(&self) -> &str {
        &self.domain
    }

    fn __repr__(&self) -> String {
        let Self { entry, number, domain, attempts, .. } = self;
        format!("Leased(entry={entry}, number={number}, domain={domain:?}, attempts={attempts})")
    }
}

/// One message and those of its entries that go out together.
#[pyclass(frozen, get_all, module = "angarium._core")]
pub struct Taken {
    message: u128,
    entries: Py<PyTuple>,
}

#[pymethods]
impl Taken {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Taken(message={}, entries={})", self.message, self.entries.bind(py).repr()?))
    }
}

/// The lane sleeps or waits until about then.
#[pyclass(frozen, get_all, eq, module = "angarium._core")]
#[derive(PartialEq)]
pub struct Later {
    at: Millis,
}

#[pymethods]
impl Later {
    #[new]
    fn new(at: Millis) -> Self {
        Self { at }
    }

    fn __repr__(&self) -> String {
        format!("Later(at={})", self.at)
    }
}

fn taken(py: Python<'_>, message: u128, entries: Vec<Leased>) -> PyResult<Bound<'_, Taken>> {
    let entries = entries.into_iter().map(|one| Bound::new(py, one)).collect::<PyResult<Vec<_>>>()?;
    Bound::new(py, Taken { message, entries: PyTuple::new(py, entries)?.unbind() })
}

#[pyclass(frozen, subclass, module = "angarium._core")]
pub struct QueueIndex {
    paired: Mutex<Paired>,
    lane_of: Option<Py<PyAny>>,
}

impl QueueIndex {
    /// Locks for calls that may take long: without the interpreter.
    fn detached<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Paired) -> T + Send) -> T {
        py.detach(|| work(&mut self.paired.lock()))
    }

    /// Asks Python for the lane: never while the lock is held.
    fn site(&self, py: Python<'_>, domain: PyBackedStr) -> PyResult<Site> {
        let lane = match &self.lane_of {
            Some(asked) => Some(asked.call1(py, (&*domain,))?.extract(py)?),
            None => None,
        };
        Ok(Site { domain, lane })
    }
}

#[pymethods]
impl QueueIndex {
    #[new]
    #[pyo3(signature = (*, lane_of = None))]
    fn new(lane_of: Option<Py<PyAny>>) -> Self {
        Self { paired: Mutex::new(Paired::default()), lane_of }
    }

    #[pyo3(signature = (message, domains, *, now, tenant = "", campaign = "", priority = "normal", due = None, expires = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a Python call")]
    fn push(
        &self,
        py: Python<'_>,
        message: u128,
        domains: Vec<PyBackedStr>,
        now: Millis,
        tenant: &str,
        campaign: &str,
        priority: &str,
        due: Option<Millis>,
        expires: Option<Millis>,
    ) -> PyResult<()> {
        let (due, expires) = (due.unwrap_or(now), expires.unwrap_or(0));
        let order = Order { tenant, campaign, class: class_of(priority)?, due, expires, now };
        let sites = domains.into_iter().map(|domain| self.site(py, domain)).collect::<PyResult<Vec<_>>>()?;
        self.paired.lock().push(message, &sites, &order)
    }

    #[pyo3(signature = (messages, *, now, tenant = "", campaign = "", priority = "normal", due = None, expires = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a Python call")]
    fn push_many(
        &self,
        py: Python<'_>,
        messages: Vec<(u128, PyBackedStr)>,
        now: Millis,
        tenant: &str,
        campaign: &str,
        priority: &str,
        due: Option<Millis>,
        expires: Option<Millis>,
    ) -> PyResult<()> {
        let (due, expires) = (due.unwrap_or(now), expires.unwrap_or(0));
        let order = Order { tenant, campaign, class: class_of(priority)?, due, expires, now };
        let sites = messages.into_iter().map(|(message, domain)| Ok((message, self.site(py, domain)?)));
        let sites = sites.collect::<PyResult<Vec<_>>>()?;
        self.detached(py, |paired| {
            sites.into_iter().try_for_each(|(message, site)| paired.push(message, &[site], &order))
        })
    }

    #[pyo3(signature = (lane, *, now, connections = 20, limiters = None))]
    fn set_lane(&self, lane: &str, now: Millis, connections: u32, limiters: Option<Vec<String>>) -> PyResult<()> {
        let limiters = limiters.unwrap_or_default();
        let mut paired = self.paired.lock();
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

    #[pyo3(signature = (name, *, now, tokens = 0, period = 1000, burst = 1, connections = None))]
    fn set_limiter(
        &self,
        name: String,
        now: Millis,
        tokens: u32,
        period: Millis,
        burst: u32,
        connections: Option<u32>,
    ) -> PyResult<()> {
        let limits = Limits { tokens, period, burst, window: connections.unwrap_or(u32::MAX) };
        let mut paired = self.paired.lock();
        if let Some(&limiter) = paired.limiters.get(&name) {
            return paired.index.set_limits(limiter, limits, now).map_err(stale);
        }
        let limiter = paired.index.add_limiter(limits, now);
        paired.limiters.insert(name, limiter);
        Ok(())
    }

    #[pyo3(signature = (*, now, limit = 10_000))]
    fn advance(&self, py: Python<'_>, now: Millis, limit: usize) -> bool {
        self.detached(py, |paired| paired.index.advance(now, limit))
    }

    fn next_due(&self) -> Option<Millis> {
        self.paired.lock().index.next_due()
    }

    /// (lane, connections, wake, probe)
    #[pyo3(signature = (*, now, limit))]
    fn lanes_to_run(&self, now: Millis, limit: usize) -> Vec<(String, u32, u32, bool)> {
        let mut paired = self.paired.lock();
        let runs = paired.index.lanes_to_run(now, limit);
        let named = runs.into_iter().filter_map(|run| Some((paired.lane_names.get(&run.lane)?, run)));
        named.map(|(name, run)| (name.to_string(), run.connections, run.wake, run.probe)).collect()
    }

    fn connection_opened(&self, lane: &str) -> PyResult<bool> {
        let mut paired = self.paired.lock();
        let lane = paired.known_lane(lane)?;
        paired.index.connection_opened(lane).map_err(stale)
    }

    #[pyo3(signature = (lane, *, now))]
    fn connection_closed(&self, lane: &str, now: Millis) -> PyResult<()> {
        let mut paired = self.paired.lock();
        let lane = paired.known_lane(lane)?;
        paired.index.connection_closed(lane, now).map_err(stale)?;
        paired.drop_idle_lanes();
        Ok(())
    }

    #[pyo3(signature = (lane, *, now))]
    fn lane_failed(&self, lane: &str, now: Millis) -> PyResult<Millis> {
        let mut paired = self.paired.lock();
        let lane = paired.known_lane(lane)?;
        paired.index.lane_failed(lane, Reason::Connect, now).map_err(stale)
    }

    fn lane_worked(&self, lane: &str) -> PyResult<()> {
        let mut paired = self.paired.lock();
        let lane = paired.known_lane(lane)?;
        paired.index.lane_worked(lane).map_err(stale)
    }

    #[pyo3(signature = (lane, *, now, limit = 100))]
    fn take<'py>(&self, py: Python<'py>, lane: &str, now: Millis, limit: usize) -> PyResult<Bound<'py, PyAny>> {
        let mut paired = self.paired.lock();
        let Some(record) = paired.lanes.get(lane) else { return Ok(py.None().into_bound(py)) };
        let lane = record.lane;
        let answer = paired.take(lane, now, limit);
        drop(paired);
        match answer {
            Answer::Taken(message, entries) => Ok(taken(py, message, entries)?.into_any()),
            Answer::Later(at) => Ok(Bound::new(py, Later { at })?.into_any()),
            Answer::Nothing => Ok(py.None().into_bound(py)),
        }
    }

    #[pyo3(signature = (lane, *, now, messages, limit = 100))]
    fn take_many<'py>(
        &self,
        py: Python<'py>,
        lane: &str,
        now: Millis,
        messages: usize,
        limit: usize,
    ) -> PyResult<Vec<Bound<'py, Taken>>> {
        let answers = self.detached(py, |paired| {
            let mut answers = Vec::new();
            if let Some(lane) = paired.lanes.get(lane).map(|record| record.lane) {
                while answers.len() < messages
                    && let Answer::Taken(message, entries) = paired.take(lane, now, limit)
                {
                    answers.push((message, entries));
                }
            }
            answers
        });
        answers.into_iter().map(|(message, entries)| taken(py, message, entries)).collect()
    }

    #[pyo3(signature = (entry, outcome, *, now, due = None))]
    fn settle(&self, entry: u64, outcome: &str, now: Millis, due: Option<Millis>) -> PyResult<Option<u128>> {
        let outcome = Outcome::of(outcome, due)?;
        let mut paired = self.paired.lock();
        let done = paired.settle(entry, outcome, now).map_err(stale)?;
        paired.tidy();
        Ok(done)
    }

    /// Stale entries are passed over.
    #[pyo3(signature = (entries, outcome, *, now, due = None))]
    fn settle_many(
        &self,
        py: Python<'_>,
        entries: Vec<u64>,
        outcome: &str,
        now: Millis,
        due: Option<Millis>,
    ) -> PyResult<Vec<u128>> {
        let outcome = Outcome::of(outcome, due)?;
        Ok(self.detached(py, |paired| {
            let settle = |entry: u64| paired.settle(entry, outcome, now).ok().flatten();
            let done = entries.into_iter().filter_map(settle).collect();
            paired.tidy();
            done
        }))
    }

    fn give_back(&self, entry: u64) -> PyResult<()> {
        self.paired.lock().index.give_back(EntryRef::from_bits(entry)).map_err(stale)
    }

    /// False: it is in flight and will be held when it comes back.
    #[pyo3(signature = (entry, *, until = None))]
    fn hold(&self, entry: u64, until: Option<Millis>) -> PyResult<bool> {
        let (entry, until) = (EntryRef::from_bits(entry), until.unwrap_or(0));
        let stop = self.paired.lock().index.hold(entry, until, Reason::Policy).map_err(stale)?;
        Ok(matches!(stop, Stop::Done(_)))
    }

    #[pyo3(signature = (entry, *, now))]
    fn release(&self, entry: u64, now: Millis) -> PyResult<bool> {
        let mut paired = self.paired.lock();
        let entry = EntryRef::from_bits(entry);
        let expires = paired.index.view(entry).map_or(0, |view| view.expires);
        paired.index.release(entry, expires, now).map_err(stale)
    }

    #[pyo3(signature = (entry, *, now))]
    fn retry(&self, entry: u64, now: Millis) -> PyResult<bool> {
        self.paired.lock().index.retry(EntryRef::from_bits(entry), now).map_err(stale)
    }

    /// False: it is in flight.
    fn cancel(&self, entry: u64) -> PyResult<bool> {
        let mut paired = self.paired.lock();
        let stop = paired.index.cancel(EntryRef::from_bits(entry)).map_err(stale)?;
        paired.tidy();
        Ok(matches!(stop, Stop::Done(_)))
    }

    fn is_stopped(&self, entry: u64) -> bool {
        self.paired.lock().index.is_stopped(EntryRef::from_bits(entry))
    }

    /// Entries that were cancelled in flight and have come back undelivered since the last call.
    fn cancelled(&self) -> Vec<u64> {
        let touched = self.paired.lock().index.touched();
        let cancelled = touched.into_iter().filter(|one| one.kind == angarium_queue::ControlKind::Cancel);
        cancelled.map(|one| one.entry.to_bits()).collect()
    }

    fn handle(&self, message: u128, number: u32) -> Option<u64> {
        self.paired.lock().index.entry(MessageId(message), number).map(EntryRef::to_bits)
    }

    fn view(&self, entry: u64) -> Option<ViewTuple> {
        let paired = self.paired.lock();
        paired.index.view(EntryRef::from_bits(entry)).map(|view| paired.view(&view))
    }

    #[pyo3(signature = (*, message, tenant, campaign, domain, lane, priority, state, after, limit))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a Python call")]
    fn find_views(
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
        let paired = self.paired.lock();
        let wish = Wish { message, tenant, campaign, domain, lane, priority, state };
        let Some(predicate) = paired.predicate(&wish)? else { return Ok((Vec::new(), None)) };
        let mut found = Vec::new();
        let next = paired.index.find(&predicate, Cursor(after), limit.max(1), usize::MAX, &mut found);
        let views = found.iter().filter_map(|&entry| paired.index.view(entry)).map(|view| paired.view(&view));
        Ok((views.collect(), next.map(|cursor| cursor.0)))
    }

    /// Closes what is not in flight; gives how many.
    #[pyo3(signature = (*, tenant = None, campaign = None, domain = None, lane = None, priority = None, state = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a Python call")]
    fn cancel_all(
        &self,
        py: Python<'_>,
        tenant: Option<String>,
        campaign: Option<String>,
        domain: Option<String>,
        lane: Option<String>,
        priority: Option<String>,
        state: Option<String>,
    ) -> PyResult<usize> {
        let wish = Wish { message: None, tenant, campaign, domain, lane, priority, state };
        self.detached(py, |paired| {
            let Some(predicate) = paired.predicate(&wish)? else { return Ok(0) };
            let mut found = Vec::new();
            paired.index.find(&predicate, Cursor::default(), usize::MAX, usize::MAX, &mut found);
            let closed = found.into_iter().filter(|&entry| matches!(paired.index.cancel(entry), Ok(Stop::Done(_))));
            let many = closed.count();
            paired.tidy();
            Ok(many)
        })
    }

    #[pyo3(signature = (*, now, after, steps))]
    fn expired_after(&self, now: Millis, after: u32, steps: usize) -> (Vec<u64>, Option<u32>) {
        let mut found = Vec::new();
        let next = self.paired.lock().index.expired(now, Cursor(after), steps, &mut found);
        (found.into_iter().map(EntryRef::to_bits).collect(), next.map(|cursor| cursor.0))
    }

    /// (messages, nodes, lanes, entries by priority and state, ready by priority, oldest by priority)
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let Counts { messages, nodes, lanes, entries, ready, oldest } = self.paired.lock().index.counts();
        (messages, nodes, lanes, entries, ready, oldest).into_pyobject(py)
    }

    fn nbytes(&self) -> usize {
        self.paired.lock().index.bytes()
    }
}
