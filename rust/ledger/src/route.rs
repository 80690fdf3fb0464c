//! Routes and plans as Python hands them over (MessagePack maps by field name, unknown fields refused).
//!
//! A route is a function of (domain, route tag, the message's TLS demand) and fixes the lane's key; a plan fixes
//! what a lane does now: hosts with addresses, windows, the number of its retry table. Nothing here decides.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use angarium_nouns::{Millis, Reason};

/// How a lane's mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Smtp,
    Lmtp,
    /// Into Maildir folders, by the engine.
    Maildir,
    /// Leased to Python.
    Python,
}

impl Protocol {
    /// As in a route table.
    pub fn name(self) -> &'static str {
        ["smtp", "lmtp", "maildir", "python"][self as usize]
    }
}

/// Where a domain's mail goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub kind: Protocol,
    /// The lane's site: MX set, smarthost or mailbox store by its name.
    pub site: String,
    #[serde(default)]
    pub port: u16,
    /// Egress pool; empty: the default one.
    #[serde(default)]
    pub pool: String,
    /// EHLO name, credential and client certificate in use, as one name.
    #[serde(default)]
    pub identity: String,
    /// Effective TLS demand: 0 none, 1 encrypt, 2 verify.
    #[serde(default)]
    pub tls: u8,
    /// Host names in order of preference, for people and limiters; addresses come with the plan.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// No route: what happens to the entries of the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoRoute {
    /// True fails the entries now (NXDOMAIN, null MX); false defers them (SERVFAIL).
    pub failed: bool,
    /// The reply code and text that bounces and listings show.
    pub code: u16,
    /// `5.1.2` and the like.
    #[serde(default)]
    pub enhanced: String,
    pub text: String,
    /// A reason's number ([`Reason`]).
    #[serde(default = "no_route")]
    pub reason: Reason,
}

fn no_route() -> Reason {
    Reason::NoRoute
}

/// The answer to a wanted route. In MessagePack a map whose field `type` says which: `route` or `none`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RouteAnswer {
    Route(Route),
    #[serde(rename = "none", alias = "no_route")]
    NoRoute(NoRoute),
}

/// What makes a lane one lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct LaneKey {
    pub kind: Protocol,
    pub site: String,
    pub port: u16,
    pub pool: String,
    pub identity: String,
    pub tls: u8,
}

impl Route {
    pub fn lane_key(&self) -> LaneKey {
        let Self { kind, site, port, pool, identity, tls, .. } = self.clone();
        LaneKey { kind, site, port, pool, identity, tls }
    }
}

/// One host of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanHost {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    /// 0: the plan's port.
    #[serde(default)]
    pub port: u16,
    /// TLSA records of the host (RFC 7672), secured by DNSSEC; they count where the plan says `tlsa`.
    #[serde(default)]
    pub tlsa: Vec<Pin>,
}

/// A TLSA record (RFC 6698 2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// 2 DANE-TA, 3 DANE-EE; 0 and 1 are unusable for SMTP (RFC 7672 3.1.3).
    pub usage: u8,
    /// 0 the certificate, 1 its public key.
    pub selector: u8,
    /// 0 the whole, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
    pub data: ByteBuf,
}

/// What a connection must reach before mail goes over it; each asks more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsLevel {
    /// STARTTLS is never said.
    None,
    /// With TLS where the peer offers it; in the clear where it does not or the handshake fails (RFC 7435).
    #[default]
    Opportunistic,
    /// With TLS or not at all; any certificate.
    Encrypt,
    /// The certificate is good for the host's name.
    Verify,
    /// The certificate matches the host's TLSA records; a host without usable ones must encrypt.
    Tlsa,
}

impl TlsLevel {
    /// The level that a lane's TLS demand (0 none, 1 encrypt, 2 verify) asks for at least.
    #[must_use]
    pub fn at_least(self, demand: u8) -> Self {
        self.max(match demand {
            0 => Self::None,
            1 => Self::Encrypt,
            _ => Self::Verify,
        })
    }
}

/// How we log in at a smarthost. The secrets are not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanLogin {
    pub user: String,
    /// The password; empty where a token is meant.
    #[serde(default)]
    pub secret: String,
    /// For XOAUTH2 and OAUTHBEARER.
    #[serde(default)]
    pub token: String,
    /// Allowed ones, best first; empty: what is safe with what the peer offers.
    #[serde(default)]
    pub mechanisms: Vec<String>,
    /// The password may go over a connection without TLS.
    #[serde(default)]
    pub in_the_clear: bool,
}

