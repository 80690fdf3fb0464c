//! Bytes in a named charset to text: the encodings of the web (`encoding_rs`) and UTF-7 (RFC 2152).
//!
//! Never fails: what a charset does not have becomes U+FFFD, an unknown name is taken as UTF-8 where that fits and as
//! Windows-1252 else, and a note says so. Labels are read as browsers do, so iso-8859-1 is Windows-1252.

use std::borrow::Cow;

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, WINDOWS_1252};
use memchr::memmem;

use crate::flaw::{Flaw, Flaws};

/// Decoded text and what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a> {
    pub text: Cow<'a, str>,
    pub flaws: Flaws,
}

/// Names that mail has and the web does not (Windows code pages as Java and Outlook write them).
const MAIL_LABELS: [(&[u8], &[u8]); 14] = [
    (b"cp932", b"shift_jis"),
    (b"ms932", b"shift_jis"),
    (b"cp936", b"gbk"),
    (b"ms936", b"gbk"),
    (b"cp949", b"euc-kr"),
    (b"ms949", b"euc-kr"),
    (b"ks_c_5601", b"euc-kr"),
    (b"cp950", b"big5"),
    (b"ms950", b"big5"),
    (b"cp874", b"windows-874"),
    (b"cp1258", b"windows-1258"),
    (b"utf8mb4", b"utf-8"),
    (b"iso-8859-8-e", b"iso-8859-8"),
    (b"x-mac-roman", b"macintosh"),
];

/// Decodes `bytes`; an empty label is the default of mail, us-ascii (RFC 2045 5.2).
#[must_use]
pub fn decode<'a>(label: &[u8], bytes: &'a [u8]) -> Text<'a> {
    let label = label.trim_ascii();
    if is_utf7(label) {
        return utf7(bytes);
    }
    if bytes.is_ascii() && !is_stateful(label) {
        return guessed(bytes, Flaws::NONE);
    }
    let mut flaws = Flaws::NONE;
    if label.is_empty() || is_ascii(label) {
        flaws.add(Flaw::CharsetGuessed);
        return guessed(bytes, flaws);
    }
    let Some(encoding) = known(label) else {
        flaws.add(Flaw::CharsetUnknown);
        return guessed(bytes, flaws);
    };
    if encoding == ISO_2022_JP && memmem::find(bytes, IDLE).is_some() {
        let bytes = without_idle_escapes(bytes);
        let (text, malformed) = encoding.decode_with_bom_removal(&bytes);
        let flaws = if malformed { flaws.and(Flaw::CharsetMalformed) } else { flaws };
        return Text { text: Cow::Owned(text.into_owned()), flaws };
    }
    let (text, malformed) = encoding.decode_with_bom_removal(bytes);
    let flaws = if malformed { flaws.and(Flaw::CharsetMalformed) } else { flaws };
    Text { text, flaws }
}

/// ISO-2022-JP back to ASCII and at once away again, as it stands where encoded words were joined. The web's decoder
/// sees an attack in that; in mail it is how words are cut.
const IDLE: &[u8] = b"\x1b(B\x1b";

fn without_idle_escapes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for at in memmem::find_iter(bytes, IDLE) {
        out.extend_from_slice(&bytes[from..at]);
        from = at + IDLE.len() - 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

/// Text in a charset. What it lacks becomes a character reference where `references` (HTML, XML), else there is no
/// result; nor is there one for charsets that are read but not written (UTF-7, UTF-16) and unknown ones.
#[must_use]
pub fn encode(label: &[u8], text: &str, references: bool) -> Option<Vec<u8>> {
    let label = label.trim_ascii();
    if is_utf7(label) || is_stateful(label) && !known(label).is_some_and(|found| found.output_encoding() == found) {
        return None;
    }
    let encoding = known(label).filter(|_| !is_ascii(label));
    // ISO 8859-1 has control characters where Windows-1252 has letters.
    let is_latin1 = [&b"iso-8859-1"[..], b"latin1", b"l1", b"iso_8859-1"].iter().any(|n| n.eq_ignore_ascii_case(label));
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        let mut place = [0; 4];
        let written = encoding.map(|encoding| encoding.encode(c.encode_utf8(&mut place)));
        match written {
            _ if c.is_ascii() => out.push(c as u8),
            Some((bytes, _, false)) if !(is_latin1 && matches!(bytes[..], [0x80..=0x9f])) => {
                out.extend_from_slice(&bytes);
            }
            _ if references => out.extend_from_slice(format!("&#{};", u32::from(c)).as_bytes()),
            _ => return None,
        }
    }
    Some(out)
}

/// A charset that can be read: named and known, or the default of mail.
pub fn is_known(label: &[u8]) -> bool {
    let label = label.trim_ascii();
    label.is_empty() || is_ascii(label) || is_utf7(label) || known(label).is_some()
}

