//! Encoded words (RFC 2047) in header text, decoded as mail readers do, and written.
//!
//! Folds are unfolded. Blanks between two encoded words vanish (RFC 2047 6.2), also across a fold; neighbours in the
//! same charset and encoding are joined before the charset is decoded, since programs cut characters in two. Words
//! glued to text, blanks inside, missing padding: decoded all the same. What cannot be decoded stays as it stands.

use std::borrow::Cow;

use memchr::memmem;

use crate::charset;
use crate::flaw::{Flaw, Flaws};
use crate::transfer;

/// RFC 2047 2: an encoded word has at most 75 characters.
pub const MAX_WORD: usize = 75;
/// Characters of a charset name that are looked at.
const MAX_LABEL: usize = 60;

/// Decoded header text.
#[must_use]
pub fn decode(value: &[u8]) -> String {
    decode_noting(value).0
}

/// Decoded header text, and what was wrong.
#[must_use]
pub fn decode_noting(value: &[u8]) -> (String, Flaws) {
    let value = unfolded(value);
    let mut out = Out { text: String::with_capacity(value.len()), pending: None, blanks: &[], flaws: Flaws::NONE };
    let mut rest: &[u8] = &value;
    let tail = memmem::rfind(rest, b"?=").map_or(rest.len(), |end| rest.len() - end);
    let finder = memmem::Finder::new(b"=?");
    let mut from = 0;
    while let Some(found) = finder.find(&rest[from..]) {
        let start = from + found;
        // Only what an end follows is read, so that openings without end cost nothing.
        if rest.len() - start <= tail {
            break;
        }
        if let Some((word, length)) = Word::read(&rest[start..]) {
            out.plain(&rest[..start]);
            out.word(word);
            rest = &rest[start + length..];
            from = 0;
        } else {
            out.flaws.add(Flaw::EncodedWord);
            from = start + 2;
        }
    }
    out.plain(rest);
    out.flush();
    (out.text, out.flaws)
}

/// Without line ends; the blanks behind them stay (RFC 5322 2.2.3).
pub(crate) fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}

/// One encoded word as it stands.
#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    label: &'a [u8],
    base64: bool,
    encoded: &'a [u8],
}

impl<'a> Word<'a> {
    /// Reads the word at the front, which begins with `=?`; also gives its length.
    fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let inside = &bytes[2..];
        let label_end = inside.iter().take(MAX_LABEL).position(|byte| *byte == b'?')?;
        let encoding = *inside.get(label_end + 1)?;
        if inside.get(label_end + 2) != Some(&b'?') || !matches!(encoding, b'B' | b'b' | b'Q' | b'q') {
            return None;
        }
        let encoded = &inside[label_end + 3..];
        let end = word_end(encoded)?;
        // RFC 2231 5: a language may stand behind the charset.
        let label = inside[..label_end].split(|byte| *byte == b'*').next()?;
        let word = Self { label, base64: encoding.eq_ignore_ascii_case(&b'B'), encoded: &encoded[..end] };
        Some((word, 2 + label_end + 3 + end + 2))
    }
}

/// Where `?=` stands; a `?` inside the text is passed over.
fn word_end(encoded: &[u8]) -> Option<usize> {
    memmem::find(encoded, b"?=")
}

/// Text in the making.
struct Out<'a> {
    text: String,
    /// Bytes of encoded words whose charset is not decoded yet, with that charset and encoding.
    pending: Option<(&'a [u8], bool, Vec<u8>)>,
    /// Blanks behind those words: nothing, if another word follows.
    blanks: &'a [u8],
    flaws: Flaws,
}

