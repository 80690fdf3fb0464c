//! Stage *login*: how we log in at a smarthost (RFC 4954). Without a login no mail goes: the lane sleeps, nobody's
//! message fails for a wrong password of ours.
//!
//! Mechanisms are tried strong ones first; a secret that a listener could read goes over TLS only, unless the plan
//! says otherwise. A server that refuses a mechanism is asked for the next; one that refuses the secret is not.

use angarium_ledger::PlanLogin;
use angarium_nouns::outcome::{Phase, Reason};
use angarium_nouns::reply::Reply;
use angarium_smtp::sasl::{ClientExchange, ClientLogin, Mechanism, Mechanisms, SaslError, Secret};
use angarium_smtp::{Command, Extensions};

use super::super::transaction::{host_failure, rules};
use super::super::wire::Break;
use super::{Connection, Failure};

/// Challenges of one exchange: SCRAM has two, LOGIN two.
const MAX_CHALLENGES: usize = 6;
/// Octets of chance in a nonce: as many as in the RFC's examples (RFC 5802 5).
const NONCE: usize = 18;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum LoginFailure {
    #[error("the host offers no login, and the mail may go only with one")]
    NotOffered,
    #[error("the host offers no mechanism that may be used here (it offers {0})")]
    NoMechanism(String),
    #[error("the login by {0} was given up: {1}")]
    Exchange(&'static str, SaslError),
    #[error("the host refuses the login by {0}: {1}")]
    Refused(&'static str, String),
}

impl From<LoginFailure> for Failure {
    fn from(failure: LoginFailure) -> Self {
        let reply = Reply::new(454, (4, 7, 0), "").with_text(failure.to_string().replace(char::is_control, " "));
        Self::said(host_failure(Reason::Policy, rules::LOGIN), reply)
    }
}

/// How one mechanism ended.
enum Ended {
    In,
    /// This mechanism will not do (RFC 4954 4: 504, 534, 538).
    Next,
}

impl Connection {
    pub(super) async fn login(&mut self) -> Result<(), Failure> {
        let Some(login) = self.errand.run.plan.login.clone() else { return Ok(()) };
        let capabilities = self.wire.client.capabilities();
        if !capabilities.has(Extensions::AUTH) {
            return Err(LoginFailure::NotOffered.into());
        }
        let offered = capabilities.mechanisms;
        let channel = self.wire.tls().and_then(exporter);
        for mechanism in choose(&login, offered, self.wire.tls().is_some(), channel.is_some()) {
            if let Ended::In = self.exchange(&login, mechanism, channel.as_ref()).await? {
                return Ok(());
            }
        }
        Err(LoginFailure::NoMechanism(offered.write()).into())
    }

    async fn exchange(
        &mut self,
        login: &PlanLogin,
        mechanism: Mechanism,
        channel: Option<&[u8; 32]>,
    ) -> Result<Ended, Failure> {
        let name = mechanism.name();
        let gave_up = |error| Failure::from(LoginFailure::Exchange(name, error));
        let by_token = matches!(mechanism, Mechanism::Xoauth2 | Mechanism::OauthBearer);
        let secret = Secret::new(if by_token { login.token.as_bytes() } else { login.secret.as_bytes() });
        let nonce = nonce().ok_or_else(|| gave_up(SaslError::Argument))?;
        let bound = channel.filter(|_| mechanism == Mechanism::ScramSha256Plus);
        let who = ClientLogin {
            login: &login.user,
            authzid: "",
            secret: &secret,
            server: (self.errand.host_name(), self.errand.port()),
            nonce: &nonce,
            channel: bound.map(|octets| ("tls-exporter", &octets[..])),
        };
        let (mut exchange, initial) = ClientExchange::start(mechanism, who).map_err(gave_up)?;
        let first = Command::Auth { mechanism: name, initial: initial.as_deref() };
        let mut reply = self.say(first).await?;
        for _ in 0..MAX_CHALLENGES {
            if reply.code != 334 {
                break;
            }
            let challenge = base64_simd::STANDARD.decode_to_vec(reply.text.trim()).unwrap_or_default();
            match exchange.answer(&challenge) {
                Ok(answer) => reply = self.say(Command::AuthResponse(&answer)).await?,
                Err(error) => {
                    self.say(Command::AuthCancel).await?;
                    return Err(gave_up(error));
                }
            }
        }
        match reply.code {
            200..300 => exchange.finish().map(|()| Ended::In).map_err(gave_up),
            504 | 534 | 538 => Ok(Ended::Next),
            _ => Err(LoginFailure::Refused(name, reply.to_string()).into()),
        }
    }

    async fn say(&mut self, command: Command<'_>) -> Result<Reply, Failure> {
        let reply: Result<Reply, Break> = self.ask(command).await;
        let reply = reply.map_err(|cause| Failure::broken(&cause))?;
        if reply.code == 421 {
            return Err(Failure::said(angarium_nouns::outcome::judge(Phase::Hello, &reply), reply));
        }
        Ok(reply)
    }
}

/// The mechanisms to try, in the plan's order or strong ones first.
fn choose(login: &PlanLogin, offered: Mechanisms, secure: bool, bound: bool) -> Vec<Mechanism> {
    let wanted: Vec<_> = match &login.mechanisms[..] {
        [] => Mechanism::ALL.to_vec(),
        named => named.iter().filter_map(|name| Mechanism::named(name)).collect(),
    };
    let possible = |mechanism: &Mechanism| {
        let has_what_it_takes = match mechanism {
            Mechanism::Xoauth2 | Mechanism::OauthBearer => !login.token.is_empty(),
            Mechanism::External => login.secret.is_empty() && login.token.is_empty(),
            Mechanism::ScramSha256Plus => bound && !login.secret.is_empty(),
            _ => !login.secret.is_empty(),
        };
        let safe = secure || login.in_the_clear || !mechanism.shows_secret();
        offered.has(*mechanism) && has_what_it_takes && safe
    };
    wanted.into_iter().filter(possible).collect()
}

/// The channel that SCRAM-SHA-256-PLUS binds to (RFC 9266 4); only TLS 1.3 is sure to have it.
fn exporter(tls: &rustls::ClientConnection) -> Option<[u8; 32]> {
    if tls.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return None;
    }
    tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()
}

fn nonce() -> Option<String> {
    let mut chance = [0; NONCE];
    aws_lc_rs::rand::fill(&mut chance).ok()?;
    Some(base64_simd::URL_SAFE_NO_PAD.encode_to_string(chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses() {
        let password = PlanLogin { user: "u".into(), secret: "s".into(), ..PlanLogin::default() };
        let token = PlanLogin { user: "u".into(), token: "t".into(), ..PlanLogin::default() };
        let named = PlanLogin { mechanisms: vec!["login".into(), "PLAIN".into()], ..password.clone() };
        let clear = PlanLogin { in_the_clear: true, ..password.clone() };
        let all: Mechanisms = Mechanism::ALL.into_iter().collect();
        let old = Mechanisms::read("PLAIN LOGIN");
        for (name, login, offered, secure, bound, want) in [
            ("strong ones first", &password, all, true, true, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"),
            ("no channel", &password, all, true, false, "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"),
            ("no secret in the clear", &password, all, false, false, "SCRAM-SHA-256 CRAM-MD5"),
            ("nothing is left", &password, old, false, false, ""),
            ("allowed in the clear", &clear, old, false, false, "PLAIN LOGIN"),
            ("the plan's order", &named, all, true, true, "LOGIN PLAIN"),
            ("a token", &token, all, true, true, "OAUTHBEARER XOAUTH2"),
        ] {
            let names: Vec<_> = choose(login, offered, secure, bound).iter().map(|one| one.name()).collect();
            assert_eq!(names.join(" "), want, "{name}");
        }
    }
}
