//! The stages of one transaction: `envelope → body → follow → dot`.
//!
//! With PIPELINING the envelope goes out in one write, and behind the end of a content the next envelope in the same
//! one. Replies are matched one by one by [`Transaction`](super::super::transaction::Transaction).

use std::time::Duration;

use angarium_nouns::outcome::{Phase, judge};
use angarium_smtp::{ClientError, Command, Extensions};

use super::super::content;
use super::super::refusals;
use super::super::transaction::{Carried, Step};
use super::super::wire::Break;
use super::outgoing::Outgoing;
use super::{Connection, Stop};

impl Connection {
    pub(super) async fn transact(&mut self) -> Result<(), Stop> {
        match self.envelope_stage().await? {
            Step::SendBody | Step::SendLoneDot => {
                self.body_stage().await?;
                self.follow().await;
                self.dot_stage().await
            }
            Step::Abandon { judgement, reply } => Err(Stop::Host(judgement, reply)),
            Step::Done { reset } => {
                self.reset_due = reset;
                Ok(())
            }
            Step::Wait | Step::Leave { .. } => Err(Stop::Spoilt),
        }
    }

    /// MAIL, RCPT and DATA: their commands are in the output (all of them, or the first), here come the answers.
    async fn envelope_stage(&mut self) -> Result<Step, Stop> {
        let Some(outgoing) = &mut self.current else { return Err(Stop::Spoilt) };
        if outgoing.spoilt {
            return Err(Stop::Spoilt);
        }
        loop {
            self.wire.flush(Duration::from_millis(self.settings.block_ms)).await?;
            if outgoing.reset {
                let reply = self.wire.reply(self.settings.patience(Phase::Hello)).await?;
                outgoing.reset = false;
                if !reply.is_positive() {
                    return Err(Stop::Host(judge(Phase::Hello, &reply), reply));
                }
            } else {
                let reply = self.wire.reply(self.settings.patience(outgoing.transaction.phase())).await?;
                match outgoing.transaction.answer(reply) {
                    Step::Wait => {}
                    step => return Ok(step),
                }
            }
            outgoing.speak(&mut self.wire.client);
        }
    }

    /// The content up to its end, which stays in the output for [`Self::dot_stage`]'s write.
    async fn body_stage(&mut self) -> Result<(), Stop> {
        let Some(outgoing) = &mut self.current else { return Err(Stop::Spoilt) };
        let desk = &self.errand.desk;
        if outgoing.envelope.recipients.iter().any(|to| desk.ledger.is_stopped(to.leased.entry)) {
            // Cancelled or held meanwhile: behind 354 only closing the connection keeps the message back.
            return Err(Stop::Recalled);
        }
        let chunked = outgoing.transaction.carried() == Carried::InAChunk;
        if chunked {
            let whole = Command::Bdat { size: outgoing.size(), last: true };
            self.wire.client.send(whole).map_err(Break::Garbage)?;
        }
        if outgoing.transaction.has_accepted() {
            let Outgoing { envelope, fitted, .. } = &*outgoing;
            let patience = Duration::from_millis(self.settings.block_ms);
            let sent =
                content::send(&mut self.wire, &envelope.content, &fitted.rendered, &self.errand.desk, patience).await;
            let sent = match sent {
                Ok(sent) => sent,
                Err(Break::Garbage(ClientError::BareNewline | ClientError::Nul)) => {
                    let (judgement, reply) = refusals::unsendable();
                    outgoing.transaction.decide_rest(judgement, Some(&reply));
                    return Err(Stop::Spoilt);
                }
                Err(cause) => return Err(cause.into()),
            };
            if !sent {
                return self.early_refusal().await;
            }
        }
        let Some(outgoing) = &mut self.current else { return Err(Stop::Spoilt) };
        if !chunked {
            self.wire.client.end_body().map_err(Break::Garbage)?;
        }
        outgoing.ends = self.wire.position();
        outgoing.transaction.dot_sent();
        Ok(())
    }

    /// The peer stopped reading in the middle of the body: it may have said why.
    async fn early_refusal(&mut self) -> Result<(), Stop> {
        let Some(outgoing) = &mut self.current else { return Err(Stop::Spoilt) };
        let reply = self.wire.reply(self.settings.patience(Phase::Dot)).await?;
        match outgoing.transaction.answer(reply) {
            Step::Abandon { judgement, reply } | Step::Leave { judgement, reply } => Err(Stop::Host(judgement, reply)),
            _ => Err(Stop::Spoilt),
        }
    }

    /// Puts the next envelope behind the dot, when the peer takes pipelined commands. Behind a chunk it waits, since
    /// a refused one may have to be reset.
    async fn follow(&mut self) {
        let behind_dot = self.current.as_ref().is_some_and(|one| one.transaction.carried() == Carried::BehindData);
        if behind_dot && self.wire.client.capabilities().has(Extensions::PIPELINING) {
            self.following = self.begin_next().await;
        }
    }

    /// One write for the rest of the body, the dot and what follows; then the answer to the dot.
    async fn dot_stage(&mut self) -> Result<(), Stop> {
        self.wire.flush(Duration::from_millis(self.settings.block_ms)).await?;
        let Some(outgoing) = &mut self.current else { return Err(Stop::Spoilt) };
        loop {
            let reply = self.wire.reply(self.settings.patience(Phase::Dot)).await?;
            match outgoing.transaction.answer(reply) {
                Step::Wait => {}
                Step::Abandon { judgement, reply } | Step::Leave { judgement, reply } => {
                    return Err(Stop::Host(judgement, reply));
                }
                Step::Done { reset } => {
                    self.reset_due = reset;
                    return Ok(());
                }
                Step::SendBody | Step::SendLoneDot => return Err(Stop::Spoilt),
            }
        }
    }
}
