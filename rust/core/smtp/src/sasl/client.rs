//! The client's side of a login. A server that does not know the secret, or asks for what would give it away (few
//! rounds, a foreign nonce), is an error, and nothing more is said to it.

use super::server::cram_digest;
use super::{Mechanism, Secret, same, scram, texts};

/// Who logs in, and with what.
#[derive(Debug, Clone, Copy)]
pub struct ClientLogin<'a> {
    pub login: &'a str,
    /// As whom to act; empty: as the login.
    pub authzid: &'a str,
    /// Password or bearer token.
    pub secret: &'a Secret,
    /// Host and port of the server, said by OAUTHBEARER.
    pub server: (&'a str, u16),
    /// Fresh chance for SCRAM, printable, without a comma.
    pub nonce: &'a str,
    /// Name and octets of the TLS channel (`tls-exporter`), when there is one.
    pub channel: Option<(&'a str, &'a [u8])>,
}

/// Why a login was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    #[error("the login, the secret or the nonce cannot be written in this mechanism")]
    Argument,
    #[error("SCRAM-SHA-256-PLUS needs the channel of a TLS connection")]
    NoChannel,
    #[error("the server's challenge is not of the mechanism")]
    Challenge,
    #[error("the server asks for a number of rounds that is not safe")]
    Iterations,
    #[error("the server did not show that it knows the secret")]
    ServerUnproven,
}

/// One login.
#[derive(Debug)]
pub struct ClientExchange {
    at: At,
}

#[derive(Debug)]
enum At {
    /// LOGIN: the name is asked for, then the password.
    Name {
        login: Box<str>,
        password: Secret,
    },
    Password {
        password: Secret,
    },
    Cram {
        login: Box<str>,
        secret: Secret,
    },
    ScramFirst {
        password: Secret,
        header: Box<str>,
        channel: Box<[u8]>,
        first_bare: Box<str>,
        nonce: Box<str>,
    },
    ScramFinal {
        signature: [u8; 32],
    },
    /// All was said; whatever the server asks now, nothing more is.
    Said,
    /// Said; a challenge carries an error, which is answered so (RFC 7628 3.2.3).
    Token {
        answer: &'static [u8],
    },
    Failed,
}

impl ClientExchange {
    /// Begins: the exchange, and the initial response if the mechanism has one.
    pub fn start(mechanism: Mechanism, login: ClientLogin<'_>) -> Result<(Self, Option<Vec<u8>>), SaslError> {
        let ClientLogin { login: who, authzid, secret, .. } = login;
        let plain = |text: &str| texts::name(text.as_bytes()).is_some();
        let needs_login = !matches!(mechanism, Mechanism::External | Mechanism::OauthBearer);
        if !plain(who) || !plain(authzid) || (needs_login && who.is_empty()) {
            return Err(SaslError::Argument);
        }
        let (at, initial) = match mechanism {
            Mechanism::Plain => (At::Said, Some(plain_message(login)?)),
            Mechanism::Login => (At::Name { login: who.into(), password: secret.clone() }, None),
            Mechanism::CramMd5 => (At::Cram { login: who.into(), secret: secret.clone() }, None),
            Mechanism::External => (At::Said, Some(authzid.as_bytes().to_vec())),
            Mechanism::Xoauth2 => (At::Token { answer: b"" }, Some(xoauth2_message(login)?)),
            Mechanism::OauthBearer => (At::Token { answer: b"\x01" }, Some(oauth_bearer_message(login)?)),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                let (at, message) = scram_first(mechanism, login)?;
                (at, Some(message))
            }
        };
        Ok((Self { at }, initial))
    }

    /// Answers a challenge. An error ends the login: cancel it.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
        match std::mem::replace(&mut self.at, At::Failed) {
            At::Name { login, password } => {
                self.at = At::Password { password };
                Ok(login.as_bytes().to_vec())
            }
            At::Password { password } => {
                self.at = At::Said;
                Ok(password.as_bytes().to_vec())
            }
            At::Cram { login, secret } => {
                self.at = At::Said;
                let digest = cram_digest(secret.as_bytes(), challenge);
                Ok(format!("{login} {:032x}", u128::from_be_bytes(digest)).into_bytes())
            }
            At::ScramFirst { password, header, channel, first_bare, nonce } => {
                let binding = [header.as_bytes(), &channel].concat();
                self.scram_final(challenge, &password, &binding, &first_bare, &nonce)
            }
            At::ScramFinal { signature } => {
                let said = std::str::from_utf8(challenge).ok().and_then(|text| text.strip_prefix("v="));
                let theirs = said.and_then(scram::from_base64).ok_or(SaslError::Challenge)?;
                if !same(&theirs, &signature) {
                    return Err(SaslError::ServerUnproven);
                }
                self.at = At::Said;
                Ok(Vec::new())
            }
            At::Token { answer } => Ok(answer.to_vec()),
            At::Said | At::Failed => Err(SaslError::Challenge),
        }
    }

    /// The server said 235: whether it may be believed. SCRAM only when it has shown that it knows the secret.
    pub fn finish(&self) -> Result<(), SaslError> {
        match self.at {
            At::Said | At::Token { .. } => Ok(()),
            _ => Err(SaslError::ServerUnproven),
        }
    }

    fn scram_final(
        &mut self,
        challenge: &[u8],
        password: &Secret,
        binding: &[u8],
        first_bare: &str,
        own_nonce: &str,
    ) -> Result<Vec<u8>, SaslError> {
        let server_first = std::str::from_utf8(challenge).map_err(|_| SaslError::Challenge)?;
        let (nonce, salt, iterations) = scram::server_first(server_first).ok_or(SaslError::Challenge)?;
        // RFC 5802 5.1: the nonce is ours with something of theirs behind it.
        if !nonce.starts_with(own_nonce) || nonce.len() == own_nonce.len() {
            return Err(SaslError::Challenge);
        }
        if !(scram::MIN_ITERATIONS..=scram::MAX_ITERATIONS).contains(&iterations) {
            return Err(SaslError::Iterations);
        }
        // RFC 5802 3: Normalize(password).
        let salted = scram::salted(texts::prepared_secret(password.as_bytes()).as_bytes(), &salt, iterations);
        let client_key = scram::mac(&salted, b"Client Key");
        let without_proof = format!("c={},r={nonce}", scram::base64(binding));
        let said = format!("{first_bare},{server_first},{without_proof}");
        let proof = scram::xor(&client_key, &scram::mac(&scram::hash(&client_key), said.as_bytes()));
        let signature = scram::mac(&scram::mac(&salted, b"Server Key"), said.as_bytes());
        self.at = At::ScramFinal { signature };
        Ok(format!("{without_proof},p={}", scram::base64(&proof)).into_bytes())
    }
}

