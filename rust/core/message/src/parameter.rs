//! Content-Type, Content-Disposition and their parameters (RFC 2045 5.1, RFC 2183, RFC 2231), as leniently as mail
//! readers take them.
//!
//! A value is read up to the next `;`, blanks inside kept, as most readers do with `name=a b.txt`; quotes that are
//! never closed end with the value. Comments are passed over in front of names and behind values. A parameter that
//! has no `=` is none. Nothing fails. RFC 2231 pieces are put together in the order of their numbers.

use std::borrow::Cow;

use memchr::memchr2;

use crate::charset;
use crate::words;

/// Pieces of one RFC 2231 parameter that are put together. A file name of 1,000 octets has about 15.
const MAX_PIECES: usize = 100;
/// Parameters of one field that are looked at; real ones have up to five.
const MAX_PARAMETERS: usize = 200;

/// The two words of a Content-Type, or of a disposition with an empty second one, as they stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentType<'a> {
    pub main: &'a [u8],
    pub sub: &'a [u8],
}

impl<'a> ContentType<'a> {
    pub const TEXT_PLAIN: ContentType<'static> = ContentType { main: b"text", sub: b"plain" };

    /// Reads the front of a value. Words that are missing are empty.
    pub fn read(value: &'a [u8]) -> Self {
        let value = skip_blanks(value);
        let main = token(value);
        let rest = skip_blanks(&value[main.len()..]);
        let sub = rest.strip_prefix(b"/").map_or(&rest[..0], |rest| token(skip_blanks(rest)));
        Self { main, sub }
    }

    pub fn is(&self, main: &str) -> bool {
        self.main.eq_ignore_ascii_case(main.as_bytes())
    }

    pub fn subtype_is(&self, sub: &str) -> bool {
        self.sub.eq_ignore_ascii_case(sub.as_bytes())
    }

    /// A whole message inside: message/rfc822 (RFC 2046 5.2.1) or message/global (RFC 6532 3.7).
    pub fn is_message(&self) -> bool {
        self.is("message") && (self.subtype_is("rfc822") || self.subtype_is("global"))
    }

    /// In lower case, `text/plain`.
    pub fn name(&self) -> String {
        let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
        if self.sub.is_empty() { word(self.main) } else { format!("{}/{}", word(self.main), word(self.sub)) }
    }
}

/// One parameter as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Name with the `*` marks of RFC 2231.
    pub name: &'a [u8],
    /// Value without quotes and backslashes.
    pub value: Cow<'a, [u8]>,
}

/// The parameters of a field, in order.
#[derive(Debug, Clone)]
pub struct Parameters<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Parameters<'a> {
    /// Of a whole field value: everything behind the first `;`.
    pub fn of(value: &'a [u8]) -> Self {
        let value = skip_blanks(value);
        let first = value.iter().position(|byte| *byte == b';').map_or(&value[..0], |at| &value[at..]);
        Self { rest: first, left: MAX_PARAMETERS }
    }

    /// The parameter of this name as plain bytes: the first that stands there without RFC 2231 marks, else its
    /// pieces put together, not decoded.
    pub fn plain(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let first = self.clone().find(|parameter| parameter.name.eq_ignore_ascii_case(name.as_bytes()));
        first.map(|parameter| parameter.value)
    }

    /// The boundary as a delimiter must have it; none if it is empty. Blanks cannot end it (RFC 2046 5.1.1).
    pub fn boundary(&self) -> Option<Cow<'a, [u8]>> {
        let boundary = match self.plain("boundary") {
            Some(Cow::Borrowed(bytes)) => Cow::Borrowed(bytes.trim_ascii_end()),
            Some(Cow::Owned(bytes)) => Cow::Owned(bytes.trim_ascii_end().to_vec()),
            None => Cow::Owned(self.text("boundary")?.into_bytes()),
        };
        (!boundary.is_empty()).then_some(boundary)
    }

    /// The parameter as text: RFC 2231 pieces first, decoded, then the plain one with encoded words decoded, which
    /// RFC 2047 5 forbids and many programs write.
    pub fn text(&self, name: &str) -> Option<String> {
        self.extended(name).or_else(|| self.plain(name).map(|value| words::decode(&value)))
    }

    /// The RFC 2231 form only: `name*=charset'language'text` or pieces `name*0*=`, `name*1=`.
    pub fn extended(&self, name: &str) -> Option<String> {
        let mut pieces: Vec<(u32, bool, Cow<'a, [u8]>)> = Vec::new();
        for parameter in self.clone() {
            let Some((number, encoded)) = piece_of(parameter.name, name) else { continue };
            if pieces.len() < MAX_PIECES && !pieces.iter().any(|piece| piece.0 == number) {
                pieces.push((number, encoded, parameter.value));
            }
        }
        pieces.sort_by_key(|piece| piece.0);
        let mut charset = Vec::new();
        let mut text = Vec::new();
        for (at, (_, encoded, value)) in pieces.iter().enumerate() {
            let mut value: &[u8] = value;
            if *encoded && at == 0 {
                (charset, value) = split_charset(value);
            }
            if *encoded { percent_decode(value, &mut text) } else { text.extend_from_slice(value) }
        }
        if pieces.is_empty() {
            return None;
        }
        let label = if charset.is_empty() { b"utf-8".to_vec() } else { charset };
        Some(charset::decode(&label, &text).text.into_owned())
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Parameter<'a>;

    fn next(&mut self) -> Option<Parameter<'a>> {
        while self.left > 0 {
            let start = self.rest.iter().position(|byte| !matches!(byte, b';' | b' ' | b'\t' | b'\r' | b'\n'))?;
            self.left -= 1;
            let rest = skip_blanks(&self.rest[start..]);
            let length = memchr2(b'=', b';', rest).unwrap_or(rest.len());
            if rest.get(length) != Some(&b'=') {
                self.rest = &rest[length..];
                continue;
            }
            let name = rest[..length].trim_ascii();
            let (value, rest) = read_value(skip_blanks(&rest[length + 1..]));
            self.rest = rest;
            return Some(Parameter { name, value });
        }
        None
    }
}

