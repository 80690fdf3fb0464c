//! What the stage *authenticate* found about a message, as it stands in the content record.
//!
//! `MessagePack`, an array in the order of the fields. Words are those of RFC 8601 and empty where nothing was tried.

use serde::{Deserialize, Serialize};

/// [`crate::record::ContentHead::authentication`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdicts {
    pub iprev: String,
    pub helo: String,
    pub spf: String,
    /// Of all signatures together: pass if one passes.
    pub dkim: String,
    pub arc: String,
    pub dmarc: String,
    /// What the domain of the author asks for a message that fails DMARC: none, quarantine, reject.
    pub disposition: String,
    /// The domain in From.
    pub author: String,
    /// The value of our Authentication-Results field.
    pub results: String,
    /// Where readers would see different things, by the names of `message::findings`.
    pub findings: Vec<String>,
    /// What the policy did: none, tag, quarantine.
    pub action: String,
    /// The rows of the policy that led to it.
    pub reasons: Vec<String>,
    /// Why failures were not held against it: forwarder, sealer; empty: nothing was excused.
    pub excused: String,
}

impl Verdicts {
    pub fn encode(&self) -> Vec<u8> {
        // Strings and lists of strings: nothing that MessagePack refuses.
        rmp_serde::to_vec(self).unwrap_or_default()
    }

    /// `None`: there are none, or they are of a version that is not known here.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }

    /// The words in one line, for the journal: `spf=pass dkim=none arc=none dmarc=pass action=tag`.
    pub fn summary(&self) -> String {
        let said = self.words().into_iter().filter(|(_, word)| !word.is_empty());
        said.map(|(method, word)| format!("{method}={word}")).collect::<Vec<_>>().join(" ")
    }

    /// What each method found, and what was done.
    pub fn words(&self) -> [(&'static str, &str); 8] {
        [
            ("iprev", &self.iprev),
            ("helo", &self.helo),
            ("spf", &self.spf),
            ("dkim", &self.dkim),
            ("arc", &self.arc),
            ("dmarc", &self.dmarc),
            ("action", &self.action),
            ("excused", &self.excused),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_and_sum_up() {
        let verdicts =
            Verdicts { spf: "pass".into(), dmarc: "fail".into(), action: "tag".into(), ..Verdicts::default() };
        assert_eq!(Verdicts::decode(&verdicts.encode()), Some(verdicts.clone()));
        assert_eq!(verdicts.summary(), "spf=pass dmarc=fail action=tag");
        assert_eq!(Verdicts::decode(b""), None);
    }
}
