//! What each event of the SMTP server means: the sessions' rules, one function for each event.
//!
//! [`Session::work`] goes through the input until it is used up or something must be waited for; that is its
//! [`Step`]. Refusals come from the policy and are said at once. Nothing here waits.

use std::ops::ControlFlow;
use std::sync::Arc;

use angarium_nouns::envelope::BodyType;
use angarium_nouns::{Millis, Reply};
use angarium_smtp::{ChunkCommand, Event, Extensions, MailCommand, RcptCommand, State};

use super::body::{Room, first_charge};
use super::{Flow, ON, Session, Step, TIMED_OUT, first};
use crate::intake::SHUTTING_DOWN;
use crate::policy::SenderRule;
use crate::policy::compiled::{Compiled, Face};
use crate::traffic::Measure;

const TOO_MANY_MESSAGES: Reply = Reply::new(421, (4, 7, 0), "Enough messages in one session, connect again");
const TOO_MANY_ERRORS: Reply = Reply::new(421, (4, 7, 0), "Too many errors, closing");

const NOT_YOURS: Reply =
    Reply::new(553, (5, 7, 1), "This sender address is not one of your login's; send from one that is");
/// RFC 3207 4.
const NO_TLS_NOW: Reply = Reply::new(454, (4, 7, 0), "TLS not available now, try again later");
const BODY_TASK_DIED: Reply = Reply::new(421, (4, 3, 0), "Local error in processing, try again later");

impl Session {
    /// Works the input off; gives how much of it was used and what is to be done next.
    pub(super) fn work(&mut self, input: &[u8]) -> (usize, Step) {
        let mut used = 0;
        loop {
            let (more, event) = self.server.receive(&input[used..]);
            used += more;
            let flow = match event {
                Event::Body(bytes) => self.body(bytes),
                Event::Need => return (used, self.needs()),
                event => self.event(event),
            };
            if let ControlFlow::Break(step) = flow {
                return (used, step);
            }
        }
    }

    fn event(&mut self, event: Event<'_>) -> Flow {
        match event {
            Event::Hello(hello) => {
                self.abort();
                self.hello = hello.name;
                self.tell_time();
                self.server.accept();
                ON
            }
            Event::Mail(mail) => self.mail(mail),
            Event::Rcpt(rcpt) => self.rcpt(rcpt),
            Event::Data => self.data(),
            Event::End { body, .. } => self.end(body),
            Event::Broken(_) => {
                self.intake.counters.refused.one_more();
                self.abort();
                ON
            }
            Event::Reset => {
                self.abort();
                ON
            }
            Event::Vrfy(asked) => self.verify(&asked),
            Event::Expn(asked) => self.expand(&asked),
            Event::Chunk(chunk) => self.chunk(chunk),
            Event::Auth(command) => self.auth(&command),
            Event::AuthResponse(response) => self.auth_response(&response),
            Event::AuthCancelled => {
                self.more().ongoing = None;
                ON
            }
            Event::StartTls => self.start_tls(),
            Event::Etrn(command) => self.etrn(&command),
            Event::Xclient(given) => self.xclient(&given),
            Event::Xforward(given) => self.xforward(given),
            Event::Early => {
                self.server.greet();
                ON
            }
            Event::Quit | Event::Hangup(_) => first(Step::Close),
            Event::Body(_) | Event::Need => ON,
        }
    }

    /// All input is used up: is the client fast enough?
    fn needs(&mut self) -> Step {
        if self.server.is_closed() {
            return Step::Close;
        }
        if self.server.state() == State::Securing {
            return Step::Secure;
        }
        if self.server.errors() >= self.intake.stress.errors() {
            self.hang_up(&TOO_MANY_ERRORS);
            return Step::Close;
        }
        if self.server.is_in_content() {
            let now = self.intake.clock.now();
            if self.transaction.as_ref().is_some_and(|transaction| transaction.is_too_slow(now)) {
                self.intake.counters.timeouts.one_more();
                self.hang_up(&TIMED_OUT);
                return Step::Close;
            }
        }
        Step::Read
    }

