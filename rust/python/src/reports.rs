//! Reports of `angarium.message`: those of other hosts read and ours written; values cross as JSON.

use angarium_message::reading::{self, Aggregate, Feedback, ReadError, TlsReport};
use angarium_message::report::Original;
use angarium_message::report::feedback::Letter;
use angarium_message::{Header, bounce};
use pyo3::exceptions::{PyLookupError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::message::Lent;

/// A report of another host as JSON; `kind`: `status`, `feedback`, `disposition`, `aggregate`, `tls` or `bounces`. `LookupError`
/// where there is none, `ValueError` where it cannot be read, with the byte where that was seen if it is known.
#[pyfunction]
pub fn read_report(kind: &str, data: &Bound<'_, PyAny>) -> PyResult<String> {
    let data = Lent::new(data)?;
    match kind {
        "status" => json(reading::status(data.bytes())),
        "feedback" => json(reading::feedback(data.bytes())),
        "disposition" => json(reading::disposition(data.bytes())),
        "bounces" => json(Ok(bounce::read(data.bytes()))),
        "tls" => json(reading::tls(data.bytes())),
        _ => json(reading::aggregate(data.bytes())),
    }
}

fn json<T: serde::Serialize>(report: Result<T, ReadError>) -> PyResult<String> {
    let report = report.map_err(|error| match error {
        ReadError::Absent => PyLookupError::new_err(error.to_string()),
        ReadError::Form { at, .. } => PyValueError::new_err((error.to_string(), at)),
        _ => PyValueError::new_err(error.to_string()),
    })?;
    serde_json::to_string(&report).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn from_json<'de, T: serde::Deserialize<'de>>(text: &'de str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// An aggregate report, given as JSON, as XML.
#[pyfunction]
pub fn write_aggregate(report: &str) -> PyResult<String> {
    Ok(from_json::<Aggregate>(report)?.write())
}

/// An aggregate report, given as JSON, as XML in gzip.
#[pyfunction]
pub fn pack_aggregate<'py>(py: Python<'py>, report: &str) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &from_json::<Aggregate>(report)?.write_gzip()))
}

/// A TLS report, given as JSON, as RFC 8460 has it, in gzip.
#[pyfunction]
pub fn pack_tls_report<'py>(py: Python<'py>, report: &str) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &from_json::<TlsReport>(report)?.write_gzip()))
}

/// A TLS report, given as JSON, as RFC 8460 has it.
#[pyfunction]
pub fn write_tls_report(report: &str) -> PyResult<String> {
    Ok(from_json::<TlsReport>(report)?.write())
}

/// A feedback report, given as JSON, as a message about `original`, of which `full` says whether the body goes too.
#[pyfunction]
#[pyo3(signature = (report, original, *, full, sender, to, subject, text, message_id, date, boundary))]
#[allow(clippy::too_many_arguments)]
pub fn write_feedback<'py>(
    py: Python<'py>,
    report: &str,
    original: &Bound<'py, PyAny>,
    full: bool,
    sender: &str,
    to: &str,
    subject: &str,
    text: &str,
    message_id: &str,
    date: u64,
    boundary: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let data = Lent::new(original)?;
    let header = Header::scan(data.bytes());
    let body = full.then(|| &data.bytes()[header.body_start()..]);
    let letter = Letter { from: sender, to, subject, text, message_id, now: date, boundary };
    let written = from_json::<Feedback>(report)?.write(&letter, &Original { header: header.bytes(), body });
    written.map(|bytes| PyBytes::new(py, &bytes)).map_err(|error| PyValueError::new_err(error.to_string()))
}