fn known(label: &[u8]) -> Option<&'static Encoding> {
    Encoding::for_label(label).or_else(|| {
        let found = MAIL_LABELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(label));
        found.and_then(|(_, web)| Encoding::for_label(web))
    })
}

/// UTF-8 where the bytes are that, else Windows-1252.
fn guessed(bytes: &[u8], flaws: Flaws) -> Text<'_> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    };
    Text { text, flaws }
}

fn is_ascii(label: &[u8]) -> bool {
    [&b"us-ascii"[..], b"ascii", b"ansi_x3.4-1968", b"7bit", b"unknown-8bit"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(label))
}

/// Its ASCII bytes need not mean ASCII.
fn is_stateful(label: &[u8]) -> bool {
    known(label).is_some_and(|encoding| !encoding.is_ascii_compatible() && encoding != UTF_8)
}

fn is_utf7(label: &[u8]) -> bool {
    [&b"utf-7"[..], b"utf7", b"unicode-1-1-utf-7", b"unicode-2-0-utf-7", b"x-unicode-2-0-utf-7", b"csutf7"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(label))
}

/// UTF-7: `+` begins UTF-16 in base64 without padding, which the first other character ends; a `-` there is dropped.
fn utf7(bytes: &[u8]) -> Text<'_> {
    let mut flaws = Flaws::NONE;
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'+' {
            if byte.is_ascii() {
                text.push(char::from(byte));
            } else {
                text.push('\u{fffd}');
                flaws.add(Flaw::CharsetMalformed);
            }
            continue;
        }
        if let Some(behind) = rest.strip_prefix(b"-") {
            text.push('+');
            rest = behind;
            continue;
        }
        let length = rest.iter().position(|byte| sextet(*byte).is_none()).unwrap_or(rest.len());
        if shifted(&rest[..length], &mut text) {
            flaws.add(Flaw::CharsetMalformed);
        }
        rest = &rest[length..];
        rest = rest.strip_prefix(b"-").unwrap_or(rest);
    }
    Text { text: Cow::Owned(text), flaws }
}

/// UTF-16 big-endian in base64 appended as text; whether something was wrong.
fn shifted(encoded: &[u8], text: &mut String) -> bool {
    let mut units = Vec::with_capacity(encoded.len() * 6 / 16);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for value in encoded.iter().filter_map(|byte| sextet(*byte)) {
        bits = (bits << 6 | value) & 0x3f_ffff;
        held += 6;
        if held >= 16 {
            held -= 16;
            units.push((bits >> held) as u16);
        }
    }
    let mut wrong = encoded.is_empty() || held >= 6 || bits & ((1 << held) - 1) != 0;
    for unit in char::decode_utf16(units) {
        wrong |= unit.is_err();
        text.push(unit.unwrap_or('\u{fffd}'));
    }
    wrong
}

fn sextet(byte: u8) -> Option<u32> {
    match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes() {
        let none: &[&str] = &[];
        for (label, bytes, text, notes) in [
            ("utf-8", &b"\xc3\xbc"[..], "\u{fc}", none),
            ("ISO-8859-1", b"\xfc\x80", "\u{fc}\u{20ac}", none),
            ("us-ascii", b"\xc3\xbc", "\u{fc}", &["charset-guessed"]),
            ("", b"\xfc", "\u{fc}", &["charset-guessed"]),
            ("martian", b"\xfc", "\u{fc}", &["charset-unknown"]),
            ("martian", b"plain", "plain", none),
            ("utf-8", b"a\xffb", "a\u{fffd}b", &["charset-malformed"]),
            ("iso-2022-jp", b"\x1b$B$3$s\x1b(B", "\u{3053}\u{3093}", none),
            ("iso-2022-jp", b"\x1b$B$3\x1b(B\x1b$B$s\x1b(B!", "\u{3053}\u{3093}!", none),
            ("cp932", b"\x82\xb1", "\u{3053}", none),
            ("utf-16le", b"a\0b\0", "ab", none),
        ] {
            let got = decode(label.as_bytes(), bytes);
            assert_eq!((&*got.text, got.flaws.names().collect::<Vec<_>>()), (text, notes.to_vec()), "{label}");
        }
    }

    #[test]
    fn decodes_utf7() {
        for (bytes, text) in [
            (&b"Hi Mom -+Jjo--!"[..], "Hi Mom -\u{263a}-!"), // RFC 2152
            (b"A+ImIDkQ.", "A\u{2262}\u{391}."),
            (b"+ZeVnLIqe-", "\u{65e5}\u{672c}\u{8a9e}"),
            (b"1 +- 1", "1 + 1"),
            (b"+2D3eAA-", "\u{1f600}"),
            (b"end+", "end"),
        ] {
            assert_eq!(decode(b"UTF-7", bytes).text, text);
        }
    }
}
