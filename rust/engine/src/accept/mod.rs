//! The one door in: every message goes through these stages, from whatever side it came.
//!
//! stamp → expand → authenticate → filter → sign → commit. A stage takes the message and gives it back, or the reply
//! that ends it. Sessions come here behind the final dot, submissions with their bytes; both get an [`Answer`].
//! Nothing is acknowledged here that is not durable (S1). What makes a stage fail is its reply.

mod authenticate;
mod commit;
mod consequences;
mod filter;
mod origin;
mod sign;
mod stamp;
mod submit;

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

use angarium_ledger::{Body, BodyFile};
use angarium_nouns::envelope::{BodyType, Class, DsnReturn};
use angarium_nouns::record::{Recipient, SessionFacts, Variant};
use angarium_nouns::{Address, EnhancedCode, MessageId, Millis, Reply, ReversePath, Verdicts};
use serde_bytes::ByteBuf;

use crate::delivery::render;
use crate::intake::Intake;
use crate::logins::Login;
use crate::policy::compiled::Compiled;
use crate::session::budget::Charge;

pub use sign::{Chain, sign_copy, sign_report};
pub use stamp::{StampWords, received_field, stamp_bytes};
pub use submit::submit;

/// Whoever signs the whole of a message has it broken by a conversion (RFC 6376 5.3, RFC 8617 4.1.2).
pub const SIGNATURES: [&str; 2] = ["DKIM-Signature", "ARC-Message-Signature"];

/// A message between its envelope's first word and its answer.
pub struct Message {
    pub policy: Arc<Compiled>,
    pub id: MessageId,
    pub listener: u16,
    pub session: SessionFacts,
    /// `None`: it did not come over a socket.
    pub peer: Option<SocketAddr>,
    pub sender: ReversePath,
    /// As RCPT or a submission named them, in order.
    pub recipients: Vec<Guest>,
    pub body_type: BodyType,
    pub smtputf8: bool,
    pub ret: DsnReturn,
    pub envid: String,
    pub tenant: String,
    pub stream: String,
    pub campaign: String,
    pub class: Class,
    pub tls_demand: u8,
    pub deadline: Option<Millis>,
    pub notify_by: Option<Millis>,
    pub by_trace: bool,
    /// MT-PRIORITY as it came.
    pub priority: Option<i8>,
    pub idempotency: Option<ByteBuf>,
    pub variants: Vec<Variant>,
    /// Octets that we put in front of the content as received.
    pub front: usize,
    pub body: Body,
    /// The bytes in memory that it answers for; `None` when they are somebody else's.
    pub charge: Option<Charge>,
    /// Date and Message-ID are added when missing.
    pub complete: bool,
    /// *Stamp* was done while the beginning was in memory.
    pub stamped: bool,
    /// A hook has said already that nobody gets it.
    pub discarded: bool,
    /// A reply for each recipient is wanted (LMTP, PRDR).
    pub each: bool,
    /// Those that were refused alone, by the number of their RCPT.
    pub refused: Vec<(u32, Reply)>,
    /// The login whose addresses From and Sender are held to.
    pub held_to: Option<Arc<Login>>,
    /// What was found out about who sent it; `None`: it was not judged.
    pub verdicts: Option<Box<Verdicts>>,
    /// Its ARC chain, where somebody may seal it.
    pub chain: Option<Box<Chain>>,
    /// Since when it is on its way, microseconds of the clock.
    pub begun: u64,
}

/// A recipient with its parsed address.
pub struct Guest {
    pub address: Address,
    pub record: Recipient,
    /// Which of the accepted RCPTs it was.
    pub number: u32,
}

/// How accepting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// Durable.
    Accepted(MessageId),
    /// The same with a reply for each recipient: those refused, by number.
    Each(MessageId, Vec<(u32, Reply)>),
    /// A hook said so; kept nowhere.
    Discarded(MessageId),
    Refused(Reply),
    /// Nobody takes it, each recipient for a reason of its own.
    Refusals(Vec<(u32, Reply)>),
    /// The peer was gone before the commit (S8): nobody waits for a word.
    Gone,
}

/// From the last octet to the answer.
pub async fn accept(intake: &Intake, message: Box<Message>, peer: RawFd) -> Answer {
    let begun = message.begun;
    let file = message.body_file();
    let answer = match stages(intake, message, peer).await {
        Ok(answer) => answer,
        Err(reply) => Answer::Refused(reply),
    };
    if let Some(file) = file.filter(|_| leaves_nothing(&answer)) {
        intake.drop_body(Body::File(file));
    }
    intake.counters.accept_time.record(intake.clock.micros().saturating_sub(begun));
    count(intake, &answer);
    answer
}

