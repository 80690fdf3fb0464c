//! The tables that cross the bridge beside the policy: verdicts of hooks, submissions, outcomes of Python next hops.
//!
//! MessagePack maps by field name, mirrored in `python/angarium/engine.py`; a field left out has its default, an
//! unknown one is an error. Nothing here decides; `accept` and `asks` read these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use angarium_nouns::reply::EnhancedCode;
use angarium_nouns::{Millis, Outcome, Reason, Reply};

/// What a hook may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    #[default]
    Accept,
    /// 5xx; at connect the session ends.
    Reject,
    /// 4xx.
    Defer,
    /// Accepted, and kept back until released or `until`.
    Hold,
    /// Accepted in words, delivered to nobody, journalled.
    Discard,
}

/// A hook's answer. The reply fields count for reject and defer; empty means the table's own words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verdict {
    pub decision: Decision,
    /// 400 to 599; 0: 550 or 451 by the decision.
    pub code: u16,
    /// `5.7.1`; empty: 5.7.1 or 4.7.1.
    pub enhanced: String,
    pub text: String,
    /// Hold deadline; 0: the policy's.
    pub until: Millis,
    /// message: decisions for single recipients by number; who is not named has the decision above.
    pub recipients: BTreeMap<u32, Verdict>,
    /// message: header edits in order: (0 add the line in front | 1 remove all fields of the name, line or name).
    pub edits: Vec<(u8, ByteBuf)>,
    /// mail, message: another envelope sender ("" is the null path).
    pub sender: Option<String>,
    /// message: recipients added.
    pub add_recipients: Vec<String>,
    /// message: another content, whole, CRLF lines.
    pub body: Option<ByteBuf>,
    /// Route tag, class (0 urgent … 3 bulk), tenant, campaign; `None`: as it was.
    pub tag: Option<String>,
    pub class: Option<u8>,
    pub tenant: Option<String>,
    pub campaign: Option<String>,
    /// auth: whose login it is. An accepting verdict without it means the login as it was said, with no addresses but
    /// itself.
    pub identity: Option<Identity>,
}

/// A login as its source knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// The account's name, which may be another than was said (an alias); empty: as it was said.
    pub login: String,
    /// It may send as: `user@example.org`, `@example.org`, `@.example.org`, `*`; empty: its login, if it is an address.
    pub addresses: Vec<String>,
    pub tenant: String,
    pub class: Option<u8>,
    pub campaign: String,
    /// For credentials of kind "keys": what SCRAM-SHA-256 goes on with.
    pub keys: Option<ScramKeys>,
    /// For credentials of kind "secret": the clear password, for CRAM-MD5.
    pub cram_secret: Option<ByteBuf>,
}

/// RFC 5802 5.1: what is kept of a password.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScramKeys {
    pub salt: ByteBuf,
    pub iterations: u32,
    pub stored_key: ByteBuf,
    pub server_key: ByteBuf,
}

/// All certificates, swapped whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificates {
    /// The first one serves clients that name nobody or nobody we know; several of one name may differ in key type.
    pub certificates: Vec<Certificate>,
    /// PEM: whom client certificates must lead to; empty: none is asked for.
    pub client_ca: ByteBuf,
    /// Self-made ones for the challenge of ACME by ALPN, while it runs (RFC 8737).
    pub challenges: Vec<Certificate>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificate {
    /// `mx.example.org`, `*.example.org`; empty: the names in the certificate are not looked at, it only ever is the
    /// default.
    pub names: Vec<String>,
    /// PEM, the leaf first.
    pub chain: ByteBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: ByteBuf,
}

/// All keys that mail is signed with, swapped whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signers {
    pub signers: Vec<SignerRow>,
}

#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignerRow {
    pub domain: String,
    pub selector: String,
    /// PEM: PKCS#8 or PKCS#1; or base64 of an Ed25519 seed.
    pub key: ByteBuf,
    /// ARC instead of DKIM: for mail of others that goes on.
    pub seals: bool,
    /// Domains of From (`example.org`, `.example.org` below it, `*`); empty: the domain.
    pub authors: Vec<String>,
    /// Only of this tenant and stream; empty: of all.
    pub tenant: String,
    pub stream: String,
    /// Signs from then on, and not any more from then on; 0: no end.
    pub since: Millis,
    pub until: Millis,
    /// What is signed if it is there; empty: the usual fields.
    pub headers: Vec<String>,
    /// `i=`.
    pub identity: Option<String>,
    /// Seconds that a signature holds.
    pub lifetime: Option<u64>,
    pub simple_header: bool,
    pub simple_body: bool,
    /// 8-bit content is made 7-bit first.
    pub converts: bool,
}

impl std::fmt::Debug for SignerRow {
    /// Without the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SignerRow({} {})", self.domain, self.selector)
    }
}

/// One recipient of a submission.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubmittedRecipient {
    pub address: String,
    pub original: String,
    /// Bits: 1 never, 2 success, 4 failure, 8 delay; 0: as we choose.
    pub notify: u8,
    pub sender: Option<String>,
    pub variant: u16,
    pub tag: String,
    /// Not before; 0: at once.
    pub due: Millis,
    /// Held until released; `due` is then the hold deadline.
    pub held: bool,
    /// Substitution fields.
    pub fields: Vec<(String, String)>,
}

