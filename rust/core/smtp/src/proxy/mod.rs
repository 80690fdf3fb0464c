//! The PROXY protocol in front of a connection, versions 1 and 2 (`HAProxy`'s proxy-protocol.txt), without sockets.
//!
//! [`parse`] looks at the octets so far and says whether the header is whole, good, and how long it is. Whether one
//! must come is the caller's setting and never guessed: a connection that must have one and begins otherwise is
//! [`Parsed::Bad`]. Lengths are bounded. Whom to believe is the caller's question too.

mod v1;
mod v2;

use std::net::SocketAddr;

pub use v2::MAX_LENGTH;

/// What the octets so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header: read on. With no octets at all and the end of the input, it was a health check.
    Incomplete,
    Header(Box<Header>),
    Bad(ProxyError),
}

/// A whole header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The proxy speaks for itself (a health check): the addresses of the connection hold.
    pub local: bool,
    /// Where the client is; `None` when it is local or unknown: the address of the connection holds.
    pub source: Option<Endpoint>,
    /// Where the client meant to go.
    pub destination: Option<Endpoint>,
    /// Octets of the header; the client's begin behind it.
    pub used: usize,
    /// What the proxy knows of the client's TLS, which it ended.
    pub tls: Option<ProxyTls>,
    /// ALPN, as negotiated.
    pub alpn: Option<Box<[u8]>>,
    /// The name that the client asked for (SNI).
    pub authority: Option<Box<str>>,
    /// The proxy's name for the connection.
    pub unique_id: Option<Box<[u8]>>,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Ip(SocketAddr),
    /// The path of a unix socket; empty when it has none.
    Unix(Box<[u8]>),
}

/// What a proxy says of TLS. Texts are printable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyTls {
    /// The client came over TLS.
    pub over_tls: bool,
    /// It showed a certificate, in this connection or in the session.
    pub certificate: bool,
    /// And the proxy found it good.
    pub verified: bool,
    pub version: Option<Box<str>>,
    pub cipher: Option<Box<str>>,
    /// Common name of the client's certificate.
    pub common_name: Option<Box<str>>,
}

/// Why a header is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("the connection does not begin with a PROXY header")]
    Absent,
    #[error("the PROXY header is longer than it may be")]
    TooLong,
    #[error("the PROXY header is of an unknown version, command or family")]
    Unknown,
    #[error("the line of the PROXY header is not well written")]
    Line,
    #[error("the addresses of the PROXY header are cut short")]
    Addresses,
    #[error("an addition to the PROXY header is cut short or not well written")]
    Addition,
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

/// Looks at the octets with which a connection begins.
#[must_use]
pub fn parse(input: &[u8]) -> Parsed {
    let parsed = match input.first() {
        None => Ok(None),
        Some(b'P') => v1::parse(input),
        Some(b'\r') => v2::parse(input),
        Some(_) => Err(ProxyError::Absent),
    };
    match parsed {
        Ok(None) => Parsed::Incomplete,
        Ok(Some(header)) => Parsed::Header(Box::new(header)),
        Err(error) => Parsed::Bad(error),
    }
}
