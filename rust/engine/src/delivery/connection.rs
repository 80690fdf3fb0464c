//! One connection to one peer: the stages from the greeting to QUIT, one small function each.
//!
//! `greet → hello → (secure: a place) → for each envelope: begin → envelope → body → dot → settle`. With PIPELINING
//! the envelope goes out in one write, and behind a final dot the next envelope in the same one (RFC 2920): one
//! round trip a message. Whatever happens, every entry that was begun is settled or given back before this returns.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use angarium_ledger::{LaneRun, Lease, Protocol};
use angarium_nouns::envelope::BodyType;
use angarium_nouns::outcome::{Judgement, Phase, Reason, Scope, judge};
use angarium_nouns::reply::Reply;
use angarium_smtp::{Client, ClientError, Command, Extensions, MailParameters, RcptParameters};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::content::{self, Load};
use super::desk::Desk;
use super::envelope::{Envelope, group};
use super::limits;
use super::refusals::{self, Refusal};
use super::render::Rendered;
use super::settings::DeliverySettings;
use super::settle::{self, Spoken};
use super::transaction::{Final, Line, Step, Transaction, host_failure, rules};
use super::wire::{Break, Wire};

/// Why a host is done with, for the lane's sleep and the reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub judgement: Judgement,
    pub reply: Option<Reply>,
}

impl Failure {
    pub fn broken(cause: &Break) -> Self {
        Self { judgement: host_failure(cause.reason(), rules::BROKEN), reply: None }
    }
}

/// How a transaction with this peer is held.
struct Manner {
    last: Final,
    /// 8BITMIME may be declared.
    eight_bit: bool,
    /// RSET goes first.
    reset: bool,
}

/// An envelope on its way.
struct Outgoing {
    envelope: Envelope,
    transaction: Transaction,
    rendered: Rendered,
    /// As declared to this peer.
    body: BodyType,
    /// RSET was put in front of it and is not answered yet.
    reset: bool,
    /// That RSET, if any, is in the output.
    spoken: bool,
    /// A command could not be written: everything is decided, and the connection is of no more use.
    spoilt: bool,
    /// Where in the stream its final dot ends.
    dot_ends: u64,
}

/// Why the dialogue cannot go on.
enum Stop {
    Broken(Break),
    /// A reply that speaks of the host or more.
    Host(Judgement, Reply),
    /// All is decided on the envelope, but the connection is of no more use.
    Spoilt,
    /// An order stopped an entry before the dot; it goes back, and the others with it.
    Recalled,
}

impl From<Break> for Stop {
    fn from(cause: Break) -> Self {
        Self::Broken(cause)
    }
}

/// What a connection belongs to and how far it may go.
pub struct Errand {
    pub desk: Arc<Desk>,
    pub run: LaneRun,
    pub address: SocketAddr,
    /// `name[address]:port`.
    pub host: String,
    /// No other host is left: what fails here counts as an attempt of the envelope that it struck, since an
    /// envelope that breaks every host would else come first again after each sleep of the lane.
    pub last_host: bool,
}

pub struct Connection<S: AsyncRead + AsyncWrite + Unpin> {
    errand: Errand,
    settings: Arc<DeliverySettings>,
    wire: Wire<S>,
    /// Messages begun on this connection, and in this run of the lane.
    begun: u32,
    begun_in_run: u32,
    /// Something was decided by this peer on this connection.
    useful: bool,
    /// The dialogue is over; QUIT would find nobody.
    spent: bool,
    /// Recipients that this peer takes in one transaction: as it said in EHLO, or as it was learned.
    room: u32,
    /// Transactions that this peer takes on one connection.
    mails: u32,
    /// The peer still holds a transaction that RSET must end before the next MAIL.
    reset_due: bool,
    loading: Option<Arc<Lease>>,
    waiting: VecDeque<Envelope>,
    current: Option<Outgoing>,
    following: Option<Outgoing>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(errand: Errand, stream: S) -> Self {
        let settings = errand.desk.settings.load_full();
        Self {
            errand,
            settings,
            wire: Wire::new(stream, Client::new()),
            begun: 0,
            begun_in_run: 0,
            useful: false,
            spent: false,
            room: u32::MAX,
            mails: u32::MAX,
            reset_due: false,
            loading: None,
            waiting: VecDeque::new(),
            current: None,
            following: None,
        }
    }

