//! TLS of sessions: certificates by name, key types side by side, swapped whole.
//!
//! [`Tls`] holds what a handshake needs and outlives every policy; [`handshake`] makes one, on threads of its own,
//! since its arithmetic would hold up other sessions. Tickets are sealed with a key that stays over a swap, so that
//! resumption goes on; nothing of a session is kept for it. ALPN is looked at for the challenge of ACME alone
//! (RFC 8737). What makes a swap fail is a certificate that cannot serve; then the old ones stay.

mod binding;
mod handshake;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::SignatureAlgorithm;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::policy::{ClientCertificates, PolicyError, TlsVersion};
use crate::tables::{Certificate, Certificates};

pub use handshake::{Failure, Secured, TlsStream, handshake};

/// RFC 8737 6.2.
const ACME: &[u8] = b"acme-tls/1";

/// Rows of configurations: versions, then what is asked of clients.
const FACES: [(TlsVersion, ClientCertificates); 6] = [
    (TlsVersion::Tls12, ClientCertificates::Off),
    (TlsVersion::Tls12, ClientCertificates::Ask),
    (TlsVersion::Tls12, ClientCertificates::Require),
    (TlsVersion::Tls13, ClientCertificates::Off),
    (TlsVersion::Tls13, ClientCertificates::Ask),
    (TlsVersion::Tls13, ClientCertificates::Require),
];

/// All that serves TLS; empty until certificates come.
#[derive(Debug, Default)]
pub struct Tls {
    held: ArcSwapOption<Held>,
}

/// One set of certificates.
#[derive(Debug)]
struct Held {
    served: Vec<Arc<Served>>,
    by_name: HashMap<Box<str>, Vec<usize>>,
    challenges: HashMap<Box<str>, Arc<Served>>,
    faces: [Option<Arc<ServerConfig>>; FACES.len()],
    tickets: Arc<dyn ProducesTickets>,
}

/// A certificate with its key.
#[derive(Debug)]
struct Served {
    key: Arc<CertifiedKey>,
    /// tls-server-end-point of it.
    end_point: Box<[u8]>,
}

impl Served {
    /// Can the client verify this key, and is there a cipher suite for it? Those of TLS 1.3 go with every key.
    fn fits(&self, hello: &ClientHello<'_>) -> bool {
        let kind = if self.key.key.algorithm() == SignatureAlgorithm::RSA { "_RSA_" } else { "_ECDSA_" };
        let goes = |name: &str| name.starts_with("TLS13_") || name.contains(kind);
        self.key.key.choose_scheme(hello.signature_schemes()).is_some()
            && hello.cipher_suites().iter().any(|suite| suite.as_str().is_some_and(goes))
    }
}

/// Resolves to what was chosen already.
#[derive(Debug)]
struct Chosen(Arc<CertifiedKey>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl Tls {
    /// Swaps everything; sessions that are secured stay as they are.
    pub fn set(&self, table: &Certificates) -> Result<(), PolicyError> {
        let tickets = match self.held.load_full() {
            Some(held) => held.tickets.clone(),
            None => aws_lc_rs::Ticketer::new().map_err(|error| PolicyError::new("", error.to_string()))?,
        };
        let held = Held::new(table, tickets)?;
        self.held.store(Some(Arc::new(held)));
        Ok(())
    }

    /// Can a listener that asks this of its clients speak TLS?
    pub fn serves(&self, clients: ClientCertificates) -> bool {
        self.held.load().as_ref().is_some_and(|held| held.face(TlsVersion::Tls12, clients).is_some())
    }
}

impl Held {
    fn new(table: &Certificates, tickets: Arc<dyn ProducesTickets>) -> Result<Self, PolicyError> {
        let read = |(number, row)| served(&format!("certificates[{number}]"), row);
        let served: Vec<_> = table.certificates.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (number, row) in table.certificates.iter().enumerate() {
            for name in &row.names {
                by_name.entry(name.to_ascii_lowercase().into()).or_default().push(number);
            }
        }
        // The cheaper key first: ECDSA costs a tenth of RSA.
        let is_rsa = |number: &usize| served[*number].key.key.algorithm() == SignatureAlgorithm::RSA;
        for numbers in by_name.values_mut() {
            numbers.sort_by_key(is_rsa);
        }
        let clients = client_ca(&table.client_ca)?;
        let faces = if served.is_empty() { [const { None }; 6] } else { faces(clients.as_ref(), &tickets)? };
        Ok(Self { challenges: challenges(&table.challenges)?, served, by_name, faces, tickets })
    }

    fn face(&self, version: TlsVersion, clients: ClientCertificates) -> Option<&Arc<ServerConfig>> {
        let at = FACES.iter().position(|row| *row == (version, clients))?;
        self.faces[at].as_ref()
    }

    /// The certificate for this client: by name and by what it can verify, else the first that it can verify.
    fn choose(&self, hello: &ClientHello<'_>) -> Option<&Arc<Served>> {
        let fits = |number: &&usize| self.served[**number].fits(hello);
        let named = hello.server_name().and_then(|name| self.named(name));
        let by_name = named.and_then(|numbers| numbers.iter().find(fits).or(numbers.first()));
        let all: Vec<usize> = (0..self.served.len()).collect();
        let number = by_name.or_else(|| all.iter().find(fits)).copied().unwrap_or(0);
        self.served.get(number)
    }

    fn named(&self, name: &str) -> Option<&Vec<usize>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(name.as_str()).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(format!("*.{parent}").as_str())
        })
    }

    /// RFC 8737 3: who offers nothing but the challenge's protocol gets the challenge's certificate.
    fn challenge(&self, hello: &ClientHello<'_>) -> Option<&Arc<Served>> {
        let mut offered = hello.alpn()?;
        let only = offered.next() == Some(ACME) && offered.next().is_none();
        self.challenges.get(hello.server_name().filter(|_| only)?.to_ascii_lowercase().as_str())
    }
}

