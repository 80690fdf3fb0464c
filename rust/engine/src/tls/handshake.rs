//! One handshake of the server's side, from the client's hello to what the session must know of it.
//!
//! The certificate is chosen once the hello is there. Whoever calls this bounds its time (the session's mark) and runs
//! it where long arithmetic may be done. It fails by the peer (no TLS, no version or certificate in common) and says
//! in a word why; rustls has sent the alert by then.

use std::io;
use std::sync::Arc;

use rustls::ServerConnection;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::{Tls, binding, with_certificate};
use crate::policy::{ClientCertificates, TlsVersion};

pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// What a session knows of its TLS.
#[derive(Debug)]
pub struct Secured {
    /// Version and cipher suite.
    pub words: Box<str>,
    /// The client's certificate, DER, when it showed one: it leads to the client CA.
    pub certificate: Option<Box<[u8]>>,
    /// tls-exporter (RFC 9266); `None` for TLS 1.2 without extended master secret.
    pub exporter: Option<Box<[u8; 32]>>,
    /// tls-server-end-point (RFC 5929).
    pub end_point: Box<[u8]>,
    /// It was the challenge of ACME: nothing is said behind it.
    pub challenge: bool,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no certificate serves this listener")]
    NoCertificate,
    #[error("{0}")]
    Peer(#[from] io::Error),
}

/// Shakes hands.
pub async fn handshake(
    tls: Arc<Tls>,
    version: TlsVersion,
    clients: ClientCertificates,
    stream: TcpStream,
) -> Result<(Box<TlsStream>, Box<Secured>), Failure> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let held = tls.held.load_full().ok_or(Failure::NoCertificate)?;
    let hello = start.client_hello();
    let challenge = held.challenge(&hello);
    let served = challenge.or_else(|| held.choose(&hello)).ok_or(Failure::NoCertificate)?.clone();
    let challenge = challenge.is_some();
    let clients = if challenge { ClientCertificates::Off } else { clients };
    let base = held.face(version, clients).ok_or(Failure::NoCertificate)?;
    let config = with_certificate(base, &served, challenge);
    let stream = start.into_stream(config).await?;
    let secured = Secured::of(stream.get_ref().1, served.end_point.clone(), challenge);
    Ok((Box::new(stream), Box::new(secured)))
}

impl Secured {
    fn of(connection: &ServerConnection, end_point: Box<[u8]>, challenge: bool) -> Self {
        Self {
            words: words(connection),
            certificate: connection.peer_certificates().and_then(<[_]>::first).map(|leaf| leaf.as_ref().into()),
            exporter: binding::exporter(connection),
            end_point,
            challenge,
        }
    }
}

/// `TLSv1.3 TLS_AES_128_GCM_SHA256`, as stands in Received fields and facts.
fn words(connection: &ServerConnection) -> Box<str> {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
    // rustls writes TLS13_AES_..; RFC 8446 B.4 calls it TLS_AES_..
    format!("{version} {}", suite.replacen("TLS13_", "TLS_", 1)).into()
}