    fn mail(&mut self, mail: MailCommand) -> Flow {
        self.tell_time();
        if let Err(reply) = self.may_begin().and_then(|()| self.may(Measure::Messages, 1)) {
            self.intake.counters.refused_for_now.one_more();
            self.say(&reply);
            return ON;
        }
        if let Err(reply) = self.may(Measure::Bytes, mail.size.unwrap_or(0)) {
            self.say(&reply);
            return ON;
        }
        let rule = self.face(&self.policy).listener.senders();
        if rule != SenderRule::Any && self.login().is_some_and(|login| !login.may_send_as(mail.path.as_ref())) {
            return self.refuse_command(&NOT_YOURS);
        }
        self.abort();
        self.transactions += 1;
        self.entry.mark().set_busy(true);
        self.intake.counters.transactions.one_more();
        let transaction = self.open_transaction(mail);
        let asks = transaction.policy.table.hooks.mail.is_some();
        self.transaction = Some(Box::new(transaction));
        if asks {
            return first(Step::AskMail);
        }
        self.server.accept();
        ON
    }

    /// FUTURERELEASE needs to know what o'clock it is.
    fn tell_time(&mut self) {
        if self.server.offered().has(Extensions::DELIVERBY) {
            self.server.set_now(self.intake.clock.now() / 1_000);
        }
    }

    fn start_tls(&mut self) -> Flow {
        let policy = self.policy.clone();
        if self.intake.tls.serves(self.face(&policy).listener.client_certificates) {
            self.server.accept();
        } else {
            self.say(&NO_TLS_NOW);
        }
        ON
    }

    /// The first chunk of a message begins it as DATA does.
    fn chunk(&mut self, chunk: ChunkCommand) -> Flow {
        if chunk.first {
            return self.data();
        }
        self.server.accept();
        ON
    }

    fn may_begin(&self) -> Result<(), Reply> {
        if self.intake.is_stopping() {
            return Err(SHUTTING_DOWN);
        }
        let most = self.policy.table.limits.transactions_per_session;
        if most > 0 && self.transactions >= most {
            return Err(TOO_MANY_MESSAGES);
        }
        self.intake.takes_mail(self.tenant())
    }

    fn rcpt(&mut self, rcpt: RcptCommand) -> Flow {
        let Some(mut transaction) = self.transaction.take() else {
            self.say(&SHUTTING_DOWN);
            return ON;
        };
        // RFC 5321 4.5.1: a bare postmaster is always ours.
        let allowed =
            if rcpt.bare_postmaster { Ok(()) } else { transaction.policy.recipient(self.is_known(), &rcpt.path) };
        let allowed = allowed.and_then(|()| self.may(Measure::Recipients, 1));
        transaction.set_notice(rcpt.notify, rcpt.orcpt);
        let asks = transaction.policy.table.hooks.rcpt.is_some();
        match allowed {
            Ok(()) if asks => transaction.asked = Some(rcpt.path),
            Ok(()) => {
                let policy = transaction.policy.clone();
                transaction.admit(rcpt.path, &self.face(&policy).listener.name, self.is_known(), None);
            }
            Err(_) => {}
        }
        self.transaction = Some(transaction);
        match allowed {
            Err(reply) => return self.refuse_recipient(&reply),
            Ok(()) if asks => return first(Step::AskRcpt),
            Ok(()) => self.server.accept(),
        }
        ON
    }

    pub(super) fn refuse_recipient(&mut self, reply: &Reply) -> Flow {
        self.intake.counters.recipients_refused.one_more();
        self.refuse_command(reply)
    }

