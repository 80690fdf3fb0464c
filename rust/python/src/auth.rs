//! `angarium.auth`: the checks of one message as questions and answers, keys, signatures and seals.
//!
//! A [`AuthJudge`] is fed by Python, which owns DNS and the clock here. Its report crosses as `MessagePack` with named
//! fields; `python/angarium/auth` gives it types.

// PyO3 hands arguments over by value.
#![allow(clippy::needless_pass_by_value)]

use std::net::IpAddr;

use angarium_auth::canon::Form;
use angarium_auth::dkim::{Signer, body_digest};
use angarium_auth::inspection::{Judge, Report, Session, Step};
use angarium_auth::key::{Kind, SigningKey};
use angarium_auth::{Answer, Known, Missing, Question, arc, dkim, dkim2, dmarc, results, spf};
use angarium_message::Header;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use serde::Serialize;

import_exception!(angarium.errors, AuthError);

fn refused(error: impl ToString) -> PyErr {
    AuthError::new_err(error.to_string())
}

fn form_of(word: &str) -> PyResult<Form> {
    Form::parse(word.as_bytes()).ok_or_else(|| PyValueError::new_err(format!("{word:?} is not simple or relaxed")))
}

/// A private key.
#[pyclass(frozen, module = "angarium._core")]
pub struct DkimKey {
    key: SigningKey,
    text: PyBackedBytes,
}

#[pymethods]
impl DkimKey {
    #[new]
    #[pyo3(signature = (text, /))]
    fn new(text: PyBackedBytes) -> PyResult<Self> {
        let key = SigningKey::parse(&text).map_err(refused)?;
        Ok(Self { key, text })
    }

    /// A new key as PEM.
    #[staticmethod]
    #[pyo3(signature = (kind, /))]
    fn generate(py: Python<'_>, kind: &str) -> PyResult<String> {
        let kind = match kind {
            "rsa-2048" => Kind::Rsa2048,
            "rsa-3072" => Kind::Rsa3072,
            "rsa-4096" => Kind::Rsa4096,
            "ed25519" => Kind::Ed25519,
            other => return Err(PyValueError::new_err(format!("no kind of key is called {other:?}"))),
        };
        py.detach(|| SigningKey::generate(kind)).map(|(_, pem)| pem).map_err(refused)
    }

    #[getter]
    fn algorithm(&self) -> &'static str {
        self.key.algorithm().as_str()
    }

    #[getter]
    fn bits(&self) -> usize {
        self.key.bits()
    }

    #[getter]
    fn record(&self) -> String {
        self.key.record()
    }
}

/// Signs with the settings it was made with.
#[pyclass(frozen, module = "angarium._core")]
pub struct DkimSigner {
    signer: Signer,
}

#[pymethods]
impl DkimSigner {
    #[new]
    #[pyo3(signature = (key, *, domain, selector, identity=None, header="relaxed", body="relaxed", lifetime=None, signed=None, oversigned=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        key: &DkimKey,
        domain: &str,
        selector: &str,
        identity: Option<&str>,
        header: &str,
        body: &str,
        lifetime: Option<u64>,
        signed: Option<Vec<String>>,
        oversigned: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let key = SigningKey::parse(&key.text).map_err(refused)?;
        let mut signer = Signer::new(key, domain, selector).map_err(refused)?;
        let boxed = |names: Vec<String>| names.into_iter().map(String::into_boxed_str).collect();
        signer.identity = identity.map(Into::into);
        signer.header_form = form_of(header)?;
        signer.body_form = form_of(body)?;
        signer.lifetime = lifetime;
        signer.signed = signed.map_or(signer.signed, boxed);
        signer.oversigned = oversigned.map_or(signer.oversigned, boxed);
        Ok(Self { signer })
    }

    /// The DKIM-Signature field for a message; `now` in Unix milliseconds.
    fn sign<'py>(&self, py: Python<'py>, message: PyBackedBytes, now: u64) -> PyResult<Bound<'py, PyBytes>> {
        let signed = py.detach(|| {
            let header = Header::scan(&message);
            let body = body_digest(&message[header.body_start()..], self.signer.body_form);
            self.signer.sign(&header, &message, &body, now)
        });
        signed.map(|field| PyBytes::new(py, &field)).map_err(refused)
    }
}

struct Judging {
    judge: Judge,
    asked: Vec<Question>,
    report: Option<Report>,
}

impl Judging {
    fn step(&mut self) -> Option<Vec<(&'static str, String)>> {
        match self.judge.step() {
            Step::Done(report) => {
                self.report = Some(*report);
                None
            }
            Step::Ask(questions) => {
                let named = questions.iter().map(|question| (question.kind(), question.name())).collect();
                self.asked = questions;
                Some(named)
            }
        }
    }
}

