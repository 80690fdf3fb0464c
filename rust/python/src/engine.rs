//! `angarium.engine`: the face of [`angarium_engine`]. Calls release the interpreter; events become frozen classes
//! whose parts are made when they are asked for.
#![allow(clippy::needless_pass_by_value, reason = "arguments come by value from the interpreter")]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

use angarium_engine::asks::{self, View};
use angarium_engine::calls::peer;
use angarium_engine::delivery;
use angarium_engine::engine::{self, CallError, RecoverError, Settings};
use angarium_engine::event::{self, Event};
use angarium_engine::faults;
use angarium_ledger::OpenError;
use angarium_nouns::{MessageId, Reply};
use memmap2::Mmap;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use pyo3::{ffi, import_exception};

import_exception!(angarium.errors, Busy);
import_exception!(angarium.errors, PolicyError);
import_exception!(angarium.errors, SpoolHeld);
import_exception!(angarium.errors, SpoolNewer);
import_exception!(angarium.errors, SpoolUnreadable);

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
        Ok(refused.iter().map(|(fd, reply)| (*fd, PyBytes::new(py, &wire(reply)))).collect())
    }

    fn set_policy(&self, py: Python<'_>, tables: PyBackedBytes) -> PyResult<u64> {
        py.detach(|| self.0.set_policy(&tables)).map_err(call_error)?.map_err(policy_error)
    }

    fn set_certificates(&self, py: Python<'_>, table: PyBackedBytes) -> PyResult<()> {
        py.detach(|| self.0.set_certificates(&table)).map_err(policy_error)
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

fn show<'py>(py: Python<'py>, event: Event, spool: &str) -> PyResult<Bound<'py, PyAny>> {
    Ok(match event {
        Event::Ask(ask) => Bound::new(py, Ask { ask, spool: spool.into() })?.into_any(),
        Event::Deliver(handover) => Bound::new(py, Deliver(handover))?.into_any(),
        Event::Done(done) => Bound::new(py, Done::new(*done, spool)?)?.into_any(),
        Event::Flag(level) => Bound::new(py, Flag(level))?.into_any(),
    })
}

/// Where a body's bytes are while Python looks at them.
enum Bytes {
    Memory(Arc<Vec<u8>>, usize),
    Map(Mmap, usize),
}

impl Bytes {
    fn open(view: &View, spool: &str) -> PyResult<Self> {
        match view {
            View::Memory(bytes, from) => Ok(Self::Memory(bytes.clone(), *from)),
            View::File(name, from) => {
                let file = File::open(Path::new(spool).join(name))?;
                // SAFETY: a body file is written once, before anybody is told its name, and only ever unlinked.
                Ok(Self::Map(unsafe { Mmap::map(&file)? }, *from))
            }
        }
    }

    fn slice(&self) -> &[u8] {
        match self {
            Self::Memory(bytes, from) => &bytes[*from..],
            Self::Map(map, from) => &map[*from..],
        }
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct Body(Bytes);

#[pymethods]
impl Body {
    fn __len__(&self) -> usize {
        self.0.slice().len()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.slice())
    }

    #[allow(clippy::needless_pass_by_value, reason = "the shape that the slot wants")]
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let bytes = slf.get().0.slice();
        // SAFETY: the buffer holds a reference to this object, and the bytes neither move nor change while it lives.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                bytes.as_ptr().cast_mut().cast::<c_void>(),
                bytes.len().cast_signed(),
                1,
                flags,
            )
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct Ask {
    ask: Box<asks::Ask>,
    spool: Box<str>,
}

#[pymethods]
impl Ask {
    #[getter]
    fn ask(&self) -> u64 {
        self.ask.number
    }

    #[getter]
    fn phase(&self) -> &'static str {
        self.ask.question.phase.name()
    }

    #[getter]
    fn deadline(&self) -> u64 {
        self.ask.deadline
    }

    #[getter]
    fn session(&self) -> u64 {
        self.ask.question.session
    }

    #[getter]
    fn listener(&self) -> u16 {
        self.ask.question.listener
    }

    #[getter]
    fn peer(&self) -> (String, u16) {
        self.ask.question.peer.map_or_else(Default::default, |peer| (peer.ip().to_string(), peer.port()))
    }

    #[getter]
    fn trusted(&self) -> bool {
        self.ask.question.trusted
    }

    #[getter]
    fn hello(&self) -> &str {
        &self.ask.question.hello
    }

    #[getter]
    fn login(&self) -> &str {
        &self.ask.question.login
    }

    #[getter]
    fn tls(&self) -> &str {
        &self.ask.question.tls
    }

    #[getter]
    fn id(&self) -> String {
        self.ask.question.id.map_or_else(String::new, |id| id.to_string())
    }

    #[getter]
    fn sender(&self) -> &str {
        &self.ask.question.sender
    }

    #[getter]
    fn recipients(&self) -> Vec<&str> {
        self.ask.question.recipients.iter().map(String::as_str).collect()
    }

    #[getter]
    fn size(&self) -> u64 {
        self.ask.question.size
    }

    #[getter]
    fn body(&self) -> PyResult<Option<Body>> {
        let view = self.ask.question.view.as_ref();
        view.map(|view| Bytes::open(view, &self.spool).map(Body)).transpose()
    }

