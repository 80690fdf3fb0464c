//! TLS towards peers: which configuration a connection needs, what a handshake came to, and who failed one lately.
//!
//! `security` answers for one host of a plan; configurations are made once and shared, so that sessions resume. A
//! peer whose handshake failed is spoken to in the clear for some minutes, where the plan allows that. Verifying is
//! in `verify`; when to begin is the connection's affair.

mod failure;
mod verify;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use angarium_ledger::{ClientCertificate, Pin, Plan, PlanHost, TlsLevel};
use angarium_nouns::Millis;
use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

pub use failure::TlsFailure;

use super::desk::Desk;
use super::hosts::{Candidate, Place};
use verify::Verifier;

/// Configurations kept: one for all that are not verified, one for each certificate of ours, root set and pin set.
const MAX_CONFIGS: usize = 1_024;
/// Sessions kept for resumption where one configuration serves all peers; each takes one or two KiB.
const SHARED_SESSIONS: usize = 4_096;
/// The same where it serves one host's pins.
const PINNED_SESSIONS: usize = 8;
/// A failed handshake is remembered so long: mail of these minutes goes at once, and a mended peer is soon secure.
const REMEMBERED: Millis = 10 * 60_000;
/// Peers remembered for that; beyond it the oldest marks are swept, and if none is old a mark is not kept.
const MAX_REMEMBERED: usize = 16_384;

/// Whom a configuration trusts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Trust {
    Anyone,
    /// PEM; empty: the system's roots.
    Roots(String),
    Pins(Vec<Pin>),
}

impl Trust {
    /// As a settled fact tells it.
    fn word(&self) -> &'static str {
        match self {
            Self::Anyone => "unverified",
            Self::Roots(_) => "verified",
            Self::Pins(_) => "pinned",
        }
    }
}

/// What one connection needs.
#[derive(Clone)]
pub struct Security {
    pub level: TlsLevel,
    /// From the first byte.
    pub implicit: bool,
    pub name: ServerName<'static>,
    /// `None` where TLS is not wanted.
    pub config: Option<Arc<ClientConfig>>,
    word: &'static str,
}

impl Security {
    /// No TLS at all.
    pub fn none() -> Self {
        let name = ServerName::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]).into());
        Self { level: TlsLevel::None, implicit: false, name, config: None, word: "" }
    }

    /// A failed handshake does not keep the mail back.
    pub fn may_go_clear(&self) -> bool {
        self.level <= TlsLevel::Opportunistic && !self.implicit
    }

    /// Mail may go only over TLS.
    pub fn is_required(&self) -> bool {
        self.level > TlsLevel::Opportunistic
    }

    /// The connection in words: `TLSv1.3 TLS_AES_256_GCM_SHA384 verified`.
    pub fn describe(&self, connection: &ClientConnection) -> String {
        let version = connection.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
        let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("?");
        format!("{} {} {}", version.replace('_', "."), suite.replace("TLS13_", "TLS_"), self.word)
    }
}

type Key = (Trust, Option<ClientCertificate>);

pub struct TlsClients {
    provider: Arc<CryptoProvider>,
    configs: Mutex<HashMap<Key, Arc<ClientConfig>>>,
    system: OnceLock<Arc<RootCertStore>>,
    /// Until when a peer is spoken to in the clear.
    failed: Mutex<HashMap<Place, Millis>>,
}

impl Default for TlsClients {
    fn default() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            configs: Mutex::default(),
            system: OnceLock::new(),
            failed: Mutex::default(),
        }
    }
}

/// What a connection to this host needs; `demand` is the lane's.
pub async fn security(
    desk: &Arc<Desk>,
    plan: &Plan,
    demand: u8,
    candidate: &Candidate,
) -> Result<Security, TlsFailure> {
    let Place::Tcp(_) = &candidate.place else {
        return if demand == 0 { Ok(Security::none()) } else { Err(TlsFailure::NotOffered) };
    };
    let host = plan.hosts.get(candidate.host);
    let (level, trust) = trust_of(plan, demand, host);
    if level == TlsLevel::None && !plan.implicit_tls {
        return Ok(Security::none());
    }
    if level == TlsLevel::Opportunistic && !plan.implicit_tls && desk.tls.failed_lately(&candidate.place, desk.now()) {
        return Ok(Security::none());
    }
    let name = server_name(plan, candidate);
    let word = trust.word();
    let key = (trust, plan.certificate.clone());
    let config = match desk.tls.known(&key) {
        Some(config) => config,
        None => build(desk, key).await?,
    };
    Ok(Security { level, implicit: plan.implicit_tls, name, config: Some(config), word })
}

