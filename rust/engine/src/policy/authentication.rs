//! What is done about who sent a message: whose mail is judged, and what its results lead to.

use serde::{Deserialize, Serialize};

/// Whose mail a listener judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judges {
    #[default]
    Off,
    /// Of clients that we do not know: neither trusted nor on this very machine.
    Strangers,
    All,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authentication {
    /// Our name in Authentication-Results (RFC 8601 2.5); empty: the policy's hostname.
    pub id: String,
}