/// Number and encoding of a piece of the parameter `name`; a lone `name*` is number 0.
fn piece_of(written: &[u8], name: &str) -> Option<(u32, bool)> {
    if written.len() <= name.len() || !written[..name.len()].eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    let marks = written[name.len()..].strip_prefix(b"*")?;
    if marks.is_empty() {
        return Some((0, true));
    }
    let (digits, encoded) = marks.strip_suffix(b"*").map_or((marks, false), |digits| (digits, true));
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, encoded))
}

/// `utf-8'en'text` into charset and text; a value without the two quotes is text alone.
fn split_charset(value: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut quotes = value.iter().enumerate().filter(|(_, byte)| **byte == b'\'').map(|(at, _)| at);
    match (quotes.next(), quotes.next()) {
        (Some(first), Some(second)) => (value[..first].to_vec(), &value[second + 1..]),
        _ => (Vec::new(), value),
    }
}

fn percent_decode(value: &[u8], out: &mut Vec<u8>) {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut at = 0;
    while at < value.len() {
        match (value[at], digit(value.get(at + 1)), digit(value.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// A value at the front of `rest`, and what stands behind it.
fn read_value(rest: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    if let Some(inside) = rest.strip_prefix(b"\"") {
        let (value, behind) = quoted(inside);
        let next = behind.iter().position(|byte| *byte == b';').unwrap_or(behind.len());
        return (value, &behind[next..]);
    }
    let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
    let mut value = rest[..end].trim_ascii();
    if let Some(comment) = value.windows(2).position(|pair| pair[0].is_ascii_whitespace() && pair[1] == b'(') {
        value = value[..comment].trim_ascii_end();
    }
    (without_line_ends(value), &rest[end..])
}

/// A quoted string up to its closing quote: backslashes and line ends taken out.
fn quoted(inside: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let mut at = 0;
    let mut changed = false;
    while let Some(byte) = inside.get(at) {
        match byte {
            b'"' => break,
            b'\\' => {
                changed = true;
                at += 1;
            }
            b'\r' | b'\n' => changed = true,
            _ => {}
        }
        at += 1;
    }
    let end = at.min(inside.len());
    let behind = inside.get(end + 1..).unwrap_or(&[]);
    if !changed {
        return (Cow::Borrowed(&inside[..end]), behind);
    }
    let mut value = Vec::with_capacity(end);
    let mut bytes = inside[..end].iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => value.extend(bytes.next()),
            b'\r' | b'\n' => {}
            _ => value.push(*byte),
        }
    }
    (Cow::Owned(value), behind)
}

fn without_line_ends(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}

/// Up to a blank, a comment, `/`, `;` or `=`.
fn token(value: &[u8]) -> &[u8] {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b';' | b'(' | b'=' | b'"' | b',');
    &value[..value.iter().position(ends).unwrap_or(value.len())]
}

/// Behind blanks, line ends and comments (RFC 5322 3.2.2).
pub(crate) fn skip_blanks(value: &[u8]) -> &[u8] {
    let mut rest = value.trim_ascii_start();
    while rest.first() == Some(&b'(') {
        rest = behind_comment(rest).trim_ascii_start();
    }
    rest
}

/// Behind the comment at the front; one that is not closed goes to the end.
pub(crate) fn behind_comment(value: &[u8]) -> &[u8] {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match byte {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    &value[at.min(value.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_types() {
        for (value, name) in [
            (&b" text/plain; charset=utf-8"[..], "text/plain"),
            (b" (a (nested) comment) Text / HTML ; x", "text/html"),
            (b" multipart/mixed;\r\n\tboundary=x", "multipart/mixed"),
            (b" text", "text"),
            (b"", ""),
        ] {
            assert_eq!(ContentType::read(value).name(), name);
        }
    }

    #[test]
    fn reads_parameters() {
        for (value, name, want) in [
            (&b" a/b; x=1; Boundary=\"a \\\"b\"; y"[..], "boundary", Some("a \"b")),
            (b" a/b; name=two words.txt ; z=1", "name", Some("two words.txt")),
            (b" a/b; charset=us-ascii (Plain; text)", "charset", Some("us-ascii")),
            (b" a/b; name=\"never closed", "name", Some("never closed")),
            (b" a/b; filename*=utf-8'de'%C3%BCber%20uns.txt", "filename", Some("\u{fc}ber uns.txt")),
            (
                b" a/b; filename*1*=%C3%BC; filename*0*=iso-8859-1''%FC; filename=x",
                "filename",
                Some("\u{fc}\u{c3}\u{bc}"),
            ),
            (b" a/b; filename*0=\"one \"; filename*1=two", "filename", Some("one two")),
            (b" a/b; filename=\"=?utf-8?q?=C3=BC?=.txt\"", "filename", Some("\u{fc}.txt")),
            (b" a/b; boundary=----=_x", "boundary", Some("----=_x")),
            (b" a/b; =", "", Some("")),
            (b" a/b", "x", None),
        ] {
            assert_eq!(Parameters::of(value).text(name).as_deref(), want, "{}", String::from_utf8_lossy(value));
        }
    }
}
