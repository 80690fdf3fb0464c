//! What `angarium.smtp` tells: frozen classes, one for each event of the core.

use angarium_nouns::{BodyType, DsnNotify, DsnReturn};
use angarium_smtp::{ByMode, EtrnScope, Event, Given, Hold, MailCommand, ProxiedCommand, RcptCommand};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

/// A frozen class of plain fields, equal by value, readable in a log, matched by position in the order given. Fields
/// behind the semicolon are named only, and shown only when they say something.
macro_rules! event {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(; $($rare:ident: $rare_type:ty),*)? }) => {
        $(#[$doc])*
        #[pyclass(frozen, get_all, eq, module = "angarium._core")]
        #[derive(PartialEq)]
        pub struct $name { $(pub(super) $field: $type,)* $($(pub(super) $rare: $rare_type),*)? }

        #[pymethods]
        impl $name {
            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                let names: &[&str] = &[$(stringify!($field)),*];
                PyTuple::new(py, names)
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                let names: &[&str] = &[$(stringify!($field)),*];
                let rare: &[&str] = &[$($(stringify!($rare)),*)?];
                let mut shown = Vec::new();
                for name in names.iter().chain(rare) {
                    let value = slf.getattr(*name)?;
                    if names.contains(name) || value.is_truthy()? {
                        shown.push(format!("{name}={}", value.repr()?));
                    }
                }
                Ok(format!("{}({})", stringify!($name).trim_start_matches("Smtp"), shown.join(", ")))
            }
        }
    };
}

