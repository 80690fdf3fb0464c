//! Content transfer encodings (RFC 2045 6, uuencode), decoded as far as real readers do, and written.
//!
//! Decoding never fails; what was wrong comes beside the bytes. Good base64 in lines is stripped of its line ends in
//! runs and decoded by SIMD; at the first trouble a slow reader takes over from there.

use std::borrow::Cow;

use base64_simd::STANDARD;
use memchr::{memchr, memchr2};

use crate::flaw::{Flaw, Flaws};

/// RFC 2045 6.7 and 6.8: encoded lines have at most 76 characters.
pub const ENCODED_WIDTH: usize = 76;
/// Base64 decoded in one go: in the first cache with its output.
const RUN: usize = 12 * 1024;

/// A Content-Transfer-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    SevenBit,
    EightBit,
    Binary,
    Base64,
    QuotedPrintable,
    Uuencode,
    /// Anything else; the content is taken as it stands.
    Unknown,
}

const NAMES: [(&str, Encoding); 9] = [
    ("7bit", Encoding::SevenBit),
    ("8bit", Encoding::EightBit),
    ("binary", Encoding::Binary),
    ("base64", Encoding::Base64),
    ("quoted-printable", Encoding::QuotedPrintable),
    ("uuencode", Encoding::Uuencode),
    ("x-uuencode", Encoding::Uuencode),
    ("x-uue", Encoding::Uuencode),
    ("uue", Encoding::Uuencode),
];

impl Encoding {
    /// Reads a field value; comments, quotes and what follows a semicolon are passed over, as readers do.
    pub fn read(value: &[u8]) -> Self {
        let value = crate::parameter::skip_blanks(value);
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b'(' | b'"');
        let word = &value[..value.iter().position(ends).unwrap_or(value.len())];
        if word.is_empty() {
            return Self::SevenBit;
        }
        let found = NAMES.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
        found.map_or(Self::Unknown, |(_, encoding)| *encoding)
    }

    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, encoding)| *encoding == self).map_or("unknown", |(name, _)| name)
    }

    /// The content stands in the message as it is.
    pub fn is_identity(self) -> bool {
        matches!(self, Self::SevenBit | Self::EightBit | Self::Binary | Self::Unknown)
    }

    /// Decodes content; what needs no decoding is borrowed.
    #[must_use]
    pub fn decode(self, content: &[u8]) -> Decoded<'_> {
        match self {
            Self::Base64 => base64(content),
            Self::QuotedPrintable => quoted_printable(content),
            Self::Uuencode => uuencode(content),
            Self::SevenBit | Self::EightBit | Self::Binary => Decoded::as_is(content, Flaws::NONE),
            Self::Unknown => {
                let mut flaws = Flaws::NONE;
                flaws.add(Flaw::EncodingUnknown);
                Decoded::as_is(content, flaws)
            }
        }
    }
}

/// Decoded bytes and what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub bytes: Cow<'a, [u8]>,
    pub flaws: Flaws,
}

impl<'a> Decoded<'a> {
    fn as_is(bytes: &'a [u8], flaws: Flaws) -> Self {
        Self { bytes: Cow::Borrowed(bytes), flaws }
    }

    fn new(bytes: Vec<u8>, flaws: Flaws) -> Self {
        Self { bytes: Cow::Owned(bytes), flaws }
    }
}

/// Base64 in lines.
#[must_use]
pub fn base64(encoded: &[u8]) -> Decoded<'static> {
    let mut out = Vec::with_capacity(encoded.len() / 4 * 3 + 3);
    let mut run = Vec::with_capacity(RUN + 4);
    let mut at = 0;
    let mut width = 0;
    while at < encoded.len() {
        let (end, next) = line_end(encoded, at, width);
        width = end - at;
        // A line longer than a run is taken in pieces.
        for piece in encoded[at..end].chunks(RUN) {
            if run.len() + piece.len() > RUN && !decode_run(&mut run, &mut out) {
                return Slow::finish(out, &[&run, &encoded[at..]]);
            }
            run.extend_from_slice(piece);
            at += piece.len();
        }
        at = next;
    }
    if STANDARD.decode_append(&run, &mut out).is_err() {
        return Slow::finish(out, &[&run]);
    }
    Decoded::new(out, Flaws::NONE)
}

