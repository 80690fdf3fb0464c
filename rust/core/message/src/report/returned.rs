//! The part that gives the original back: whole, or its header only (RFC 6522 3 and 4, RFC 6533 4 and 5).
//!
//! Whole only for failures, when the sender did not ask for the header alone (RFC 3461 4.3), the body is at hand
//! and not large, and its bytes and lines may travel on the way that the report takes. A header that may not is
//! written in quoted-printable (RFC 6522 4).

use angarium_nouns::DsnReturn;

use super::{Action, Form, Original, Report};
use crate::body::{has_8bit, has_line_over};
use crate::line::{HARD_WIDTH, push};
use crate::transfer;

/// Larger originals come back as their header. Postfix: `bounce_size_limit` is 50,000.
pub const MAX_RETURNED: usize = 50_000;
/// What is returned of a header, cut at a line; the same bound.
pub const MAX_RETURNED_HEADER: usize = 50_000;

pub fn goes_back_whole(report: &Report<'_>, utf8: bool) -> bool {
    let Some(body) = report.original.body else { return false };
    let header = report.original.header;
    let eight_bit = has_8bit(body) || has_8bit(header);
    let long = has_line_over(HARD_WIDTH, body) || has_line_over(HARD_WIDTH, header);
    report.action() == Action::Failed
        && report.ret != DsnReturn::Headers
        && header.len() + body.len() <= MAX_RETURNED
        && !long
        && (utf8 || report.eight_bit || !eight_bit)
}

pub fn write(original: &Original<'_>, form: Form, out: &mut Vec<u8>) {
    let header = cut_at_line(original.header, MAX_RETURNED_HEADER);
    let eight_bit = has_8bit(header) || (form.full && original.body.is_some_and(has_8bit));
    let kind = match (form.utf8, form.full) {
        (true, true) => "message/global",
        (true, false) => "message/global-headers",
        (false, true) => "message/rfc822",
        (false, false) => "text/rfc822-headers",
    };
    let long = has_line_over(HARD_WIDTH, header);
    let encoding = match (eight_bit, form.utf8 || form.full) {
        _ if long => "quoted-printable",
        (false, _) => "7bit",
        (true, true) => "8bit",
        (true, false) => "quoted-printable",
    };
    push(out, format_args!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"));
    if encoding == "quoted-printable" {
        transfer::write_quoted_printable(header, out);
    } else {
        out.extend_from_slice(header);
    }
    if let Some(body) = original.body.filter(|_| form.full) {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }
}

/// At most `limit` bytes, cut behind a line end.
fn cut_at_line(header: &[u8], limit: usize) -> &[u8] {
    if header.len() <= limit {
        return header;
    }
    let end = memchr::memrchr(b'\n', &header[..limit]).map_or(limit, |lf| lf + 1);
    &header[..end]
}
