//! AUTH: the exchange that `smtp::sasl` makes, with answers from memory or from the identity's source.
//!
//! Whoever is remembered is judged at once; else the hook of phase *auth* is asked. When the source is down the answer
//! is 454 4.7.0 and nothing is counted. A failure is counted by address and account, and its answer comes late. Fake
//! keys hide which logins exist.

use std::sync::Arc;

use angarium_nouns::Reply;
use angarium_smtp::AuthCommand;
use angarium_smtp::sasl::{self, Exchange, Failure, KeyKind, Mechanism, Secret, Setting, StoredKeys};

use super::{Flow, ON, Session, Step, first};
use crate::asks::{AskPhase, Credentials};
use crate::intake::Intake;
use crate::logins::{Keys, Known, Login};
use crate::policy::Hook;
use crate::tables::{Decision, Identity, ScramKeys};
use crate::traffic::Measure;

const GOOD: Reply = Reply::new(235, (2, 7, 0), "Authentication successful");
/// RFC 4954 6.
const LATER: Reply = Reply::new(454, (4, 7, 0), "Temporary authentication failure, try again later");
const BANNED: Reply = Reply::new(421, (4, 7, 0), "Too many failed logins from your address, try again later");
const TOO_MANY_ERRORS: Reply = Reply::new(421, (4, 7, 0), "Too many errors, closing");

/// A login on its way.
pub(crate) struct Ongoing {
    exchange: Exchange,
    mechanism: Mechanism,
    nonce: Box<str>,
    /// What somebody must judge now, or has judged last.
    credentials: Credentials,
    /// Who it is, if the exchange ends well.
    login: Option<Arc<Login>>,
}

impl Session {
    pub(super) fn auth(&mut self, command: &AuthCommand) -> Flow {
        if self.intake.logins.is_banned(self.peer.ip(), self.intake.clock.now()) {
            self.intake.counters.logins_banned.one_more();
            self.hang_up(&BANNED);
            return first(Step::Close);
        }
        if let Err(reply) = self.may(Measure::FailedLogins, 0) {
            self.hang_up(&reply);
            return first(Step::Close);
        }
        let nonce = Intake::nonce();
        let (exchange, step) = Exchange::start(command.mechanism, command.initial.as_deref(), self.setting(&nonce));
        let credentials = Credentials { mechanism: command.mechanism.name(), ..Credentials::default() };
        let ongoing = Ongoing { exchange, mechanism: command.mechanism, nonce, credentials, login: None };
        self.go_on(Box::new(ongoing), step)
    }

    pub(super) fn auth_response(&mut self, response: &[u8]) -> Flow {
        let Some(mut ongoing) = self.more().ongoing.take() else {
            self.say(&LATER);
            return ON;
        };
        let nonce = ongoing.nonce.clone();
        let step = ongoing.exchange.respond(response, self.setting(&nonce));
        self.go_on(ongoing, step)
    }

    fn setting<'a>(&'a self, nonce: &'a str) -> Setting<'a> {
        let secured = self.secured();
        Setting {
            hostname: &self.policy.table.hostname,
            nonce,
            exporter: secured.and_then(|secured| secured.exporter.as_deref()).map(<[u8; 32]>::as_slice),
            end_point: secured.map(|secured| &*secured.end_point),
            plus_offered: self.server.mechanisms().has(Mechanism::ScramSha256Plus),
        }
    }

    /// Takes the exchange's next step.
    fn go_on(&mut self, mut ongoing: Box<Ongoing>, step: sasl::Step) -> Flow {
        match step {
            sasl::Step::Challenge(challenge) => {
                self.more().ongoing = Some(ongoing);
                self.server.challenge(&challenge);
                ON
            }
            sasl::Step::Check(credentials) => {
                self.fill_in(&mut ongoing.credentials, credentials);
                self.judge_login(ongoing)
            }
            sasl::Step::Keys { login, kind } => {
                ongoing.credentials.login = login.into();
                ongoing.credentials.kind = if kind == KeyKind::CramMd5 { "secret" } else { "keys" };
                self.judge_login(ongoing)
            }
            sasl::Step::Accepted(identity) => self.accept_login(&ongoing, &identity),
            sasl::Step::Refused(failure) => self.refuse_login(&ongoing, failure),
        }
    }

    fn fill_in(&self, credentials: &mut Credentials, given: sasl::Credentials) {
        let (kind, identity, secret) = match given {
            sasl::Credentials::Password { identity, password } => ("password", identity, password.as_bytes().to_vec()),
            sasl::Credentials::Token { identity, token } => ("token", identity, token.as_bytes().to_vec()),
            sasl::Credentials::External { identity } => ("external", identity, Vec::new()),
        };
        credentials.kind = kind;
        credentials.login = identity.login.into();
        credentials.authzid = identity.authzid.into();
        credentials.secret = secret;
        if kind == "external" {
            let certificate = self.secured().and_then(|secured| secured.certificate.as_deref());
            credentials.certificate = certificate.unwrap_or_default().to_vec();
        }
    }

    /// From memory, or by a question.
    fn judge_login(&mut self, ongoing: Box<Ongoing>) -> Flow {
        let now = self.intake.clock.now();
        let settings = &self.policy.table.logins;
        if self.intake.logins.is_locked(self.peer.ip(), &ongoing.credentials.login, settings, now) {
            return self.refuse_login(&ongoing, Failure::Credentials);
        }
        if let Some(known) = self.intake.logins.recall(&ongoing.credentials, now) {
            return self.judged(ongoing, known);
        }
        self.more().ongoing = Some(ongoing);
        first(Step::AskAuth)
    }

