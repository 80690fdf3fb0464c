//! Orders of operators and programs: what they say and how they are answered.
//!
//! One-shots (cancel, expire, reroute, release, retry) touch the entries that are there; standing rules (hold,
//! suspend) also later ones until they are lifted; a list of ids is applied at once and is never live. An order is
//! answered when its fact is durable: the engine waits until [`crate::Flushed::facts`] reaches the token.

use serde::{Deserialize, Serialize};

use angarium_nouns::Millis;
use angarium_nouns::record::Claim;

use crate::predicate::Predicate;

/// Standing rules at once: each new entry is held against all of them.
pub const MAX_RULES: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlKind {
    Hold,
    Release,
    Cancel,
    Expire,
    Retry,
    Flush,
    Reroute,
    Suspend,
    Resume,
    ConfirmClock,
    Lift,
    /// Keeps the content of the messages that are there now, whatever becomes of them, until it is lifted by its number.
    LegalHold,
    /// The same as long as there is room for it.
    Pin,
}

impl ControlKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::Expire => "expire",
            Self::Retry => "retry",
            Self::Flush => "flush",
            Self::Reroute => "reroute",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::ConfirmClock => "confirm-clock",
            Self::Lift => "lift",
            Self::LegalHold => "legal-hold",
            Self::Pin => "pin",
        }
    }

    /// What an order of this kind claims of the content.
    fn claim(self) -> Option<Claim> {
        match self {
            Self::LegalHold => Some(Claim::Required),
            Self::Pin => Some(Claim::BestEffort),
            _ => None,
        }
    }

    /// The same by the kind's name.
    pub(crate) fn claim_of(name: &str) -> Option<Claim> {
        [Self::LegalHold, Self::Pin].into_iter().find(|kind| kind.name() == name)?.claim()
    }
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    pub kind: ControlKind,
    #[serde(default, rename = "where")]
    pub predicate: Predicate,
    #[serde(default)]
    pub by: String,
    #[serde(default)]
    pub why: String,
    /// Hold: its deadline, when entries are released by themselves; `None`: the policy's.
    #[serde(default)]
    pub until: Option<Millis>,
    /// Lift and resume: the standing rule by its number; 0: by its predicate.
    #[serde(default)]
    pub rule: u64,
    /// Reroute: the new route tag; `None` asks for the routes anew.
    #[serde(default)]
    pub tag: Option<String>,
}

/// What an order did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ControlDone {
    /// Durable when [`crate::Flushed::facts`] is at or above it.
    pub token: u64,
    pub changed: u64,
    /// In flight: a delivery had them when the order came.
    pub too_late: u64,
    /// The number of the standing rule, 0 for a one-shot.
    pub rule: u64,
}
