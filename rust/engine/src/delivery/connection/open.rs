//! The stages before the first envelope: `greet → hello → secure → hello again → login`.
//!
//! Whatever fails here is the host's affair: no entry is touched, and the next host has its turn.

use angarium_ledger::Protocol;
use angarium_nouns::outcome::{Judgement, Phase, Reason, judge};
use angarium_nouns::record::REQUIRE_TLS;
use angarium_nouns::reply::Reply;
use angarium_smtp::{ClientError, Command, Extensions};

use super::super::tls::TlsFailure;
use super::super::transaction::host_failure;
use super::super::transaction::rules;
use super::super::wire::Break;
use super::Connection;

/// Why a host is done with, for the lane's sleep and the reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub judgement: Judgement,
    pub reply: Option<Reply>,
    /// A connection in the clear may do better.
    pub of_the_handshake: bool,
}

impl Failure {
    /// What no reply told.
    pub fn of(reason: Reason, rule: u16) -> Self {
        Self { judgement: host_failure(reason, rule), reply: None, of_the_handshake: false }
    }

    pub fn said(judgement: Judgement, reply: Reply) -> Self {
        Self { judgement, reply: Some(reply), of_the_handshake: false }
    }

    pub fn broken(cause: &Break) -> Self {
        match cause {
            Break::Garbage(ClientError::Injected) => TlsFailure::Injected.into(),
            cause => Self::of(cause.reason(), rules::BROKEN),
        }
    }
}

impl From<TlsFailure> for Failure {
    fn from(failure: TlsFailure) -> Self {
        let reply = Some(failure.reply());
        Self { judgement: failure.judgement(), reply, of_the_handshake: failure.is_of_the_handshake() }
    }
}

impl Connection {
    pub async fn open(&mut self) -> Result<(), Failure> {
        if self.errand.security.implicit {
            self.handshake().await?;
        }
        let greeting = self.wire.reply(self.settings.patience(Phase::Greeting)).await;
        expect_positive(Phase::Greeting, greeting)?;
        self.hello().await?;
        self.secure().await?;
        self.promise_tls()?;
        self.login().await?;
        // RFC 9422 4.
        let limits = self.wire.client.capabilities().limits;
        let or_many = |limit| if limit == 0 { u32::MAX } else { limit };
        (self.room, self.mails) = (or_many(limits.recipients), or_many(limits.mails));
        Ok(())
    }

    /// Stage *hello*.
    async fn hello(&mut self) -> Result<(), Failure> {
        let plan = &self.errand.run.plan;
        let name = if plan.hello.is_empty() { self.settings.hello.clone() } else { plan.hello.clone() };
        if self.errand.run.key.kind == Protocol::Lmtp {
            // RFC 2033 4.1: HELO and EHLO are not LMTP.
            let answer = self.ask(Command::Lhlo(&name)).await;
            return expect_positive(Phase::Hello, answer);
        }
        let may_fall_back = plan.hello_fallback;
        let answer = self.ask(Command::Ehlo(&name)).await;
        // RFC 5321 3.2: an old server does not know EHLO, which it says by one of these (RFC 5321 4.1.4).
        let answer = match answer {
            Ok(reply) if may_fall_back && matches!(reply.code, 500..=502 | 504 | 550) => {
                self.ask(Command::Helo(&name)).await
            }
            other => other,
        };
        expect_positive(Phase::Hello, answer)
    }

    /// Stage *secure*: STARTTLS as the plan demands it (RFC 3207 4).
    async fn secure(&mut self) -> Result<(), Failure> {
        let required = self.errand.security.is_required();
        if self.wire.tls().is_some() || (self.errand.security.config.is_none() && !required) {
            return Ok(());
        }
        if !self.wire.client.capabilities().has(Extensions::STARTTLS) {
            return if required { Err(TlsFailure::NotOffered.into()) } else { Ok(()) };
        }
        let reply = self.ask(Command::StartTls).await.map_err(|cause| Failure::broken(&cause))?;
        if !reply.is_positive() {
            return match reply.code {
                421 => Err(Failure::said(judge(Phase::Tls, &reply), reply)),
                _ if required => Err(TlsFailure::Refused(reply.to_string()).into()),
                _ => Ok(()),
            };
        }
        self.handshake().await?;
        // What was offered in the clear counts no more (RFC 3207 4.2).
        self.hello().await
    }

    /// RFC 8689 4.2.1: a host that does not promise TLS for the rest of the way is passed over; the last one gets no mail
    /// either, and says so for each message.
    fn promise_tls(&self) -> Result<(), Failure> {
        let wanted = self.errand.run.key.tls >= REQUIRE_TLS && !self.errand.last_host;
        if wanted && !self.wire.client.capabilities().has(Extensions::REQUIRETLS) {
            return Err(Failure::of(Reason::Tls, rules::REQUIRE_TLS));
        }
        Ok(())
    }

    async fn handshake(&mut self) -> Result<(), Failure> {
        let security = &self.errand.security;
        let Some(config) = security.config.clone() else { return Err(TlsFailure::NotOffered.into()) };
        let patience = self.settings.patience(Phase::Tls);
        self.wire.secure(config, security.name.clone(), patience).await?;
        if let Some(tls) = self.wire.tls() {
            self.tls = security.describe(tls);
        }
        Ok(())
    }

    pub(super) async fn ask(&mut self, command: Command<'_>) -> Result<Reply, Break> {
        self.wire.client.send(command).map_err(Break::Garbage)?;
        self.wire.flush(self.settings.patience(Phase::Hello)).await?;
        self.wire.reply(self.settings.patience(Phase::Hello)).await
    }
}

/// A positive answer, or the host's failure.
fn expect_positive(phase: Phase, answer: Result<Reply, Break>) -> Result<(), Failure> {
    match answer {
        Ok(reply) if reply.is_positive() => Ok(()),
        Ok(reply) => Err(Failure::said(judge(phase, &reply), reply)),
        Err(cause) => Err(Failure::broken(&cause)),
    }
}