/// Seconds, "return" or "notify", whether relays report.
type By = (i32, &'static str, bool);
/// Names and values of attributes; `None`: said to be unavailable.
type Attributes = Vec<(&'static str, Option<String>)>;

event!(SmtpEarly {});
event!(SmtpHello { name: String, extended: bool });
event!(SmtpMail {
    sender: Option<String>, size: Option<u64>, body: &'static str, smtputf8: bool;
    ret: Option<&'static str>, envid: Option<String>, auth: Option<String>, by: Option<By>, hold_for: Option<u32>,
    hold_until: Option<u64>, priority: Option<i8>, require_tls: bool, prdr: bool
});
event!(SmtpRcpt { recipient: String, bare_postmaster: bool; notify: Vec<&'static str>, orcpt: Option<String> });
event!(SmtpData {});
event!(SmtpChunk { size: u64, last: bool; first: bool });
event!(SmtpEnd { size: u64, body: &'static str });
event!(SmtpBroken { code: u16, text: String });
event!(SmtpReset {});
event!(SmtpVrfy { text: String });
event!(SmtpExpn { text: String });
event!(SmtpAuth { mechanism: &'static str, initial: Option<Vec<u8>> });
event!(SmtpAuthResponse { data: Vec<u8> });
event!(SmtpAuthCancelled {});
event!(SmtpStartTls {});
event!(SmtpEtrn { name: String; scope: &'static str });
event!(SmtpXclient { attributes: Attributes });
event!(SmtpXforward { attributes: Attributes });
event!(SmtpQuit {});
event!(SmtpHangup { code: u16, text: String });
event!(SmtpReply { command: &'static str, code: u16, enhanced: Option<String>, text: String });
event!(SmtpGarbage { why: String });
event!(SmtpCapabilities {
    hostname: String, extensions: Vec<&'static str>, size: Option<u64>, lines: Vec<String>;
    mechanisms: Vec<&'static str>, limits: Vec<(&'static str, u32)>
});

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

fn mail(mail: MailCommand) -> SmtpMail {
    let mode = |mode| if mode == ByMode::Return { "return" } else { "notify" };
    SmtpMail {
        sender: mail.path.map(|path| path.as_str().to_owned()),
        size: mail.size,
        body: body_word(mail.body),
        smtputf8: mail.smtputf8,
        ret: [None, Some("FULL"), Some("HDRS")][mail.ret as usize],
        envid: mail.envid.map(String::from),
        auth: mail.auth.map(|path| path.map_or_else(|| "<>".to_owned(), |path| path.as_str().to_owned())),
        by: mail.by.map(|by| (by.seconds, mode(by.mode), by.trace)),
        hold_for: if let Some(Hold::For(seconds)) = mail.hold { Some(seconds) } else { None },
        hold_until: if let Some(Hold::Until(moment)) = mail.hold { Some(moment) } else { None },
        priority: mail.priority,
        require_tls: mail.require_tls,
        prdr: mail.prdr,
    }
}

pub(super) const NOTIFY: [(u8, &str); 4] = [
    (DsnNotify::NEVER, "NEVER"),
    (DsnNotify::SUCCESS, "SUCCESS"),
    (DsnNotify::FAILURE, "FAILURE"),
    (DsnNotify::DELAY, "DELAY"),
];

pub(super) fn ret_of(word: &str) -> Option<DsnReturn> {
    match word {
        "FULL" => Some(DsnReturn::Full),
        "HDRS" => Some(DsnReturn::Headers),
        _ => None,
    }
}

fn rcpt(rcpt: RcptCommand) -> SmtpRcpt {
    SmtpRcpt {
        recipient: rcpt.path.as_str().to_owned(),
        bare_postmaster: rcpt.bare_postmaster,
        notify: NOTIFY.iter().filter(|(bit, _)| rcpt.notify.0 & bit != 0).map(|&(_, word)| word).collect(),
        orcpt: rcpt.orcpt.map(String::from),
    }
}

fn attributes(command: &ProxiedCommand) -> Attributes {
    fn said<T: ToString>(name: &'static str, given: &Given<T>) -> Option<(&'static str, Option<String>)> {
        match given {
            Given::Absent => None,
            Given::Value(value) => Some((name, Some(value.to_string()))),
            Given::Unavailable | Given::Temporary => Some((name, None)),
        }
    }
    let all = [
        said("NAME", &command.name),
        said("ADDR", &command.addr),
        said("PORT", &command.port),
        said("PROTO", &command.proto),
        said("HELO", &command.helo),
        said("LOGIN", &command.login),
        said("DESTADDR", &command.dest_addr),
        said("DESTPORT", &command.dest_port),
        said("IDENT", &command.ident),
        said("SOURCE", &command.source),
    ];
    all.into_iter().flatten().collect()
}

pub(super) fn show<'py>(py: Python<'py>, event: Event<'_>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let scope = |scope| match scope {
        EtrnScope::Domain => "domain",
        EtrnScope::Subdomains => "subdomains",
        EtrnScope::Queue => "queue",
    };
    let event = match event {
        Event::Need => return Ok(None),
        Event::Early => SmtpEarly {}.into_bound_py_any(py),
        Event::Hello(hello) => {
            SmtpHello { name: hello.name.into_string(), extended: hello.extended }.into_bound_py_any(py)
        }
        Event::Mail(command) => mail(command).into_bound_py_any(py),
        Event::Rcpt(command) => rcpt(command).into_bound_py_any(py),
        Event::Data => SmtpData {}.into_bound_py_any(py),
        Event::Chunk(chunk) => {
            SmtpChunk { size: chunk.size, last: chunk.last, first: chunk.first }.into_bound_py_any(py)
        }
        Event::Body(data) => SmtpBody(PyBytes::new(py, data).unbind()).into_bound_py_any(py),
        Event::End { size, body } => SmtpEnd { size, body: body_word(body) }.into_bound_py_any(py),
        Event::Broken(reply) => SmtpBroken { code: reply.code, text: reply.text.into_owned() }.into_bound_py_any(py),
        Event::Reset => SmtpReset {}.into_bound_py_any(py),
        Event::Vrfy(text) => SmtpVrfy { text: text.into_string() }.into_bound_py_any(py),
        Event::Expn(text) => SmtpExpn { text: text.into_string() }.into_bound_py_any(py),
        Event::Auth(auth) => SmtpAuth { mechanism: auth.mechanism.name(), initial: auth.initial }.into_bound_py_any(py),
        Event::AuthResponse(data) => SmtpAuthResponse { data }.into_bound_py_any(py),
        Event::AuthCancelled => SmtpAuthCancelled {}.into_bound_py_any(py),
        Event::StartTls => SmtpStartTls {}.into_bound_py_any(py),
        Event::Etrn(etrn) => SmtpEtrn { name: etrn.name.into_string(), scope: scope(etrn.scope) }.into_bound_py_any(py),
        Event::Xclient(command) => SmtpXclient { attributes: attributes(&command) }.into_bound_py_any(py),
        Event::Xforward(command) => SmtpXforward { attributes: attributes(&command) }.into_bound_py_any(py),
        Event::Quit => SmtpQuit {}.into_bound_py_any(py),
        Event::Hangup(reply) => SmtpHangup { code: reply.code, text: reply.text.into_owned() }.into_bound_py_any(py),
    };
    event.map(Some)
}
