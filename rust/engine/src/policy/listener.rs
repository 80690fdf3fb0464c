//! A listening socket's part of the policy: its profile, and everything that may differ from the profile.
//!
//! A profile is a row of defaults ([`Profile::row`]); a field that is `None` has the row's value. What a field means
//! for a session stands beside it; ranges are checked before a policy is taken. Times are milliseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::networks::Networks;
use super::{Judges, PolicyError};

/// Which server face a listening socket shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The world sends to us (port 25): nothing is added but trace.
    #[default]
    Mx,
    /// People and programs hand in new mail (port 587, RFC 6409).
    Submission,
    /// The same with TLS from the first octet (port 465, RFC 8314).
    Submissions,
    /// Machines of our own relay through us.
    Relay,
    /// The last hop before the mailbox (RFC 2033): a reply for each recipient.
    Lmtp,
}

/// When TLS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsUse {
    Off,
    /// STARTTLS may be said.
    #[default]
    Offered,
    /// STARTTLS must be said before AUTH and MAIL, but in `clear_networks`.
    Required,
    /// From the first octet.
    Implicit,
}

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// What a client must show in its handshake. A shown certificate must always lead to the client CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    #[default]
    Off,
    Ask,
    Require,
}

/// When a client logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginUse {
    #[default]
    Off,
    Offered,
    /// Before MAIL, but from trusted networks.
    Required,
}

/// Which sender addresses a login may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SenderRule {
    #[default]
    Any,
    /// MAIL FROM is one of the login's.
    Envelope,
    /// So are the addresses in From and Sender.
    Header,
}

/// What a bare CR or LF in content meets. NUL is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewlineMode {
    /// Read to the final dot, then 550 5.6.0.
    #[default]
    Reject,
    /// Made CRLF; only ever done for trusted clients.
    Normalise,
}

/// How much somebody may do within `per`; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowance {
    /// The window that the figures below are of.
    pub per: u64,
    /// At once, whatever the window.
    pub sessions: u32,
    pub new_sessions: u32,
    pub messages: u32,
    pub recipients: u32,
    pub bytes: u64,
    /// Mistakes and refused recipients.
    pub errors: u32,
    pub failed_logins: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            per: 60_000,
            sessions: 0,
            new_sessions: 0,
            messages: 0,
            recipients: 0,
            bytes: 0,
            errors: 0,
            failed_logins: 0,
        }
    }
}

/// Limits by whom they are for. Trusted clients are exempt from those of address and network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// One client address (an IPv6 address as its /64 already at `Limits.sessions_per_address`).
    pub address: Allowance,
    /// An IPv4 /24, an IPv6 /64.
    pub network: Allowance,
    pub login: Allowance,
    pub tenant: Allowance,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// For metrics, hooks and the journal: "mx", "submission", ...
    pub name: String,
    pub profile: Profile,
    /// Behind "220 hostname ESMTP"; may be empty.
    pub banner: String,
    /// SIZE (RFC 1870).
    pub max_size: u64,
    /// RFC 5321 4.5.3.1.8 asks for 100 at least.
    pub max_recipients: u32,
    /// Octets of a text line with its CRLF, from 1,000 (RFC 5321 4.5.3.1.6) on.
    pub max_line: u32,
    /// For trusted clients; others are always refused.
    pub bare_newline: NewlineMode,
    /// Wrong commands before 421 4.7.0.
    pub max_errors: u32,
    /// Every client here counts as trusted (a socket on loopback or behind a wall).
    pub trusted: bool,
    /// The TLS demand that its messages start with: 0 none, 1 encrypt, 2 verify.
    pub tls_demand: u8,
    /// Class of its messages: 0 urgent, 1 high, 2 normal, 3 bulk.
    pub class: u8,
    pub tenant: String,

    /// TLS. Without any certificate it cannot be offered, and what is required is refused with 454 4.7.0.
    pub tls: Option<TlsUse>,
    pub tls_version: TlsVersion,
    pub client_certificates: ClientCertificates,
    /// Where clear text is as good as TLS: AUTH may be said and required TLS is not demanded.
    pub clear_networks: Vec<String>,

    pub login: Option<LoginUse>,
    /// SASL mechanisms in the order in which they are offered; empty: PLAIN, LOGIN, SCRAM-SHA-256 and its -PLUS,
    /// XOAUTH2, OAUTHBEARER, and EXTERNAL when client certificates are asked for. CRAM-MD5 must be named.
    pub mechanisms: Vec<String>,
    pub senders: Option<SenderRule>,
    /// Date and Message-ID are added when missing (RFC 6409 8).
    pub complete: Option<bool>,
    /// Whose mail the stage *authenticate* judges.
    pub authenticate: Option<Judges>,

    /// Must begin with a PROXY header (v1 or v2); nobody else may.
    pub proxy_networks: Vec<String>,
    /// May say XCLIENT and XFORWARD.
    pub xclient_networks: Vec<String>,

    /// The banner comes so late; who talks before it is refused. Trusted clients and implicit TLS do not wait.
    pub greet_delay: u64,
    /// Each refusal behind the third of a session is so late.
    pub tarpit: u64,
    pub limits: ListenerLimits,

    /// EHLO keywords that are not offered though the profile has them.
    pub without: Vec<String>,
    /// Offered only when named: PRDR, ETRN, VRFY (an answer that says the truth), EXPN.
    pub with: Vec<String>,
    /// The longest that FUTURERELEASE may hold (RFC 4865), when it is offered.
    pub hold_at_most: u64,
    /// The shortest time of DELIVERBY (RFC 2852), when it is offered.
    pub deliver_by_least: u64,

    /// Texts of our own by code (`"550"`) or by code and enhanced code (`"550 5.7.1"`); `{hostname}`, `{id}` (of the
    /// session or the message) and `{text}` (what would have been said) are filled in.
    pub replies: BTreeMap<String, String>,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: "mx".into(),
            profile: Profile::Mx,
            banner: String::new(),
            max_size: 50 << 20,
            max_recipients: 1_000,
            max_line: 64 << 10,
            bare_newline: NewlineMode::Reject,
            max_errors: 20,
            trusted: false,
            tls_demand: 0,
            class: 2,
            tenant: String::new(),
            tls: None,
            tls_version: TlsVersion::Tls12,
            client_certificates: ClientCertificates::Off,
            clear_networks: Vec::new(),
            login: None,
            mechanisms: Vec::new(),
            senders: None,
            complete: None,
            authenticate: None,
            proxy_networks: Vec::new(),
            xclient_networks: Vec::new(),
            greet_delay: 0,
            tarpit: 0,
            limits: ListenerLimits::default(),
            without: Vec::new(),
            with: Vec::new(),
            hold_at_most: 30 * 86_400_000,
            deliver_by_least: 0,
            replies: BTreeMap::new(),
        }
    }
}

