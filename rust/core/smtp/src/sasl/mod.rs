//! Logins over SASL (RFC 4422), both roles, without sockets, clock or chance: octets in, [`Step`]s out.
//!
//! The server's [`Exchange`] reads responses and says what comes next: a challenge, a question to whoever judges
//! passwords, tokens and certificates, a question for stored keys, the end. The client's [`ClientExchange`] answers
//! challenges and checks that the server knew the secret too (SCRAM). Nonces come in as arguments and must be fresh;
//! secrets are never shown by `Debug`. Leaves to others: base64 and lines (`Server`, `Client`), who may log in, delays.

mod client;
mod mechanism;
mod scram;
mod server;
mod texts;

use angarium_nouns::Reply;
pub use client::{ClientExchange, ClientLogin, SaslError};
pub use mechanism::{Mechanism, Mechanisms};
pub use scram::StoredKeys;
pub use server::Exchange;
pub use texts::prepared;

/// Octets that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    pub fn new(octets: impl Into<Box<[u8]>>) -> Self {
        Self(octets.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What of the connection an exchange may depend on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setting<'a> {
    /// The server's name, for the challenge of CRAM-MD5.
    pub hostname: &'a str,
    /// Fresh chance, 18 octets or more, as base64 or another printable text without a comma.
    pub nonce: &'a str,
    /// `tls-exporter` (RFC 9266).
    pub exporter: Option<&'a [u8]>,
    /// `tls-server-end-point` (RFC 5929 4).
    pub end_point: Option<&'a [u8]>,
    /// SCRAM-SHA-256-PLUS is offered: a client that says it saw no such offer was lied to.
    pub plus_offered: bool,
}

/// What comes next in the server's exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Say this (334); its answer goes to [`Exchange::respond`].
    Challenge(Vec<u8>),
    /// Somebody judges; the answer goes to [`Exchange::verdict`].
    Check(Credentials),
    /// Somebody looks up the keys of this login; they go to [`Exchange::keys`].
    Keys { login: Box<str>, kind: KeyKind },
    /// Say 235.
    Accepted(Identity),
    /// Say [`Failure::reply`].
    Refused(Failure),
}

/// Who logged in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Empty for EXTERNAL: the certificate says it.
    pub login: Box<str>,
    /// As whom the login wants to act; empty: as itself.
    pub authzid: Box<str>,
}

/// What somebody else must judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    Password {
        identity: Identity,
        password: Secret,
    },
    /// A bearer token (OAUTHBEARER, XOAUTH2); the login may be empty, then the token says it.
    Token {
        identity: Identity,
        token: Secret,
    },
    /// The certificate of the connection.
    External {
        identity: Identity,
    },
}

/// Which keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// [`StoredKeys::Scram`].
    ScramSha256,
    /// [`StoredKeys::Cram`].
    CramMd5,
}

/// Why a login failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// What the client said is not of this mechanism.
    Malformed,
    /// No such login with such a secret.
    Credentials,
    /// Somebody stands between: the channels are not the same, or the stronger mechanism was hidden.
    ChannelBinding,
}

impl Failure {
    /// RFC 4954 6. What exactly was wrong is nobody's business.
    #[must_use]
    pub fn reply(self) -> Reply {
        match self {
            Self::Malformed => Reply::new(501, (5, 5, 2), "This is not of the mechanism"),
            Self::Credentials | Self::ChannelBinding => {
                Reply::new(535, (5, 7, 8), "Authentication credentials invalid")
            }
        }
    }
}

/// Whether two octet strings are equal, in a time that depends on their lengths only.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
