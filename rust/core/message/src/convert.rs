//! An 8-bit or binary message made fit for a way that carries 7 bits only (RFC 6152 3, RFC 3030 3).
//!
//! Part by part: content with high bytes, long lines, NUL or lone CR and LF is written in quoted-printable or base64,
//! whichever reads better; the encoding field of the part and of those around it is put right; everything else stays
//! as it is. Content under a signature of its own (multipart/signed) is never touched, nor a header with bytes outside
//! ASCII: both are obstacles, and the caller decides. Signatures over the whole message (DKIM, ARC) are broken by any
//! change; whether there are some is the caller's to ask.

use crate::body::{has_8bit, has_line_over};
use crate::edit::{Edit, apply};
use crate::line::HARD_WIDTH;
use crate::part::Part;
use crate::scan::{Kind, Tree};
use crate::transfer;

/// Why a message cannot be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Obstacle {
    #[error("a part that is signed holds 8-bit content (RFC 1847 2.1)")]
    Signed,
    #[error("a header holds characters outside ASCII (RFC 6532)")]
    Header,
    #[error("the message goes beyond a bound of the scan")]
    Bound,
    #[error("a part that has a transfer encoding of its own holds 8-bit content")]
    Encoded,
    #[error("a header, or what stands between the parts, holds a lone CR or LF, a NUL or an endless line")]
    Frame,
}

/// The message in 7 bits; `None` if it is that already. Lines are taken to end with CRLF.
pub fn seven_bit(data: &[u8]) -> Result<Option<Vec<u8>>, Obstacle> {
    if is_seven_bit(data) {
        return Ok(None);
    }
    let tree = Tree::scan(data);
    if tree.bounds().next().is_some() {
        return Err(Obstacle::Bound);
    }
    let mut edits = Vec::new();
    convert(&tree.root(data), data, &mut edits)?;
    // Content was made fit; what frames it is only looked at.
    Some(apply(data, edits)).filter(|whole| is_seven_bit(whole)).map(Some).ok_or(Obstacle::Frame)
}

/// What SMTP without 8BITMIME and BINARYMIME carries (RFC 5321 4.5.3.1.6).
pub fn is_seven_bit(bytes: &[u8]) -> bool {
    !has_8bit(bytes) && !has_line_over(HARD_WIDTH, bytes) && !transfer::has_binary(bytes)
}

/// Edits a part that is not 7-bit, and what is inside.
fn convert(part: &Part<'_>, data: &[u8], edits: &mut Vec<Edit>) -> Result<(), Obstacle> {
    if has_8bit(&data[part.header_range()]) {
        return Err(Obstacle::Header);
    }
    let body = part.body();
    if is_seven_bit(body) {
        return Ok(());
    }
    match part.kind() {
        Kind::Multipart if part.content_type().subtype_is("signed") => Err(Obstacle::Signed),
        Kind::Multipart => {
            set_encoding(part, "7bit", edits);
            clean_between(part, data, edits);
            part.children().try_for_each(|child| convert(&child, data, edits))
        }
        Kind::Message if part.content_type().subtype_is("global") && has_8bit_header(part, data) => {
            encode(part, data, edits);
            Ok(())
        }
        Kind::Message => {
            set_encoding(part, "7bit", edits);
            part.children().try_for_each(|child| convert(&child, data, edits))
        }
        Kind::Leaf if part.encoding().is_identity() => {
            encode(part, data, edits);
            Ok(())
        }
        Kind::Leaf => Err(Obstacle::Encoded),
    }
}

fn has_8bit_header(part: &Part<'_>, data: &[u8]) -> bool {
    part.subtree().skip(1).any(|inside| has_8bit(&data[inside.header_range()]))
}

/// Writes the body of a part anew.
fn encode(part: &Part<'_>, data: &[u8], edits: &mut Vec<Edit>) {
    let body = part.body();
    let mut text = Vec::new();
    let quoted = !transfer::has_binary(body) && transfer::prefers_quoted(body);
    if quoted {
        transfer::write_quoted_printable(body, &mut text);
    } else {
        transfer::write_base64(body, &mut text);
        // The line end in front of a delimiter stands there already.
        if part.body_range().end < data.len() {
            text.truncate(text.len() - 2);
        }
    }
    set_encoding(part, if quoted { "quoted-printable" } else { "base64" }, edits);
    edits.push(Edit::new(part.body_range(), text));
}

