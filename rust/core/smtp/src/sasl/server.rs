//! The server's side of a login: a small machine for each mechanism. A response that does not belong to it refuses;
//! nothing is accepted but at the end of a machine's only way.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::texts::{self, Binding};
use super::{Credentials, Failure, Identity, KeyKind, Mechanism, Secret, Setting, Step, StoredKeys, same, scram};

/// One login.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    at: At,
}

/// What is waited for.
#[derive(Debug)]
enum At {
    /// The first response.
    First,
    /// LOGIN: the password of this login.
    Password(Box<str>),
    /// CRAM-MD5: the digest of this challenge.
    Digest {
        challenge: Box<str>,
    },
    /// CRAM-MD5: the secret.
    Secret {
        challenge: Box<str>,
        login: Box<str>,
        digest: [u8; 16],
    },
    /// SCRAM: the keys.
    Keys(Box<Scram>),
    /// SCRAM: the proof.
    Proof {
        scram: Box<Scram>,
        server_first: Box<str>,
        keys: StoredKeys,
    },
    /// SCRAM: the empty answer to our own proof.
    Signed(Identity),
    /// Somebody's verdict.
    Verdict(Identity),
    /// OAUTHBEARER, XOAUTH2: the answer to the error, whatever it says (RFC 7628 3.2.3).
    Denied,
    Done,
}

/// What the first message of SCRAM said.
#[derive(Debug)]
struct Scram {
    identity: Identity,
    /// `c=` of the last message must hold these octets.
    binding: Vec<u8>,
    first_bare: Box<str>,
    nonce: Box<str>,
}

