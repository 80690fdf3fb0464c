//! Makes a rendered message fit for one peer: as it is, converted to 7 bits, or not at all.
//!
//! The needs of a message against what the peer offers: SIZE, SMTPUTF8 (asked for only when something really needs
//! it), REQUIRETLS, 8BITMIME and BINARYMIME. Conversion is `message::convert`'s; signed content is converted never:
//! the plan says whether it goes as it is or fails. A conversion happens in memory, within the deliveries' budget.

use angarium_ledger::{ContentBody, SignedEightBit};
use angarium_message::{Header, convert};
use angarium_nouns::envelope::BodyType;
use angarium_nouns::record::{ContentHead, REQUIRE_TLS};
use angarium_smtp::{Capabilities, Extensions};
use tokio::sync::OwnedSemaphorePermit;

use super::content;
use super::desk::Desk;
use super::envelope::Envelope;
use super::refusals::{self, Refusal};
use super::render::Rendered;
use crate::accept::SIGNATURES;

/// Larger messages are not converted: a conversion holds the message twice in memory, and who sends this much binary
/// content to a host without 8BITMIME has other ways.
const MAX_CONVERTED: u64 = 32 * 1024 * 1024;

/// A message as this peer gets it.
#[derive(Default)]
pub struct Fitted {
    pub rendered: Rendered,
    pub body: BodyType,
    /// SMTPUTF8 is declared.
    pub utf8: bool,
    /// A conversion's share of the memory.
    _memory: Option<OwnedSemaphorePermit>,
}

/// Whether the message may go only to hosts that promise TLS for the rest of its way.
pub fn requires_tls(head: &ContentHead) -> bool {
    head.tls_demand >= REQUIRE_TLS
}

/// What the peer gets of the envelope, or why nothing.
pub async fn fit(
    desk: &Desk,
    peer: &Capabilities,
    signed: SignedEightBit,
    envelope: &Envelope,
    rendered: Rendered,
) -> Result<Fitted, Refusal> {
    let head = &envelope.content.head;
    if peer.size.is_some_and(|limit| content::size(&envelope.content, &rendered) > limit) {
        return Err(refusals::too_large());
    }
    let utf8 = needs_utf8(desk, envelope, &rendered).await;
    if utf8 && !peer.has(Extensions::SMTPUTF8) {
        return Err(refusals::utf8());
    }
    if requires_tls(head) && !peer.has(Extensions::REQUIRETLS) {
        return Err(refusals::no_require_tls());
    }
    match declarable(head.body_type, peer) {
        Some(body) => Ok(Fitted { rendered, body, utf8, _memory: None }),
        None => seven_bit(desk, peer, signed, envelope, rendered, utf8).await,
    }
}

/// The body type that the content has and the peer takes.
fn declarable(body: BodyType, peer: &Capabilities) -> Option<BodyType> {
    let binary = peer.has(Extensions::BINARYMIME) && peer.has(Extensions::CHUNKING);
    match body {
        BodyType::SevenBit => Some(body),
        BodyType::EightBitMime => peer.has(Extensions::EIGHT_BIT_MIME).then_some(body),
        BodyType::BinaryMime => binary.then_some(body),
    }
}

/// RFC 6531 3.2: an address of the envelope, or the message itself, holds UTF-8 where ASCII must stand.
async fn needs_utf8(desk: &Desk, envelope: &Envelope, rendered: &Rendered) -> bool {
    let ascii = |text: &str| text.is_ascii();
    if !ascii(&envelope.sender) || !envelope.recipients.iter().all(|to| ascii(&to.recipient.address)) {
        return true;
    }
    if !envelope.content.head.smtputf8 {
        return false;
    }
    let ContentBody::Inline(body) = &envelope.content.body else {
        return content::has_eighth_bit(desk, &envelope.content).await.unwrap_or(true);
    };
    let rest = body.get(rendered.from as usize..).unwrap_or_default();
    if rendered.front.is_ascii() && rest.is_ascii() {
        return false;
    }
    // Headers of parts may need it too; only what has no parts is looked at closely.
    let whole = [&rendered.front, rest].concat();
    let header = Header::scan(&whole);
    !header.bytes().is_ascii() || header.has("Content-Type")
}

/// The peer takes 7 bits only (or no binary): what the message holds counts, not what was declared.
async fn seven_bit(
    desk: &Desk,
    peer: &Capabilities,
    signed: SignedEightBit,
    envelope: &Envelope,
    rendered: Rendered,
    utf8: bool,
) -> Result<Fitted, Refusal> {
    let binary = envelope.content.head.body_type == BodyType::BinaryMime;
    if !binary && !content::has_eighth_bit(desk, &envelope.content).await.unwrap_or(true) {
        return Ok(Fitted { rendered, body: BodyType::SevenBit, utf8, _memory: None });
    }
    // A copy that was made for its recipient is whole already, perhaps in 7 bits.
    if rendered.from == envelope.content.head.body.length && convert::is_seven_bit(&rendered.front) {
        return Ok(Fitted { rendered, body: BodyType::SevenBit, utf8, _memory: None });
    }
    let size = content::size(&envelope.content, &rendered);
    if size > MAX_CONVERTED {
        return Err(refusals::eight_bit("it is too large for that"));
    }
    let memory = desk.reserve(2 * size as u32, true).await.flatten();
    let whole = content::whole(desk, &envelope.content, &rendered).await.ok_or_else(refusals::damaged)?;
    let header = Header::scan(&whole);
    let is_signed = SIGNATURES.iter().any(|name| header.has(name));
    let obstacle = if is_signed {
        convert::Obstacle::Signed.to_string()
    } else {
        match convert::seven_bit(&whole) {
            Ok(converted) => {
                let from = envelope.content.head.body.length;
                let rendered = match converted {
                    Some(front) => Rendered { front, from },
                    None => rendered,
                };
                return Ok(Fitted { rendered, body: BodyType::SevenBit, utf8, _memory: memory });
            }
            Err(obstacle) => obstacle.to_string(),
        }
    };
    if signed == SignedEightBit::Send && !binary {
        let body = if peer.has(Extensions::EIGHT_BIT_MIME) { BodyType::EightBitMime } else { BodyType::SevenBit };
        return Ok(Fitted { rendered, body, utf8, _memory: None });
    }
    Err(refusals::eight_bit(&obstacle))
}
