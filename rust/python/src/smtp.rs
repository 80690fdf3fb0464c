//! `angarium.smtp`: the SMTP room for Python. What it means stands in `rust/core/smtp`; here arguments become Rust and
//! findings become frozen classes. Bytes that were not worked off yet wait here, so that Python only hands in reads.

// PyO3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

use std::sync::Arc;

use angarium_nouns::{BodyType, EnhancedCode, Reply};
use angarium_smtp::{
    BareNewline, Client, ClientError, Command, Cut, Event, Extensions, MailParameters, Server, ServerSettings,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyTuple};
use pyo3::{IntoPyObjectExt, import_exception};

import_exception!(angarium.errors, SmtpError);

/// A frozen class of plain fields, equal by value, readable in a log, matched by position in the order given.
macro_rules! event {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* }) => {
        $(#[$doc])*
        #[pyclass(frozen, get_all, eq, module = "angarium._core")]
        #[derive(PartialEq)]
        pub struct $name { $($field: $type),* }

        #[pymethods]
        impl $name {
            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                let names: &[&str] = &[$(stringify!($field)),*];
                PyTuple::new(py, names)
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                let names: &[&str] = &[$(stringify!($field)),*];
                let shown = |name: &&str| Ok(format!("{name}={}", slf.getattr(*name)?.repr()?));
                let fields = names.iter().map(shown).collect::<PyResult<Vec<_>>>()?;
                Ok(format!("{}({})", stringify!($name).trim_start_matches("Smtp"), fields.join(", ")))
            }
        }
    };
}

