//! One connection to one peer: the stages from the greeting to QUIT, one small function each.
//!
//! `open` (greet, hello, secure, login), then for each envelope `begin → envelope → body → dot → settle`. With PIPELINING
//! the envelope goes out in one write, and behind a final dot the next envelope in the same one (RFC 2920): one
//! round trip a message. Whatever happens, every entry that was begun is settled or given back before this returns.

mod ends;
mod login;
mod open;
mod outgoing;
mod transact;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use angarium_ledger::{LaneRun, Lease, Protocol};
use angarium_nouns::outcome::Judgement;
use angarium_nouns::reply::Reply;
use angarium_smtp::{Client, Command, Extensions};
use tokio::time::Instant;

use super::content::{self, Load};
use super::desk::Desk;
use super::envelope::{Envelope, group};
use super::fit::{self, Fitted};
use super::hosts::Place;
use super::refusals::{self, Refusal};
use super::settings::DeliverySettings;
use super::settle::{self, Spoken};
use super::stream::Stream;
use super::tls::Security;
use super::transaction::Final;
use super::wire::{Break, Wire};
use ends::UnderWay;
pub use open::Failure;
use outgoing::{Manner, Outgoing};

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
    pub place: Place,
    /// `name[address]:port`.
    pub host: String,
    pub security: Security,
    /// No other host is left: what fails here counts as an attempt of the envelope that it struck, since an
    /// envelope that breaks every host would else come first again after each sleep of the lane.
    pub last_host: bool,
}

impl Errand {
    /// Name and port of the host, as OAUTHBEARER says them (RFC 7628 3.1).
    fn host_name(&self) -> &str {
        self.host.split('[').next().unwrap_or_default()
    }

    fn port(&self) -> u16 {
        if let Place::Tcp(address) = &self.place { address.port() } else { 0 }
    }
}

pub struct Connection {
    errand: Errand,
    settings: Arc<DeliverySettings>,
    wire: Wire,
    /// TLS in words; empty without it.
    tls: String,
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

impl Connection {
    pub fn new(errand: Errand, stream: Stream) -> Self {
        let settings = errand.desk.settings.load_full();
        Self {
            errand,
            settings,
            wire: Wire::new(stream, Client::new()),
            tls: String::new(),
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
        let (new, old) = (&run.plan, &self.errand.run.plan);
        let suits = Arc::ptr_eq(new, old) || new.connects_like(old);
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

    // --- begin: lease, load, group, render, check, speak ---

    /// The next envelope with its commands in the output. What the peer cannot take is failed on the way.
    async fn begin_next(&mut self) -> Option<Outgoing> {
        while self.fetch().await {
            let inspected = self.inspect().await;
            let envelope = self.waiting.pop_front()?;
            match inspected {
                Err((judgement, reply)) => {
                    let mut outgoing = self.outgoing(envelope, Fitted::default(), false);
                    outgoing.transaction.decide_rest(judgement, Some(&reply));
                    self.settle(outgoing);
                }
                Ok(fitted) => {
                    self.begun += 1;
                    self.begun_in_run += 1;
                    let reset = std::mem::take(&mut self.reset_due);
                    let mut outgoing = self.outgoing(envelope, fitted, reset);
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

    /// Stages *render* and *fit*.
    async fn inspect(&mut self) -> Result<Fitted, Refusal> {
        let Some(envelope) = self.waiting.front() else { return Err(refusals::damaged()) };
        let desk = &self.errand.desk;
        if envelope.damaged {
            return Err(refusals::damaged());
        }
        let Some(rendered) = content::render(desk, envelope).await else {
            return Err(refusals::damaged());
        };
        let signed = self.errand.run.plan.signed_eight_bit;
        fit::fit(desk, self.wire.client.capabilities(), signed, envelope, rendered).await
    }

    fn outgoing(&self, envelope: Envelope, fitted: Fitted, reset: bool) -> Outgoing {
        let last = if self.errand.run.key.kind == Protocol::Lmtp { Final::EachAccepted } else { Final::One };
        let manner = Manner { last, reset, now: self.errand.desk.now() };
        Outgoing::new(envelope, fitted, self.wire.client.capabilities(), &manner)
    }

    fn settle(&self, outgoing: Outgoing) {
        let verdicts: Vec<_> = outgoing.transaction.verdicts().collect();
        let Errand { desk, run, host, .. } = &self.errand;
        let reports = self.wire.client.capabilities().has(Extensions::DSN);
        let peer = Spoken { host, tls: &self.tls, reports };
        settle::envelope(desk, run.lane, peer, &outgoing.envelope, &verdicts);
    }
}
