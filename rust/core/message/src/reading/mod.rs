//! Reports that others send: delivery status (RFC 3464), feedback (RFC 5965), dispositions (RFC 8098), DMARC aggregates
//! (RFC 9990, RFC 7489) and TLS reports (RFC 8460), read into plain values.
//!
//! Lenient about everything but bounds: unknown fields are kept, missing ones are empty, packed content is unpacked
//! only up to a size. What is no such report at all is an error that says why.

mod aggregate;
mod fields;
mod tls;
mod unpack;
mod xml;

pub use aggregate::{Aggregate, AuthResult, Reason, Record};
pub use fields::{Disposition, Feedback, RecipientStatus, Status, disposition, feedback, status};
pub(crate) use fields::{original_id as original_message_id, status_in};
pub use tls::{TlsFailure, TlsPolicy, TlsReport};
use unpack::gzip;
pub use unpack::{MAX_UNPACKED, unpack};

use crate::scan::{Kind, Tree};

/// Why something is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("no part of the message holds such a report")]
    Absent,
    #[error("the packed report grows beyond {MAX_UNPACKED} bytes")]
    TooLarge,
    #[error("the packed report is damaged: {0}")]
    Packed(&'static str),
    #[error("the report is not well-formed at byte {at}: {why}")]
    Form { at: usize, why: String },
    #[error("the report has more than {0} elements")]
    Elements(usize),
}

/// A DMARC aggregate report: a message that carries one, or the XML itself, perhaps packed.
pub fn aggregate(data: &[u8]) -> Result<Aggregate, ReadError> {
    Aggregate::read(&payload(data, b"<", |name| {
        [".xml", ".xml.gz", ".zip", ".gz"].iter().any(|end| name.ends_with(end))
    })?)
}

/// A TLS report: a message that carries one, or the JSON itself, perhaps packed.
pub fn tls(data: &[u8]) -> Result<TlsReport, ReadError> {
    TlsReport::read(&payload(data, b"{", |name| [".json", ".json.gz", ".gz"].iter().any(|end| name.ends_with(end)))?)
}

/// The unpacked report: `data` itself where it begins like one, else the first part whose type or name fits.
fn payload(data: &[u8], front: &[u8], named: impl Fn(&str) -> bool) -> Result<Vec<u8>, ReadError> {
    let bare = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data).trim_ascii_start();
    if unpack::is_packed(bare) || bare.starts_with(front) {
        return unpack(bare);
    }
    let tree = Tree::scan(data);
    let packed = ["application/gzip", "application/zip", "application/x-gzip", "application/x-zip-compressed"];
    let plain =
        ["text/xml", "application/xml", "application/tlsrpt+json", "application/tlsrpt", "application/tlsrpt+gzip"];
    for part in tree.parts(data).filter(|part| part.kind() == Kind::Leaf) {
        let kind = part.content_type().name();
        let name = part.file_name().unwrap_or_default().to_ascii_lowercase();
        if packed.contains(&&*kind) || plain.contains(&&*kind) || named(&name) {
            let unpacked = unpack(&part.decode().bytes)?;
            let bare = unpacked.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&unpacked).trim_ascii_start();
            if bare.starts_with(front) {
                return Ok(unpacked);
            }
        }
    }
    Err(ReadError::Absent)
}
