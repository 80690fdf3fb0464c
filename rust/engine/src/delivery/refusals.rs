//! What we refuse in the peer's place, before a transaction is begun that it could not take: the words and verdicts.

use angarium_nouns::outcome::{Judgement, Outcome, Reason};
use angarium_nouns::reply::Reply;

use super::transaction::{rules, verdict};

/// A judgement of our own with the words that a bounce will show.
pub type Refusal = (Judgement, Reply);

/// RFC 1870 6.1.
pub fn too_large() -> Refusal {
    let reply = Reply::new(552, (5, 3, 4), "The message is larger than the receiving host takes");
    (verdict(Outcome::Failed, Reason::TooLarge, rules::TOO_LARGE), reply)
}

/// RFC 6152 3: it needs 8 bits (or binary: RFC 3030 3), and `why` says what keeps us from converting it.
pub fn eight_bit(why: &str) -> Refusal {
    let text = format!("The receiving host takes 7-bit content only, and the message cannot be converted: {why}");
    let reply = Reply::new(554, (5, 6, 3), "").with_text(text);
    (verdict(Outcome::Failed, Reason::Conversion, rules::EIGHT_BIT), reply)
}

/// RFC 6531 3.5.
pub fn utf8() -> Refusal {
    let reply = Reply::new(553, (5, 6, 7), "The message needs SMTPUTF8, which the receiving host does not offer");
    (verdict(Outcome::Failed, Reason::Conversion, rules::UTF8), reply)
}

/// RFC 8689 4.2.1.
pub fn no_require_tls() -> Refusal {
    let reply = Reply::new(550, (5, 7, 30), "The message asks for REQUIRETLS, which the receiving host does not offer");
    (verdict(Outcome::Failed, Reason::Tls, rules::REQUIRE_TLS), reply)
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