    /// Stage *greet* and stage *hello*.
    pub async fn open(&mut self) -> Result<(), Failure> {
        let greeting = self.wire.reply(self.settings.patience(Phase::Greeting)).await;
        expect_positive(Phase::Greeting, greeting)?;
        let hello =
            if self.errand.run.plan.hello.is_empty() { &self.settings.hello } else { &self.errand.run.plan.hello };
        let hello = hello.clone();
        let answer = self.ask(Command::Ehlo(&hello)).await;
        // RFC 5321 3.2: an old server does not know EHLO.
        let answer = match answer {
            Ok(reply) if matches!(reply.code, 500 | 502) => self.ask(Command::Helo(&hello)).await,
            other => other,
        };
        expect_positive(Phase::Hello, answer)?;
        self.room = limits::recipients(self.wire.client.capabilities()).unwrap_or(u32::MAX);
        self.mails = limits::transactions(self.wire.client.capabilities()).unwrap_or(u32::MAX);
        self.secure()
    }

    /// Stage *secure*: the place of STARTTLS. Until it is filled, a lane that demands TLS gets no mail in the clear.
    fn secure(&self) -> Result<(), Failure> {
        if self.errand.run.key.tls == 0 {
            return Ok(());
        }
        Err(Failure { judgement: host_failure(Reason::Tls, rules::NO_TLS), reply: None })
    }

    /// Envelope by envelope, until there is no work or no use in going on.
    pub async fn work(&mut self) -> Result<(), Failure> {
        loop {
            if self.current.is_none() {
                self.current = self.begin_next().await;
            }
            if self.current.is_none() {
                return Ok(());
            }
            let under_way = UnderWay::new(&self.errand.desk);
            let flow = self.transact().await;
            drop(under_way);
            self.finish_current(&flow);
            if let Err(stop) = flow {
                return self.stop(stop);
            }
            self.current = self.following.take();
        }
    }

    /// Takes over the lane's next run after a rest. False: the connection does not suit it.
    pub fn resume(&mut self, run: LaneRun) -> bool {
        let suits = Arc::ptr_eq(&run.plan, &self.errand.run.plan)
            || (run.plan.hosts == self.errand.run.plan.hosts && run.plan.source == self.errand.run.plan.source);
        self.errand.run = run;
        self.begun_in_run = 0;
        // What breaks after a rest is the peer's patience, not its health.
        self.useful = true;
        suits && self.may_begin()
    }

    /// Waits until the peer ends the idle connection.
    pub async fn disturbed(&mut self) {
        self.wire.disturbed().await;
    }

    pub fn settings(&self) -> &DeliverySettings {
        &self.settings
    }

    /// Whether another message may be begun on this connection.
    pub fn may_begin(&self) -> bool {
        let plan = self.errand.run.plan.messages_per_connection;
        let limit = if plan == 0 { self.settings.messages_per_connection } else { plan };
        self.begun < limit.min(self.mails) && !self.errand.desk.is_stopping()
    }

    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Stage *quit*: a courtesy, on which nothing depends (RFC 5321 4.1.1.10).
    pub async fn quit(mut self) {
        if self.spent || self.wire.client.send(Command::Quit).is_err() {
            return;
        }
        let patience = Duration::from_millis(self.settings.quit_ms);
        if self.wire.flush(patience).await.is_ok() {
            let _ = self.wire.reply(patience).await;
        }
    }

    async fn ask(&mut self, command: Command<'_>) -> Result<Reply, Break> {
        self.wire.client.send(command).map_err(Break::Garbage)?;
        self.wire.flush(self.settings.patience(Phase::Hello)).await?;
        self.wire.reply(self.settings.patience(Phase::Hello)).await
    }

    // --- begin: lease, load, group, render, check, speak ---

    /// The next envelope with its commands in the output. What the peer cannot take is failed on the way.
    async fn begin_next(&mut self) -> Option<Outgoing> {
        while self.fetch().await {
            let inspected = self.inspect().await;
            let envelope = self.waiting.pop_front()?;
            match inspected {
                Err((judgement, reply)) => {
                    let mut outgoing = Outgoing::new(envelope, Rendered::default(), &self.manner(false));
                    outgoing.transaction.decide_rest(judgement, Some(&reply));
                    self.settle(outgoing);
                }
                Ok(rendered) => {
                    self.begun += 1;
                    self.begun_in_run += 1;
                    let reset = std::mem::take(&mut self.reset_due);
                    let mut outgoing = Outgoing::new(envelope, rendered, &self.manner(reset));
                    outgoing.speak(&mut self.wire.client);
                    return Some(outgoing);
                }
            }
        }
        None
    }

