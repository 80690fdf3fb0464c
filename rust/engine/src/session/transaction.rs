//! One transaction of a session: from MAIL to the message that goes through the stages of `accept`.

use std::sync::Arc;

use angarium_ledger::{Body, Ledger};
use angarium_message::trace::Protocol;
use angarium_nouns::envelope::{BodyType, Class, DsnNotify};
use angarium_nouns::record::{EntryState, REQUIRE_TLS, Recipient, SessionFacts};
use angarium_nouns::{Address, MessageId, Millis, Reason, Reply};
use angarium_smtp::{ByMode, Hold, MailCommand};

use super::Session;
use super::body::Arriving;
use super::budget::Charge;
use crate::accept::{Guest, Message, StampWords, received_field, stamp_bytes};
use crate::logins::Login;
use crate::policy::SenderRule;
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
    /// A reply for each recipient is wanted.
    pub each: bool,
    /// The login whose addresses From and Sender are held to.
    pub held_to: Option<Arc<Login>>,
    /// NOTIFY and ORCPT of the recipient at hand.
    notice: (DsnNotify, Option<Box<str>>),
    /// RCPTs so far that were judged well.
    numbered: u32,
    /// Not before; 0: at once.
    release_at: Millis,
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

    /// What RCPT asked for beside its address (RFC 3461 4.1, 4.2).
    pub fn set_notice(&mut self, notify: DsnNotify, original: Option<Box<str>>) {
        self.notice = (notify, original);
    }

    /// By when the sender wants it delivered, or else returned (R) or a notice (N) (RFC 2852 4).
    fn asked_by(&self, mode: ByMode) -> Option<Millis> {
        let by = self.mail.by.filter(|by| by.mode == mode)?;
        Some(self.data_since.saturating_add_signed(i64::from(by.seconds) * 1_000))
    }

    /// Not before (RFC 4865 4).
    fn release(&self, now: Millis) -> Millis {
        match self.mail.hold {
            Some(Hold::For(seconds)) => now + u64::from(seconds) * 1_000,
            Some(Hold::Until(second)) => second * 1_000,
            None => 0,
        }
    }

    /// A recipient that may be: with its tag and its first state.
    pub fn admit(&mut self, address: Address, listener: &str, trusted: bool, verdict: Option<&Verdict>) {
        let own_tag = verdict.and_then(|verdict| verdict.tag.clone()).or_else(|| self.route_tag.clone());
        let question =
            TagQuestion { sender: self.mail.path.as_ref(), recipient: &address, listener, tenant: &self.tenant };
        let route_tag = own_tag.unwrap_or_else(|| self.policy.route_tag(question).to_owned());
        let held = verdict.filter(|verdict| verdict.decision == Decision::Hold).map(|verdict| verdict.until);
        let held = held.or(self.held);
        let (notify, original) = std::mem::take(&mut self.notice);
        let record = Recipient {
            address: address.as_str().to_owned(),
            notify,
            original: original.map_or_else(String::new, String::from),
            tenant: verdict.and_then(|verdict| verdict.tenant.clone()).unwrap_or_default(),
            route_tag,
            may_report: trusted,
            state: if held.is_some() { EntryState::Held } else { EntryState::Waiting },
            due: held.unwrap_or(self.release_at),
            reason: if held.is_some() { Reason::Policy } else { Reason::default() },
            ..Recipient::default()
        };
        self.guests.push(Guest { address, record, number: self.numbered });
        self.numbered += 1;
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
            let held_to = self.held_to.as_deref();
            let words = StampWords { policy: &self.policy, id: self.id, complete: self.complete, now, held_to };
            let seen = stamp_bytes(body.memory(), &mut self.front, &words)?;
            self.tls_demand = seen.tls_demand(self.tls_demand);
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
        let mut facts = session.facts(&self);
        session.forward(&mut facts);
        Ok(Box::new(Message {
            id: self.id,
            listener: session.listener,
            session: facts,
            ret: self.mail.ret,
            envid: self.mail.envid.take().map_or_else(String::new, String::from),
            deadline: self.asked_by(ByMode::Return),
            notify_by: self.asked_by(ByMode::Notify),
            by_trace: self.mail.by.is_some_and(|by| by.trace),
            priority: self.mail.priority,
            each: self.each,
            held_to: self.held_to,
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
        let tenant = self.tenant().to_owned();
        let login = self.login();
        let class = login.and_then(|login| login.class).or(Class::try_from(listener.class).ok()).unwrap_or_default();
        let class = mail.priority.map_or(class, |priority| self.class_of(priority, class));
        // RFC 8689 4.1: a verified certificate and REQUIRETLS at every hop.
        let tls_demand = if mail.require_tls { REQUIRE_TLS } else { listener.tls_demand };
        let complete = listener.completes();
        let mail_each = mail.prdr || self.server.settings().lmtp;
        let mut transaction = Transaction {
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
            campaign: login.map_or_else(String::new, |login| login.campaign.to_string()),
            route_tag: None,
            class,
            tls_demand,
            complete,
            held: None,
            discarded: false,
            each: mail_each,
            held_to: login.filter(|_| listener.senders() == SenderRule::Header).cloned(),
            notice: (DsnNotify::default(), None),
            numbered: 0,
            release_at: 0,
            policy,
        };
        transaction.release_at = transaction.release(now);
        transaction
    }

    /// RFC 6710 4: priorities above the usual are for clients whom we know.
    fn class_of(&self, priority: i8, usual: Class) -> Class {
        let known = self.is_known();
        match priority {
            4.. if known => Class::Urgent,
            1.. if known => Class::High,
            0.. => usual,
            _ => Class::Bulk,
        }
    }

    /// What XFORWARD said goes to the record, not into the Received field: the peer has written its own.
    fn forward(&self, facts: &mut SessionFacts) {
        let Some(forwarded) = self.more.as_ref().and_then(|more| more.forwarded.as_ref()) else { return };
        if let Some(ip) = forwarded.addr.value() {
            let port = forwarded.port.value().copied().unwrap_or(0);
            facts.peer = std::net::SocketAddr::new(*ip, port).to_string();
        }
        if let Some(hello) = forwarded.helo.value() {
            facts.hello = hello.to_string();
        }
    }

    /// What the record and the Received field say of this session.
    pub(super) fn facts(&self, transaction: &Transaction) -> SessionFacts {
        let protocol = Protocol {
            lmtp: self.server.settings().lmtp,
            extended: self.server.is_extended(),
            utf8: transaction.mail.smtputf8,
            tls: !self.tls_words().is_empty(),
            login: self.login().is_some(),
        };
        SessionFacts {
            session: self.number,
            listener: self.listener,
            peer: self.peer.to_string(),
            hello: self.hello.to_string(),
            protocol: protocol.word().to_owned(),
            login: self.login().map_or_else(String::new, |login| login.name.to_string()),
            tls: self.tls_words().to_owned(),
            trusted: self.is_known(),
        }
    }
}
