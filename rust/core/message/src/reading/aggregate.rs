//! DMARC aggregate reports (RFC 9990, and RFC 7489 before it), read and written. Words stay as they stand, in lower
//! case; what is missing is empty.

use serde::{Deserialize, Serialize};

use super::ReadError;
use super::xml::Element;

/// One report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aggregate {
    pub version: String,
    pub org_name: String,
    pub email: String,
    pub extra_contact_info: String,
    pub report_id: String,
    /// Unix seconds.
    pub begin: u64,
    pub end: u64,
    pub errors: Vec<String>,
    pub domain: String,
    pub adkim: String,
    pub aspf: String,
    pub p: String,
    pub sp: String,
    pub np: String,
    pub fo: String,
    pub testing: bool,
    /// How the reporter found the policy: psl or treewalk (RFC 9990).
    pub discovery_method: String,
    pub records: Vec<Record>,
}

/// What was seen from one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub source_ip: String,
    pub count: u64,
    pub disposition: String,
    pub dkim: String,
    pub spf: String,
    pub reasons: Vec<Reason>,
    pub header_from: String,
    pub envelope_from: String,
    pub envelope_to: String,
    pub dkim_results: Vec<AuthResult>,
    pub spf_results: Vec<AuthResult>,
}

/// Why the policy was not followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reason {
    pub kind: String,
    pub comment: String,
}

/// One DKIM or SPF result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthResult {
    pub domain: String,
    pub selector: String,
    pub scope: String,
    pub result: String,
    pub human_result: String,
}

impl Aggregate {
    pub(super) fn read(document: &[u8]) -> Result<Self, ReadError> {
        let root = Element::read(document)?;
        if root.name != "feedback" {
            return Err(ReadError::Absent);
        }
        let empty = Element::default();
        let meta = root.child("report_metadata").unwrap_or(&empty);
        let policy = root.child("policy_published").unwrap_or(&empty);
        let range = meta.child("date_range").unwrap_or(&empty);
        Ok(Self {
            version: root.text_of("version"),
            org_name: meta.text_of("org_name"),
            email: meta.text_of("email"),
            extra_contact_info: meta.text_of("extra_contact_info"),
            report_id: meta.text_of("report_id"),
            begin: range.number_of("begin"),
            end: range.number_of("end"),
            errors: meta.all("error").map(|error| error.text.trim().to_owned()).collect(),
            domain: policy.text_of("domain"),
            adkim: word(policy, "adkim"),
            aspf: word(policy, "aspf"),
            p: word(policy, "p"),
            sp: word(policy, "sp"),
            np: word(policy, "np"),
            fo: policy.text_of("fo"),
            testing: word(policy, "testing") == "y",
            discovery_method: word(policy, "discovery_method"),
            records: root.all("record").map(Record::read).collect(),
        })
    }

    /// The report as XML (RFC 9990).
    #[must_use]
    pub fn write(&self) -> String {
        let mut out = Writer(String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"));
        out.within("feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"", |out| {
            out.text("version", if self.version.is_empty() { "1.0" } else { &self.version });
            out.within("report_metadata", |out| self.write_metadata(out));
            out.within("policy_published", |out| {
                let testing = if self.testing { "y" } else { "n" };
                let texts = [
                    ("domain", &*self.domain),
                    ("discovery_method", &self.discovery_method),
                    ("adkim", &self.adkim),
                    ("aspf", &self.aspf),
                    ("p", &self.p),
                    ("sp", &self.sp),
                    ("np", &self.np),
                    ("fo", &self.fo),
                    ("testing", testing),
                ];
                out.texts(&texts);
            });
            self.records.iter().for_each(|record| out.within("record", |out| record.write(out)));
        });
        out.0
    }

    /// The XML in gzip, as it is mailed (RFC 9990).
    #[must_use]
    pub fn write_gzip(&self) -> Vec<u8> {
        super::gzip(self.write().as_bytes())
    }