    /// Says it, counts it, and lets the client wait for it.
    fn refuse_command(&mut self, reply: &Reply) -> Flow {
        self.say(reply);
        // A trusted list with dead addresses is no attack.
        if self.trusted || !reply.is_permanent() {
            return ON;
        }
        if let Err(over) = self.happened(Measure::Errors, 1) {
            self.hang_up(&over);
            return first(Step::Close);
        }
        if self.server.count_error() {
            self.hang_up(&TOO_MANY_ERRORS);
            return first(Step::Close);
        }
        match self.pause_for_refusal() {
            0 => ON,
            pause => {
                self.more().pause = pause;
                first(Step::Pause)
            }
        }
    }

    fn data(&mut self) -> Flow {
        match first_charge(&self.intake.budget) {
            Some(charge) => {
                self.begin_content(charge);
                ON
            }
            None => first(Step::Charge),
        }
    }

    pub(super) fn begin_content(&mut self, charge: super::budget::Charge) {
        let Some(mut transaction) = self.transaction.take() else { return };
        let facts = self.facts(&transaction);
        transaction.begin_content(charge, &facts, self.intake.clock.now(), self.intake.clock.micros());
        self.transaction = Some(transaction);
        self.server.accept();
    }

    /// S7, at DATA: waits for the first bytes of the budget, with nothing in hand.
    pub(super) async fn wait_for_room(&mut self) -> Step {
        if !self.server.output().is_empty() && !self.write().await {
            return Step::Close;
        }
        let charge = self.intake.budget.charge(super::body::FIRST_CHARGE).await;
        self.begin_content(charge);
        Step::Resume
    }

    fn body(&mut self, bytes: &[u8]) -> Flow {
        let body = self.transaction.as_mut().and_then(|transaction| transaction.body.as_mut());
        match body.map(|body| body.take(bytes)) {
            Some(Room::Spill) => first(Step::Spill),
            _ => ON,
        }
    }

    fn end(&mut self, body_type: BodyType) -> Flow {
        let Some(transaction) = &mut self.transaction else { return ON };
        transaction.body_type = body_type;
        match &transaction.body {
            // The rest goes to the file before the message goes on.
            Some(body) if !body.is_inline() => first(Step::Spill),
            _ => first(Step::Accept),
        }
    }

    /// The listener's face under this policy; a listener that is gone keeps the one of the connection.
    pub(super) fn face<'a>(&'a self, policy: &'a Arc<Compiled>) -> &'a Arc<Face> {
        policy.face(self.listener).or_else(|| self.policy.face(self.listener)).unwrap_or(&policy.faces[0])
    }

    /// Writes the body to its file on the blocking pool; behind the dot it also ends it.
    pub(super) async fn spill(&mut self) -> Step {
        let Some(mut transaction) = self.transaction.take() else { return Step::Resume };
        let at_the_dot = self.server.awaits().is_some();
        self.entry.mark().set_deadline(Millis::MAX);
        let ledger = self.intake.ledger.clone();
        let now = self.intake.clock.now();
        let done = tokio::task::spawn_blocking(move || {
            let done = transaction.spill(&ledger, at_the_dot, now);
            (transaction, done)
        });
        let Ok((transaction, done)) = done.await else {
            self.hang_up(&BODY_TASK_DIED);
            return Step::Close;
        };
        self.transaction = Some(transaction);
        match done {
            Ok(()) if at_the_dot => Step::Accept,
            Ok(()) => Step::Resume,
            Err(reply) => self.refuse_body(reply, at_the_dot),
        }
    }

    fn refuse_body(&mut self, reply: Reply, at_the_dot: bool) -> Step {
        if at_the_dot {
            if let Some(transaction) = &mut self.transaction {
                transaction.refusal = Some(reply);
            }
            return Step::Accept;
        }
        self.intake.counters.refused_for_now.add(u64::from(reply.is_transient()));
        self.intake.counters.refused.add(u64::from(reply.is_permanent()));
        let reply = self.reworded(&reply);
        self.server.refuse_content(reply);
        self.abort();
        Step::Resume
    }
}