/// The checks of one message.
#[pyclass(frozen, module = "angarium._core")]
pub struct AuthJudge {
    message: PyBackedBytes,
    now: u64,
    inner: Mutex<Judging>,
}

#[pymethods]
impl AuthJudge {
    #[new]
    #[pyo3(signature = (message, *, ip, helo, sender, receiver, now))]
    fn new(
        py: Python<'_>,
        message: PyBackedBytes,
        ip: Option<IpAddr>,
        helo: String,
        sender: String,
        receiver: String,
        now: u64,
    ) -> Self {
        let session = Session { ip, helo, sender, receiver, now };
        let judge = py.detach(|| Judge::new(&message, session));
        Self { message, now, inner: Mutex::new(Judging { judge, asked: Vec::new(), report: None }) }
    }

    /// (type, name) of what must be asked now; `None` when the report is there.
    fn step(&self, py: Python<'_>) -> Option<Vec<(&'static str, String)>> {
        py.detach(|| self.inner.lock().step())
    }

    /// The answer to the question at this place of the last `step`.
    #[pyo3(signature = (at, status, records, /))]
    fn answer(&self, at: usize, status: &str, records: Vec<PyBackedBytes>) -> PyResult<()> {
        let mut inner = self.inner.lock();
        let question = inner.asked.get(at).cloned().ok_or_else(|| PyValueError::new_err("nobody asked that"))?;
        let answer = answer_of(&question, status, &records)?;
        inner.judge.answer(question, answer);
        Ok(())
    }

    /// The report as `MessagePack`.
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let inner = self.inner.lock();
        let report = inner.report.as_ref().ok_or_else(|| PyValueError::new_err("the checks are not done"))?;
        let packed = rmp_serde::to_vec_named(&view(report)).map_err(refused)?;
        Ok(PyBytes::new(py, &packed))
    }

    /// Our Authentication-Results field.
    #[pyo3(signature = (authserv_id, /))]
    fn results<'py>(&self, py: Python<'py>, authserv_id: &str) -> PyResult<Bound<'py, PyBytes>> {
        let inner = self.inner.lock();
        let report = inner.report.as_ref().ok_or_else(|| PyValueError::new_err("the checks are not done"))?;
        Ok(PyBytes::new(py, &results::field(report, authserv_id)))
    }

    /// The three fields that continue the chain of the message, or `None` where it may not be continued.
    #[pyo3(signature = (key, *, domain, selector, results, fields=None))]
    fn seal<'py>(
        &self,
        py: Python<'py>,
        key: &DkimKey,
        domain: &str,
        selector: &str,
        results: &str,
        fields: Option<Vec<String>>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let inner = self.inner.lock();
        let report = inner.report.as_ref().ok_or_else(|| PyValueError::new_err("the checks are not done"))?;
        let key = SigningKey::parse(&key.text).map_err(refused)?;
        let mut sealer = arc::Sealer::new(key, domain, selector).map_err(refused)?;
        sealer.fields = fields.unwrap_or_default().into_iter().map(String::into_boxed_str).collect();
        let header = Header::scan(&self.message);
        let body = body_digest(&self.message[header.body_start()..], Form::Relaxed);
        let what = arc::seal::Sealed { outcome: report.arc.outcome, results, body: &body, now: self.now };
        let sealed = arc::seal(&sealer, &header, &self.message, inner.judge.chain(), &what).map_err(refused)?;
        Ok(sealed.map(|fields| PyBytes::new(py, &fields)))
    }
}

fn answer_of(question: &Question, status: &str, records: &[PyBackedBytes]) -> PyResult<Answer> {
    match status {
        "found" => records_of(question, records),
        "none" => Ok(Answer::NotFound(Missing::Record)),
        "nxdomain" => Ok(Answer::NotFound(Missing::Name)),
        "failed" => Ok(Answer::Temporary),
        other => Err(PyValueError::new_err(format!("no answer of DNS is called {other:?}"))),
    }
}

fn records_of(question: &Question, records: &[PyBackedBytes]) -> PyResult<Answer> {
    let text = |record: &PyBackedBytes| String::from_utf8_lossy(record).into_owned();
    Ok(match question {
        Question::Txt(_) => Answer::Texts(records.iter().map(|record| Box::from(&record[..])).collect()),
        Question::Mx(_) | Question::Ptr(_) => {
            let name = |record| text(record).trim_end_matches('.').to_ascii_lowercase().into_boxed_str();
            Answer::Names(records.iter().map(name).collect())
        }
        Question::A(_) | Question::Aaaa(_) => {
            let address = |record| text(record).parse().map_err(refused);
            Answer::Addresses(records.iter().map(address).collect::<PyResult<_>>()?)
        }
    })
}

