//! `angarium.engine`: the face of [`angarium_engine`]. Calls release the interpreter; events become frozen classes
//! whose parts are made when they are asked for.
#![allow(clippy::needless_pass_by_value, reason = "arguments come by value from the interpreter")]

mod events;
mod pulled;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

use angarium_engine::calls::peer;
use angarium_engine::engine::{self, CallError, RecoverError, Settings};
use angarium_engine::policy::authentication;
use angarium_ledger::OpenError;
use angarium_nouns::{MessageId, Reply};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use events::show;
pub use events::{Ask, Body, Credentials, Deliver, Done, Flag};
pub use pulled::{Fault, LaneWanted, PlanReport, RouteWanted};

import_exception!(angarium.errors, Busy);
import_exception!(angarium.errors, PolicyError);
import_exception!(angarium.errors, SpoolHeld);
import_exception!(angarium.errors, SpoolNewer);
import_exception!(angarium.errors, SpoolUnreadable);

/// Limit, listener, who, times, last session.
type LimitMet = (&'static str, u16, String, u64, u64);

type Taken = (RawFd, String, u16);

fn open_error(error: &OpenError) -> PyErr {
    let text = error.to_string();
    match error {
        OpenError::Held => SpoolHeld::new_err(text),
        OpenError::Newer(_) => SpoolNewer::new_err(text),
        OpenError::Unreadable(_) | OpenError::NotUnderstood(_) => SpoolUnreadable::new_err(text),
    }
}

fn call_error(error: CallError) -> PyErr {
    match error {
        CallError::Busy(busy) => Busy::new_err(busy.to_string()),
        CallError::NotRunning => PyRuntimeError::new_err(error.to_string()),
        CallError::Invalid(text) => PyValueError::new_err(text),
    }
}

fn policy_error(error: angarium_engine::policy::PolicyError) -> PyErr {
    PolicyError::new_err((error.path, error.why))
}

fn id_of(text: &str) -> PyResult<MessageId> {
    text.parse().map_err(|error| PyValueError::new_err(format!("{error}")))
}

fn wire(reply: &Reply) -> Vec<u8> {
    let mut bytes = Vec::new();
    reply.write_to(&mut bytes);
    bytes
}

/// Every method of judging with its results: what a row of the policy may name.
#[pyfunction]
pub fn verdict_words() -> BTreeMap<&'static str, Vec<&'static str>> {
    authentication::words().into_iter().collect()
}

#[pyclass(frozen, module = "angarium._core")]
pub struct Engine(Arc<engine::Engine>);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (spool, node, *, segment_bytes = 67_108_864, workers = 0))]
    fn new(py: Python<'_>, spool: String, node: u16, segment_bytes: u32, workers: usize) -> PyResult<Self> {
        let settings = Settings { spool, node, segment_bytes, workers };
        let opened = py.detach(|| engine::Engine::open(settings));
        Ok(Self(Arc::new(opened.map_err(|error| open_error(&error))?)))
    }

    #[getter]
    fn eventfd(&self) -> RawFd {
        self.0.events().fd()
    }

    fn recover(&self, py: Python<'_>, policy: PyBackedBytes) -> PyResult<u64> {
        py.detach(|| self.0.recover(&policy)).map_err(|error| match error {
            RecoverError::Policy(error) => policy_error(error),
            RecoverError::Call(error) => call_error(error),
        })
    }

    fn drain<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let events = py.detach(|| self.0.drain(limit));
        events.into_iter().map(|event| show(py, event, self.0.spool())).collect()
    }

    fn adopt<'py>(
        &self,
        py: Python<'py>,
        listener: u16,
        socks: Vec<Taken>,
    ) -> PyResult<Vec<(RawFd, Bound<'py, PyBytes>)>> {
        let read = |(fd, address, port): Taken| match peer(&address, port) {
            Some(peer) => Ok((fd, peer)),
            None => Err(PyValueError::new_err(format!("{address:?} is no address"))),
        };
        let socks: Vec<(RawFd, SocketAddr)> = socks.into_iter().map(read).collect::<PyResult<_>>()?;
        let refused = py.detach(|| self.0.adopt(listener, &socks)).map_err(call_error)?;
        Ok(refused
            .iter()
            .map(|(fd, reply)| (*fd, PyBytes::new(py, &reply.as_ref().map_or_else(Vec::new, wire))))
            .collect())
    }

    fn set_policy(&self, py: Python<'_>, tables: PyBackedBytes) -> PyResult<u64> {
        py.detach(|| self.0.set_policy(&tables)).map_err(call_error)?.map_err(policy_error)
    }

    fn set_certificates(&self, py: Python<'_>, table: PyBackedBytes) -> PyResult<()> {
        py.detach(|| self.0.set_certificates(&table)).map_err(policy_error)
    }

    fn set_signers(&self, py: Python<'_>, table: PyBackedBytes) -> PyResult<()> {
        py.detach(|| self.0.set_signers(&table)).map_err(policy_error)
    }

    fn forget_logins(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.forget_logins()).map_err(call_error)
    }

    #[pyo3(signature = (ask, verdict = None))]
    fn answer(&self, ask: u64, verdict: Option<&[u8]>) -> PyResult<bool> {
        self.0.answer(ask, verdict.unwrap_or_default()).map_err(call_error)
    }

    fn answer_many(&self, py: Python<'_>, answers: Vec<(u64, PyBackedBytes)>) -> PyResult<Vec<bool>> {
        py.detach(|| answers.iter().map(|(ask, verdict)| self.0.answer(*ask, verdict)).collect::<Result<_, _>>())
            .map_err(call_error)
    }

    fn submit(&self, py: Python<'_>, batch: Vec<(PyBackedBytes, PyBackedBytes)>) -> PyResult<Vec<u64>> {
        py.detach(|| batch.iter().map(|(table, body)| self.0.submit(table, body.to_vec())).collect::<Result<_, _>>())
            .map_err(call_error)
    }

    fn wanted_routes(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<RouteWanted>> {
        let wanted = py.detach(|| self.0.wanted_routes(limit)).map_err(call_error)?;
        Ok(wanted.into_iter().map(RouteWanted).collect())
    }

    #[pyo3(signature = (key, route, *, valid, stale))]
    fn set_route(&self, py: Python<'_>, key: u32, route: PyBackedBytes, valid: u64, stale: u64) -> PyResult<bool> {
        py.detach(|| self.0.set_route(key, &route, valid, stale)).map_err(call_error)
    }

    fn wanted_plans(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<LaneWanted>> {
        let wanted = py.detach(|| self.0.wanted_plans(limit)).map_err(call_error)?;
        Ok(wanted.into_iter().map(LaneWanted).collect())
    }

    #[pyo3(signature = (lane, plan, *, valid))]
    fn set_plan(&self, py: Python<'_>, lane: u64, plan: PyBackedBytes, valid: u64) -> PyResult<bool> {
        py.detach(|| self.0.set_plan(lane, &plan, valid)).map_err(call_error)
    }

    fn plan_reports(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<PlanReport>> {
        let reports = py.detach(|| self.0.plan_reports(limit)).map_err(call_error)?;
        Ok(reports.into_iter().map(PlanReport).collect())
    }

    /// (limit, listener, who, times, session) each.
    fn limits_met(&self, py: Python<'_>) -> PyResult<Vec<LimitMet>> {
        let met = py.detach(|| self.0.limits_met()).map_err(call_error)?;
        Ok(met.into_iter().map(|(met, times)| (met.limit, met.listener, met.who, times.count, times.session)).collect())
    }

    fn faults(&self) -> Vec<Fault> {
        self.0.faults().into_iter().map(Fault).collect()
    }

    fn settle(&self, py: Python<'_>, results: Vec<(u64, PyBackedBytes)>) -> PyResult<Vec<bool>> {
        let results: Vec<(u64, &[u8])> = results.iter().map(|(entry, outcome)| (*entry, &**outcome)).collect();
        py.detach(|| self.0.settle(&results)).map_err(call_error)
    }

    fn control(&self, py: Python<'_>, control: PyBackedBytes) -> PyResult<u64> {
        py.detach(|| self.0.control(&control)).map_err(call_error)
    }

    #[pyo3(signature = (r#where, *, after = None, limit = 100))]
    fn find(
        &self,
        py: Python<'_>,
        r#where: PyBackedBytes,
        after: Option<PyBackedBytes>,
        limit: usize,
    ) -> PyResult<u64> {
        let after = after.map_or_else(Vec::new, |after| after.to_vec());
        py.detach(|| self.0.find(&r#where, after, limit)).map_err(call_error)
    }

    fn message(&self, py: Python<'_>, id: &str) -> PyResult<u64> {
        let id = id_of(id)?;
        py.detach(|| self.0.message(id)).map_err(call_error)
    }

    #[pyo3(signature = (id, *, recipient = None))]
    fn content(&self, py: Python<'_>, id: &str, recipient: Option<u32>) -> PyResult<u64> {
        let id = id_of(id)?;
        py.detach(|| self.0.content(id, recipient)).map_err(call_error)
    }

    fn read_journal(&self, py: Python<'_>, at: PyBackedBytes, kinds: u32, limit: usize) -> PyResult<u64> {
        py.detach(|| self.0.read_journal(&at, kinds, limit)).map_err(call_error)
    }

    #[pyo3(signature = (name, at, *, claims))]
    fn follow(&self, py: Python<'_>, name: &str, at: PyBackedBytes, claims: &str) -> PyResult<u64> {
        py.detach(|| self.0.follow(name, &at, claims)).map_err(call_error)
    }

    fn followers(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.0.followers()).map_err(call_error)
    }

    fn rules(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.0.rules()).map_err(call_error)
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let figures = py.detach(|| self.0.counters()).map_err(call_error)?;
        Ok(PyBytes::new(py, &figures))
    }

    fn stop(&self, py: Python<'_>, deadline: u64) -> PyResult<u64> {
        py.detach(|| self.0.stop(deadline)).map_err(call_error)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}