/// RFC 4616 2.
fn plain_message(login: ClientLogin<'_>) -> Result<Vec<u8>, SaslError> {
    let secret = login.secret.as_bytes();
    if secret.contains(&0) {
        return Err(SaslError::Argument);
    }
    Ok([login.authzid.as_bytes(), b"\0", login.login.as_bytes(), b"\0", secret].concat())
}

/// The token between its key and the end.
fn bearer(login: ClientLogin<'_>) -> Result<Vec<u8>, SaslError> {
    let token = login.secret.as_bytes();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(SaslError::Argument);
    }
    Ok([b"auth=Bearer ".as_slice(), token, b"\x01\x01"].concat())
}

fn xoauth2_message(login: ClientLogin<'_>) -> Result<Vec<u8>, SaslError> {
    Ok([format!("user={}\x01", login.login).into_bytes(), bearer(login)?].concat())
}

/// RFC 7628 3.1.
fn oauth_bearer_message(login: ClientLogin<'_>) -> Result<Vec<u8>, SaslError> {
    let authzid = if login.login.is_empty() { String::new() } else { format!("a={}", texts::encode_name(login.login)) };
    let (host, port) = login.server;
    if host.chars().any(char::is_control) {
        return Err(SaslError::Argument);
    }
    let head = format!("n,{authzid},\x01host={host}\x01port={port}\x01");
    Ok([head.into_bytes(), bearer(login)?].concat())
}

fn scram_first(mechanism: Mechanism, login: ClientLogin<'_>) -> Result<(At, Vec<u8>), SaslError> {
    if !scram::is_nonce(login.nonce) {
        return Err(SaslError::Argument);
    }
    let (flag, channel) = match (mechanism, login.channel) {
        (Mechanism::ScramSha256Plus, Some((name, octets))) => (format!("p={name}"), octets),
        (Mechanism::ScramSha256Plus, None) => return Err(SaslError::NoChannel),
        // RFC 5802 6: we could, but the server did not offer it; one that did knows then that somebody hid the offer.
        (_, Some(_)) => ("y".to_owned(), [].as_slice()),
        (_, None) => ("n".to_owned(), [].as_slice()),
    };
    let authzid =
        if login.authzid.is_empty() { String::new() } else { format!("a={}", texts::encode_name(login.authzid)) };
    let header = format!("{flag},{authzid},");
    let first_bare = format!("n={},r={}", texts::encode_name(login.login), login.nonce);
    let message = format!("{header}{first_bare}").into_bytes();
    let at = At::ScramFirst {
        password: login.secret.clone(),
        header: header.into(),
        channel: channel.into(),
        first_bare: first_bare.into(),
        nonce: login.nonce.into(),
    };
    Ok((at, message))
}