/// Where the line at `at` ends and the next begins. Lines are mostly as long as the one before.
fn line_end(bytes: &[u8], at: usize, width: usize) -> (usize, usize) {
    let guess = at + width;
    match bytes.get(guess..guess + 2) {
        Some(b"\r\n") if width > 0 => return (guess, guess + 2),
        Some([b'\n', _]) if width > 0 => return (guess, guess + 1),
        _ => {}
    }
    let lf = memchr(b'\n', &bytes[at..]).map(|found| at + found);
    let end = lf.unwrap_or(bytes.len());
    let next = lf.map_or(bytes.len(), |lf| lf + 1);
    (if end > at && bytes[end - 1] == b'\r' { end - 1 } else { end }, next)
}

/// Decodes the whole groups of a run that has more behind it; false: not plain base64, nothing was decoded.
fn decode_run(run: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    let whole = run.len() / 4 * 4;
    if run[..whole].last() == Some(&b'=') || STANDARD.decode_append(&run[..whole], out).is_err() {
        return false;
    }
    run.drain(..whole);
    true
}

/// Character by character, with everything that goes wrong in the field.
struct Slow {
    out: Vec<u8>,
    flaws: Flaws,
    bits: u32,
    held: u32,
    padded: bool,
}

impl Slow {
    /// Decodes the rest, which begins at a whole group.
    fn finish(out: Vec<u8>, rest: &[&[u8]]) -> Decoded<'static> {
        let mut slow = Self { out, flaws: Flaws::NONE, bits: 0, held: 0, padded: false };
        for bytes in rest {
            for byte in *bytes {
                slow.feed(*byte);
            }
        }
        if slow.held > 0 {
            slow.flaws.add(Flaw::Base64Padding);
            slow.close_group();
        }
        Decoded::new(slow.out, slow.flaws)
    }

    fn feed(&mut self, byte: u8) {
        match SEXTETS[byte as usize] {
            value @ 0..64 => {
                if std::mem::take(&mut self.padded) {
                    self.flaws.add(Flaw::Base64AfterPadding);
                }
                self.bits = self.bits << 6 | u32::from(value);
                self.held += 1;
                if self.held == 4 {
                    self.out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                    (self.bits, self.held) = (0, 0);
                }
            }
            PAD => {
                if self.held > 0 {
                    self.close_group();
                    self.padded = true;
                } else if !self.padded {
                    self.flaws.add(Flaw::Base64Padding);
                }
            }
            BLANK => {}
            _ => self.flaws.add(Flaw::Base64Junk),
        }
    }

    /// A group of two or three characters is one or two bytes; one character alone is none.
    fn close_group(&mut self) {
        let bits = self.bits << (6 * (4 - self.held));
        let bytes = &bits.to_be_bytes()[1..];
        self.out.extend_from_slice(&bytes[..self.held as usize - 1]);
        if self.held == 1 {
            self.flaws.add(Flaw::Base64Padding);
        }
        (self.bits, self.held) = (0, 0);
    }
}

const PAD: u8 = 64;
const BLANK: u8 = 65;
const JUNK: u8 = 66;
const SEXTETS: [u8; 256] = sextets();

const fn sextets() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    let mut table = [JUNK; 256];
    let mut at = 0;
    while at < alphabet.len() {
        table[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    let blanks = b" \t\r\n";
    at = 0;
    while at < blanks.len() {
        table[blanks[at] as usize] = BLANK;
        at += 1;
    }
    table
}

/// Quoted-printable (RFC 2045 6.7). Line ends stay as they are; blanks before them are the transport's and go.
#[must_use]
pub fn quoted_printable(encoded: &[u8]) -> Decoded<'static> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut flaws = Flaws::NONE;
    let mut at = 0;
    while at < encoded.len() {
        let (end, next) = line_end(encoded, at, 0);
        let line = &encoded[at..end];
        let text = trim_blanks(line);
        if line.len() > ENCODED_WIDTH || text.len() < line.len() {
            flaws.add(Flaw::QuotedLine);
        }
        if let Some(text) = text.strip_suffix(b"=") {
            decode_escapes(text, &mut out, &mut flaws);
        } else {
            decode_escapes(text, &mut out, &mut flaws);
            out.extend_from_slice(&encoded[end..next]);
        }
        at = next;
    }
    Decoded::new(out, flaws)
}