#[derive(Serialize)]
struct SpfView<'a> {
    outcome: &'a str,
    identity: &'a str,
    domain: &'a str,
    mechanism: Option<&'a str>,
    explanation: Option<&'a str>,
    problem: Option<String>,
    lookups: usize,
    void_lookups: usize,
    steps: &'a [String],
}

#[derive(Serialize)]
struct DkimView<'a> {
    outcome: &'a str,
    domain: &'a str,
    selector: &'a str,
    identity: &'a str,
    algorithm: &'a str,
    bits: usize,
    tag: &'a str,
    testing: bool,
    problem: Option<String>,
    steps: &'a [String],
}

#[derive(Serialize)]
struct ArcView<'a> {
    outcome: &'a str,
    instances: usize,
    oldest_pass: usize,
    sealers: Vec<&'a str>,
    problem: Option<String>,
    temporary: bool,
    steps: &'a [String],
}

#[derive(Serialize)]
struct AuthorView<'a> {
    domain: &'a str,
    outcome: &'a str,
    policy: &'a str,
    organization: Option<&'a str>,
    record_domain: Option<&'a str>,
    record: Option<&'a str>,
    testing: bool,
    spf_aligned: bool,
    dkim_aligned: bool,
    aggregate: Vec<&'a str>,
    failures: Vec<&'a str>,
    steps: &'a [String],
}

#[derive(Serialize)]
struct DmarcView<'a> {
    outcome: &'a str,
    disposition: &'a str,
    problem: Option<String>,
    authors: Vec<AuthorView<'a>>,
}

#[derive(Serialize)]
struct IprevView<'a> {
    outcome: &'a str,
    ip: String,
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct ReportView<'a> {
    iprev: Option<IprevView<'a>>,
    helo: Option<SpfView<'a>>,
    spf: Option<SpfView<'a>>,
    dkim: Vec<DkimView<'a>>,
    arc: ArcView<'a>,
    dmarc: DmarcView<'a>,
    questions: usize,
    temporary: bool,
}

fn view(report: &Report) -> ReportView<'_> {
    ReportView {
        iprev: report.iprev.as_ref().map(|iprev| IprevView {
            outcome: iprev.outcome.as_str(),
            ip: iprev.ip.to_string(),
            name: iprev.name.as_deref(),
        }),
        helo: report.helo.as_ref().map(spf_view),
        spf: report.spf.as_ref().map(spf_view),
        dkim: report.dkim.iter().map(dkim_view).collect(),
        arc: ArcView {
            outcome: report.arc.outcome.as_str(),
            instances: report.arc.instances,
            oldest_pass: report.arc.oldest_pass,
            sealers: report.arc.sealers.iter().map(|name| &**name).collect(),
            problem: report.arc.problem.as_ref().map(ToString::to_string),
            temporary: report.arc.temporary,
            steps: &report.arc.steps,
        },
        dmarc: dmarc_view(&report.dmarc),
        questions: report.questions,
        temporary: report.is_temporary(),
    }
}

fn spf_view(verdict: &spf::Verdict) -> SpfView<'_> {
    SpfView {
        outcome: verdict.outcome.as_str(),
        identity: if verdict.identity == spf::Identity::Helo { "helo" } else { "mailfrom" },
        domain: &verdict.domain,
        mechanism: verdict.mechanism.as_deref(),
        explanation: verdict.explanation.as_deref(),
        problem: verdict.problem.as_ref().map(ToString::to_string),
        lookups: verdict.lookups,
        void_lookups: verdict.void_lookups,
        steps: &verdict.steps,
    }
}

fn dkim_view(verdict: &dkim::Verdict) -> DkimView<'_> {
    DkimView {
        outcome: verdict.outcome.as_str(),
        domain: &verdict.domain,
        selector: &verdict.selector,
        identity: &verdict.identity,
        algorithm: verdict.algorithm,
        bits: verdict.bits,
        tag: &verdict.tag,
        testing: verdict.testing,
        problem: verdict.problem.as_ref().map(ToString::to_string),
        steps: &verdict.steps,
    }
}

fn dmarc_view(verdict: &dmarc::Verdict) -> DmarcView<'_> {
    DmarcView {
        outcome: verdict.outcome.as_str(),
        disposition: verdict.disposition.as_str(),
        problem: verdict.problem.as_ref().map(ToString::to_string),
        authors: verdict.authors.iter().map(author_view).collect(),
    }
}