    /// Asks the identity's source.
    pub(super) async fn ask_auth(&mut self) -> Step {
        let hook = self.policy.table.hooks.auth.clone();
        let (Some(ongoing), Some(hook)) = (self.more().ongoing.take(), hook) else {
            self.say(&LATER);
            return Step::Resume;
        };
        let Some(known) = self.source_says(&hook, &ongoing.credentials).await else {
            self.say(&LATER);
            return Step::Resume;
        };
        let (settings, now) = (&self.policy.table.logins, self.intake.clock.now());
        self.intake.logins.remember(&ongoing.credentials, known.clone(), settings, now);
        self.judged(ongoing, known).break_value().unwrap_or(Step::Resume)
    }

    /// `None`: it cannot say.
    async fn source_says(&mut self, hook: &Hook, credentials: &Credentials) -> Option<Known> {
        let mut question = self.question(AskPhase::Auth, None);
        question.credentials = Some(Box::new(credentials.clone()));
        let verdict = self.put(hook, question).await;
        let identity = match verdict.decision {
            Decision::Defer => return None,
            Decision::Reject => return Some(Known::Bad),
            _ => verdict.identity.unwrap_or_default(),
        };
        let login = Arc::new(Login::new(&identity, &credentials.login).ok()?);
        let Identity { keys, cram_secret, .. } = identity;
        match credentials.kind {
            "keys" => Some(keys.map_or(Known::Bad, |keys| Known::Keys(login, Keys::Scram(Box::new(keys))))),
            "secret" => {
                Some(cram_secret.map_or(Known::Bad, |secret| Known::Keys(login, Keys::Cram(secret.into_vec().into()))))
            }
            _ => Some(Known::Good(login)),
        }
    }

    fn judged(&mut self, mut ongoing: Box<Ongoing>, known: Known) -> Flow {
        let step = match (known, ongoing.credentials.kind) {
            (Known::Good(login), _) => {
                ongoing.login = Some(login);
                ongoing.exchange.verdict(true)
            }
            (Known::Keys(login, keys), _) => {
                ongoing.login = Some(login);
                ongoing.exchange.keys(stored(keys))
            }
            (Known::Bad, "keys") => {
                let fake = self.intake.logins.fake_keys(&ongoing.credentials.login);
                ongoing.exchange.keys(stored(Keys::Scram(Box::new(fake))))
            }
            (Known::Bad, "secret") => {
                let fake = self.intake.logins.fake_keys(&ongoing.credentials.login).stored_key.into_vec();
                ongoing.exchange.keys(stored(Keys::Cram(fake.into())))
            }
            (Known::Bad, _) => ongoing.exchange.verdict(false),
        };
        self.go_on(ongoing, step)
    }

    fn accept_login(&mut self, ongoing: &Ongoing, identity: &sasl::Identity) -> Flow {
        // Passwords, tokens and certificates were judged together with whom they act as; keys were not.
        let acts_as_other = !identity.authzid.is_empty() && identity.authzid != identity.login;
        let judged_here = matches!(ongoing.credentials.kind, "keys" | "secret");
        let login = match &ongoing.login {
            Some(login) if !(judged_here && acts_as_other) => login.clone(),
            _ => return self.refuse_login(ongoing, Failure::Credentials),
        };
        let (settings, now) = (&self.policy.table.logins, self.intake.clock.now());
        self.intake.logins.succeeded(self.peer.ip(), &ongoing.credentials.login, settings, now);
        self.intake.counters.logins.one_more();
        self.more().login = Some(login.clone());
        if let Err(reply) = self.has_room_with_login() {
            self.hang_up(&reply);
            return first(Step::Close);
        }
        self.say(&GOOD);
        self.offer_now();
        ON
    }

    fn refuse_login(&mut self, ongoing: &Ongoing, failure: Failure) -> Flow {
        let (settings, now) = (self.policy.table.logins.clone(), self.intake.clock.now());
        self.intake.counters.logins_failed.one_more();
        debug_assert_eq!(ongoing.mechanism.name(), ongoing.credentials.mechanism);
        let pause = match failure {
            Failure::Malformed => 0,
            _ => self.intake.logins.failed(self.peer.ip(), &ongoing.credentials.login, &settings, now),
        };
        let over = self.happened(Measure::FailedLogins, 1).err();
        self.say(&failure.reply());
        if self.server.count_error() {
            self.hang_up(over.as_ref().unwrap_or(&TOO_MANY_ERRORS));
        }
        self.more().pause = pause;
        first(Step::Pause)
    }
}

fn stored(keys: Keys) -> StoredKeys {
    match keys {
        Keys::Cram(secret) => StoredKeys::Cram { secret: Secret::new(secret) },
        Keys::Scram(keys) => {
            let ScramKeys { salt, iterations, stored_key, server_key } = *keys;
            StoredKeys::Scram {
                salt: salt.into_vec().into(),
                iterations,
                stored_key: Secret::new(stored_key.into_vec()),
                server_key: Secret::new(server_key.into_vec()),
            }
        }
    }
}
