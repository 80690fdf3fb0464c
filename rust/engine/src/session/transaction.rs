//! One transaction of a session: from MAIL to the message that goes through the stages of `accept`.

use std::sync::Arc;

use angarium_ledger::{Body, Ledger};
use angarium_message::trace::Protocol;
use angarium_nouns::envelope::{BodyType, Class};
use angarium_nouns::record::{EntryState, Recipient, SessionFacts};
use angarium_nouns::{Address, MessageId, Millis, Reason, Reply};
use angarium_smtp::MailCommand;

use super::Session;
use super::body::Arriving;
use super::budget::Charge;
use crate::accept::{Guest, Message, StampWords, received_field, stamp_bytes};
use crate::policy::compiled::{Compiled, TagQuestion};
use crate::tables::{Decision, Verdict};

/// A transaction without a body at its dot: a bug would have to make one.
const UNKEPT: Reply = Reply::new(451, (4, 3, 0), "Local error in processing, try again later");

/// What is known of a message before its end.
pub(crate) struct Transaction {
    /// The policy that it began with.
    pub policy: Arc<Compiled>,
    pub id: MessageId,
    pub mail: MailCommand,
    pub guests: Vec<Guest>,
    /// The recipient that a hook is asked about.
    pub asked: Option<Address>,
    pub body: Option<Arriving>,
    /// The content in a file, when it has one: set by the spill behind the dot.
    pub finished: Option<(Body, Charge)>,
    /// What the dot is answered with when the file could not be ended.
    pub refusal: Option<Reply>,
    pub body_type: BodyType,
    /// Octets of the trace in front of the content.
    pub front: usize,
    /// The beginning went through *stamp* already, on its way to the file.
    pub stamped: bool,
    /// When the content began.
    pub data_since: Millis,
    /// The same in microseconds, for the figures.
    pub begun: u64,
    pub tenant: String,
    pub campaign: String,
    pub route_tag: Option<String>,
    pub class: Class,
    pub tls_demand: u8,
    /// Date and Message-ID are added when missing.
    pub complete: bool,
    /// A hook at MAIL said hold: until then.
    pub held: Option<Millis>,
    pub discarded: bool,
}

impl Transaction {
    /// The next thing must have come by then: a block, and the whole (RFC 5321 4.5.3.2.5 seen from the server).
    pub fn deadline(&self, now: Millis) -> Millis {
        let timeouts = &self.policy.table.timeouts;
        (now + timeouts.data_block).min(self.data_since + timeouts.data_total)
    }

    /// The content drips: below the least rate since it began, a first grace aside.
    pub fn is_too_slow(&self, now: Millis) -> bool {
        let timeouts = &self.policy.table.timeouts;
        let spent = now.saturating_sub(self.data_since);
        let octets = self.body.as_ref().map_or(u64::MAX, Arriving::len);
        spent > timeouts.data_block && octets.saturating_mul(1_000) < u64::from(timeouts.data_rate) * spent
    }

    /// A recipient that may be: with its tag and its first state.
    pub fn admit(&mut self, address: Address, listener: &str, trusted: bool, verdict: Option<&Verdict>) {
        let own_tag = verdict.and_then(|verdict| verdict.tag.clone()).or_else(|| self.route_tag.clone());
        let question =
            TagQuestion { sender: self.mail.path.as_ref(), recipient: &address, listener, tenant: &self.tenant };
        let route_tag = own_tag.unwrap_or_else(|| self.policy.route_tag(question).to_owned());
        let held = verdict.filter(|verdict| verdict.decision == Decision::Hold).map(|verdict| verdict.until);
        let held = held.or(self.held);
        let record = Recipient {
            address: address.as_str().to_owned(),
            tenant: verdict.and_then(|verdict| verdict.tenant.clone()).unwrap_or_default(),
            route_tag,
            may_report: trusted,
            state: if held.is_some() { EntryState::Held } else { EntryState::Waiting },
            due: held.unwrap_or(0),
            reason: if held.is_some() { Reason::Policy } else { Reason::default() },
            ..Recipient::default()
        };
        self.guests.push(Guest { address, record });
    }