fn author_view(author: &dmarc::Author) -> AuthorView<'_> {
    let record = author.record.as_ref();
    AuthorView {
        domain: author.domain.as_str(),
        outcome: author.outcome.as_str(),
        policy: author.policy.as_str(),
        organization: author.organization.as_deref(),
        record_domain: author.record_domain.as_deref(),
        record: record.map(|record| &*record.text),
        testing: record.is_some_and(|record| record.testing),
        spf_aligned: author.spf_aligned,
        dkim_aligned: author.dkim_aligned,
        aggregate: record.map_or_else(Vec::new, |record| record.aggregate.iter().map(|text| &**text).collect()),
        failures: record.map_or_else(Vec::new, |record| record.failures.iter().map(|text| &**text).collect()),
        steps: &author.steps,
    }
}

/// (`method`, `result`, `reason`, properties) of each result, behind the id.
type ReadResults = (String, Vec<(String, String, Option<String>, Vec<(String, String)>)>);

/// Reads the value of an Authentication-Results field.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub fn parse_results(value: PyBackedBytes) -> PyResult<ReadResults> {
    let read = results::parse(&value).map_err(refused)?;
    let one = |found: results::MethodResult| (found.method, found.result, found.reason, found.properties);
    Ok((read.authserv_id, read.results.into_iter().map(one).collect()))
}

/// Where fields stand that claim to be from one of `ids`.
#[pyfunction]
#[pyo3(signature = (message, ids, /))]
pub fn forged_results(message: PyBackedBytes, ids: Vec<String>) -> Vec<(usize, usize)> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let header = Header::scan(&message);
    results::forged(&header, &ids).into_iter().map(|range| (range.start, range.end)).collect()
}

/// What the fields of `id` say together.
#[pyfunction]
#[pyo3(signature = (message, id, /))]
pub fn merged_results(message: PyBackedBytes, id: &str) -> Option<String> {
    results::merged(&Header::scan(&message), id)
}

/// The DKIM2 verdict: (outcome, domain, problem, hops), or the names of the keys that `answers` lacks.
#[pyfunction]
#[pyo3(signature = (message, *, sender, recipients, now, strict, answers))]
pub fn verify_dkim2(
    message: PyBackedBytes,
    sender: &str,
    recipients: Vec<String>,
    now: u64,
    strict: bool,
    answers: Vec<(String, String, Vec<PyBackedBytes>)>,
) -> PyResult<Dkim2Answer> {
    let mut known = Known::default();
    for (name, status, records) in &answers {
        let question = Question::txt(name);
        let answer = answer_of(&question, status, records)?;
        known.learn(question, answer);
    }
    let header = Header::scan(&message);
    let mut bodies = dkim::Bodies::default();
    let trail = dkim2::trail(&header, &message, &mut bodies);
    bodies.update(&message[header.body_start()..]);
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let envelope = dkim2::Envelope { sender, recipients: &recipients };
    let verdict = dkim2::verify(&known, &trail, &bodies.finish(), &envelope, now, strict);
    Ok(match verdict {
        Ok(found) => {
            let problem = found.problem.map(|problem| problem.to_string());
            (Vec::new(), Some((found.outcome.as_str(), found.domain.into(), problem, found.hops)))
        }
        Err(_) => (known.take_wanted().iter().map(Question::name).collect(), None),
    })
}

/// The DKIM2 fields to put in front; `before`: the message as it came in, where it was changed.
#[pyfunction]
#[pyo3(signature = (message, key, *, domain, selector, sender, recipients, before, now))]
#[allow(clippy::too_many_arguments)]
pub fn sign_dkim2<'py>(
    py: Python<'py>,
    message: PyBackedBytes,
    key: &DkimKey,
    domain: &str,
    selector: &str,
    sender: &str,
    recipients: Vec<String>,
    before: Option<PyBackedBytes>,
    now: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let key = SigningKey::parse(&key.text).map_err(refused)?;
    let signer = dkim2::Signer::new(key, domain, selector).map_err(refused)?;
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let envelope = dkim2::Envelope { sender, recipients: &recipients };
    let signed = py.detach(|| signer.sign(&message, before.as_deref(), &envelope, now));
    signed.map(|fields| PyBytes::new(py, &fields)).map_err(refused)
}

/// Names to ask, or the verdict.
type Dkim2Answer = (Vec<String>, Option<(&'static str, String, Option<String>, usize)>);