    /// Stages *load* and *group*: sees to it that an envelope waits. False: nothing more for this connection.
    async fn fetch(&mut self) -> bool {
        while self.waiting.is_empty() {
            let probed = self.errand.run.probe && self.begun_in_run > 0;
            if probed || !self.may_begin() {
                return false;
            }
            let since = Instant::now();
            let (desk, plan) = (&self.errand.desk, &self.errand.run.plan);
            let limit = self.settings.recipients.min(plan.recipients_per_transaction).min(self.room).max(1);
            let Some(lease) = desk.ledger.take(self.errand.run.lane, desk.now(), limit) else { return false };
            let lease = &*self.loading.insert(Arc::new(lease));
            if content::is_cold(lease, desk.now()) {
                // The answer to a dot that waits in the output shall not wait for our disk.
                let _ = self.wire.flush(Duration::from_millis(self.settings.block_ms)).await;
            }
            // Behind a dot that is not sent yet nobody waits for memory: the message before holds some.
            let loaded = content::load(desk, lease, self.current.is_none()).await;
            if let Load::Ready(content) = &loaded {
                self.waiting.extend(group(lease, content, limit as usize, since));
            }
            self.loading = None;
            if matches!(loaded, Load::NoRoom) {
                return false;
            }
        }
        true
    }

    /// Stage *render*, and what the peer could not take of it.
    async fn inspect(&mut self) -> Result<Rendered, Refusal> {
        let Some(envelope) = self.waiting.front() else { return Err(refusals::damaged()) };
        let desk = &self.errand.desk;
        if envelope.damaged {
            return Err(refusals::damaged());
        }
        let Some(rendered) = content::render(desk, envelope).await else {
            return Err(refusals::damaged());
        };
        match refusals::find(desk, self.wire.client.capabilities(), envelope, &rendered).await {
            Some(refusal) => Err(refusal),
            None => Ok(rendered),
        }
    }

    fn manner(&self, reset: bool) -> Manner {
        let last = if self.errand.run.key.kind == Protocol::Lmtp { Final::EachAccepted } else { Final::One };
        Manner { last, eight_bit: self.wire.client.capabilities().has(Extensions::EIGHT_BIT_MIME), reset }
    }

    fn settle(&self, outgoing: Outgoing) {
        let verdicts: Vec<_> = outgoing.transaction.verdicts().collect();
        let Errand { desk, run, host, .. } = &self.errand;
        let peer = Spoken { host, tls: "" };
        settle::envelope(desk, run.lane, peer, &outgoing.envelope, &verdicts);
    }
}

impl Outgoing {
    fn new(envelope: Envelope, rendered: Rendered, manner: &Manner) -> Self {
        let transaction = Transaction::new(envelope.recipients.len(), manner.last);
        let declared = envelope.content.head.body_type;
        let body = if manner.eight_bit { declared } else { BodyType::SevenBit };
        let reset = manner.reset;
        Self { envelope, transaction, rendered, body, reset, spoken: !reset, spoilt: false, dot_ends: 0 }
    }

    /// Whether the final dot was handed to the kernel.
    fn dot_left(&self, sent: u64) -> bool {
        self.dot_ends > 0 && sent >= self.dot_ends
    }

    /// Writes as many commands as may be sent now: all of them with PIPELINING, else one.
    fn speak(&mut self, client: &mut Client) {
        if !std::mem::replace(&mut self.spoken, true) && client.send(Command::Rset).is_err() {
            self.spoilt = true;
        }
        while !self.spoilt && client.may_send() {
            let Some(line) = self.transaction.next_line() else { return };
            if client.send(self.command(line)).is_err() {
                let (judgement, reply) = refusals::bad_path();
                self.transaction.decide_rest(judgement, Some(&reply));
                self.spoilt = true;
            }
        }
    }

    fn command(&self, line: Line) -> Command<'_> {
        match line {
            Line::Rcpt(at) => Command::Rcpt(&self.envelope.recipients[at].recipient.address, RcptParameters::default()),
            Line::Data => Command::Data,
            Line::Mail => {
                let parameters = MailParameters {
                    size: Some(content::size(&self.envelope.content, &self.rendered)),
                    body: self.body,
                    smtputf8: refusals::needs_utf8(&self.envelope),
                    ..MailParameters::default()
                };
                Command::Mail(&self.envelope.sender, parameters)
            }
        }
    }
}

