//! Marks in a header that say who wrote a message: a machine, a list, a report. Read before anything is answered
//! automatically (RFC 3834), and to know a loop.

use crate::header::Header;

/// Written by a machine: Auto-Submitted is there and not `no` (RFC 3834 5).
pub fn is_auto_submitted(header: &Header<'_>) -> bool {
    header.value("Auto-Submitted").is_some_and(|value| !first_word(value).eq_ignore_ascii_case(b"no"))
}

/// Sent to many: a List-Id (RFC 2919), or Precedence bulk, list or junk as the field has written it since Sendmail.
pub fn is_bulk(header: &Header<'_>) -> bool {
    let precedence = header.value("Precedence").map(first_word);
    header.has("List-Id")
        || precedence.is_some_and(|word| {
            ["bulk", "list", "junk"].iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
        })
}

/// A report about other mail (RFC 6522): its Content-Type is multipart/report.
pub fn is_report(header: &Header<'_>) -> bool {
    header.value("Content-Type").is_some_and(|value| first_word(value).eq_ignore_ascii_case(b"multipart/report"))
}

/// This recipient has had the message before: a Delivered-To field names it.
pub fn was_delivered_to(header: &Header<'_>, recipient: &str) -> bool {
    header
        .all("Delivered-To")
        .any(|field| header.value_of(field).trim_ascii().eq_ignore_ascii_case(recipient.as_bytes()))
}

/// Fields that programs put on their answers before RFC 3834, or to keep others from answering.
const OLD_MARKS: [&str; 5] = ["X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Response-Suppress", "X-Loop"];
/// Local parts that no person reads (RFC 3834 2, RFC 2142 for lists).
const NOBODY: [&str; 4] = ["mailer-daemon", "noreply", "no-reply", "postmaster"];
const NOBODY_ENDS: [&str; 2] = ["-request", "-bounces"];

/// Why a message must not be answered by a program, in one word; none: a person wrote it, as far as its header tells
/// (RFC 3834 2). The first that holds of `auto-submitted`, `report`, `list`, `null-sender`, `marked`, `nobody`.
pub fn automatic(header: &Header<'_>) -> Option<&'static str> {
    let checks: [(&'static str, bool); 6] = [
        ("auto-submitted", is_auto_submitted(header)),
        ("report", is_report(header)),
        ("list", is_bulk(header)),
        ("null-sender", header.value("Return-Path").is_some_and(|path| path.trim_ascii() == b"<>")),
        ("marked", OLD_MARKS.iter().any(|name| header.has(name))),
        ("nobody", is_from_nobody(header)),
    ];
    checks.into_iter().find(|(_, holds)| *holds).map(|(name, _)| name)
}

fn is_from_nobody(header: &Header<'_>) -> bool {
    let from = header.value("From").map(crate::address::mailboxes).unwrap_or_default();
    from.iter().any(|mailbox| {
        let local = mailbox.address.rsplit_once('@').map_or(&*mailbox.address, |(local, _)| local).to_ascii_lowercase();
        let owner = local.starts_with("owner-") || NOBODY_ENDS.iter().any(|end| local.ends_with(end));
        owner || NOBODY.contains(&&*local)
    })
}

/// Up to the first space, semicolon or comment.
fn first_word(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b';' | b'('));
    &value[..end.unwrap_or(value.len())]
}