impl<'a> Out<'a> {
    fn plain(&mut self, bytes: &'a [u8]) {
        if self.pending.is_some() && bytes.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            self.blanks = bytes;
        } else {
            self.flush();
            self.push(bytes);
        }
    }

    fn word(&mut self, word: Word<'a>) {
        let bytes =
            if word.base64 { transfer::base64(word.encoded).bytes.into_owned() } else { quoted_word(word.encoded) };
        self.blanks = &[];
        match &mut self.pending {
            Some((label, base64, held)) if label.eq_ignore_ascii_case(word.label) && *base64 == word.base64 => {
                held.extend_from_slice(&bytes);
            }
            _ => {
                self.flush();
                self.pending = Some((word.label, word.base64, bytes));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((label, _, bytes)) = self.pending.take() {
            let decoded = charset::decode(label, &bytes);
            self.text.push_str(&decoded.text);
            self.flaws = self.flaws.with(decoded.flaws);
        }
        let blanks = std::mem::take(&mut self.blanks);
        self.push(blanks);
    }

    fn push(&mut self, bytes: &[u8]) {
        let decoded = charset::decode(b"utf-8", bytes);
        if decoded.flaws.is_empty() {
            self.text.push_str(&decoded.text);
        } else {
            let guessed = charset::decode(b"", bytes);
            self.text.push_str(&guessed.text);
            self.flaws = self.flaws.with(guessed.flaws);
        }
    }
}

/// The Q encoding (RFC 2047 4.2): `_` is a space.
fn quoted_word(encoded: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'_' { b' ' } else { *byte }).collect();
    transfer::quoted_escapes(&spaced)
}

/// Text as encoded words in UTF-8, Q or B whichever is shorter, in pieces that each stand alone; plain ASCII that
/// cannot be taken for an encoded word stays what it is.
#[must_use]
pub fn encode(text: &str) -> Vec<String> {
    let quoted: usize = text.bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum();
    let base64 = text.len().div_ceil(3) * 4;
    let use_base64 = base64 < quoted;
    // `=?utf-8?q?` and `?=` are 12 characters.
    let room = MAX_WORD - 12;
    let mut words = Vec::new();
    let mut piece = String::new();
    let mut width = 0;
    for c in text.chars() {
        let cost: usize = if use_base64 {
            c.len_utf8()
        } else {
            c.encode_utf8(&mut [0; 4]).bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum()
        };
        let limit = if use_base64 { room / 4 * 3 } else { room };
        if width + cost > limit {
            words.push(write_word(&piece, use_base64));
            piece.clear();
            width = 0;
        }
        piece.push(c);
        width += cost;
    }
    if !piece.is_empty() {
        words.push(write_word(&piece, use_base64));
    }
    words
}

fn write_word(piece: &str, base64: bool) -> String {
    if base64 {
        return format!("=?utf-8?b?{}?=", base64_simd::STANDARD.encode_to_string(piece.as_bytes()));
    }
    let mut word = String::from("=?utf-8?q?");
    for byte in piece.bytes() {
        match byte {
            b' ' => word.push('_'),
            byte if is_plain(byte) => word.push(char::from(byte)),
            byte => word.extend(["=".to_owned(), format!("{byte:02X}")]),
        }
    }
    word + "?="
}

/// What stands for itself in a phrase too (RFC 2047 5 (3)); a space becomes `_`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'!' | b'*' | b'+' | b'-' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes() {
        for (value, text) in [
            ("plain", "plain"),
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=  \r\n  =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            ("=?utf-8*en?q?=C3=BC?=", "\u{fc}"),
            ("x=?utf-8?b?w7w?=y", "x\u{fc}y"),
            ("=?utf-8?b?ww==?= =?utf-8?b?vA==?=", "\u{fc}"),
            ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "\u{fc}"),
            ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
            ("=?utf-8?q?a b?=", "a b"),
            ("a =? b", "a =? b"),
            ("folded\r\n text", "folded text"),
            ("=?utf-8?q?a?= ", "a "),
        ] {
            assert_eq!(decode(value.as_bytes()), text, "{value}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(text in "\\PC{0,200}") {
            let words = encode(&text);
            prop_assert!(words.iter().all(|word| word.len() <= MAX_WORD));
            prop_assert_eq!(decode(words.join("\r\n ").as_bytes()), text);
        }
    }
}
