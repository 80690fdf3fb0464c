//! Which entries a control or a listing speaks of, and what a listing shows of them.
//!
//! A predicate names indexed fields only (spool.md: the index in memory); fields that are given must all match,
//! a field with several values matches any of them. Ids and recipients are a list that is applied at once.

use serde::{Deserialize, Serialize};

use angarium_nouns::Millis;

/// All given fields must match. Without any field it matches nothing unless `all` is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Predicate {
    /// `MESSAGE` or `MESSAGE.NUMBER`, printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// `urgent`, `high`, `normal`, `bulk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// `waiting`, `held`, `leased`, `owing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// A reason class by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A lane by its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<u64>,
    /// The lane's site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Received before (Unix milliseconds).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Millis>,
    /// Received at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Millis>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// One entry in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecipientView {
    /// `MESSAGE.NUMBER`.
    pub id: String,
    pub number: u32,
    pub address: String,
    pub domain: String,
    pub state: &'static str,
    pub class: &'static str,
    pub due: Millis,
    pub expires: Millis,
    pub attempts: u16,
    pub reason: &'static str,
    /// The last diagnostic, empty if there was none or it is forgotten.
    pub code: u16,
    pub text: String,
    pub host: String,
    /// The lane's site, empty without a route.
    pub site: String,
    pub closed: bool,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    pub entries: Vec<FoundEntry>,
    /// Where the next page begins; empty at the end.
    #[serde(with = "serde_bytes")]
    pub after: Vec<u8>,
}

/// An entry with its message's envelope, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundEntry {
    pub message: String,
    pub sender: String,
    pub received: Millis,
    pub size: u64,
    pub tenant: String,
    pub campaign: String,
    #[serde(flatten)]
    pub recipient: RecipientView,
}

/// One message with all its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageView {
    pub id: String,
    pub sender: String,
    pub received: Millis,
    pub size: u64,
    pub class: &'static str,
    pub tenant: String,
    pub campaign: String,
    pub peer: String,
    pub hello: String,
    pub login: String,
    pub recipients: Vec<RecipientView>,
}