// --- the stages of one transaction ---
impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn transact(&mut self) -> Result<(), Stop> {
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

    /// The content, dots stuffed, up to the final dot, which stays in the output for [`Self::dot_stage`]'s write.
    async fn body_stage(&mut self) -> Result<(), Stop> {
        let Some(outgoing) = &mut self.current else { return Err(Stop::Spoilt) };
        let desk = &self.errand.desk;
        if outgoing.envelope.recipients.iter().any(|to| desk.ledger.is_stopped(to.leased.entry)) {
            // Cancelled or held meanwhile: behind 354 only closing the connection keeps the message back.
            return Err(Stop::Recalled);
        }
        if outgoing.transaction.has_accepted() {
            let Outgoing { envelope, rendered, .. } = &*outgoing;
            let patience = Duration::from_millis(self.settings.block_ms);
            let sent = content::send(&mut self.wire, &envelope.content, rendered, &self.errand.desk, patience).await;
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
        self.wire.client.end_body().map_err(Break::Garbage)?;
        outgoing.dot_ends = self.wire.position();
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

    /// Puts the next envelope behind the dot, when the peer takes pipelined commands.
    async fn follow(&mut self) {
        if self.wire.client.capabilities().has(Extensions::PIPELINING) {
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
                _ => return Ok(()),
            }
        }
    }
}

// --- ends ---
impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Settles the current envelope when all of it is decided.
    fn finish_current(&mut self, flow: &Result<(), Stop>) {
        if matches!(flow, Ok(()) | Err(Stop::Spoilt)) {
            self.note_progress();
            if let Some(outgoing) = self.current.take() {
                self.settle(outgoing);
            }
        }
    }

    /// The peer decided on something: it lives, and a lane that was probed wakes up.
    fn note_progress(&mut self) {
        let Errand { desk, run, address, .. } = &self.errand;
        if !std::mem::replace(&mut self.useful, true) {
            desk.health.worked(*address);
        }
        if let Some(taken) = self.current.as_ref().and_then(|outgoing| outgoing.transaction.room()) {
            self.room = self.room.min(taken);
        }
        if run.probe {
            desk.ledger.awake(Scope::Lane, run.lane, "", desk.now());
        }
    }

    /// The dialogue is over. Everything begun gets its verdict; the host is at fault when nothing ever got through.
    fn stop(&mut self, stop: Stop) -> Result<(), Failure> {
        self.spent = true;
        let failure = match stop {
            Stop::Spoilt | Stop::Recalled | Stop::Broken(Break::Local) => None,
            Stop::Broken(cause) => Some(Failure::broken(&cause)),
            Stop::Host(judgement, reply) => Some(Failure { judgement, reply: Some(reply) }),
        };
        let blamed = failure.filter(|_| !self.useful);
        if let (Some(failure), Some(outgoing), true) = (&blamed, &mut self.current, self.errand.last_host)
            && !outgoing.dot_left(self.wire.sent())
        {
            let judgement = Judgement { scope: Scope::Transaction, ..failure.judgement };
            outgoing.transaction.decide_rest(judgement, failure.reply.as_ref());
        }
        self.release();
        blamed.map_or(Ok(()), Err)
    }

    /// Gives every entry that this connection holds its verdict, or back.
    fn release(&mut self) {
        let sent = self.wire.sent();
        for mut outgoing in [self.current.take(), self.following.take()].into_iter().flatten() {
            outgoing.transaction.broken(outgoing.dot_left(sent));
            self.settle(outgoing);
        }
        let desk = &self.errand.desk;
        for envelope in self.waiting.drain(..) {
            let entries: Vec<_> = envelope.recipients.iter().map(|addressee| addressee.leased).collect();
            settle::give_back(desk, &envelope.lease, &entries);
        }
        if let Some(lease) = self.loading.take() {
            settle::give_back(desk, &lease, &lease.entries);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Connection<S> {
    /// Cut off at a stop, or by a panic: nothing may stay leased.
    fn drop(&mut self) {
        self.release();
    }
}

/// Counts a transaction while it is carried out.
struct UnderWay(Arc<Desk>);

impl UnderWay {
    fn new(desk: &Arc<Desk>) -> Self {
        desk.counters.deliveries.fetch_add(1, Relaxed);
        Self(Arc::clone(desk))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.counters.deliveries.fetch_sub(1, Relaxed);
    }
}

/// A positive answer, or the host's failure.
fn expect_positive(phase: Phase, answer: Result<Reply, Break>) -> Result<(), Failure> {
    match answer {
        Ok(reply) if reply.is_positive() => Ok(()),
        Ok(reply) => Err(Failure { judgement: judge(phase, &reply), reply: Some(reply) }),
        Err(cause) => Err(Failure::broken(&cause)),
    }
}