    #[getter]
    fn credentials(&self) -> Option<Credentials> {
        self.ask.question.credentials.clone().map(Credentials)
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct Credentials(Box<asks::Credentials>);

#[pymethods]
impl Credentials {
    #[getter]
    fn mechanism(&self) -> &str {
        self.0.mechanism
    }

    #[getter]
    fn kind(&self) -> &str {
        self.0.kind
    }

    #[getter]
    fn login(&self) -> &str {
        &self.0.login
    }

    #[getter]
    fn authzid(&self) -> &str {
        &self.0.authzid
    }

    #[getter]
    fn secret<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.secret)
    }

    #[getter]
    fn certificate<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.certificate)
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct Deliver(Box<delivery::Handover>);

#[pymethods]
impl Deliver {
    #[getter]
    fn lane(&self) -> u64 {
        self.0.lane
    }

    #[getter]
    fn id(&self) -> String {
        self.0.id.to_string()
    }

    #[getter]
    fn sender(&self) -> &str {
        &self.0.sender
    }

    #[getter]
    fn entries(&self) -> Vec<(u64, u32, String)> {
        self.0.entries.clone()
    }

    #[getter]
    fn size(&self) -> u64 {
        self.0.size
    }

    #[getter]
    fn deadline(&self) -> u64 {
        self.0.deadline
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct Done {
    ticket: u64,
    error: &'static str,
    text: String,
    result: Py<PyBytes>,
    body: Option<Py<Body>>,
}

impl Done {
    fn new(done: event::Done, spool: &str) -> PyResult<Self> {
        Python::attach(|py| {
            let ticket = done.ticket;
            let (error, text, result, view) = match done.result {
                Ok(finished) => ("", String::new(), finished.result, finished.body),
                Err(problem) => (problem.word, problem.text, problem.result, None),
            };
            let body = view.map(|view| Bytes::open(&view, spool)).transpose()?;
            let body = body.map(|bytes| Py::new(py, Body(bytes))).transpose()?;
            Ok(Self { ticket, error, text, result: PyBytes::new(py, &result).unbind(), body })
        })
    }
}

#[pymethods]
impl Done {
    #[getter]
    fn ticket(&self) -> u64 {
        self.ticket
    }

    #[getter]
    fn error(&self) -> &'static str {
        self.error
    }

    #[getter]
    fn text(&self) -> &str {
        &self.text
    }

    #[getter]
    fn result(&self, py: Python<'_>) -> Py<PyBytes> {
        self.result.clone_ref(py)
    }

    #[getter]
    fn body(&self, py: Python<'_>) -> Option<Py<Body>> {
        self.body.as_ref().map(|body| body.clone_ref(py))
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct Flag(event::Level);

#[pymethods]
impl Flag {
    #[getter]
    fn kind(&self) -> &'static str {
        event::level_name(self.0)
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct RouteWanted(angarium_ledger::RouteWanted);

#[pymethods]
impl RouteWanted {
    #[getter]
    fn key(&self) -> u32 {
        self.0.key
    }

    #[getter]
    fn domain(&self) -> &str {
        &self.0.domain
    }

    #[getter]
    fn tag(&self) -> &str {
        &self.0.tag
    }

    #[getter]
    fn tls(&self) -> u8 {
        self.0.tls
    }

    #[getter]
    fn waiting(&self) -> u32 {
        self.0.waiting
    }

    #[getter]
    fn oldest(&self) -> u64 {
        self.0.oldest
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct LaneWanted(angarium_ledger::LaneWanted);

#[pymethods]
impl LaneWanted {
    #[getter]
    fn lane(&self) -> u64 {
        self.0.lane.0
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.key.kind.name()
    }

    #[getter]
    fn site(&self) -> &str {
        &self.0.key.site
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.key.port
    }

    #[getter]
    fn pool(&self) -> &str {
        &self.0.key.pool
    }

    #[getter]
    fn identity(&self) -> &str {
        &self.0.key.identity
    }

    #[getter]
    fn tls(&self) -> u8 {
        self.0.key.tls
    }

    #[getter]
    fn hosts(&self) -> Vec<String> {
        self.0.hosts.clone()
    }

    #[getter]
    fn waiting(&self) -> u32 {
        self.0.waiting
    }

    #[getter]
    fn oldest(&self) -> u64 {
        self.0.oldest
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct PlanReport(delivery::PlanReport);

#[pymethods]
impl PlanReport {
    #[getter]
    fn lane(&self) -> u64 {
        self.0.lane
    }

    #[getter]
    fn host(&self) -> &str {
        &self.0.host
    }

    #[getter]
    fn delivered(&self) -> u64 {
        self.0.delivered
    }

    #[getter]
    fn deferred(&self) -> u64 {
        self.0.deferred
    }

    #[getter]
    fn failed(&self) -> u64 {
        self.0.failed
    }

    #[getter]
    fn reason(&self) -> &'static str {
        self.0.reason_name()
    }

    #[getter]
    fn code(&self) -> u16 {
        self.0.code
    }

    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }

    #[getter]
    fn sleeps_until(&self) -> u64 {
        self.0.sleeps_until
    }
}

#[pyclass(frozen, module = "angarium._core")]
pub struct Fault(faults::Fault);

#[pymethods]
impl Fault {
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.name()
    }

    #[getter]
    fn since(&self) -> u64 {
        self.0.since
    }

    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }

    #[getter]
    fn stops_intake(&self) -> bool {
        self.0.kind.stops_intake()
    }
}
