//! A message on its way into the content log, encoded once by the worker that received it.
//!
//! [`Incoming::prepare`] builds the record (head, checksum) and everything the commit needs to index it, so that
//! the committer's thread neither encodes nor decodes and the state lock is held for numbers only.

use std::sync::Arc;

use angarium_nouns::record::{BodyRef, CONTENT_VERSION, ContentHead, EntryState, Recipient, Recipients, Successor};
use angarium_nouns::{Millis, Reason, Verdicts};
use angarium_queue::MAX_NUMBER;
use angarium_spool::BodyFile;

use crate::state::Reports;

/// The body: bytes for the record itself, or a finished file of its own (S7: bodies above 1 MiB).
#[derive(Debug)]
pub enum Body {
    Inline(Vec<u8>),
    /// Parts that follow each other, such as added header fields and the body as received.
    Parts(Vec<Vec<u8>>),
    File(BodyFile),
}

/// Why a message cannot be made into a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    #[error("a message without recipients promises nothing")]
    NoRecipients,
    #[error("a message has 16777216 recipients at most")]
    TooManyRecipients,
    #[error("the record is larger than 4 GiB")]
    TooLarge,
}

/// What the index and the received fact need of a recipient.
#[derive(Debug, Clone)]
pub(crate) struct PreparedRecipient {
    pub domain: Box<str>,
    pub tag: Box<str>,
    pub tenant: Box<str>,
    /// Waiting or held.
    pub state: EntryState,
    pub due: Millis,
    pub reason: Reason,
}

/// What commit and received fact need of a message, in one allocation that outlives the call.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub recipients: Vec<PreparedRecipient>,
    pub addresses: Vec<Box<str>>,
    pub sender: Box<str>,
    pub sender_hash: u32,
    pub peer: Box<str>,
    pub tenant: Box<str>,
    pub campaign: Box<str>,
    /// What its sender was found to be, in one line.
    pub verdicts: Box<str>,
    /// The session that brought it; 0: none did.
    pub session: u64,
    pub size: u64,
    pub successor: Successor,
    pub reports: Reports,
    pub late: LateAsk,
}

/// Who wants to hear that a message is late: somebody after the usual time, somebody at a moment of his own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LateAsk {
    pub delay: bool,
    pub by: Option<Millis>,
}

/// A record ready to be committed. Immutable: what was checked stays true.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) head: ContentHead,
    pub(crate) body: Body,
    /// `u32 LE length`, then the head's MessagePack.
    pub(crate) encoded: Vec<u8>,
    pub(crate) payload_crc: u32,
    pub(crate) prepared: Arc<Prepared>,
}

/// Above this the checksum of the body is combined rather than computed a second time. Combining costs 20 µs whatever
/// the length; so long takes a second pass over 256 KiB.
const COMBINE_ABOVE: usize = 256 * 1024;

impl Incoming {
    /// Fills in version, body reference and recipients of `head`, encodes and sums. Pure; call it on a worker.
    pub fn prepare(mut head: ContentHead, recipients: &[Recipient], body: Body) -> Result<Self, PrepareError> {
        if recipients.is_empty() {
            return Err(PrepareError::NoRecipients);
        }
        if recipients.len() > MAX_NUMBER as usize {
            return Err(PrepareError::TooManyRecipients);
        }
        head.version = CONTENT_VERSION;
        head.recipients = Recipients::build(recipients);
        head.body = body.reference();
        let mut encoded = vec![0; 4];
        head.encode_into(&mut encoded);
        let length = u32::try_from(encoded.len() - 4).map_err(|_| PrepareError::TooLarge)?;
        encoded[..4].copy_from_slice(&length.to_le_bytes());
        let payload_crc = body.append_crc(crc32c::crc32c(&encoded), head.body.crc);
        let prepared = Arc::new(Prepared::new(&head, recipients));
        Ok(Self { head, body, encoded, payload_crc, prepared })
    }

    pub fn head(&self) -> &ContentHead {
        &self.head
    }

    /// The body, where it stands in the record in one piece.
    pub fn inline(&self) -> Option<&[u8]> {
        if let Body::Inline(bytes) = &self.body { Some(bytes) } else { None }
    }