/// What a profile fixes until the listener says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileRow {
    pub tls: TlsUse,
    pub login: LoginUse,
    pub senders: SenderRule,
    pub complete: bool,
    pub authenticate: Judges,
    pub lmtp: bool,
    /// DELIVERBY, FUTURERELEASE, MT-PRIORITY are for senders whom we know.
    pub known_senders: bool,
}

impl Profile {
    /// The table of profiles.
    pub const fn row(self) -> ProfileRow {
        const MX: ProfileRow = ProfileRow {
            tls: TlsUse::Offered,
            login: LoginUse::Off,
            senders: SenderRule::Any,
            complete: false,
            authenticate: Judges::Strangers,
            lmtp: false,
            known_senders: false,
        };
        // RFC 6409 4.3: only those who logged in; 6.1 and 8: what is added and held to.
        const SUBMISSION: ProfileRow = ProfileRow {
            tls: TlsUse::Required,
            login: LoginUse::Required,
            senders: SenderRule::Envelope,
            complete: true,
            authenticate: Judges::Off,
            known_senders: true,
            ..MX
        };
        match self {
            Self::Mx => MX,
            Self::Submission => SUBMISSION,
            Self::Submissions => ProfileRow { tls: TlsUse::Implicit, ..SUBMISSION },
            Self::Relay => ProfileRow { known_senders: true, authenticate: Judges::Off, ..MX },
            Self::Lmtp => ProfileRow { tls: TlsUse::Off, lmtp: true, authenticate: Judges::Off, ..MX },
        }
    }
}

impl Listener {
    pub fn tls(&self) -> TlsUse {
        self.tls.unwrap_or(self.profile.row().tls)
    }

    pub fn login(&self) -> LoginUse {
        self.login.unwrap_or(self.profile.row().login)
    }

    pub fn senders(&self) -> SenderRule {
        self.senders.unwrap_or(self.profile.row().senders)
    }

    pub fn completes(&self) -> bool {
        self.complete.unwrap_or(self.profile.row().complete)
    }

    pub fn judges(&self) -> Judges {
        self.authenticate.unwrap_or(self.profile.row().authenticate)
    }

    pub(super) fn check(&self, number: usize) -> Result<(), PolicyError> {
        let own = |field: &str| format!("listeners[{number}].{field}");
        let rules = [
            ("max_line", (1_000..=1 << 20).contains(&self.max_line), "lies between 1000 and 1 MiB"),
            ("max_recipients", self.max_recipients >= 1, "is 1 at least (RFC 5321 4.5.3.1.8 asks for 100)"),
            ("max_size", self.max_size >= 64 << 10, "is 64 KiB at least (RFC 5321 4.5.3.1.7)"),
            ("tls_demand", self.tls_demand <= 2, "is 0, 1 or 2"),
            ("class", self.class <= 3, "lies between 0 and 3"),
            ("greet_delay", self.greet_delay <= 60_000, "is a minute at most: clients wait five (RFC 5321 4.5.3.2.1)"),
            ("tarpit", self.tarpit <= 60_000, "is a minute at most"),
        ];
        if let Some((field, _, why)) = rules.iter().find(|(_, good, _)| !good) {
            return Err(PolicyError::new(own(field), *why));
        }
        for (field, networks) in [
            ("clear_networks", &self.clear_networks),
            ("proxy_networks", &self.proxy_networks),
            ("xclient_networks", &self.xclient_networks),
        ] {
            Networks::compile(&own(field), networks)?;
        }
        Ok(())
    }
}
