//! TLS reports (RFC 8460), read and written as JSON.

use serde::{Deserialize, Serialize};

use super::ReadError;

/// One report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TlsReport {
    pub organization_name: String,
    pub date_range: DateRange,
    pub contact_info: String,
    pub report_id: String,
    pub policies: Vec<TlsPolicy>,
}

/// Both ends as RFC 3339 texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DateRange {
    pub start_datetime: String,
    pub end_datetime: String,
}

/// What happened under one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TlsPolicy {
    pub policy: PolicyFound,
    pub summary: Summary,
    #[serde(deserialize_with = "list_or_null")]
    pub failure_details: Vec<TlsFailure>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PolicyFound {
    /// tlsa, sts, no-policy-found, or what stands there.
    pub policy_type: String,
    #[serde(deserialize_with = "texts")]
    pub policy_string: Vec<String>,
    pub policy_domain: String,
    #[serde(deserialize_with = "texts")]
    pub mx_host: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Summary {
    pub total_successful_session_count: u64,
    pub total_failure_session_count: u64,
}

/// Sessions that failed for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TlsFailure {
    pub result_type: String,
    pub sending_mta_ip: String,
    pub receiving_mx_hostname: String,
    pub receiving_mx_helo: String,
    pub receiving_ip: String,
    pub failed_session_count: u64,
    pub additional_information: String,
    pub failure_reason_code: String,
}

impl TlsReport {
    pub(super) fn read(document: &[u8]) -> Result<Self, ReadError> {
        let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
        serde_json::from_slice(document).map_err(|error| {
            let lines = document.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
            ReadError::Form { at: lines.map(<[u8]>::len).sum::<usize>() + error.column(), why: error.to_string() }
        })
    }

    /// The report as JSON.
    #[must_use]
    pub fn write(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The JSON in gzip, as it is mailed or posted (RFC 8460 5.2).
    #[must_use]
    pub fn write_gzip(&self) -> Vec<u8> {
        super::gzip(self.write().as_bytes())
    }
}

/// A list, or one text where writers leave the brackets out (RFC 8460 4.4 had both).
fn texts<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Many(Vec<String>),
        One(String),
        Nothing(()),
    }
    Ok(match Either::deserialize(from)? {
        Either::Many(texts) => texts,
        Either::One(text) => vec![text],
        Either::Nothing(()) => Vec::new(),
    })
}

fn list_or_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<TlsFailure>, D::Error> {
    Option::<Vec<TlsFailure>>::deserialize(from).map(Option::unwrap_or_default)
}
