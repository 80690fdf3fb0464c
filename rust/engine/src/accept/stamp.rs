//! The stage *stamp*: loops are refused, our trace is on the message, what a submission lacks is added.
//!
//! The Received field is written before the body arrives ([`received_field`] at DATA), so it costs no copy; only the
//! fields that a submission lacks are put in front afterwards.

use angarium_ledger::Body;
use angarium_message::{Header, trace};
use angarium_nouns::record::{REQUIRE_TLS, SessionFacts};
use angarium_nouns::{MessageId, Millis, Reply};

use super::{Message, origin};
use crate::intake::Intake;
use crate::logins::Login;
use crate::policy::Limits;
use crate::policy::compiled::Compiled;

/// RFC 5321 6.3.
const LOOP: Reply = Reply::new(554, (5, 4, 6), "Too many Received fields: this looks like a loop");
const HEADER_TOO_LONG: Reply = Reply::new(552, (5, 3, 4), "The header section is too long");

/// Our Received field (RFC 5321 4.4). `recipient` is named when it is the only one.
pub fn received_field(
    session: &SessionFacts,
    hostname: &str,
    id: MessageId,
    recipient: Option<&str>,
    at: Millis,
    utf8: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    trace::Received { session, by: hostname, id, only_recipient: recipient, at, utf8 }.write(&mut out);
    out
}

pub(super) fn stamp(intake: &Intake, mut message: Box<Message>) -> Result<Box<Message>, Reply> {
    let Body::Inline(bytes) = &mut message.body else { return Ok(message) };
    if !message.stamped {
        let words = StampWords {
            policy: &message.policy,
            id: message.id,
            complete: message.complete,
            now: intake.clock.now(),
            held_to: message.held_to.as_deref(),
        };
        let seen = stamp_bytes(bytes, &mut message.front, &words)?;
        message.tls_demand = seen.tls_demand(message.tls_demand);
    }
    Ok(message)
}

/// What stamping must know of a message.
pub struct StampWords<'a> {
    pub policy: &'a Compiled,
    pub id: MessageId,
    pub complete: bool,
    pub now: Millis,
    /// The login whose addresses From and Sender are held to.
    pub held_to: Option<&'a Login>,
}

/// What the header said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// `TLS-Required: No` (RFC 8689 5): rather in the clear than not at all.
    tls_optional: bool,
}

impl Seen {
    /// The message's TLS demand now that its header was read: REQUIRETLS stays whatever a field says (RFC 8689 4.1).
    pub fn tls_demand(self, asked: u8) -> u8 {
        if self.tls_optional && asked != REQUIRE_TLS { 0 } else { asked }
    }
}

/// Stamps a message by its beginning: `bytes` from the trace that stands `front` octets long in front.
pub fn stamp_bytes(bytes: &mut Vec<u8>, front: &mut usize, words: &StampWords<'_>) -> Result<Seen, Reply> {
    let (missing, seen) = look_at(&bytes[*front..], &words.policy.table.limits, words.complete, words.held_to)?;
    if missing.is_empty() {
        return Ok(seen);
    }
    let fields = missing.fields(words.id, &words.policy.table.hostname, words.now);
    // Behind our Received field, in front of the sender's own fields.
    bytes.splice(*front..*front, fields.iter().copied());
    *front += fields.len();
    Ok(seen)
}

/// What a submission lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Missing {
    date: bool,
    message_id: bool,
}

impl Missing {
    fn is_empty(self) -> bool {
        !self.date && !self.message_id
    }

    fn fields(self, id: MessageId, hostname: &str, now: Millis) -> Vec<u8> {
        let mut fields = Vec::new();
        if self.date {
            trace::write_date(&mut fields, now);
        }
        if self.message_id {
            trace::write_message_id(&mut fields, id, hostname);
        }
        fields
    }
}

/// Looks at the header of the content: the reply if it must be refused, else what is missing.
fn look_at(content: &[u8], limits: &Limits, complete: bool, held_to: Option<&Login>) -> Result<(Missing, Seen), Reply> {
    let header = Header::scan(content);
    if header.received_count() > limits.max_received as usize {
        return Err(LOOP);
    }
    if header.overflow().is_some() || header.bytes().len() > limits.max_header as usize {
        return Err(HEADER_TOO_LONG);
    }
    if let Some(login) = held_to {
        origin::check(&header, login)?;
    }
    let optional = header.value("TLS-Required").is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"No"));
    let seen = Seen { tls_optional: optional };
    if !complete {
        return Ok((Missing::default(), seen));
    }
    Ok((Missing { date: !header.has("Date"), message_id: !header.has("Message-ID") }, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks() {
        let received = b"Received: x\r\n".repeat(3);
        let limits = |max_received, max_header| Limits { max_received, max_header, ..Limits::default() };
        assert_eq!(look_at(&received, &limits(2, 100), false, None), Err(LOOP));
        assert_eq!(look_at(&received, &limits(3, 38), false, None), Err(HEADER_TOO_LONG));
        let bare = Ok((Missing { date: true, message_id: true }, Seen::default()));
        assert_eq!(look_at(&received, &limits(3, 100), true, None), bare);
        let whole = b"date: now\r\nMESSAGE-ID: <a@b>\r\n\r\nbody";
        assert!(look_at(whole, &limits(3, 100), true, None).unwrap().0.is_empty());
        let optional = look_at(b"TLS-Required: no\r\n\r\n", &limits(3, 100), false, None);
        let seen = optional.unwrap().1;
        assert!(seen.tls_optional);
        for (asked, left) in [(0, 0), (1, 0), (2, 0), (REQUIRE_TLS, REQUIRE_TLS)] {
            assert_eq!(seen.tls_demand(asked), left);
            assert_eq!(Seen::default().tls_demand(asked), asked);
        }
    }
}
