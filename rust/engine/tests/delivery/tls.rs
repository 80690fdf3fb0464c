//! How connections are secured: what each level of the plan takes and refuses, whose certificates are good.
use std::sync::Arc;

use crate::house::{House, plan, quick};
use crate::peer::{self, Offers, Peer};
use angarium_engine::delivery::rules;
use angarium_ledger::{ClientCertificate, Pin, Plan, Protocol, TlsLevel};
use angarium_nouns::record::{ContentHead, EntryState, REQUIRE_TLS, Settled};
use aws_lc_rs::digest;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_bytes::ByteBuf;

const BODY: &[u8] = b"Subject: hello\r\n\r\nline\r\n";
/// The good way in: greeting, STARTTLS, everything.
const GOOD: &str = "220 sink";

/// An authority of the test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub der: CertificateDer<'static>,
    pub pem: String,
}

/// A certificate by it.
pub struct Issued {
    pub chain: Vec<CertificateDer<'static>>,
    pem: String,
    pub public_key: Vec<u8>,
    key: KeyPair,
    roots: RootCertStore,
}

impl Authority {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "an authority of tests");
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(parameters, key), der, pem }
    }

    pub fn issue(&self, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let public_key = rcgen::PublicKeyData::subject_public_key_info(&key);
        let (chain, pem) = (vec![certificate.der().clone(), self.der.clone()], certificate.pem());
        Issued { chain, pem, public_key, key, roots }
    }
}