impl Exchange {
    /// Begins a login: the exchange, and what comes next.
    #[must_use]
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>, setting: Setting<'_>) -> (Self, Step) {
        let mut exchange = Self { mechanism, at: At::First };
        let step = match (mechanism, initial) {
            (Mechanism::CramMd5, None) => exchange.cram_challenge(setting),
            (Mechanism::CramMd5, Some(_)) => exchange.refuse(Failure::Malformed),
            (Mechanism::Login, None) => Step::Challenge(b"Username:".to_vec()),
            (_, None) => Step::Challenge(Vec::new()),
            (Mechanism::ScramSha256 | Mechanism::ScramSha256Plus, Some(message)) => {
                exchange.scram_first(message, setting)
            }
            (_, Some(message)) => exchange.first(message),
        };
        (exchange, step)
    }

    /// The client's answer to a challenge. `setting` is that of the start.
    #[must_use]
    pub fn respond(&mut self, response: &[u8], setting: Setting<'_>) -> Step {
        match std::mem::replace(&mut self.at, At::Done) {
            At::First if matches!(self.mechanism, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus) => {
                self.scram_first(response, setting)
            }
            At::First => self.first(response),
            At::Password(login) => self.password(login, response),
            At::Digest { challenge } => self.digest(challenge, response),
            At::Proof { scram, server_first, keys } => self.proof(*scram, &server_first, &keys, response),
            At::Signed(identity) if response.is_empty() => Step::Accepted(identity),
            At::Denied => Step::Refused(Failure::Credentials),
            _ => Step::Refused(Failure::Malformed),
        }
    }

    /// What somebody judged of [`Step::Check`].
    #[must_use]
    pub fn verdict(&mut self, good: bool) -> Step {
        let At::Verdict(identity) = std::mem::replace(&mut self.at, At::Done) else {
            return Step::Refused(Failure::Malformed);
        };
        if good {
            return Step::Accepted(identity);
        }
        // RFC 7628 3.2.2: the client learns why, says so, and fails.
        let error: &[u8] = match self.mechanism {
            Mechanism::OauthBearer => br#"{"status":"invalid_token"}"#,
            Mechanism::Xoauth2 => br#"{"status":"401","schemes":"bearer"}"#,
            _ => return Step::Refused(Failure::Credentials),
        };
        self.at = At::Denied;
        Step::Challenge(error.to_vec())
    }

    /// The keys that [`Step::Keys`] asked for.
    #[must_use]
    pub fn keys(&mut self, keys: StoredKeys) -> Step {
        match (std::mem::replace(&mut self.at, At::Done), keys) {
            (At::Secret { challenge, login, digest }, StoredKeys::Cram { secret }) => {
                if same(&cram_digest(secret.as_bytes(), challenge.as_bytes()), &digest) {
                    Step::Accepted(Identity { login, authzid: "".into() })
                } else {
                    Step::Refused(Failure::Credentials)
                }
            }
            (At::Keys(scram), keys @ StoredKeys::Scram { .. }) => self.scram_challenge(scram, keys),
            _ => Step::Refused(Failure::Credentials),
        }
    }

    fn refuse(&mut self, failure: Failure) -> Step {
        self.at = At::Done;
        Step::Refused(failure)
    }

    fn check(&mut self, credentials: Option<Credentials>) -> Step {
        let Some(credentials) = credentials else { return self.refuse(Failure::Malformed) };
        let (Credentials::Password { identity, .. }
        | Credentials::Token { identity, .. }
        | Credentials::External { identity }) = &credentials;
        self.at = At::Verdict(identity.clone());
        Step::Check(credentials)
    }

    fn first(&mut self, message: &[u8]) -> Step {
        match self.mechanism {
            Mechanism::Plain => self.check(texts::plain(message)),
            Mechanism::OauthBearer => self.check(texts::oauth_bearer(message)),
            Mechanism::Xoauth2 => self.check(texts::xoauth2(message)),
            Mechanism::External => {
                let identity = texts::name(message).map(|authzid| Identity { login: "".into(), authzid });
                self.check(identity.map(|identity| Credentials::External { identity }))
            }
            Mechanism::Login => match texts::login(message) {
                Some(login) => {
                    self.at = At::Password(login);
                    Step::Challenge(b"Password:".to_vec())
                }
                None => self.refuse(Failure::Malformed),
            },
            _ => self.refuse(Failure::Malformed),
        }
    }

    fn password(&mut self, login: Box<str>, response: &[u8]) -> Step {
        let identity = Identity { login, authzid: "".into() };
        self.check(texts::password(response).map(|password| Credentials::Password { identity, password }))
    }

    fn cram_challenge(&mut self, setting: Setting<'_>) -> Step {
        let challenge: Box<str> = format!("<{}@{}>", setting.nonce, setting.hostname).into();
        let said = challenge.as_bytes().to_vec();
        self.at = At::Digest { challenge };
        Step::Challenge(said)
    }

    fn digest(&mut self, challenge: Box<str>, response: &[u8]) -> Step {
        let Some((login, digest)) = texts::cram(response) else { return self.refuse(Failure::Malformed) };
        self.at = At::Secret { challenge, login: login.clone(), digest };
        Step::Keys { login, kind: KeyKind::CramMd5 }
    }

    fn scram_first(&mut self, message: &[u8], setting: Setting<'_>) -> Step {
        let first = texts::gs2(message).and_then(|gs2| Some((scram::client_first(gs2.rest)?, gs2)));
        let Some(((login, client_nonce), gs2)) = first else { return self.refuse(Failure::Malformed) };
        let Some(channel) = self.channel(gs2.binding, setting) else { return self.refuse(Failure::ChannelBinding) };
        let binding = [gs2.header.as_bytes(), channel].concat();
        let scram = Scram {
            identity: Identity { login: login.clone(), authzid: gs2.authzid },
            binding,
            first_bare: gs2.rest.into(),
            nonce: format!("{client_nonce}{}", setting.nonce).into(),
        };
        self.at = At::Keys(Box::new(scram));
        Step::Keys { login, kind: KeyKind::ScramSha256 }
    }

    /// The octets of the channel that the client must have seen too; `None` when something is wrong with it (RFC 5802
    /// 6).
    fn channel<'a>(&self, binding: Binding<'_>, setting: Setting<'a>) -> Option<&'a [u8]> {
        match (binding, self.mechanism) {
            (Binding::Named("tls-exporter"), Mechanism::ScramSha256Plus) => setting.exporter,
            (Binding::Named("tls-server-end-point"), Mechanism::ScramSha256Plus) => setting.end_point,
            (Binding::No, Mechanism::ScramSha256) => Some(b""),
            (Binding::Unoffered, Mechanism::ScramSha256) if !setting.plus_offered => Some(b""),
            _ => None,
        }
    }

    fn scram_challenge(&mut self, scram: Box<Scram>, keys: StoredKeys) -> Step {
        let StoredKeys::Scram { salt, iterations, .. } = &keys else { return self.refuse(Failure::Credentials) };
        let server_first: Box<str> = format!("r={},s={},i={iterations}", scram.nonce, scram::base64(salt)).into();
        let said = server_first.as_bytes().to_vec();
        self.at = At::Proof { scram, server_first, keys };
        Step::Challenge(said)
    }

    /// RFC 5802 3: the client shows that it knows the key, and we show that we do.
    fn proof(&mut self, scram: Scram, server_first: &str, keys: &StoredKeys, response: &[u8]) -> Step {
        let StoredKeys::Scram { stored_key, server_key, .. } = keys else {
            return self.refuse(Failure::Credentials);
        };
        let last = std::str::from_utf8(response).ok().and_then(scram::client_final);
        let Some(last) = last.filter(|last| *last.nonce == *scram.nonce) else {
            return self.refuse(Failure::Malformed);
        };
        if !same(&last.binding, &scram.binding) {
            return self.refuse(Failure::ChannelBinding);
        }
        let said = format!("{},{server_first},{}", scram.first_bare, last.without_proof);
        let signature = scram::mac(stored_key.as_bytes(), said.as_bytes());
        let client_key = scram::xor(&signature, &last.proof);
        if last.proof.len() != client_key.len() || !same(&scram::hash(&client_key), stored_key.as_bytes()) {
            return self.refuse(Failure::Credentials);
        }
        let ours = scram::mac(server_key.as_bytes(), said.as_bytes());
        self.at = At::Signed(scram.identity);
        Step::Challenge(format!("v={}", scram::base64(&ours)).into_bytes())
    }
}

/// RFC 2195 2.
pub(super) fn cram_digest(secret: &[u8], challenge: &[u8]) -> [u8; 16] {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(secret) else { return [0; 16] };
    mac.update(challenge);
    mac.finalize().into_bytes().into()
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}
