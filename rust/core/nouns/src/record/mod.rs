//! The record types of both logs, version 1. MessagePack, fixed field order, a version byte in front.
//!
//! A **content record** is what was promised: [`ContentHead`], then the body's bytes. A **fact** is what happened;
//! facts of one group stand in one journal frame behind a block of the strings that they speak of, so that facts
//! themselves are numbers and an erasure can blank addresses without touching them. Both are read by Python with
//! msgspec (array-like structs; a fact's first field is its tag).

mod content;
mod fact;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use content::{
    BodyRef, CONTENT_VERSION, ContentHead, EntryState, RECIPIENTS_PER_BLOCK, REQUIRE_TLS, Recipient, Recipients,
    SessionFacts, Successor, Variant,
};
pub use fact::{Claim, Claimed, Controlled, Fact, Followed, Gap, Lost, Received, Settled, Slept, Text};

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record is of version {0}, this program reads up to 1")]
    Version(u8),
    #[error("the record cannot be read: {0}")]
    Format(String),
    #[error("the record has no recipient {0}")]
    NoRecipient(u32),
}

fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing into a Vec cannot fail, and no type here serialises in a way that MessagePack refuses.
    let written = rmp_serde::encode::write(out, value);
    debug_assert!(written.is_ok());
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    decode_from(&mut &bytes[..])
}

fn decode_from<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, RecordError> {
    rmp_serde::decode::from_read(bytes).map_err(|error| RecordError::Format(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageId;

    fn recipient(n: u32) -> Recipient {
        Recipient { address: format!("r{n}@example.org"), may_report: true, ..Recipient::default() }
    }

    #[test]
    fn head_reads_back() {
        let recipients: Vec<_> = (0..600).map(recipient).collect();
        let head = ContentHead {
            version: 1,
            id: MessageId(77),
            sender: "a@example.org".into(),
            recipients: Recipients::build(&recipients),
            closes: vec![(MessageId(1), 2)],
            ..ContentHead::default()
        };
        let read = ContentHead::decode(&head.encode()).unwrap();
        assert_eq!(read, head);
        assert_eq!(read.recipients.get(599).unwrap(), recipients[599]);
        assert_eq!(read.recipients.get(256).unwrap(), recipients[256]);
        assert_eq!(read.recipients.get(600), Err(RecordError::NoRecipient(600)));
        assert_eq!(read.recipients.all().unwrap(), recipients);
    }

    #[test]
    fn newer_head_is_refused() {
        let head = ContentHead { version: 9, ..ContentHead::default() };
        assert_eq!(ContentHead::decode(&head.encode()), Err(RecordError::Version(9)));
    }

    #[test]
    fn facts_read_back() {
        let fact = Fact::Lost(Lost { tag: Fact::LOST, at: 5, id: MessageId(3), number: 1, why: 2 });
        let mut bytes = Vec::new();
        fact.encode_into(&mut bytes);
        fact.encode_into(&mut bytes);
        let (first, rest) = Fact::decode(&bytes).unwrap();
        let (second, rest) = Fact::decode(rest).unwrap();
        assert_eq!((&first, &second, rest.len()), (&fact, &fact, 0));
        assert!(Fact::decode(b"\x91\x63").is_err());
    }
}
