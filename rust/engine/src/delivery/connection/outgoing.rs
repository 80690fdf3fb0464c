//! An envelope on its way to one peer: what is declared of it there, and its commands in order.

use angarium_nouns::Millis;
use angarium_nouns::envelope::{BodyType, Class};
use angarium_nouns::record::ContentHead;
use angarium_smtp::{ByMode, Capabilities, Client, Command, DeliverBy, Extensions, MailParameters, RcptParameters};

use super::super::content;
use super::super::envelope::Envelope;
use super::super::fit::{self, Fitted};
use super::super::refusals;
use super::super::transaction::{Carried, Final, Line, Transaction};

/// Content of this size goes in one chunk where the peer takes chunks: nothing has to be looked through for dots.
const LARGE: u64 = 1024 * 1024;

/// How a transaction with this peer is held.
pub struct Manner {
    pub last: Final,
    /// RSET goes first.
    pub reset: bool,
    pub now: Millis,
}

/// RFC 2852 4: nine digits.
const MOST_SECONDS: i64 = 999_999_999;

/// Parameters of MAIL that this peer understands.
#[derive(Debug, Clone, Copy, Default)]
struct Declared {
    body: BodyType,
    smtputf8: bool,
    by: Option<DeliverBy>,
    priority: Option<i8>,
    require_tls: bool,
}

pub struct Outgoing {
    pub envelope: Envelope,
    pub transaction: Transaction,
    pub fitted: Fitted,
    declared: Declared,
    /// RSET was put in front of it and is not answered yet.
    pub reset: bool,
    /// That RSET, if any, is in the output.
    spoken: bool,
    /// A command could not be written: everything is decided, and the connection is of no more use.
    pub spoilt: bool,
    /// Where in the stream its content ends.
    pub ends: u64,
}

impl Outgoing {
    pub fn new(envelope: Envelope, fitted: Fitted, peer: &Capabilities, manner: &Manner) -> Self {
        let declared = Declared::of(&envelope.content.head, &fitted, peer, manner.now);
        let size = content::size(&envelope.content, &fitted.rendered);
        let chunked = peer.has(Extensions::CHUNKING) && (size >= LARGE || declared.body == BodyType::BinaryMime);
        let carried = if chunked { Carried::InAChunk } else { Carried::BehindData };
        let transaction = Transaction::new(envelope.recipients.len(), manner.last, carried);
        let reset = manner.reset;
        Self { envelope, transaction, fitted, declared, reset, spoken: !reset, spoilt: false, ends: 0 }
    }

    /// Octets of the content, dots not doubled.
    pub fn size(&self) -> u64 {
        content::size(&self.envelope.content, &self.fitted.rendered)
    }

    /// Whether the end of the content was handed to the kernel.
    pub fn has_left(&self, sent: u64) -> bool {
        self.ends > 0 && sent >= self.ends
    }

    /// Writes as many commands as may be sent now: all of them with PIPELINING, else one.
    pub fn speak(&mut self, client: &mut Client) {
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
            Line::Mail => Command::Mail(&self.envelope.sender, self.mail_parameters()),
            Line::Rcpt(at) => {
                let recipient = &self.envelope.recipients[at].recipient;
                // RFC 3461 5.2.1: as they came.
                let orcpt = Some(recipient.original.as_str()).filter(|original| original.contains(';'));
                Command::Rcpt(&recipient.address, RcptParameters { notify: recipient.notify, orcpt })
            }
            Line::Data => Command::Data,
        }
    }

    fn mail_parameters(&self) -> MailParameters<'_> {
        let (head, declared) = (&self.envelope.content.head, self.declared);
        MailParameters {
            size: Some(self.size()),
            body: declared.body,
            smtputf8: declared.smtputf8,
            ret: head.ret,
            envid: Some(head.envid.as_str()).filter(|envid| !envid.is_empty()),
            by: declared.by,
            priority: declared.priority,
            require_tls: declared.require_tls,
            ..MailParameters::default()
        }
    }
}

impl Declared {
    fn of(head: &ContentHead, fitted: &Fitted, peer: &Capabilities, now: Millis) -> Self {
        let priority = head.priority.or(priority(head.class)).filter(|_| peer.has(Extensions::MT_PRIORITY));
        let require_tls = fit::requires_tls(head) && peer.has(Extensions::REQUIRETLS);
        let by = deliver_by(head, now, peer).filter(|_| peer.has(Extensions::DELIVERBY));
        Self { body: fitted.body, smtputf8: fitted.utf8, by, priority, require_tls }
    }
}

/// RFC 2852 4.1.2: what is left of the time. To be returned by a time below the peer's minimum is not asked for; a
/// notice may be overdue already, then the number is negative.
fn deliver_by(head: &ContentHead, now: Millis, peer: &Capabilities) -> Option<DeliverBy> {
    let (by, mode) = match (head.deadline, head.notify_by) {
        (Some(by), _) => (by, ByMode::Return),
        (None, by) => (by?, ByMode::Notify),
    };
    let left = (i64::try_from(by).unwrap_or(i64::MAX) - i64::try_from(now).unwrap_or(0)) / 1_000;
    let seconds = i32::try_from(left.clamp(-MOST_SECONDS, MOST_SECONDS)).unwrap_or(0);
    let least = i32::try_from(peer.deliver_by_minimum.unwrap_or(1).max(1)).unwrap_or(i32::MAX);
    (mode == ByMode::Notify || seconds >= least).then_some(DeliverBy { seconds, mode, trace: head.by_trace })
}

/// RFC 6710 2: the classes as priorities, the usual one unsaid.
fn priority(class: Class) -> Option<i8> {
    match class {
        Class::Urgent => Some(6),
        Class::High => Some(3),
        Class::Normal => None,
        Class::Bulk => Some(-3),
    }
}
