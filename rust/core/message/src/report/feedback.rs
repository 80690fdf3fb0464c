//! Feedback reports written: abuse (RFC 5965) and authentication failures (RFC 6591, RFC 9991), from the same value
//! that a reader gives.
//!
//! A report has a text for people, the fields for programs and the message it is about, whole where its lines may
//! travel and as its header else. Addresses, times and the boundary are arguments; what must be kept secret is left
//! out by the caller before (RFC 6590). Nothing that was put in can break a line or end a part.

use angarium_nouns::Millis;

use super::{Form, Original, free_boundary, open_part, returned};
use crate::body::{has_8bit, has_line_over};
use crate::date;
use crate::line::{HARD_WIDTH, Line, push};
use crate::reading::Feedback;

/// The mail that a report travels in.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// An address each, without brackets.
    pub from: &'a str,
    pub to: &'a str,
    /// Empty: one that says what kind of report it is.
    pub subject: &'a str,
    /// For people; empty: a sentence that says the same.
    pub text: &'a str,
    /// Without brackets; empty for none.
    pub message_id: &'a str,
    pub now: Millis,
    /// 1 to 60 letters or digits; lengthened where the original happens to hold it.
    pub boundary: &'a str,
}

/// Why a report cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackError {
    #[error("a feedback report has a type (RFC 5965 3.1)")]
    NoType,
    #[error("a report of an authentication failure says which, in Auth-Failure (RFC 6591 3.2.1)")]
    NoFailure,
}

/// Names of fields that have their own place in [`Feedback`].
const PLACED: [&str; 14] = [
    "feedback-type",
    "user-agent",
    "version",
    "arrival-date",
    "received-date",
    "source-ip",
    "original-mail-from",
    "original-rcpt-to",
    "original-envelope-id",
    "reporting-mta",
    "reported-domain",
    "reported-uri",
    "authentication-results",
    "incidents",
];