/// Reading roots and keys may take a while and touches files: on the pool.
async fn build(desk: &Arc<Desk>, key: Key) -> Result<Arc<ClientConfig>, TlsFailure> {
    let there = Arc::clone(desk);
    let built = desk.block(move || there.tls.build(key)).await;
    built.unwrap_or_else(|| Err(TlsFailure::Settings("the engine is ending".into())))
}

/// The level that counts for this host, and whom to trust there. RFC 7672 2.2: records of which none is usable ask
/// for TLS without a verified certificate, unless the message or the route asks for more.
fn trust_of(plan: &Plan, demand: u8, host: Option<&PlanHost>) -> (TlsLevel, Trust) {
    let roots = || Trust::Roots(plan.roots.clone());
    match plan.tls.at_least(demand) {
        TlsLevel::Tlsa => match verify::usable(host.map_or(&[][..], |host| &host.tlsa)) {
            pins if !pins.is_empty() => (TlsLevel::Tlsa, Trust::Pins(pins)),
            _ if TlsLevel::None.at_least(demand) == TlsLevel::Verify => (TlsLevel::Verify, roots()),
            _ => (TlsLevel::Encrypt, Trust::Anyone),
        },
        TlsLevel::Verify => (TlsLevel::Verify, roots()),
        level => (level, Trust::Anyone),
    }
}

/// For SNI and the certificate's name; a host that has no name that DNS could hold is meant by its address.
fn server_name(plan: &Plan, candidate: &Candidate) -> ServerName<'static> {
    let own = if plan.server_name.is_empty() { &candidate.name } else { &plan.server_name };
    let address = match &candidate.place {
        Place::Tcp(address) => address.ip(),
        Place::Unix(_) => std::net::IpAddr::from([127, 0, 0, 1]),
    };
    ServerName::try_from(own.trim_end_matches('.').to_owned()).unwrap_or(ServerName::IpAddress(address.into()))
}

impl TlsClients {
    /// The handshake with this peer failed; for some minutes it gets mail in the clear where that is allowed.
    pub fn handshake_failed(&self, place: &Place, now: Millis) {
        let mut failed = self.failed.lock();
        if failed.len() >= MAX_REMEMBERED {
            failed.retain(|_, until| *until > now);
        }
        if failed.len() < MAX_REMEMBERED {
            failed.insert(place.clone(), now + REMEMBERED);
        }
    }

    fn failed_lately(&self, place: &Place, now: Millis) -> bool {
        self.failed.lock().get(place).is_some_and(|until| *until > now)
    }

    fn known(&self, key: &Key) -> Option<Arc<ClientConfig>> {
        self.configs.lock().get(key).cloned()
    }

    fn build(&self, key: Key) -> Result<Arc<ClientConfig>, TlsFailure> {
        let (trust, certificate) = &key;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(settings)?;
        let builder = match trust {
            Trust::Roots(pem) if pem.is_empty() => {
                builder.with_root_certificates(Arc::clone(self.system.get_or_init(system_roots)))
            }
            Trust::Roots(pem) => verified(builder, self.given(pem)?),
            Trust::Anyone => verified(builder, Verifier::anyone(Arc::clone(&self.provider))),
            Trust::Pins(pins) => verified(builder, Verifier::pinned(pins.clone(), Arc::clone(&self.provider))),
        };
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let (chain, private) = read_certificate(own)?;
                builder.with_client_auth_cert(chain, private).map_err(settings)?
            }
        };
        let sessions = if matches!(trust, Trust::Pins(_)) { PINNED_SESSIONS } else { SHARED_SESSIONS };
        config.resumption = Resumption::in_memory_sessions(sessions);
        let config = Arc::new(config);
        let mut configs = self.configs.lock();
        if configs.len() >= MAX_CONFIGS {
            configs.clear();
        }
        // Two connections may have built it at once: the first one's sessions count.
        Ok(Arc::clone(configs.entry(key).or_insert(config)))
    }

    fn given(&self, pem: &str) -> Result<Arc<Verifier>, TlsFailure> {
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(settings)?;
        if certificates.is_empty() {
            return Err(TlsFailure::Settings("the roots of the plan hold no certificate".into()));
        }
        Verifier::given(certificates, Arc::clone(&self.provider)).map_err(settings)
    }
}

type Unverified = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;
type Verified = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn verified(builder: Unverified, verifier: Arc<Verifier>) -> Verified {
    builder.dangerous().with_custom_certificate_verifier(verifier)
}

/// What the system trusts; certificates that cannot be read are left out, as every program does.
fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
}

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_certificate(own: &ClientCertificate) -> Result<Shown, TlsFailure> {
    let chain =
        CertificateDer::pem_slice_iter(own.chain.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(settings)?;
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(settings)?;
    Ok((chain, key))
}

fn settings(error: impl std::fmt::Display) -> TlsFailure {
    TlsFailure::Settings(error.to_string())
}