/// Makes `word` the part's Content-Transfer-Encoding: in place of the first field, or behind the last field. A
/// container without the field is 7-bit already (RFC 2045 6.1).
pub(crate) fn set_encoding(part: &Part<'_>, word: &str, edits: &mut Vec<Edit>) {
    let line = format!("Content-Transfer-Encoding: {word}\r\n");
    let mut text = Some(line);
    for field in part.all("Content-Transfer-Encoding") {
        edits.push(Edit::new(field.range(), text.take().unwrap_or_default()));
    }
    let Some(line) = text.filter(|_| word != "7bit") else { return };
    let mime = if part.number() == 0 && part.value("MIME-Version").is_none() { "MIME-Version: 1.0\r\n" } else { "" };
    let at = part.fields().last().map_or(part.range().start, |field| field.range().end);
    edits.push(Edit::insert(at, format!("{mime}{line}")));
}

/// Bytes between the parts that nobody reads (preamble, epilogue) lose what is not ASCII.
fn clean_between(part: &Part<'_>, data: &[u8], edits: &mut Vec<Edit>) {
    let mut at = part.body_range().start;
    let mut gaps = Vec::new();
    for child in part.children() {
        gaps.push(at..child.range().start);
        at = child.range().end;
    }
    gaps.push(at..part.range().end);
    for gap in gaps.into_iter().filter(|gap| !gap.is_empty() && has_8bit(&data[gap.clone()])) {
        let text: Vec<u8> = data[gap.clone()].iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect();
        edits.push(Edit::new(gap, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(data: &str) -> Result<Option<String>, Obstacle> {
        seven_bit(data.as_bytes()).map(|converted| converted.map(|bytes| String::from_utf8(bytes).unwrap()))
    }

    #[test]
    fn leaves_seven_bits_alone() {
        assert_eq!(text("A: b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n"), Ok(None));
    }

    #[test]
    fn encodes_a_single_part() {
        let want = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nh\u{fc}\r\n"
            .replace('\u{fc}', "=C3=BC");
        let got = text("Subject: x\r\n\r\nhello and more h\u{fc}\r\n").unwrap().unwrap();
        assert_eq!(got, want.replace("\r\n\r\nh", "\r\n\r\nhello and more h"));
    }

    #[test]
    fn encodes_only_the_parts_that_need_it() {
        let mail = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\
                    \r\npre\u{fc}\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{4f60}\u{597d}\r\n--b--\r\n";
        let want = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\
                    \r\npre??\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n5L2g5aW9\r\n--b--\r\n";
        assert_eq!(text(mail), Ok(Some(want.to_owned())));
    }

    #[test]
    fn names_obstacles() {
        let signed = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{fc}\r\n--b\r\n\r\ns\r\n--b--\r\n";
        for (mail, obstacle) in [
            (signed, Obstacle::Signed),
            ("Subject: \u{fc}\r\n\r\nx\r\n", Obstacle::Header),
            ("Content-Transfer-Encoding: base64\r\n\r\n\u{fc}\r\n", Obstacle::Encoded),
            ("\n", Obstacle::Frame),
            ("A: b\rc\r\n\r\n\u{fc}\r\n", Obstacle::Frame),
            ("A: \0\r\n\r\n\u{fc}\r\n", Obstacle::Frame),
        ] {
            assert_eq!(text(mail), Err(obstacle));
        }
    }

    proptest! {
        #[test]
        fn what_is_given_is_seven_bit(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(seven_bit(&octets).map_or(true, |given| given.is_none_or(|whole| is_seven_bit(&whole))));
        }

        #[test]
        fn content_survives(
            text in "[ -~\u{e4}-\u{f6}]{0,1200}(\r\n[ -~\u{e4}-\u{f6}]{0,50}){0,30}\u{fc}",
            binary in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            let mut mail = format!("Content-Type: multipart/mixed; boundary=-=-\r\n\r\n---=-\r\n\r\n{text}\r\n---=-\r\n\
                                    Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n").into_bytes();
            let clean: Vec<u8> = binary.into_iter().filter(|byte| *byte != b'-').collect();
            mail.extend_from_slice(&clean);
            mail.extend_from_slice(b"\r\n---=---\r\n");
            let converted = seven_bit(&mail).unwrap().unwrap();
            prop_assert!(is_seven_bit(&converted));
            let tree = Tree::scan(&converted);
            let parts: Vec<_> = tree.parts(&converted).collect();
            prop_assert_eq!(parts.len(), 3);
            prop_assert_eq!(&*parts[1].decode().bytes, text.as_bytes());
            prop_assert_eq!(&*parts[2].decode().bytes, &*clean);
        }
    }
}