/// The escapes of one line.
pub(crate) fn quoted_escapes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    decode_escapes(text, &mut out, &mut Flaws::default());
    out
}

fn decode_escapes(text: &[u8], out: &mut Vec<u8>, flaws: &mut Flaws) {
    let mut rest = text;
    while let Some(at) = memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
        if let (Some(high), Some(low)) = (digit(rest.get(at + 1)), digit(rest.get(at + 2))) {
            out.push((high * 16 + low) as u8);
            rest = &rest[at + 3..];
        } else {
            flaws.add(Flaw::QuotedEscape);
            out.push(b'=');
            rest = &rest[at + 1..];
        }
    }
    out.extend_from_slice(rest);
}

fn trim_blanks(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |at| at + 1);
    &line[..end]
}

/// Uuencode: lines between `begin` and `end`, whichever are there.
#[must_use]
pub fn uuencode(encoded: &[u8]) -> Decoded<'static> {
    let mut out = Vec::with_capacity(encoded.len() / 4 * 3);
    let mut flaws = Flaws::NONE;
    let (mut begun, mut ended) = (false, false);
    let mut at = 0;
    while at < encoded.len() && !ended {
        let (end, next) = line_end(encoded, at, 0);
        let line = &encoded[at..end];
        at = next;
        if !begun && line.starts_with(b"begin ") {
            begun = true;
        } else if line == b"end" {
            ended = true;
        } else if !line.is_empty() && begun {
            decode_uu_line(line, &mut out, &mut flaws);
        }
    }
    if !begun || !ended {
        flaws.add(Flaw::UuFrame);
    }
    Decoded::new(out, flaws)
}

