//! What a drain gives: a question, a lease, the end of a ticket, a flag; and bodies as buffers that are never copied.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use angarium_engine::asks::{self, View};
use angarium_engine::delivery;
use angarium_engine::event::{self, Event};
use memmap2::Mmap;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// An event as Python sees it; bodies lie in the spool at `spool`.
pub(super) fn show<'py>(py: Python<'py>, event: Event, spool: &str) -> PyResult<Bound<'py, PyAny>> {
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
    fn verdicts<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.ask.question.verdicts)
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