impl Issued {
    pub fn server(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(self.chain.clone(), self.private()).unwrap())
    }

    /// One that wants a certificate of the client's, by the same authority.
    fn asking_server(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots.clone()), provider());
        let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
        Arc::new(builder.with_single_cert(self.chain.clone(), self.private()).unwrap())
    }

    /// One that signs its own, and as an authority, as programs make them by default.
    fn selfsigned(names: &[&str]) -> Self {
        let mut parameters = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let public_key = rcgen::PublicKeyData::subject_public_key_info(&key);
        let (chain, pem) = (vec![certificate.der().clone()], certificate.pem());
        Self { chain, pem, public_key, key, roots: RootCertStore::empty() }
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    fn shown(&self) -> ClientCertificate {
        ClientCertificate { chain: self.pem.clone(), key: self.key.serialize_pem() }
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// One row: the plan's level, the peer's sessions; what became of the message and how its connection is told.
struct Case {
    name: &'static str,
    plan: Plan,
    sessions: &'static [&'static str],
    offers: Offers,
    /// `tls` as the fact has it, behind version and suite; empty for a connection in the clear.
    delivered: Option<&'static str>,
    /// The rule by which the lane sleeps.
    slept: Option<u16>,
}

fn at(level: TlsLevel) -> Plan {
    Plan { tls: level, server_name: "mx.example".into(), ..Plan::default() }
}

async fn play(case: Case, server: &Arc<ServerConfig>) -> (Option<String>, Peer) {
    let peer = peer::start_with(case.sessions, case.offers, Some(Arc::clone(server))).await;
    let mut hosts = plan(&[peer.port]).hosts;
    if let Some(pinned) = case.plan.hosts.first() {
        hosts[0].tlsa.clone_from(&pinned.tlsa);
    }
    let mut house = House::open(Protocol::Smtp, Plan { hosts, connections: 1, ..case.plan.clone() }, quick());
    house.submit("s@b.example", &["r@x.example"], BODY);
    let (want_settled, want_slept) = (usize::from(case.delivered.is_some()), usize::from(case.slept.is_some()));
    let (settled, slept) = house.wait(want_settled, want_slept).await;
    let told = house.told_tls();
    house.stop().await;
    let words = told.first().map(|tls| tls.rsplit(' ').next().unwrap_or_default().to_owned());
    let rule = slept.first().map(|fact| fact.rule);
    let right = words.as_deref() == case.delivered && rule == case.slept && settled.len() <= 1;
    ((!right).then(|| format!("{}: told {told:?}, slept by {rule:?}", case.name)), peer)
}

fn case(name: &'static str, plan: Plan, sessions: &'static [&'static str]) -> Case {
    Case { name, plan, sessions, offers: Offers::StartTls, delivered: None, slept: None }
}

impl Case {
    fn delivers(self, tls: &'static str) -> Self {
        Self { delivered: Some(tls), ..self }
    }

    fn sleeps(self, rule: u16) -> Self {
        Self { slept: Some(rule), ..self }
    }

    fn offering(self, offers: Offers) -> Self {
        Self { offers, ..self }
    }
}

async fn all(cases: Vec<Case>, server: &Arc<ServerConfig>) {
    let mut failures = Vec::new();
    for case in cases {
        failures.extend(play(case, server).await.0);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels() {
    use Offers::Everything;
    use TlsLevel::{Encrypt, None, Opportunistic, Verify};
    const NO_HANDSHAKE: &[&str] = &["220 !ehlo !starttls no-tls close", "220 sink"];
    let server = Authority::new().issue(&["mx.example"]).server();
    all(
        vec![
            case("opportunistic, offered", at(Opportunistic), &[GOOD]).delivers("unverified"),
            case("opportunistic, not offered", at(Opportunistic), &[GOOD]).offering(Everything).delivers(""),
            case("none, offered", at(None), &[GOOD]).delivers(""),
            case("encrypt, offered", at(Encrypt), &[GOOD]).delivers("unverified"),
            case("encrypt, stripped", at(Encrypt), &[GOOD]).offering(Everything).sleeps(rules::NO_TLS),
            case("encrypt, EHLO unknown", at(Encrypt), &[GOOD]).offering(Offers::Old).sleeps(rules::NO_TLS),
            case("opportunistic, no handshake: again, in the clear", at(Opportunistic), NO_HANDSHAKE).delivers(""),
            case("encrypt, no handshake", at(Encrypt), NO_HANDSHAKE).sleeps(rules::TLS_HANDSHAKE),
            case("opportunistic, closes in the handshake", at(Opportunistic), &["220 !ehlo !starttls close", GOOD])
                .delivers(""),
            case("opportunistic, silent in the handshake", at(Opportunistic), &["220 !ehlo !starttls hang", GOOD])
                .delivers(""),
            case("encrypt, silent in the handshake", at(Encrypt), &["220 !ehlo !starttls hang"])
                .sleeps(rules::TLS_HANDSHAKE),
            case("opportunistic, STARTTLS refused", at(Opportunistic), &["220 !ehlo starttls 454 sink"]).delivers(""),
            case("encrypt, STARTTLS refused", at(Encrypt), &["220 !ehlo starttls 454 sink"]).sleeps(rules::TLS_REFUSED),
            case(
                "a reply behind the one to STARTTLS",
                at(Opportunistic),
                &["220 !ehlo starttls inject tls !ehlo sink"],
            )
            .sleeps(rules::TLS_INJECTED),
            case("the same where TLS must be", at(Encrypt), &["220 !ehlo starttls inject tls !ehlo sink"])
                .sleeps(rules::TLS_INJECTED),
            case("421 behind the handshake", at(Opportunistic), &["220 !ehlo !starttls tls ehlo 421 close"])
                .sleeps(101),
            case("the system does not know the authority", at(Verify), &[GOOD]).sleeps(rules::TLS_CERTIFICATE),
            case("implicit", Plan { implicit_tls: true, ..at(Opportunistic) }, &["tls 220 sink"])
                .delivers("unverified"),
            case("implicit, and the peer speaks in the clear", Plan { implicit_tls: true, ..at(None) }, &[GOOD])
                .sleeps(rules::TLS_HANDSHAKE),
        ],
        &server,
    )
    .await;
}

fn pins(pins: &[(u8, u8, u8, &[u8])]) -> Plan {
    let pin = |&(usage, selector, matching, of): &(u8, u8, u8, &[u8])| {
        let data = match matching {
            0 => of.to_vec(),
            1 => digest::digest(&digest::SHA256, of).as_ref().to_vec(),
            _ => digest::digest(&digest::SHA512, of).as_ref().to_vec(),
        };
        Pin { usage, selector, matching, data: ByteBuf::from(data) }
    };
    let mut plan = Plan { hosts: plan(&[1]).hosts, ..at(TlsLevel::Tlsa) };
    plan.hosts[0].tlsa = pins.iter().map(pin).collect();
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates() {
    let (ours, strange) = (Authority::new(), Authority::new());
    let (good, misnamed) = (ours.issue(&["mx.example"]), ours.issue(&["other.example"]));
    let verify = |roots: &Authority| Plan { roots: roots.pem.clone(), ..at(TlsLevel::Verify) };
    let (own, key, above) = (&good.chain[0].to_vec(), &good.public_key, &ours.der.to_vec());
    all(
        vec![
            case("by its authority", verify(&ours), &[GOOD]).delivers("verified"),
            case("by another", verify(&strange), &[GOOD]).sleeps(rules::TLS_CERTIFICATE),
            case("DANE-EE, key, SHA-256", pins(&[(3, 1, 1, key)]), &[GOOD]).delivers("pinned"),
            case("DANE-EE, certificate, SHA-512", pins(&[(3, 0, 2, own)]), &[GOOD]).delivers("pinned"),
            case("DANE-EE, whole key", pins(&[(3, 1, 0, key)]), &[GOOD]).delivers("pinned"),
            case("DANE-EE, one of two", pins(&[(3, 1, 1, b"old"), (3, 1, 1, key)]), &[GOOD]).delivers("pinned"),
            case("DANE-EE of another", pins(&[(3, 1, 1, b"other")]), &[GOOD]).sleeps(rules::TLS_CERTIFICATE),
            case("the stronger digest is wrong", pins(&[(3, 1, 1, key), (3, 1, 2, b"other")]), &[GOOD])
                .sleeps(rules::TLS_CERTIFICATE),
            case("DANE-TA", pins(&[(2, 0, 1, above)]), &[GOOD]).delivers("pinned"),
            case("DANE-TA of another", pins(&[(2, 0, 1, &strange.der)]), &[GOOD]).sleeps(rules::TLS_CERTIFICATE),
            case("no record that counts: any certificate", pins(&[(1, 1, 1, key)]), &[GOOD]).delivers("unverified"),
            case("no record that counts, and no TLS", pins(&[]), &[GOOD])
                .offering(Offers::Everything)
                .sleeps(rules::NO_TLS),
        ],
        &good.server(),
    )
    .await;
    let key = &misnamed.public_key;
    all(
        vec![
            case("another name", verify(&ours), &[GOOD]).sleeps(rules::TLS_CERTIFICATE),
            case("DANE-EE asks for no name", pins(&[(3, 1, 1, key)]), &[GOOD]).delivers("pinned"),
            case("DANE-TA does", pins(&[(2, 0, 1, above)]), &[GOOD]).sleeps(rules::TLS_CERTIFICATE),
        ],
        &misnamed.server(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_among_the_roots_is_good_itself() {
    let (good, misnamed) = (Issued::selfsigned(&["mx.example"]), Issued::selfsigned(&["other.example"]));
    let verify = |of: &Issued| Plan { roots: of.pem.clone(), ..at(TlsLevel::Verify) };
    let good_by = |name, of: &Issued| case(name, verify(of), &[GOOD]);
    all(
        vec![
            good_by("itself", &good).delivers("verified"),
            good_by("not another one's", &misnamed).sleeps(rules::TLS_CERTIFICATE),
        ],
        &good.server(),
    )
    .await;
    all(vec![good_by("for its own names only", &misnamed).sleeps(rules::TLS_CERTIFICATE)], &misnamed.server()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_ours_is_shown() {
    let authority = Authority::new();
    let server = authority.issue(&["mx.example"]).asking_server();
    let plan = Plan { certificate: Some(authority.issue(&["us.example"]).shown()), ..at(TlsLevel::Encrypt) };
    let (wrong, peer) = play(case("with one", plan, &[GOOD]).delivers("unverified"), &server).await;
    assert_eq!(wrong, None);
    let seen = peer.seen.handshakes.lock().clone();
    assert!(seen[0].certificate && seen[0].name == "mx.example", "{seen:?}");
    let plan = Plan { certificate: Some(ClientCertificate::default()), ..at(TlsLevel::Encrypt) };
    let unreadable = case("none that can be read", plan, &[GOOD]).sleeps(rules::TLS_SETTINGS);
    assert_eq!(play(unreadable, &server).await.0, None);
}

/// A host that failed a handshake is spoken to in the clear at once the next time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_handshake_is_remembered() {
    let server = Authority::new().issue(&["mx.example"]).server();
    let sessions = ["220 !ehlo !starttls no-tls close", GOOD];
    let peer = peer::start_with(&sessions, Offers::StartTls, Some(server)).await;
    let plan = Plan { messages_per_connection: 1, ..plan(&[peer.port]) };
    let mut house = House::open(Protocol::Smtp, plan, quick());
    for number in 1..=3 {
        house.submit("s@b.example", &["r@x.example"], BODY);
        house.wait(number, 0).await;
    }
    house.stop().await;
    assert_eq!(*peer.seen.connections.lock(), 4);
    assert_eq!(peer.seen.lines.lock().iter().filter(|line| *line == "STARTTLS").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_resume() {
    let server = Authority::new().issue(&["mx.example"]).server();
    let peer = peer::start_with(&[GOOD], Offers::StartTls, Some(server)).await;
    let plan = Plan { messages_per_connection: 1, tls: TlsLevel::Encrypt, ..plan(&[peer.port]) };
    let mut house = House::open(Protocol::Smtp, plan, quick());
    for number in 1..=3 {
        house.submit("s@b.example", &["r@x.example"], BODY);
        house.wait(number, 0).await;
    }
    house.stop().await;
    let resumed: Vec<_> = peer.seen.handshakes.lock().iter().map(|one| one.resumed).collect();
    assert_eq!(resumed, [false, true, true]);
}

/// Nothing that was offered in the clear counts behind the handshake, and nothing but EHLO is said there first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dialogue_begins_anew_behind_the_handshake() {
    let server = Authority::new().issue(&["mx.example"]).server();
    let (wrong, peer) = play(case("", at(TlsLevel::Encrypt), &[GOOD]).delivers("unverified"), &server).await;
    assert_eq!(wrong, None);
    let verbs: Vec<_> = peer.seen.lines.lock().iter().map(|line| line[..4].to_owned()).collect();
    assert_eq!(verbs, ["EHLO", "STAR", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"]);
}

/// The lane's demand counts where the plan asks for less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_demand_more_than_the_plan() {
    for (demand, want) in [(1, None), (2, Some(rules::TLS_CERTIFICATE))] {
        let server = Authority::new().issue(&["mx.example"]).server();
        let peer = peer::start_with(&[GOOD], Offers::StartTls, Some(server)).await;
        let mut house = House::open_with_demand(Protocol::Smtp, plan(&[peer.port]), quick(), demand);
        house.submit("s@b.example", &["r@x.example"], BODY);
        let (settled, slept): (Vec<Settled>, _) =
            house.wait(usize::from(want.is_none()), usize::from(want.is_some())).await;
        assert_eq!((settled.len(), slept.first().map(|fact| fact.rule)), (usize::from(want.is_none()), want));
        house.stop().await;
    }
}

/// RFC 8689 4.2.1: the next host may promise what this one does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_promise_tls_is_passed_over() {
    use Offers::{PlainTls, StartTls};
    for (second, want) in [(StartTls, (250, EntryState::Delivered)), (PlainTls, (550, EntryState::Failed))] {
        let authority = Authority::new();
        let server = authority.issue(&["mx.example"]).server();
        let first = peer::start_with(&[GOOD], PlainTls, Some(Arc::clone(&server))).await;
        let second = peer::start_with(&[GOOD], second, Some(server)).await;
        let hosts = plan(&[first.port, second.port]).hosts;
        let plan = Plan { hosts, roots: authority.pem.clone(), ..at(TlsLevel::Verify) };
        let mut house = House::open_with_demand(Protocol::Smtp, plan, quick(), REQUIRE_TLS);
        let head = ContentHead { tls_demand: REQUIRE_TLS, ..ContentHead::default() };
        house.submit_head(head, &["r@x.example"], BODY);
        let (settled, _) = house.wait(1, 0).await;
        assert_eq!((settled[0].code, settled[0].state), want);
        house.stop().await;
    }
}