    fn write_metadata(&self, out: &mut Writer) {
        out.texts(&[
            ("org_name", &self.org_name),
            ("email", &self.email),
            ("extra_contact_info", &self.extra_contact_info),
            ("report_id", &self.report_id),
        ]);
        out.within("date_range", |out| {
            out.text("begin", &self.begin.to_string());
            out.text("end", &self.end.to_string());
        });
        self.errors.iter().for_each(|error| out.text("error", error));
    }
}

impl Record {
    fn read(record: &Element) -> Self {
        let empty = Element::default();
        let row = record.child("row").unwrap_or(&empty);
        let evaluated = row.child("policy_evaluated").unwrap_or(&empty);
        let identifiers = record.child("identifiers").unwrap_or(&empty);
        let results = record.child("auth_results").unwrap_or(&empty);
        let reason = |reason: &Element| Reason { kind: word(reason, "type"), comment: reason.text_of("comment") };
        Self {
            source_ip: row.text_of("source_ip"),
            count: row.number_of("count"),
            disposition: word(evaluated, "disposition"),
            dkim: word(evaluated, "dkim"),
            spf: word(evaluated, "spf"),
            reasons: evaluated.all("reason").map(reason).collect(),
            header_from: identifiers.text_of("header_from"),
            envelope_from: identifiers.text_of("envelope_from"),
            envelope_to: identifiers.text_of("envelope_to"),
            dkim_results: results.all("dkim").map(AuthResult::read).collect(),
            spf_results: results.all("spf").map(AuthResult::read).collect(),
        }
    }

    fn write(&self, out: &mut Writer) {
        out.within("row", |out| {
            out.text("source_ip", &self.source_ip);
            out.text("count", &self.count.to_string());
            out.within("policy_evaluated", |out| {
                out.texts(&[("disposition", &self.disposition), ("dkim", &self.dkim), ("spf", &self.spf)]);
                for reason in &self.reasons {
                    out.within("reason", |out| out.texts(&[("type", &reason.kind), ("comment", &reason.comment)]));
                }
            });
        });
        out.within("identifiers", |out| {
            out.texts(&[
                ("header_from", &self.header_from),
                ("envelope_from", &self.envelope_from),
                ("envelope_to", &self.envelope_to),
            ]);
        });
        out.within("auth_results", |out| {
            self.dkim_results.iter().for_each(|result| out.within("dkim", |out| result.write(out)));
            self.spf_results.iter().for_each(|result| out.within("spf", |out| result.write(out)));
        });
    }
}

impl AuthResult {
    fn read(result: &Element) -> Self {
        Self {
            domain: result.text_of("domain"),
            selector: result.text_of("selector"),
            scope: word(result, "scope"),
            result: word(result, "result"),
            human_result: result.text_of("human_result"),
        }
    }

    fn write(&self, out: &mut Writer) {
        out.texts(&[
            ("domain", &self.domain),
            ("selector", &self.selector),
            ("scope", &self.scope),
            ("result", &self.result),
            ("human_result", &self.human_result),
        ]);
    }
}

fn word(element: &Element, name: &str) -> String {
    element.text_of(name).to_ascii_lowercase()
}

/// XML in the making; texts that are empty are left out.
struct Writer(String);

impl Writer {
    fn within(&mut self, opening: &str, inside: impl FnOnce(&mut Self)) {
        self.0.extend(["<", opening, ">"]);
        inside(self);
        self.0.extend(["</", opening.split(' ').next().unwrap_or(opening), ">\n"]);
    }

    fn texts(&mut self, texts: &[(&str, &str)]) {
        for (name, text) in texts {
            self.text(name, text);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            // XML 1.0 2.2 has no control characters.
            let clean: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
            self.0.extend(["<", name, ">", &quick_xml::escape::escape(&clean), "</", name, ">\n"]);
        }
    }
}