event!(SmtpEarly {});
event!(SmtpHello { name: String, extended: bool });
event!(SmtpMail { sender: Option<String>, size: Option<u64>, body: &'static str, smtputf8: bool });
event!(SmtpRcpt { recipient: String, bare_postmaster: bool });
event!(SmtpData {});
event!(SmtpEnd { size: u64, body: &'static str });
event!(SmtpBroken { code: u16, text: String });
event!(SmtpReset {});
event!(SmtpVrfy { text: String });
event!(SmtpQuit {});
event!(SmtpHangup { code: u16, text: String });
event!(SmtpReply { command: &'static str, code: u16, enhanced: Option<String>, text: String });
event!(SmtpGarbage { why: String });
event!(SmtpCapabilities { hostname: String, extensions: Vec<&'static str>, size: Option<u64>, lines: Vec<String> });

/// Content. Its bytes are a Python object from the start: one copy.
#[pyclass(frozen, module = "angarium._core")]
pub struct SmtpBody(Py<PyBytes>);

#[pymethods]
impl SmtpBody {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["data"])
    }

    #[getter]
    fn data(&self, py: Python<'_>) -> Py<PyBytes> {
        self.0.clone_ref(py)
    }

    fn __eq__(&self, other: &Self, py: Python<'_>) -> bool {
        self.0.as_bytes(py) == other.0.as_bytes(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Body(data={})", self.0.bind(py).repr()?))
    }
}

fn body_word(body: BodyType) -> &'static str {
    ["7BIT", "8BITMIME", "BINARYMIME"][body as usize]
}

fn reply_of(code: u16, text: String, enhanced: Option<&str>) -> PyResult<Reply> {
    let bad = || PyValueError::new_err("an enhanced code is written like 5.1.1");
    let split = |text| EnhancedCode::split(text).filter(|(_, rest)| rest.is_empty()).map(|(code, _)| code);
    let enhanced = enhanced.map(|text| split(text).ok_or_else(bad)).transpose()?;
    Reply::checked(code, enhanced, text).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn extensions_of(keywords: &[String]) -> PyResult<Extensions> {
    let unknown = |keyword: &String| PyValueError::new_err(format!("{keyword} is no extension of this server"));
    keywords.iter().try_fold(Extensions::NONE, |set, keyword| {
        Extensions::named(keyword).map(|one| set.with(one)).ok_or_else(|| unknown(keyword))
    })
}

fn bare_newline_of(word: &str) -> PyResult<BareNewline> {
    match word {
        "reject" => Ok(BareNewline::Reject),
        "normalise" => Ok(BareNewline::Normalise),
        _ => Err(PyValueError::new_err("bare_newline is 'reject' or 'normalise'")),
    }
}

#[pyclass(module = "angarium._core")]
pub struct SmtpServer {
    server: Server,
    input: Vec<u8>,
    /// Octets of `input` that were worked off.
    used: usize,
}

#[pymethods]
impl SmtpServer {
    #[new]
    #[pyo3(signature = (hostname, *, banner=None, help=None, extensions=None, max_size=None, max_recipients=None,
        max_line=None, max_errors=None, bare_newline="reject"))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        hostname: String,
        banner: Option<String>,
        help: Option<String>,
        extensions: Option<Vec<String>>,
        max_size: Option<u64>,
        max_recipients: Option<u32>,
        max_line: Option<u32>,
        max_errors: Option<u32>,
        bare_newline: &str,
    ) -> PyResult<Self> {
        let usual = ServerSettings::new(hostname);
        let settings = ServerSettings {
            banner: banner.unwrap_or(usual.banner),
            help: help.unwrap_or(usual.help),
            extensions: extensions.map_or(Ok(usual.extensions), |keywords| extensions_of(&keywords))?,
            max_size: max_size.unwrap_or(usual.max_size),
            max_recipients: max_recipients.unwrap_or(usual.max_recipients),
            max_line: max_line.unwrap_or(usual.max_line),
            max_errors: max_errors.unwrap_or(usual.max_errors),
            bare_newline: bare_newline_of(bare_newline)?,
            ..usual
        };
        settings.check().map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { server: Server::new(Arc::new(settings)), input: Vec::new(), used: 0 })
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.server.state().name()
    }

    #[getter]
    fn awaits(&self) -> Option<&'static str> {
        self.server.awaits().map(angarium_smtp::Verb::name)
    }

    #[getter]
    fn is_closed(&self) -> bool {
        self.server.is_closed()
    }

    #[getter]
    fn is_idle(&self) -> bool {
        self.server.is_idle() && self.used == self.input.len()
    }

    #[getter]
    fn recipients(&self) -> u32 {
        self.server.recipients()
    }

    #[getter]
    fn errors(&self) -> u32 {
        self.server.errors()
    }

    fn greet(&mut self) -> PyResult<()> {
        self.in_state("banner")?;
        self.server.greet();
        Ok(())
    }

    #[pyo3(signature = (code, text, *, enhanced=None))]
    fn refuse(&mut self, code: u16, text: String, enhanced: Option<&str>) -> PyResult<()> {
        self.in_state("banner")?;
        self.server.refuse(&reply_of(code, text, enhanced)?);
        Ok(())
    }

    fn receive_data(&mut self, data: PyBackedBytes) {
        self.input.drain(..self.used);
        self.used = 0;
        self.input.extend_from_slice(&data);
    }

    fn next_event<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (used, event) = self.server.receive(&self.input[self.used..]);
        self.used += used;
        show(py, event)
    }

    fn accept(&mut self) -> PyResult<()> {
        self.owes()?;
        self.server.accept();
        Ok(())
    }

    #[pyo3(signature = (code, text, *, enhanced=None))]
    fn reply(&mut self, code: u16, text: String, enhanced: Option<&str>) -> PyResult<()> {
        self.owes()?;
        self.server.reply(&reply_of(code, text, enhanced)?);
        Ok(())
    }

    #[pyo3(signature = (code, text, *, enhanced=None))]
    fn refuse_content(&mut self, code: u16, text: String, enhanced: Option<&str>) -> PyResult<()> {
        self.in_state("content")?;
        self.server.refuse_content(reply_of(code, text, enhanced)?);
        Ok(())
    }

    #[pyo3(signature = (code, text, *, enhanced=None))]
    fn close(&mut self, code: u16, text: String, enhanced: Option<&str>) -> PyResult<()> {
        self.server.close(&reply_of(code, text, enhanced)?);
        Ok(())
    }

    fn count_error(&mut self) -> bool {
        self.server.count_error()
    }

    fn eof(&mut self) -> &'static str {
        match self.server.eof() {
            Cut::Nothing => "nothing",
            Cut::Command => "command",
            Cut::Transaction => "transaction",
            Cut::Content => "content",
        }
    }

    fn data_to_send<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        taken(py, self.server.output())
    }
}

impl SmtpServer {
    fn owes(&self) -> PyResult<()> {
        let waits = self.server.awaits().is_some();
        waits.then_some(()).ok_or_else(|| SmtpError::new_err("no event waits for an answer"))
    }

    fn in_state(&self, state: &str) -> PyResult<()> {
        let now = self.server.state().name();
        (now == state).then_some(()).ok_or_else(|| SmtpError::new_err(format!("the session is in state {now}")))
    }
}

