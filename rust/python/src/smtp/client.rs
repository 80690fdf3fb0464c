//! The client's role for Python.

use angarium_nouns::{BodyType, DsnNotify, DsnReturn};
use angarium_smtp::sasl::Mechanism;
use angarium_smtp::{
    ByMode, Client, ClientError, Command, CommandKind, DeliverBy, Hold, Limits, MailParameters, RcptParameters,
};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::events::{NOTIFY, SmtpCapabilities, SmtpGarbage, SmtpReply, ret_of};
use super::{SmtpError, taken};

fn refused(error: &ClientError) -> PyErr {
    SmtpError::new_err(error.to_string())
}

fn unknown(what: &str, word: &str) -> PyErr {
    PyValueError::new_err(format!("{word} is no word of {what}"))
}

fn by_of(seconds: i32, mode: &str, trace: bool) -> PyResult<DeliverBy> {
    let mode = match mode {
        "return" => ByMode::Return,
        "notify" => ByMode::Notify,
        _ => return Err(unknown("by", mode)),
    };
    Ok(DeliverBy { seconds, mode, trace })
}

fn notify_of(words: &[String]) -> PyResult<DsnNotify> {
    let bit = |word: &String| {
        let row = NOTIFY.iter().find(|(_, name)| name == word);
        row.map(|(bit, _)| *bit).ok_or_else(|| unknown("notify", word))
    };
    words.iter().try_fold(0, |bits, word| Ok(bits | bit(word)?)).map(DsnNotify)
}

fn limits(limits: Limits) -> Vec<(&'static str, u32)> {
    let said = [("MAILMAX", limits.mails), ("RCPTMAX", limits.recipients), ("RCPTDOMAINMAX", limits.domains)];
    said.into_iter().filter(|(_, number)| *number > 0).collect()
}

/// Replies for one recipient are told from those for the whole.
fn name_of(kind: CommandKind) -> &'static str {
    if kind == CommandKind::ContentFor { "recipient" } else { kind.name() }
}

fn pairs(attributes: &[(String, String)]) -> Vec<(&str, &str)> {
    attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
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
            mechanisms: peer.mechanisms.iter().map(Mechanism::name).collect(),
            limits: limits(peer.limits),
        }
    }

    #[getter]
    fn outstanding(&self) -> usize {
        self.client.outstanding()
    }

    #[getter]
    fn awaits(&self) -> Option<&'static str> {
        self.client.awaits().map(CommandKind::name)
    }

    #[getter]
    fn may_send(&self) -> bool {
        self.client.may_send()
    }

    #[getter]
    fn is_in_content(&self) -> bool {
        self.client.is_in_content()
    }

    #[getter]
    fn chunk_left(&self) -> u64 {
        self.client.chunk_left()
    }

    #[getter]
    fn is_in_exchange(&self) -> bool {
        self.client.is_in_exchange()
    }

    #[getter]
    fn is_securing(&self) -> bool {
        self.client.is_securing()
    }

    #[getter]
    fn is_secure(&self) -> bool {
        self.client.is_secure()
    }

    fn secured(&mut self) {
        self.client.secured();
    }

    #[pyo3(signature = (verb, argument="", *, size=None, eight_bit=false, binary=false, smtputf8=false, ret=None,
        envid=None, auth=None, by=None, hold_for=None, hold_until=None, priority=None, require_tls=false, prdr=false,
        notify=None, orcpt=None))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn send(
        &mut self,
        verb: &str,
        argument: &str,
        size: Option<u64>,
        eight_bit: bool,
        binary: bool,
        smtputf8: bool,
        ret: Option<&str>,
        envid: Option<&str>,
        auth: Option<&str>,
        by: Option<(i32, String, bool)>,
        hold_for: Option<u32>,
        hold_until: Option<u64>,
        priority: Option<i8>,
        require_tls: bool,
        prdr: bool,
        notify: Option<Vec<String>>,
        orcpt: Option<&str>,
    ) -> PyResult<()> {
        let mail = MailParameters {
            size,
            body: [BodyType::SevenBit, BodyType::EightBitMime, BodyType::BinaryMime]
                [if binary { 2 } else { usize::from(eight_bit) }],
            smtputf8,
            ret: ret.map_or(Ok(DsnReturn::Unset), |word| ret_of(word).ok_or_else(|| unknown("ret", word)))?,
            envid,
            auth,
            by: by.map(|(seconds, mode, trace)| by_of(seconds, &mode, trace)).transpose()?,
            hold: hold_for.map(Hold::For).or(hold_until.map(Hold::Until)),
            priority,
            require_tls,
            prdr,
        };
        let rcpt = RcptParameters { notify: notify_of(&notify.unwrap_or_default())?, orcpt };
        let command = match Command::named(verb, argument) {
            None => return Err(PyValueError::new_err(format!("{verb} is no command of this client"))),
            Some(Command::Mail(sender, _)) => Command::Mail(sender, mail),
            Some(Command::Rcpt(recipient, _)) => Command::Rcpt(recipient, rcpt),
            Some(command) => command,
        };
        self.say(command)
    }

    #[pyo3(signature = (size, *, last=false))]
    fn bdat(&mut self, size: u64, last: bool) -> PyResult<()> {
        self.say(Command::Bdat { size, last })
    }

    fn chunk(&mut self, data: PyBackedBytes) -> PyResult<()> {
        self.client.chunk(&data).map_err(|error| refused(&error))
    }

    #[pyo3(signature = (mechanism, initial=None))]
    fn auth(&mut self, mechanism: &str, initial: Option<PyBackedBytes>) -> PyResult<()> {
        self.say(Command::Auth { mechanism, initial: initial.as_deref() })
    }

    fn auth_response(&mut self, data: PyBackedBytes) -> PyResult<()> {
        self.say(Command::AuthResponse(&data))
    }

    fn auth_cancel(&mut self) -> PyResult<()> {
        self.say(Command::AuthCancel)
    }

    fn xclient(&mut self, attributes: Vec<(String, String)>) -> PyResult<()> {
        self.say(Command::Xclient(&pairs(&attributes)))
    }

    fn xforward(&mut self, attributes: Vec<(String, String)>) -> PyResult<()> {
        self.say(Command::Xforward(&pairs(&attributes)))
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
            let event = SmtpReply { command: name_of(kind), code: reply.code, enhanced, text: reply.text.into_owned() };
            return event.into_bound_py_any(py).map(Some);
        }
        self.garbage.take().map(|why| SmtpGarbage { why }.into_bound_py_any(py)).transpose()
    }

    fn data_to_send<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        taken(py, self.client.output())
    }
}

impl SmtpClient {
    fn say(&mut self, command: Command<'_>) -> PyResult<()> {
        self.client.send(command).map_err(|error| refused(&error))
    }
}