impl std::fmt::Debug for PlanLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanLogin")
            .field("user", &self.user)
            .field("mechanisms", &self.mechanisms)
            .finish_non_exhaustive()
    }
}

/// The certificate that we show to peers who ask for one. PEM.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    pub chain: String,
    pub key: String,
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// What becomes of signed 8-bit content that the peer takes only as 7-bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignedEightBit {
    /// It fails: a conversion would break the signature, and 8 bits may not be sent (RFC 6152 3).
    #[default]
    Bounce,
    /// It goes as it is, undeclared, as most servers take it.
    Send,
}

/// Messages in a time: a token bucket of `messages`, refilled over `per` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub messages: u32,
    pub per: Millis,
}

/// A limiter that the lanes of one provider, pool or tenant share, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanLimiter {
    pub key: String,
    #[serde(default)]
    pub rate: Option<Rate>,
    /// Connections at once of all its lanes together; 0: no limit.
    #[serde(default)]
    pub connections: u32,
    /// Nothing behind it goes out until then; 0: not suspended.
    #[serde(default)]
    pub suspended_until: Millis,
}

/// What a lane does now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// In the order in which they are tried; equal preference is shuffled by whoever made the plan.
    #[serde(default)]
    pub hosts: Vec<PlanHost>,
    #[serde(default = "smtp_port")]
    pub port: u16,
    /// Local address to send from.
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// Name said in EHLO; empty: the server's own.
    #[serde(default)]
    pub hello: String,
    /// HELO is said to a peer that refuses EHLO (RFC 5321 3.2).
    #[serde(default = "yes")]
    pub hello_fallback: bool,
    /// LMTP: the path of the socket; the hosts do not count then.
    #[serde(default)]
    pub unix_path: String,
    #[serde(default)]
    pub tls: TlsLevel,
    /// TLS from the first byte (RFC 8314 3.3).
    #[serde(default)]
    pub implicit_tls: bool,
    /// For SNI and verification; empty: each host's own name.
    #[serde(default)]
    pub server_name: String,
    /// Roots for `verify`, PEM; empty: the system's.
    #[serde(default)]
    pub roots: String,
    #[serde(default)]
    pub certificate: Option<ClientCertificate>,
    #[serde(default)]
    pub login: Option<PlanLogin>,
    #[serde(default)]
    pub signed_eight_bit: SignedEightBit,
    /// Connections at once.
    #[serde(default = "few_connections")]
    pub connections: u32,
    /// After so many messages a connection is closed; 0: no limit.
    #[serde(default)]
    pub messages_per_connection: u32,
    /// Recipients of one transaction (RFC 5321 4.5.3.1.8 asks servers for 100).
    #[serde(default = "usual_recipients")]
    pub recipients_per_transaction: u32,
    #[serde(default)]
    pub rate: Option<Rate>,
    /// Shared with other lanes, three at most: (source, provider), (pool, provider), (tenant, provider).
    #[serde(default)]
    pub limiters: Vec<PlanLimiter>,
    #[serde(default)]
    pub retry_table: u16,
    /// Maildir: the folder that holds the mailboxes.
    #[serde(default)]
    pub folder: String,
    /// Python: who serves the lane.
    #[serde(default)]
    pub handler: String,
    /// Suspended by operator or warm-up until then; 0: not.
    #[serde(default)]
    pub suspended_until: Millis,
}

fn smtp_port() -> u16 {
    25
}

fn yes() -> bool {
    true
}

fn few_connections() -> u32 {
    4
}

fn usual_recipients() -> u32 {
    100
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            port: smtp_port(),
            source: None,
            hello: String::new(),
            hello_fallback: true,
            unix_path: String::new(),
            tls: TlsLevel::default(),
            implicit_tls: false,
            server_name: String::new(),
            roots: String::new(),
            certificate: None,
            login: None,
            signed_eight_bit: SignedEightBit::default(),
            connections: few_connections(),
            messages_per_connection: 0,
            recipients_per_transaction: usual_recipients(),
            rate: None,
            limiters: Vec::new(),
            retry_table: 0,
            folder: String::new(),
            handler: String::new(),
            suspended_until: 0,
        }
    }
}

impl Plan {
    /// Whether a connection that was made under the other plan is what this one would make.
    pub fn connects_like(&self, other: &Self) -> bool {
        let way = |plan: &Self| (plan.port, plan.source, plan.tls, plan.implicit_tls);
        let names = |plan: &'_ Self| [&plan.hello, &plan.unix_path, &plan.server_name, &plan.roots].map(String::clone);
        way(self) == way(other)
            && self.hosts == other.hosts
            && names(self) == names(other)
            && self.certificate == other.certificate
            && self.login == other.login
    }
}