fn decode_uu_line(line: &[u8], out: &mut Vec<u8>, flaws: &mut Flaws) {
    let value = |byte: u8| byte.wrapping_sub(b' ') & 0x3f;
    let length = usize::from(value(line[0]));
    let before = out.len();
    for group in line[1..].chunks(4) {
        let bits = (0..4).fold(0_u32, |bits, at| bits << 6 | u32::from(group.get(at).map_or(0, |byte| value(*byte))));
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    if out.len() < before + length {
        flaws.add(Flaw::UuLine);
    }
    out.truncate(before + length);
}

/// Appends base64 in lines of 76 characters with CRLF, the last one too.
pub fn write_base64(content: &[u8], out: &mut Vec<u8>) {
    out.reserve(content.len() / 3 * 4 + content.len() / 57 * 2 + 8);
    for line in content.chunks(ENCODED_WIDTH / 4 * 3) {
        STANDARD.encode_append(line, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends quoted-printable (RFC 2045 6.7). CRLF is a line end of the text, any other CR or LF is content. An
/// encoded `From ` and a lone dot at the start of a line survive mailboxes and SMTP.
pub fn write_quoted_printable(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut column = 0;
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        if rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            (column, rest) = (0, &rest[2..]);
            continue;
        }
        let at_end = behind.is_empty() || behind.starts_with(b"\r\n");
        let risky = column == 0 && (rest.starts_with(b"From ") || (byte == b'.' && at_end));
        let blank = matches!(byte, b' ' | b'\t') && !at_end;
        let plain = !risky && (blank || matches!(byte, b'!'..=b'<' | b'>'..=b'~'));
        let width = if plain { 1 } else { 3 };
        if column + width >= ENCODED_WIDTH {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if plain {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        column += width;
        rest = behind;
    }
}

/// Whether quoted-printable is shorter than base64: fewer than one byte in six needs an escape.
pub fn prefers_quoted(content: &[u8]) -> bool {
    let escaped = content.iter().filter(|byte| !matches!(byte, b' '..=b'<' | b'>'..=b'~' | b'\t' | b'\r' | b'\n'));
    escaped.count() * 6 <= content.len()
}

/// Bytes that 7bit content may not have: NUL, a CR or LF alone (RFC 2045 2.7).
pub fn has_binary(content: &[u8]) -> bool {
    if memchr(0, content).is_some() {
        return true;
    }
    let mut rest = content;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        if !rest[at..].starts_with(b"\r\n") {
            return true;
        }
        rest = &rest[at + 2..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn notes(decoded: &Decoded<'_>) -> Vec<&'static str> {
        decoded.flaws.names().collect()
    }

    #[test]
    fn decodes_base64() {
        let none: &[&str] = &[];
        for (encoded, bytes, wrong) in [
            (&b"aGVsbG8="[..], &b"hello"[..], none),
            (b"aGVs\r\nbG8=\r\n", b"hello", none),
            (b"aG\nVsbG\n8=\n", b"hello", none),
            (b"aGVsbG8", b"hello", &["base64-padding"]),
            (b"aGVs!bG8=", b"hello", &["base64-junk"]),
            (b"aGU=aGU=", b"hehe", &["base64-after-padding"]),
            (b"aGVsb", b"hel", &["base64-padding"]),
            (b"", b"", none),
            (b"====", b"", &["base64-padding"]),
            (b"aGVsbG8=\r\n-- \r\nme", b"hello\x99", &["base64-junk", "base64-padding", "base64-after-padding"]),
        ] {
            let got = base64(encoded);
            assert_eq!((&*got.bytes, notes(&got)), (bytes, wrong.to_vec()), "{}", String::from_utf8_lossy(encoded));
        }
    }

    #[test]
    fn decodes_quoted_printable() {
        let none: &[&str] = &[];
        for (encoded, bytes, wrong) in [
            (&b"a=3Db=\r\nc\r\n"[..], &b"a=bc\r\n"[..], none),
            (b"a=3db= \t\nc  \n", b"a=bc\n", &["quoted-line"]),
            (b"a=zz=", b"a=zz", &["quoted-escape"]),
            (b"=C3=BC", b"\xc3\xbc", none),
        ] {
            let got = quoted_printable(encoded);
            assert_eq!((&*got.bytes, notes(&got)), (bytes, wrong.to_vec()), "{}", String::from_utf8_lossy(encoded));
        }
    }

    #[test]
    fn decodes_uuencode() {
        let got = uuencode(b"begin 644 x.txt\r\n#0V%T\r\n`\r\nend\r\n");
        assert_eq!((&*got.bytes, got.flaws), (&b"Cat"[..], Flaws::NONE));
        assert_eq!(notes(&uuencode(b"nothing")), ["uu-frame"]);
        assert_eq!(notes(&uuencode(b"begin 644 x\n0ab\nend\n")), ["uu-line"]);
    }

    #[test]
    fn reads_names() {
        for (value, encoding) in [
            (&b" BASE64"[..], Encoding::Base64),
            (b" (why) \"quoted-printable\"; x", Encoding::QuotedPrintable),
            (b" 8bit (fine)", Encoding::EightBit),
            (b"", Encoding::SevenBit),
            (b" x-martian", Encoding::Unknown),
        ] {
            assert_eq!(Encoding::read(value), encoding);
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(content in proptest::collection::vec(any::<u8>(), 0..40_000)) {
            let mut encoded = Vec::new();
            write_base64(&content, &mut encoded);
            let got = base64(&encoded);
            prop_assert_eq!((&*got.bytes, got.flaws), (&*content, Flaws::NONE));
            encoded.clear();
            write_quoted_printable(&content, &mut encoded);
            let got = quoted_printable(&encoded);
            prop_assert_eq!((&*got.bytes, got.flaws), (&*content, Flaws::NONE));
            prop_assert!(!crate::body::has_line_over(ENCODED_WIDTH, &encoded));
        }

        #[test]
        fn fast_and_slow_agree(encoded in "[A-Za-z0-9+/]{0,100}(={0,2}[\r\n !]{0,3}[A-Za-z0-9+/]{0,100}){0,200}") {
            let fast = base64(encoded.as_bytes());
            let slow = Slow::finish(Vec::new(), &[encoded.as_bytes()]);
            prop_assert_eq!(fast.bytes, slow.bytes);
        }
    }
}