/// A message from code (API, vendor dialects, CLI): the same stages as over SMTP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Submission {
    pub sender: String,
    pub recipients: Vec<SubmittedRecipient>,
    /// As in Received: HTTP, LOCAL.
    pub protocol: String,
    pub peer: String,
    pub login: String,
    pub tenant: String,
    pub stream: String,
    pub campaign: String,
    /// 0 urgent … 3 bulk; `None`: normal.
    pub class: Option<u8>,
    pub tls_demand: u8,
    pub smtputf8: bool,
    pub eight_bit: bool,
    pub envid: String,
    /// 0 unset, 1 FULL, 2 HDRS.
    pub ret: u8,
    pub deadline: Option<Millis>,
    pub idempotency: Option<ByteBuf>,
    /// Failures may be reported to the sender.
    pub may_report: bool,
    /// Add Date and Message-ID when missing.
    pub complete: bool,
    /// Variants: (sender pattern, edits, substitutions, signing set).
    pub variants: Vec<SubmittedVariant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubmittedVariant {
    pub sender: String,
    pub edits: Vec<(u8, ByteBuf)>,
    pub substitutions: Vec<(String, String)>,
    pub signing: String,
}

/// How a Python next hop ended with one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PythonOutcome {
    /// delivered, deferred, failed.
    pub outcome: String,
    /// A reason class by name; empty: other.
    pub reason: String,
    /// As an SMTP peer would say it; 0: none.
    pub code: u16,
    pub text: String,
    /// Who answered, for the journal.
    pub host: String,
    pub may_repeat: bool,
}

impl Default for PythonOutcome {
    fn default() -> Self {
        Self {
            outcome: "deferred".into(),
            reason: String::new(),
            code: 0,
            text: String::new(),
            host: String::new(),
            may_repeat: false,
        }
    }
}

impl PythonOutcome {
    /// Outcome and reason class by their names; an empty reason is *done* or *other*.
    pub fn words(&self) -> Result<(Outcome, Reason), TableError> {
        let outcome = match self.outcome.as_str() {
            "delivered" => Outcome::Delivered,
            "deferred" => Outcome::Deferred,
            "failed" => Outcome::Failed,
            unknown => return Err(TableError(format!("{unknown:?} is no outcome: delivered, deferred or failed"))),
        };
        let reason = match self.reason.as_str() {
            "" if outcome == Outcome::Delivered => Reason::Done,
            "" => Reason::Other,
            name => (0..=u8::MAX)
                .map_while(|number| Reason::try_from(number).ok())
                .find(|reason| reason.name() == name)
                .ok_or_else(|| TableError(format!("{name:?} is no reason class")))?,
        };
        Ok((outcome, reason))
    }

    /// The reply, if it is a sound one.
    pub fn reply(&self) -> Option<Reply> {
        let (enhanced, text) = match EnhancedCode::split(&self.text) {
            Some((enhanced, rest)) => (Some(enhanced), rest),
            None => (None, self.text.as_str()),
        };
        Reply::checked(self.code, enhanced, text.to_owned()).ok()
    }
}

/// Bytes that are no such table, for the caller in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TableError(pub String);

/// Reads a table; empty bytes are the default.
pub fn decode<T: serde::de::DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, TableError> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    rmp_serde::from_slice(bytes).map_err(|error| TableError(error.to_string()))
}

impl Verdict {
    /// The reply that a refusal gives: the hook's words where they are sound, else the table's.
    pub fn reply(&self) -> Reply {
        let permanent = self.decision == Decision::Reject;
        let (code, class) = if permanent { (550, 5) } else { (451, 4) };
        let enhanced = EnhancedCode::split(&self.enhanced).map_or(EnhancedCode(class, 7, 1), |(code, _)| code);
        let text = if self.text.is_empty() { default_text(permanent).to_owned() } else { self.text.clone() };
        let wanted = if self.code == 0 { code } else { self.code };
        if wanted / 100 != u16::from(class) {
            return Reply::new(code, (class, 7, 1), default_text(permanent));
        }
        Reply::checked(wanted, Some(enhanced), text)
            .unwrap_or_else(|_| Reply::new(code, (class, 7, 1), default_text(permanent)))
    }
}

fn default_text(permanent: bool) -> &'static str {
    if permanent { "Refused by the policy of this site" } else { "Not now by the policy of this site, come again" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_verdicts_are_sound() {
        let say = |decision, code, enhanced: &str, text: &str| {
            Verdict { decision, code, enhanced: enhanced.into(), text: text.into(), ..Verdict::default() }
                .reply()
                .to_string()
        };
        assert_eq!(say(Decision::Reject, 554, "5.6.1", "no"), "554 5.6.1 no");
        assert_eq!(say(Decision::Defer, 0, "", "later"), "451 4.7.1 later");
        assert_eq!(say(Decision::Reject, 250, "", "x"), "550 5.7.1 Refused by the policy of this site");
        assert_eq!(say(Decision::Reject, 0, "4.0.0", "x"), "550 5.7.1 Refused by the policy of this site");
        assert_eq!(say(Decision::Reject, 0, "", "a\r\nb"), "550 5.7.1 Refused by the policy of this site");
    }

    #[test]
    fn empty_bytes_accept() {
        assert_eq!(decode::<Verdict>(b""), Ok(Verdict::default()));
        assert!(decode::<Verdict>(b"\x81\xa1x\x01").is_err());
    }
}