    /// The same with more in front of its body.
    #[must_use]
    pub fn fronted(mut self, fields: &[u8]) -> Self {
        let Body::Inline(bytes) = &mut self.body else { return self };
        let Ok(recipients) = self.head.recipients.all() else { return self };
        let body = Body::Inline([fields, bytes].concat());
        Self::prepare(self.head.clone(), &recipients, body).unwrap_or(self)
    }

    /// Bytes that the record takes in the content log, for budgets and the size of groups.
    pub fn record_len(&self) -> usize {
        self.encoded.len() + self.body.parts().map(<[u8]>::len).sum::<usize>()
    }
}

impl Body {
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let (one, many) = match self {
            Self::Inline(bytes) => (Some(bytes.as_slice()), &[][..]),
            Self::Parts(parts) => (None, parts.as_slice()),
            Self::File(_) => (None, &[][..]),
        };
        one.into_iter().chain(many.iter().map(Vec::as_slice))
    }

    fn reference(&self) -> BodyRef {
        if let Self::File(file) = self {
            return BodyRef { length: file.length, crc: file.crc, file: file.name.clone() };
        }
        let length = self.parts().map(|part| part.len() as u64).sum();
        let crc = self.parts().fold(0, crc32c::crc32c_append);
        BodyRef { length, crc, file: String::new() }
    }

    /// The checksum of head and body, given that of the head and that of the body.
    fn append_crc(&self, head: u32, body: u32) -> u32 {
        let length: usize = self.parts().map(<[u8]>::len).sum();
        if length > COMBINE_ABOVE {
            return crc32c::crc32c_combine(head, body, length);
        }
        self.parts().fold(head, crc32c::crc32c_append)
    }
}

impl Prepared {
    pub(crate) fn new(head: &ContentHead, recipients: &[Recipient]) -> Self {
        let reporting = recipients.iter().filter(|recipient| reports(head, recipient)).count();
        Self {
            recipients: recipients.iter().map(|one| PreparedRecipient::new(head, one)).collect(),
            addresses: recipients.iter().map(|one| one.address.as_str().into()).collect(),
            sender: head.sender.as_str().into(),
            sender_hash: sender_hash(&head.sender),
            peer: head.session.peer.as_str().into(),
            tenant: head.tenant.as_str().into(),
            campaign: head.campaign.as_str().into(),
            verdicts: verdicts(head),
            session: head.session.session,
            size: head.body.length,
            successor: head.successor,
            late: LateAsk::of(head, recipients),
            reports: match reporting {
                0 => Reports::None,
                all if all == recipients.len() => Reports::All,
                _ => Reports::Mixed,
            },
        }
    }
}

fn verdicts(head: &ContentHead) -> Box<str> {
    if head.authentication.is_empty() {
        return "".into();
    }
    Verdicts::decode(&head.authentication).map_or_else(Box::default, |verdicts| verdicts.summary().into())
}

/// Whether a failure of this recipient is reported: it may be, NOTIFY wants it, and there is a sender to tell.
pub(crate) fn reports(head: &ContentHead, recipient: &Recipient) -> bool {
    recipient.may_report && recipient.notify.wants_failure() && !report_address(head, recipient).is_empty()
}

/// Whom a report goes to.
pub(crate) fn report_address<'a>(head: &'a ContentHead, recipient: &'a Recipient) -> &'a str {
    recipient.sender.as_deref().unwrap_or(&head.sender)
}

impl PreparedRecipient {
    fn new(head: &ContentHead, recipient: &Recipient) -> Self {
        let tenant = if recipient.tenant.is_empty() { &head.tenant } else { &recipient.tenant };
        Self {
            domain: domain_key(&recipient.address).into(),
            tag: recipient.route_tag.as_str().into(),
            tenant: tenant.as_str().into(),
            state: recipient.state,
            due: recipient.due,
            reason: recipient.reason,
        }
    }
}

/// The key of the domain behind the last `@`: lower case and ASCII as [`angarium_nouns::Host`] writes it.
pub(crate) fn domain_key(address: &str) -> String {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    if domain.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-')) {
        return domain.to_owned();
    }
    angarium_nouns::Host::parse(domain).map_or_else(|_| domain.to_lowercase(), |host| host.key())
}

/// The hash by which senders are searched: CRC32C of the lower-case address.
pub(crate) fn sender_hash(sender: &str) -> u32 {
    crc32c::crc32c(sender.to_lowercase().as_bytes())
}