async fn stages(intake: &Intake, message: Box<Message>, peer: RawFd) -> Result<Answer, Reply> {
    let message = stamp::stamp(intake, message)?;
    // expand: aliases and lists take their place here.
    let message = if authenticate::is_wanted(&message) {
        Box::pin(authenticate::authenticate(intake, message)).await?
    } else {
        message
    };
    let message = if message.policy.table.hooks.message.is_some() {
        Box::pin(filter::filter(intake, message)).await?
    } else {
        message
    };
    if message.recipients.is_empty() && !message.refused.is_empty() {
        return Ok(Answer::Refusals(message.refused));
    }
    if message.discarded || message.recipients.is_empty() {
        return Ok(Answer::Discarded(message.id));
    }
    let message =
        if sign::is_wanted(intake, &message) { Box::pin(sign::sign(intake, message)).await? } else { message };
    commit::commit(intake, message, peer).await
}

/// No record names the body. After a fault one may, found by the next recovery: then the file must be there (S6).
fn leaves_nothing(answer: &Answer) -> bool {
    match answer {
        Answer::Accepted(_) | Answer::Each(..) => false,
        Answer::Discarded(_) | Answer::Refusals(_) | Answer::Gone => true,
        Answer::Refused(reply) => reply.enhanced != Some(EnhancedCode(4, 3, 0)),
    }
}

fn count(intake: &Intake, answer: &Answer) {
    let counters = &intake.counters;
    match answer {
        Answer::Accepted(_) | Answer::Each(..) => counters.received.one_more(),
        Answer::Discarded(_) => counters.discarded.one_more(),
        Answer::Refused(reply) if reply.is_permanent() => counters.refused.one_more(),
        Answer::Refused(_) | Answer::Refusals(_) => counters.refused_for_now.one_more(),
        Answer::Gone => {}
    }
}

impl Message {
    /// Everything empty but what must be there.
    pub fn new(policy: Arc<Compiled>, body: Body) -> Self {
        Self {
            policy,
            id: MessageId::default(),
            listener: 0,
            session: SessionFacts::default(),
            peer: None,
            sender: None,
            recipients: Vec::new(),
            body_type: BodyType::default(),
            smtputf8: false,
            ret: DsnReturn::default(),
            envid: String::new(),
            tenant: String::new(),
            stream: String::new(),
            campaign: String::new(),
            class: Class::default(),
            tls_demand: 0,
            deadline: None,
            notify_by: None,
            by_trace: false,
            priority: None,
            idempotency: None,
            variants: Vec::new(),
            front: 0,
            body,
            charge: None,
            complete: false,
            stamped: false,
            discarded: false,
            each: false,
            refused: Vec::new(),
            held_to: None,
            verdicts: None,
            chain: None,
            begun: 0,
        }
    }

    pub fn sender_text(&self) -> &str {
        self.sender.as_ref().map_or("", Address::as_str)
    }

    /// Puts fields on top of all that stand in front. A body in a file stays as it is: its fields come in front of it
    /// whenever it is rendered.
    pub fn put_on_top(&mut self, fields: &[u8]) {
        match &mut self.body {
            Body::Inline(bytes) => drop(bytes.splice(0..0, fields.iter().copied())),
            Body::Parts(parts) => parts.insert(0, fields.to_vec()),
            Body::File(_) => return self.edit(&[(render::ADD, ByteBuf::from(fields))]),
        }
        self.front += fields.len();
    }

    /// Header edits in front of those that there are, in every variant.
    pub fn edit(&mut self, edits: &[(u8, ByteBuf)]) {
        if self.variants.is_empty() {
            self.variants.push(Variant::default());
        }
        for variant in &mut self.variants {
            variant.edits.splice(0..0, edits.iter().cloned());
        }
    }

    fn body_file(&self) -> Option<BodyFile> {
        match &self.body {
            Body::File(file) => Some(file.clone()),
            Body::Inline(_) | Body::Parts(_) => None,
        }
    }

    /// Octets of the content as received.
    pub fn size(&self) -> u64 {
        let whole = match &self.body {
            Body::Inline(bytes) => bytes.len() as u64,
            Body::Parts(parts) => parts.iter().map(|part| part.len() as u64).sum(),
            Body::File(file) => file.length,
        };
        whole - self.front as u64
    }
}
