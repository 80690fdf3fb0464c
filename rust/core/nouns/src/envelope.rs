//! The small closed words that an envelope is made of. The envelope itself is [`crate::record::ContentHead`].

use serde::{Deserialize, Serialize};

/// How the body is encoded (RFC 6152, RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[repr(u8)]
#[serde(into = "u8", try_from = "u8")]
pub enum BodyType {
    #[default]
    SevenBit = 0,
    EightBitMime = 1,
    BinaryMime = 2,
}

/// Priority classes, most urgent first. Shares are policy (queue-and-delivery: fair order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[repr(u8)]
#[serde(into = "u8", try_from = "u8")]
pub enum Class {
    Urgent = 0,
    High = 1,
    #[default]
    Normal = 2,
    Bulk = 3,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::Urgent, Self::High, Self::Normal, Self::Bulk];

    pub fn name(self) -> &'static str {
        ["urgent", "high", "normal", "bulk"][self as usize]
    }
}

/// RET= of RFC 3461 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[repr(u8)]
#[serde(into = "u8", try_from = "u8")]
pub enum DsnReturn {
    #[default]
    Unset = 0,
    Full = 1,
    Headers = 2,
}

/// NOTIFY= of RFC 3461 4.1, as bits. The default (0) means: delay and failure as we choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DsnNotify(pub u8);

impl DsnNotify {
    pub const NEVER: u8 = 1;
    pub const SUCCESS: u8 = 2;
    pub const FAILURE: u8 = 4;
    pub const DELAY: u8 = 8;

    pub fn wants_failure(self) -> bool {
        self.0 == 0 || self.0 & Self::FAILURE != 0
    }

    /// Asked for; who says nothing is not told (RFC 3461 4.1 leaves that to the server).
    pub fn wants_delay(self) -> bool {
        self.0 & Self::DELAY != 0
    }

    pub fn wants_success(self) -> bool {
        self.0 & Self::SUCCESS != 0
    }

    pub fn is_never(self) -> bool {
        self.0 & Self::NEVER != 0
    }
}

/// A number in a record that names no known word: the record is from a later version or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no {1} that this version knows")]
pub struct UnknownWord(pub u8, pub &'static str);

macro_rules! as_number {
    ($type:ident, $what:literal, [$($variant:ident),+]) => {
        impl From<$type> for u8 {
            fn from(value: $type) -> u8 {
                value as u8
            }
        }
        impl TryFrom<u8> for $type {
            type Error = UnknownWord;

            fn try_from(number: u8) -> Result<Self, UnknownWord> {
                $(if number == Self::$variant as u8 { return Ok(Self::$variant); })+
                Err(UnknownWord(number, $what))
            }
        }
    };
}
pub(crate) use as_number;

as_number!(BodyType, "body type", [SevenBit, EightBitMime, BinaryMime]);
as_number!(Class, "class", [Urgent, High, Normal, Bulk]);
as_number!(DsnReturn, "RET value", [Unset, Full, Headers]);