fn show<'py>(py: Python<'py>, event: Event<'_>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let event = match event {
        Event::Need => return Ok(None),
        Event::Early => SmtpEarly {}.into_bound_py_any(py),
        Event::Hello(hello) => {
            SmtpHello { name: hello.name.into_string(), extended: hello.extended }.into_bound_py_any(py)
        }
        Event::Mail(mail) => SmtpMail {
            sender: mail.path.map(|path| path.as_str().to_owned()),
            size: mail.size,
            body: body_word(mail.body),
            smtputf8: mail.smtputf8,
        }
        .into_bound_py_any(py),
        Event::Rcpt(rcpt) => {
            SmtpRcpt { recipient: rcpt.path.as_str().to_owned(), bare_postmaster: rcpt.bare_postmaster }
                .into_bound_py_any(py)
        }
        Event::Data => SmtpData {}.into_bound_py_any(py),
        Event::Body(data) => SmtpBody(PyBytes::new(py, data).unbind()).into_bound_py_any(py),
        Event::End { size, body } => SmtpEnd { size, body: body_word(body) }.into_bound_py_any(py),
        Event::Broken(reply) => SmtpBroken { code: reply.code, text: reply.text.into_owned() }.into_bound_py_any(py),
        Event::Reset => SmtpReset {}.into_bound_py_any(py),
        Event::Vrfy(text) => SmtpVrfy { text: text.into_string() }.into_bound_py_any(py),
        // Nothing of these is offered yet.
        Event::Chunk(_)
        | Event::Expn(_)
        | Event::Auth(_)
        | Event::AuthResponse(_)
        | Event::AuthCancelled
        | Event::StartTls
        | Event::Etrn(_)
        | Event::Xclient(_)
        | Event::Xforward(_) => return Ok(None),
        Event::Quit => SmtpQuit {}.into_bound_py_any(py),
        Event::Hangup(reply) => SmtpHangup { code: reply.code, text: reply.text.into_owned() }.into_bound_py_any(py),
    };
    event.map(Some)
}

fn taken<'py>(py: Python<'py>, output: &mut Vec<u8>) -> Bound<'py, PyBytes> {
    let bytes = PyBytes::new(py, output);
    output.clear();
    bytes
}

fn refused(error: &ClientError) -> PyErr {
    SmtpError::new_err(error.to_string())
}

#[pyclass(module = "angarium._core")]
pub struct SmtpClient {
    client: Client,
    garbage: Option<String>,
}

#[pymethods]
impl SmtpClient {
    #[new]
    fn new() -> Self {
        Self { client: Client::new(), garbage: None }
    }

    #[getter]
    fn capabilities(&self) -> SmtpCapabilities {
        let peer = self.client.capabilities();
        SmtpCapabilities {
            hostname: peer.hostname.to_string(),
            extensions: peer.extensions.keywords().collect(),
            size: peer.size,
            lines: peer.lines.iter().map(ToString::to_string).collect(),
        }
    }

    #[getter]
    fn outstanding(&self) -> usize {
        self.client.outstanding()
    }

    #[getter]
    fn awaits(&self) -> Option<&'static str> {
        self.client.awaits().map(angarium_smtp::CommandKind::name)
    }

    #[getter]
    fn may_send(&self) -> bool {
        self.client.may_send()
    }

    #[getter]
    fn is_in_content(&self) -> bool {
        self.client.is_in_content()
    }

    #[pyo3(signature = (verb, argument="", *, size=None, eight_bit=false, smtputf8=false))]
    fn send(&mut self, verb: &str, argument: &str, size: Option<u64>, eight_bit: bool, smtputf8: bool) -> PyResult<()> {
        let body = if eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit };
        let command = match Command::named(verb, argument) {
            None => return Err(PyValueError::new_err(format!("{verb} is no command of this client"))),
            Some(Command::Mail(sender, _)) => {
                Command::Mail(sender, MailParameters { size, body, smtputf8, ..MailParameters::default() })
            }
            Some(command) => command,
        };
        self.client.send(command).map_err(|error| refused(&error))
    }

    fn body(&mut self, data: PyBackedBytes) -> PyResult<()> {
        self.client.body(&data).map_err(|error| refused(&error))
    }

    fn end_body(&mut self) -> PyResult<()> {
        self.client.end_body().map_err(|error| refused(&error))
    }

    fn receive_data(&mut self, data: PyBackedBytes) {
        if let Err(error) = self.client.receive(&data) {
            self.garbage = Some(error.to_string());
        }
    }

    fn next_event<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some((kind, reply)) = self.client.next_reply() {
            let enhanced = reply.enhanced.map(|code| code.to_string());
            let event = SmtpReply { command: kind.name(), code: reply.code, enhanced, text: reply.text.into_owned() };
            return event.into_bound_py_any(py).map(Some);
        }
        self.garbage.take().map(|why| SmtpGarbage { why }.into_bound_py_any(py)).transpose()
    }

    fn data_to_send<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        taken(py, self.client.output())
    }
}
