//! What we refuse in the peer's place, before a transaction is begun that it could not take.
//!
//! A table of needs: size against SIZE, 8BITMIME, SMTPUTF8. Conversion (a later room) will answer some of them.

use std::sync::Arc;

use angarium_nouns::envelope::BodyType;
use angarium_nouns::outcome::{Judgement, Outcome, Reason};
use angarium_nouns::reply::Reply;
use angarium_smtp::{Capabilities, Extensions};

use super::content;
use super::desk::Desk;
use super::envelope::Envelope;
use super::render::Rendered;
use super::transaction::{rules, verdict};

/// A judgement of our own with the words that a bounce will show.
pub type Refusal = (Judgement, Reply);

/// RFC 1870 6.1.
fn too_large() -> Refusal {
    let reply = Reply::new(552, (5, 3, 4), "The message is larger than the receiving host takes");
    (verdict(Outcome::Failed, Reason::TooLarge, rules::TOO_LARGE), reply)
}

/// RFC 6152 3: without conversion the message cannot go there.
fn eight_bit() -> Refusal {
    let reply = Reply::new(554, (5, 6, 3), "The message needs 8BITMIME, which the receiving host does not offer");
    (verdict(Outcome::Failed, Reason::Conversion, rules::EIGHT_BIT), reply)
}

/// RFC 6531 3.5.
fn utf8() -> Refusal {
    let reply = Reply::new(553, (5, 6, 7), "The message needs SMTPUTF8, which the receiving host does not offer");
    (verdict(Outcome::Failed, Reason::Conversion, rules::UTF8), reply)
}

/// RFC 5321 2.3.8: only CRLF ends a line.
pub fn unsendable() -> Refusal {
    let reply = Reply::new(554, (5, 6, 0), "The content holds a bare CR, a bare LF or a NUL");
    (verdict(Outcome::Failed, Reason::Content, rules::CONTENT), reply)
}

/// An address that would break the line of its command.
pub fn bad_path() -> Refusal {
    let reply = Reply::new(553, (5, 1, 3), "An address of the envelope cannot be written in a command");
    (verdict(Outcome::Failed, Reason::Sender, rules::CONTENT), reply)
}

/// The recipient is not in the record: the record is not what was promised.
pub fn damaged() -> Refusal {
    let reply = Reply::new(554, (5, 3, 0), "The record of the message is damaged");
    (verdict(Outcome::Failed, Reason::Lost, rules::CONTENT), reply)
}

/// What the peer, with these capabilities, could not take of the envelope.
pub async fn find(desk: &Desk, peer: &Capabilities, envelope: &Envelope, rendered: &Rendered) -> Option<Refusal> {
    let head = &envelope.content.head;
    if peer.size.is_some_and(|limit| content::size(&envelope.content, rendered) > limit) {
        return Some(too_large());
    }
    if needs_utf8(envelope) && !peer.has(Extensions::SMTPUTF8) {
        return Some(utf8());
    }
    if head.body_type == BodyType::SevenBit || peer.has(Extensions::EIGHT_BIT_MIME) {
        return None;
    }
    // Clients declare 8BITMIME wherever it is offered; what counts is what the message holds.
    let eighth = content::has_eighth_bit(desk, &Arc::clone(&envelope.content)).await.unwrap_or(true);
    eighth.then(eight_bit)
}

/// SMTPUTF8 was asked for, or an address of the envelope needs it.
pub fn needs_utf8(envelope: &Envelope) -> bool {
    envelope.content.head.smtputf8
        || !envelope.sender.is_ascii()
        || envelope.recipients.iter().any(|addressee| !addressee.recipient.address.is_ascii())
}
