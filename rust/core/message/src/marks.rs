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

/// Up to the first space, semicolon or comment.
fn first_word(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b';' | b'('));
    &value[..end.unwrap_or(value.len())]
}
