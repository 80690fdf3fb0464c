//! The part for programs: message/delivery-status (RFC 3464 2), or message/global-delivery-status (RFC 6533 3).

use angarium_nouns::Millis;

use super::{Action, Form, RecipientReport, Report};
use crate::date;
use crate::line::{Line, push};

pub fn write(report: &Report<'_>, form: Form, out: &mut Vec<u8>) {
    let (kind, encoding) = if form.utf8 { ("global-delivery-status", "8bit") } else { ("delivery-status", "7bit") };
    push(out, format_args!("Content-Type: message/{kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"));
    Line::new(out, "Reporting-MTA", form.utf8).word("dns;").word(report.reporter).end();
    if !report.envelope_id.is_empty() {
        Line::new(out, "Original-Envelope-Id", form.utf8).words(report.envelope_id).end();
    }
    date_field(out, "Arrival-Date", report.arrived);
    for recipient in report.recipients {
        out.extend_from_slice(b"\r\n");
        write_recipient(recipient, form, out);
    }
}

fn write_recipient(recipient: &RecipientReport<'_>, form: Form, out: &mut Vec<u8>) {
    if !recipient.original.is_empty() {
        let (kind, address) = original_recipient(recipient.original);
        address_field(out, "Original-Recipient", form, &kind, &address);
    }
    let kind = if recipient.recipient.is_ascii() { "rfc822" } else { "utf-8" };
    address_field(out, "Final-Recipient", form, kind, recipient.recipient);
    Line::new(out, "Action", false).word(recipient.action.word()).end();
    Line::new(out, "Status", false).word(&recipient.status.to_string()).end();
    if let Some(name) = remote_name(recipient.remote) {
        Line::new(out, "Remote-MTA", form.utf8).word("dns;").word(name).end();
    }
    write_diagnostic(recipient, form, out);
    if let Some(at) = recipient.last_attempt {
        date_field(out, "Last-Attempt-Date", at);
    }
    if let Some(at) = recipient.retry_until.filter(|_| recipient.action == Action::Delayed) {
        date_field(out, "Will-Retry-Until", at);
    }
}

/// `smtp;` only for what a peer said (RFC 3464 2.3.6); our own words go as `x-angarium;`.
fn write_diagnostic(recipient: &RecipientReport<'_>, form: Form, out: &mut Vec<u8>) {
    if recipient.code == 0 && recipient.text.is_empty() {
        return;
    }
    let mut line = Line::new(out, "Diagnostic-Code", form.utf8);
    if recipient.code == 0 {
        line.word("x-angarium;");
    } else {
        line.word("smtp;").word(&recipient.code.to_string());
    }
    line.words(recipient.text).end();
}

fn address_field(out: &mut Vec<u8>, name: &str, form: Form, kind: &str, address: &str) {
    Line::new(out, name, form.utf8).word(&format!("{kind};")).word(address).end();
}

fn date_field(out: &mut Vec<u8>, name: &str, at: Millis) {
    Line::new(out, name, false).words(&date::text(at)).end();
}

/// The name out of `name[address]:port`, or `[address]` where there is no name.
fn remote_name(remote: &str) -> Option<&str> {
    let name = match remote.find('[') {
        Some(0) => remote.find(']').map_or(remote, |end| &remote[..=end]),
        Some(at) => &remote[..at],
        None => remote.rsplit_once(':').map_or(remote, |(host, _)| host),
    };
    (!name.is_empty()).then_some(name)
}

/// Type and address of an ORCPT value (RFC 3461 4.2); a plain address is its own.
fn original_recipient(original: &str) -> (String, String) {
    let kind_of = |address: &str| if address.is_ascii() { "rfc822" } else { "utf-8" };
    match original.split_once(';') {
        Some((kind, address)) if !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
            (kind.to_ascii_lowercase(), address.to_owned())
        }
        _ => (kind_of(original).to_owned(), original.to_owned()),
    }
}