fn served(path: &str, row: &Certificate) -> Result<Arc<Served>, PolicyError> {
    let wrong = |field: &str, why: String| PolicyError::new(format!("{path}.{field}"), why);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&row.chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong("chain", error.to_string()))?;
    let Some(leaf) = chain.first() else { return Err(wrong("chain", "holds no certificate in PEM".into())) };
    let end_point = binding::server_end_point(leaf).into();
    let key = PrivateKeyDer::from_pem_slice(&row.key).map_err(|error| wrong("key", error.to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| wrong("key", error.to_string()))?;
    Ok(Arc::new(Served { key: Arc::new(key), end_point }))
}

fn challenges(rows: &[Certificate]) -> Result<HashMap<Box<str>, Arc<Served>>, PolicyError> {
    let mut by_name = HashMap::new();
    for (number, row) in rows.iter().enumerate() {
        let one = served(&format!("challenges[{number}]"), row)?;
        by_name.extend(row.names.iter().map(|name| (name.to_ascii_lowercase().into(), one.clone())));
    }
    Ok(by_name)
}

fn client_ca(pem: &[u8]) -> Result<Option<Arc<RootCertStore>>, PolicyError> {
    if pem.is_empty() {
        return Ok(None);
    }
    let wrong = |why: String| PolicyError::new("client_ca", why);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("holds no certificate in PEM".into())) } else { Ok(Some(Arc::new(roots))) }
}

type Faces = [Option<Arc<ServerConfig>>; FACES.len()];

fn faces(clients: Option<&Arc<RootCertStore>>, tickets: &Arc<dyn ProducesTickets>) -> Result<Faces, PolicyError> {
    let mut faces: Faces = [const { None }; FACES.len()];
    for (place, (version, wanted)) in faces.iter_mut().zip(FACES) {
        // Without a CA nobody could show a certificate that counts: who requires one gets no TLS at all.
        let verifier = match (wanted, clients) {
            (ClientCertificates::Off, _) | (ClientCertificates::Ask, None) => WebPkiClientVerifier::no_client_auth(),
            (ClientCertificates::Require, None) => continue,
            (_, Some(roots)) => client_verifier(roots, wanted)?,
        };
        *place = Some(Arc::new(config(version, verifier, tickets)?));
    }
    Ok(faces)
}

fn client_verifier(
    roots: &Arc<RootCertStore>,
    wanted: ClientCertificates,
) -> Result<Arc<dyn ClientCertVerifier>, PolicyError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider);
    let builder = if wanted == ClientCertificates::Ask { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| PolicyError::new("client_ca", error.to_string()))
}

fn config(
    version: TlsVersion,
    verifier: Arc<dyn ClientCertVerifier>,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, PolicyError> {
    // RFC 8996: nothing below 1.2 is spoken.
    let versions: &[&rustls::SupportedProtocolVersion] = match version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|error| PolicyError::new("", error.to_string()))?;
    let nobody = Arc::new(Nobody);
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(nobody);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets.clone();
    // A client of mail comes back with one session at a time.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Stands in a configuration until the client's hello has chosen.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Like `base` with one certificate.
fn with_certificate(base: &ServerConfig, served: &Served, challenge: bool) -> Arc<ServerConfig> {
    let mut config = base.clone();
    config.cert_resolver = Arc::new(Chosen(served.key.clone()));
    if challenge {
        config.alpn_protocols = vec![ACME.to_vec()];
    }
    Arc::new(config)
}