    /// Begins the content: our Received field stands in front of it from the first octet on.
    pub fn begin_content(&mut self, charge: Charge, facts: &SessionFacts, now: Millis, micros: u64) {
        let only = match &self.guests[..] {
            [guest] => Some(guest.address.as_str()),
            _ => None,
        };
        let field = received_field(facts, &self.policy.table.hostname, self.id, only, now, self.mail.smtputf8);
        self.front = field.len();
        self.data_since = now;
        self.begun = micros;
        let inline = u64::from(self.policy.table.limits.inline_body);
        self.body = Some(Arriving::new(charge, inline, self.mail.size.unwrap_or(0), &field));
    }

    /// Writes what is in memory to the body's file; behind the dot ends the file. Blocks: for the pool.
    pub fn spill(&mut self, ledger: &Ledger, at_the_dot: bool, now: Millis) -> Result<(), Reply> {
        let Some(mut body) = self.body.take() else { return Ok(()) };
        if !self.stamped {
            // The beginning leaves the memory: what *stamp* looks at is looked at now.
            let words = StampWords { policy: &self.policy, id: self.id, complete: self.complete, now };
            stamp_bytes(body.memory(), &mut self.front, &words)?;
            self.stamped = true;
        }
        let id = self.id;
        body.spill(|| ledger.new_body(id)).map_err(|error| error.reply())?;
        if at_the_dot {
            self.finished = Some(body.finish().map_err(|error| error.reply())?);
        } else {
            self.body = Some(body);
        }
        Ok(())
    }

    /// The message, complete, or the reply that it must get.
    pub fn into_message(mut self: Box<Self>, session: &Session) -> Result<Box<Message>, Reply> {
        let inline = self.body.take().map(Arriving::into_inline);
        let Some((body, charge)) = self.finished.take().or(inline) else {
            return Err(self.refusal.take().unwrap_or(UNKEPT));
        };
        let facts = session.facts(&self);
        Ok(Box::new(Message {
            id: self.id,
            listener: session.listener,
            session: facts,
            peer: Some(session.peer),
            sender: self.mail.path,
            recipients: self.guests,
            body_type: self.body_type,
            smtputf8: self.mail.smtputf8,
            tenant: self.tenant,
            campaign: self.campaign,
            class: self.class,
            tls_demand: self.tls_demand,
            front: self.front,
            charge: Some(charge),
            complete: self.complete,
            stamped: self.stamped,
            discarded: self.discarded,
            begun: self.begun,
            ..Message::new(self.policy, body)
        }))
    }
}

impl Session {
    /// A transaction for this MAIL, under the policy of now.
    pub(super) fn open_transaction(&self, mail: MailCommand) -> Transaction {
        let policy = self.intake.policy.load_full();
        let now = self.intake.clock.now();
        let listener = &self.face(&policy).listener;
        let (tenant, class, tls_demand) = (listener.tenant.clone(), listener.class, listener.tls_demand);
        let complete = listener.completes();
        Transaction {
            id: self.intake.ledger.ids().reserve(now),
            body_type: mail.body,
            mail,
            guests: Vec::new(),
            asked: None,
            body: None,
            finished: None,
            refusal: None,
            front: 0,
            stamped: false,
            data_since: now,
            begun: 0,
            tenant,
            campaign: String::new(),
            route_tag: None,
            class: Class::try_from(class).unwrap_or_default(),
            tls_demand,
            complete,
            held: None,
            discarded: false,
            policy,
        }
    }

    /// What the record and the Received field say of this session.
    pub(super) fn facts(&self, transaction: &Transaction) -> SessionFacts {
        let protocol =
            Protocol { extended: self.server.is_extended(), utf8: transaction.mail.smtputf8, ..Protocol::default() };
        SessionFacts {
            session: self.number,
            listener: self.listener,
            peer: self.peer.to_string(),
            hello: self.hello.to_string(),
            protocol: protocol.word().to_owned(),
            login: String::new(),
            tls: String::new(),
            trusted: self.trusted,
        }
    }
}
