//! Identities: of a message, of one recipient of it, and of a place in the logs.
//!
//! A message id is 128 bits: node (16), milliseconds (48), epoch and counter (64). It is reserved at MAIL or at
//! submission, printed in 26 characters (Crockford base 32, so it survives being read aloud), and is the same in
//! replies, the Received field, the record and the journal. Ids of one node sort by time.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::Millis;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters in a printed message id: 128 bits by fives.
pub const PRINTED_LEN: usize = 26;

/// The identity of one message, for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MessageId(pub u128);

impl MessageId {
    pub fn new(node: u16, millis: Millis, sequence: u64) -> Self {
        Self(u128::from(node) << 112 | u128::from(millis & 0xffff_ffff_ffff) << 64 | u128::from(sequence))
    }

    pub fn node(self) -> u16 {
        (self.0 >> 112) as u16
    }

    /// When the id was reserved.
    pub fn millis(self) -> Millis {
        (self.0 >> 64) as u64 & 0xffff_ffff_ffff
    }

    /// Epoch (upper 32 bits) and counter (lower 32 bits).
    pub fn sequence(self) -> u64 {
        self.0 as u64
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The 26 printed characters, without an allocation.
    pub fn printed(self) -> [u8; PRINTED_LEN] {
        let mut text = [0; PRINTED_LEN];
        for (i, c) in text.iter_mut().enumerate() {
            let shift = 5 * (PRINTED_LEN - 1 - i);
            *c = ALPHABET[(self.0 >> shift) as usize & 31];
        }
        text
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.printed().iter().try_for_each(|&c| fmt::Write::write_char(f, char::from(c)))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&self.to_bytes()[..], serializer)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: serde_bytes::ByteArray<16> = Deserialize::deserialize(deserializer)?;
        Ok(Self::from_bytes(bytes.into_array()))
    }
}

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("a message id has 26 characters, this has {0}")]
    Length(usize),
    #[error("a message id holds digits and capital letters without I, L, O and U, this has {0:?}")]
    Character(char),
    #[error("the recipient's number behind the dot is not a number below 4294967296: {0:?}")]
    Number(String),
}

impl FromStr for MessageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.chars().count() != PRINTED_LEN {
            return Err(IdError::Length(text.chars().count()));
        }
        let mut value = 0u128;
        for c in text.chars() {
            let upper = c.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|&a| char::from(a) == upper).ok_or(IdError::Character(c))?;
            // The first character carries three bits only: 26 * 5 = 130.
            if value >> 123 != 0 {
                return Err(IdError::Character(c));
            }
            value = value << 5 | digit as u128;
        }
        Ok(Self(value))
    }
}

/// One recipient of one message, printed as `MESSAGE.NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecipientId {
    pub message: MessageId,
    pub number: u32,
}

impl fmt::Display for RecipientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.message, self.number)
    }
}

impl FromStr for RecipientId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (message, number) = text.split_once('.').ok_or_else(|| IdError::Number(String::new()))?;
        let number = number.parse().map_err(|_| IdError::Number(number.to_owned()))?;
        Ok(Self { message: message.parse()?, number })
    }
}

/// A place in the one sequence that numbers the frames of both logs. Only committers give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Lsn(pub u64);

/// Gives message ids. One per running spool: the epoch rises with every recovery, so ids never repeat.
#[derive(Debug)]
pub struct IdSource {
    node: u16,
    sequence: AtomicU64,
}

impl IdSource {
    pub fn new(node: u16, epoch: u32) -> Self {
        Self { node, sequence: AtomicU64::new(u64::from(epoch) << 32) }
    }

    pub fn reserve(&self, now: Millis) -> MessageId {
        MessageId::new(self.node, now, self.sequence.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prints_and_reads_back(value: u128) {
            let id = MessageId(value);
            prop_assert_eq!(id.to_string().parse::<MessageId>(), Ok(id));
            prop_assert_eq!(MessageId::from_bytes(id.to_bytes()), id);
        }

        #[test]
        fn never_panics(text: String) {
            let _ = text.parse::<MessageId>();
            let _ = text.parse::<RecipientId>();
        }
    }

    #[test]
    fn parts() {
        let id = MessageId::new(7, 1_790_000_000_123, 5 << 32 | 9);
        assert_eq!((id.node(), id.millis(), id.sequence()), (7, 1_790_000_000_123, 5 << 32 | 9));
    }

    #[test]
    fn refuses() {
        assert_eq!("short".parse::<MessageId>(), Err(IdError::Length(5)));
        assert_eq!("0000000000000000000000000U".parse::<MessageId>(), Err(IdError::Character('U')));
        assert!("Z0000000000000000000000000".parse::<MessageId>().is_err());
        assert!("00000000000000000000000000".parse::<RecipientId>().is_err());
    }
}
