//! `angarium.smtp`: the SMTP room for Python. What it means stands in `rust/core/smtp`; here arguments become Rust and
//! findings become frozen classes. Bytes that were not worked off yet wait here, so that Python only hands in reads.

// PyO3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

mod client;
mod events;

use std::sync::Arc;

use angarium_nouns::{EnhancedCode, Reply};
use angarium_smtp::sasl::{Mechanism, Mechanisms};
use angarium_smtp::{BareNewline, Cut, Extensions, Limits, Server, ServerSettings, State, Verb};
use pyo3::exceptions::PyValueError;
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

pub use client::SmtpClient;
use events::show;
pub use events::{
    SmtpAuth, SmtpAuthCancelled, SmtpAuthResponse, SmtpBody, SmtpBroken, SmtpCapabilities, SmtpChunk, SmtpData,
    SmtpEarly, SmtpEnd, SmtpEtrn, SmtpExpn, SmtpGarbage, SmtpHangup, SmtpHello, SmtpMail, SmtpQuit, SmtpRcpt,
    SmtpReply, SmtpReset, SmtpStartTls, SmtpVrfy, SmtpXclient, SmtpXforward,
};

import_exception!(angarium.errors, SmtpError);

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

fn mechanisms_of(names: &[String]) -> PyResult<Mechanisms> {
    let unknown = |name: &String| PyValueError::new_err(format!("{name} is no mechanism of this server"));
    names.iter().map(|name| Mechanism::named(name).ok_or_else(|| unknown(name))).collect()
}

fn limits_of(named: &[(String, u32)]) -> PyResult<Limits> {
    let mut limits = Limits::default();
    for (name, number) in named {
        match name.as_str() {
            "MAILMAX" => limits.mails = *number,
            "RCPTMAX" => limits.recipients = *number,
            "RCPTDOMAINMAX" => limits.domains = *number,
            _ => return Err(PyValueError::new_err(format!("{name} is no limit of RFC 9422"))),
        }
    }
    Ok(limits)
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
        max_line=None, max_errors=None, bare_newline="reject", lmtp=false, mechanisms=None, tls_required=false,
        login_required=false, limits=None, deliver_by_minimum=0, hold_maximum=None))]
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
        lmtp: bool,
        mechanisms: Option<Vec<String>>,
        tls_required: bool,
        login_required: bool,
        limits: Option<Vec<(String, u32)>>,
        deliver_by_minimum: u32,
        hold_maximum: Option<u32>,
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
            lmtp,
            mechanisms: mechanisms_of(&mechanisms.unwrap_or_default())?,
            tls_required,
            login_required,
            limits: limits_of(&limits.unwrap_or_default())?,
            deliver_by_minimum,
            hold_maximum: hold_maximum.unwrap_or(usual.hold_maximum),
            hostname: usual.hostname,
            wording: usual.wording,
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
        self.server.awaits().map(Verb::name)
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

    #[getter]
    fn is_in_content(&self) -> bool {
        self.server.is_in_content()
    }

    #[getter]
    fn is_secure(&self) -> bool {
        self.server.is_secure()
    }

    #[getter]
    fn is_logged_in(&self) -> bool {
        self.server.is_logged_in()
    }

    #[getter]
    fn offered(&self) -> Vec<&'static str> {
        self.server.offered().keywords().collect()
    }

    fn offer(&mut self, keywords: Vec<String>) -> PyResult<()> {
        self.server.offer(extensions_of(&keywords)?);
        Ok(())
    }

    fn withdraw(&mut self, keywords: Vec<String>) -> PyResult<()> {
        self.server.withdraw(extensions_of(&keywords)?);
        Ok(())
    }

    fn offer_mechanisms(&mut self, names: Vec<String>) -> PyResult<()> {
        self.server.offer_mechanisms(mechanisms_of(&names)?);
        Ok(())
    }

    fn set_now(&mut self, seconds: u64) {
        self.server.set_now(seconds);
    }

    fn set_logged_in(&mut self) {
        self.server.set_logged_in();
    }

    fn secured(&mut self) -> PyResult<()> {
        let state = self.server.state();
        if state != State::Banner && state != State::Securing {
            return Err(SmtpError::new_err(format!("the session is in state {}", state.name())));
        }
        self.server.secured();
        Ok(())
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

    fn reply_each(&mut self, replies: Vec<(u16, String, Option<String>)>) -> PyResult<()> {
        if self.server.awaits() != Some(Verb::FinalDot) || replies.len() != self.server.recipients() as usize {
            return Err(SmtpError::new_err("the end of content is answered with a reply for each recipient"));
        }
        let make = |(code, text, enhanced): (u16, String, Option<String>)| reply_of(code, text, enhanced.as_deref());
        self.server.reply_each(&replies.into_iter().map(make).collect::<PyResult<Vec<_>>>()?);
        Ok(())
    }

    fn challenge(&mut self, data: PyBackedBytes) -> PyResult<()> {
        if !matches!(self.server.awaits(), Some(Verb::Auth | Verb::AuthResponse)) {
            return Err(SmtpError::new_err("no login waits for an answer"));
        }
        self.server.challenge(&data);
        Ok(())
    }

    #[pyo3(signature = (code, text, *, enhanced=None))]
    fn refuse_content(&mut self, code: u16, text: String, enhanced: Option<&str>) -> PyResult<()> {
        if !self.server.is_in_content() {
            return Err(SmtpError::new_err(format!("the session is in state {}", self.server.state().name())));
        }
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

fn taken<'py>(py: Python<'py>, output: &mut Vec<u8>) -> Bound<'py, PyBytes> {
    let bytes = PyBytes::new(py, output);
    output.clear();
    bytes
}