impl Feedback {
    /// The report as a message.
    pub fn write(&self, letter: &Letter<'_>, original: &Original<'_>) -> Result<Vec<u8>, FeedbackError> {
        if self.feedback_type.is_empty() {
            return Err(FeedbackError::NoType);
        }
        let is_failure = self.feedback_type.eq_ignore_ascii_case("auth-failure");
        if is_failure && !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("auth-failure")) {
            return Err(FeedbackError::NoFailure);
        }
        let boundary = free_boundary(letter.boundary, original);
        let mut out = Vec::with_capacity(2048 + original.header.len() + original.body.map_or(0, <[u8]>::len));
        self.write_header(letter, &boundary, &mut out);
        open_part(&mut out, &boundary);
        self.write_text(letter, &mut out);
        open_part(&mut out, &boundary);
        self.write_fields(&mut out);
        open_part(&mut out, &boundary);
        let long = |bytes| has_line_over(HARD_WIDTH, bytes);
        let full = original.body.is_some_and(|body| !long(body) && !long(original.header));
        returned::write(original, Form { utf8: false, full }, &mut out);
        push(&mut out, format_args!("\r\n--{boundary}--\r\n"));
        Ok(out)
    }

    fn write_header(&self, letter: &Letter<'_>, boundary: &str, out: &mut Vec<u8>) {
        let utf8 = !letter.from.is_ascii() || !letter.to.is_ascii();
        Line::new(out, "Date", false).words(&date::text(letter.now)).end();
        Line::new(out, "From", utf8).word(&format!("<{}>", letter.from)).end();
        Line::new(out, "To", utf8).word(&format!("<{}>", letter.to)).end();
        let own = format!("Feedback report: {}", self.feedback_type);
        Line::new(out, "Subject", false).words(if letter.subject.is_empty() { &own } else { letter.subject }).end();
        if !letter.message_id.is_empty() {
            Line::new(out, "Message-ID", false).word(&format!("<{}>", letter.message_id)).end();
        }
        Line::new(out, "Auto-Submitted", false).word("auto-generated").end();
        Line::new(out, "MIME-Version", false).word("1.0").end();
        Line::new(out, "Content-Type", false)
            .word("multipart/report;")
            .word("report-type=feedback-report;")
            .word(&format!("boundary=\"{boundary}\""))
            .end();
    }

    fn write_text(&self, letter: &Letter<'_>, out: &mut Vec<u8>) {
        let own = format!(
            "This is a feedback report of the type {} about a message of your network.\nIt came in from {} at {}.\n",
            self.feedback_type,
            or_unknown(&self.source_ip),
            or_unknown(&self.arrival_date)
        );
        let text = if letter.text.is_empty() { &own } else { letter.text };
        let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
        out.extend_from_slice(
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
        );
        crate::transfer::write_quoted_printable(text.as_bytes(), out);
    }

    /// The part for programs (RFC 5965 3).
    fn write_fields(&self, out: &mut Vec<u8>) {
        let one = |out: &mut Vec<u8>, name: &str, value: &str| {
            if !value.is_empty() {
                Line::new(out, name, true).words(value).end();
            }
        };
        let start = out.len();
        out.extend_from_slice(b"Content-Type: message/feedback-report\r\n\r\n");
        one(out, "Feedback-Type", &self.feedback_type);
        one(out, "User-Agent", if self.user_agent.is_empty() { "Angarium" } else { &self.user_agent });
        one(out, "Version", if self.version.is_empty() { "1" } else { &self.version });
        one(out, "Original-Envelope-Id", &self.original_envelope_id);
        one(out, "Original-Mail-From", &self.original_mail_from);
        self.original_rcpt_to.iter().for_each(|value| one(out, "Original-Rcpt-To", value));
        one(out, "Arrival-Date", &self.arrival_date);
        if !self.reporting_mta.is_empty() {
            one(out, "Reporting-MTA", &format!("dns; {}", self.reporting_mta));
        }
        one(out, "Source-IP", &self.source_ip);
        if self.incidents > 1 {
            one(out, "Incidents", &self.incidents.to_string());
        }
        self.authentication_results.iter().for_each(|value| one(out, "Authentication-Results", value));
        self.reported_domain.iter().for_each(|value| one(out, "Reported-Domain", value));
        self.reported_uri.iter().for_each(|value| one(out, "Reported-URI", value));
        for (name, value) in &self.fields {
            let is_name = !name.is_empty() && name.bytes().all(|byte| matches!(byte, 33..=57 | 59..=126));
            if is_name && !PLACED.iter().any(|placed| placed.eq_ignore_ascii_case(name)) {
                one(out, &written_name(name), value);
            }
        }
        if has_8bit(&out[start..]) {
            let kind = b"Content-Type: message/feedback-report\r\n".len();
            out.splice(start + kind..start + kind, *b"Content-Transfer-Encoding: 8bit\r\n");
        }
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

/// `dkim-domain` as `Dkim-Domain`; case does not matter (RFC 5322 1.2.2), people read it so.
fn written_name(name: &str) -> String {
    let word = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('-').map(|part| if part.is_empty() { String::new() } else { word(part) }).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading;
    use proptest::prelude::*;

    fn letter() -> Letter<'static> {
        Letter {
            from: "abuse@here.example",
            to: "fbl@there.example",
            subject: "",
            text: "",
            message_id: "1@here.example",
            now: 1_795_594_600_000,
            boundary: "b1",
        }
    }

    const HEADER: &[u8] = b"From: a@there.example\r\nMessage-ID: <2@there.example>\r\n";

    fn reread(feedback: &Feedback, original: &Original<'_>) -> Feedback {
        let mut found = reading::feedback(&feedback.write(&letter(), original).unwrap()).unwrap();
        found.fields.retain(|(name, _)| !PLACED.contains(&&**name));
        found
    }

    fn failure() -> Feedback {
        Feedback {
            feedback_type: "auth-failure".into(),
            user_agent: "x/1".into(),
            version: "1".into(),
            arrival_date: "Wed, 25 Nov 2026 08:16:40 +0000".into(),
            source_ip: "192.0.2.1".into(),
            original_mail_from: "<a@there.example>".into(),
            original_rcpt_to: vec!["<b@here.example>".into(), "<c@here.example>".into()],
            reporting_mta: "mx.here.example".into(),
            reported_domain: vec!["there.example".into()],
            authentication_results: vec!["mx.here.example; dmarc=fail header.from=there.example".into()],
            incidents: 3,
            fields: vec![("auth-failure".into(), "dmarc".into()), ("identity-alignment".into(), "none".into())],
            original_message_id: "2@there.example".into(),
            ..Feedback::default()
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for body in [None, Some(&b"hello\r\n"[..]), Some(b"caf\xe9\r\n")] {
            assert_eq!(reread(&failure(), &Original { header: HEADER, body }), failure());
        }
        let long = [b"x".repeat(1200), b"\r\n".to_vec()].concat();
        let written = failure().write(&letter(), &Original { header: HEADER, body: Some(&long) }).unwrap();
        assert!(!crate::body::has_line_over(HARD_WIDTH, &written), "a line that cannot travel went out");
    }

    #[test]
    fn what_is_no_report_is_not_written() {
        let original = Original { header: HEADER, body: None };
        assert_eq!(Feedback::default().write(&letter(), &original), Err(FeedbackError::NoType));
        let failure = Feedback { fields: Vec::new(), ..failure() };
        assert_eq!(failure.write(&letter(), &original), Err(FeedbackError::NoFailure));
    }

    proptest! {
        #[test]
        fn nothing_put_in_breaks_a_line(text in "(\\PC|\r|\n|:){0,60}", name in "(\\PC|\r|\n|:|-){0,20}") {
            let feedback = Feedback {
                feedback_type: "abuse".into(),
                user_agent: text.clone(),
                reported_uri: vec![text.clone()],
                fields: vec![(name, text.clone())],
                ..Feedback::default()
            };
            let letter = Letter { text: &text, subject: &text, ..letter() };
            let written = feedback.write(&letter, &Original { header: HEADER, body: Some(b"--=b1=\r\n") }).unwrap();
            let read = reading::feedback(&written).unwrap();
            prop_assert_eq!(&read.original_message_id, "2@there.example");
            prop_assert!(read.fields.len() <= 5, "{:?}", read.fields);
            prop_assert!(!crate::transfer::has_binary(&written));
        }
    }
}
