//! Canonical forms of header fields and bodies (RFC 6376 3.4), and the body hash that signatures share.
//!
//! A body is taken in pieces of any size and hashed once for each form that some signature wants. Lines may end with
//! CRLF or a bare LF; both are hashed as CRLF, so a message that a tool stored with LF is judged as it was sent.
//! Nothing is kept of the body but an unfinished run of empty lines and white space.

use aws_lc_rs::digest::{Context, SHA256};
use memchr::{memchr, memchr2};

/// How headers or bodies are made comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    Simple,
    Relaxed,
}

impl Form {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        }
    }

    pub fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"simple" => Some(Self::Simple),
            b"relaxed" => Some(Self::Relaxed),
            _ => None,
        }
    }
}

/// Appends the canonical form of one field with its CRLF.
pub fn field(out: &mut Vec<u8>, raw: &[u8], form: Form) {
    match form {
        Form::Simple => simple_field(out, raw),
        Form::Relaxed => relaxed_field(out, raw),
    }
}

fn simple_field(out: &mut Vec<u8>, raw: &[u8]) {
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(without_line_end(line));
        out.extend_from_slice(b"\r\n");
    }
}

/// RFC 6376 3.4.2: name in lower case, unfolded, white space reduced.
fn relaxed_field(out: &mut Vec<u8>, raw: &[u8]) {
    let colon = memchr(b':', raw).unwrap_or(raw.len());
    out.extend(raw[..colon].trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let value = raw.get(colon + 1..).unwrap_or_default();
    let start = out.len();
    for line in value.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        reduce(out, line, start);
    }
    while out.len() > start && out.last() == Some(&b' ') {
        out.pop();
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a line with each run of white space as one space, none at the front of the value.
fn reduce(out: &mut Vec<u8>, line: &[u8], start: usize) {
    let mut rest = line;
    while let Some(found) = memchr2(b' ', b'\t', rest) {
        out.extend_from_slice(&rest[..found]);
        if out.len() > start && out.last() != Some(&b' ') {
            out.push(b' ');
        }
        rest = rest[found..].trim_ascii_start_wsp();
    }
    out.extend_from_slice(rest);
}

trait Wsp {
    fn trim_ascii_start_wsp(&self) -> &Self;
}

impl Wsp for [u8] {
    fn trim_ascii_start_wsp(&self) -> &[u8] {
        let kept = self.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(self.len());
        &self[kept..]
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The hash of a body in one form, fed in pieces.
#[derive(Clone)]
pub struct BodyHash {
    form: Form,
    context: Context,
    /// Line ends that are hashed only if something follows.
    empty_lines: u64,
    /// A CR at the end of the last piece, whose LF may come.
    cr: bool,
    /// White space was seen in the line and not hashed yet (relaxed).
    space: bool,
    length: u64,
    scratch: Vec<u8>,
}

/// A finished body hash: SHA-256 of the canonical body, and its length for `l=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDigest {
    pub sha256: [u8; 32],
    pub length: u64,
}

/// Canonical bytes gathered before they are hashed; more does not make SHA-256 faster.
const SCRATCH: usize = 8 << 10;

impl BodyHash {
    pub fn new(form: Form) -> Self {
        Self {
            form,
            context: Context::new(&SHA256),
            empty_lines: 0,
            cr: false,
            space: false,
            length: 0,
            scratch: Vec::new(),
        }
    }

    pub fn form(&self) -> Form {
        self.form
    }

    /// Takes the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(found) = memchr(b'\n', rest) {
            let mut line = &rest[..found];
            match line.strip_suffix(b"\r") {
                Some(without) => {
                    self.flush_cr();
                    line = without;
                }
                None if line.is_empty() => self.cr = false, // the CR of this line end came with the last piece
                None => self.flush_cr(),
            }
            self.text(line);
            self.end_line();
            rest = &rest[found + 1..];
        }
        if !rest.is_empty() {
            self.flush_cr();
            let text = rest.strip_suffix(b"\r");
            self.cr = text.is_some();
            self.text(text.unwrap_or(rest));
        }
        self.flush();
    }

    /// Ends the body. A last line without line end gets one (RFC 6376 3.4.3, 3.4.4).
    pub fn finish(mut self) -> BodyDigest {
        self.flush_cr();
        // An empty body is one CRLF in simple form and nothing in relaxed form.
        if self.length > 0 || self.form == Form::Simple {
            self.push(b"\r\n");
        }
        self.flush();
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.context.finish().as_ref());
        BodyDigest { sha256, length: self.length }
    }

    fn flush_cr(&mut self) {
        if std::mem::take(&mut self.cr) {
            self.text(b"\r");
        }
    }

    /// Text of the current line, no line end inside.
    fn text(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        match self.form {
            Form::Simple => self.push_text(text),
            Form::Relaxed => self.relaxed(text),
        }
    }

    fn relaxed(&mut self, text: &[u8]) {
        let mut rest = text;
        while let Some(found) = memchr2(b' ', b'\t', rest) {
            if found > 0 {
                self.push_text(&rest[..found]);
            }
            self.space = true;
            rest = rest[found..].trim_ascii_start_wsp();
        }
        if !rest.is_empty() {
            self.push_text(rest);
        }
    }

    /// Text that is not white space, behind everything that waited for it.
    fn push_text(&mut self, text: &[u8]) {
        while self.empty_lines > 0 {
            self.push(b"\r\n");
            self.empty_lines -= 1;
        }
        if std::mem::take(&mut self.space) {
            self.push(b" ");
        }
        self.push(text);
    }

    fn end_line(&mut self) {
        self.space = false;
        self.empty_lines += 1;
    }

    fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if bytes.len() >= SCRATCH {
            self.flush();
            self.context.update(bytes);
            return;
        }
        self.scratch.extend_from_slice(bytes);
        if self.scratch.len() >= SCRATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.scratch.is_empty() {
            self.context.update(&self.scratch);
            self.scratch.clear();
        }
    }
}

impl std::fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BodyHash({}, {} bytes)", self.form.as_str(), self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::digest;
    use proptest::prelude::*;

    fn relaxed(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        field(&mut out, raw, Form::Relaxed);
        out
    }

    fn hash(form: Form, pieces: &[&[u8]]) -> BodyDigest {
        let mut hash = BodyHash::new(form);
        for piece in pieces {
            hash.update(piece);
        }
        hash.finish()
    }

    fn is(form: Form, body: &[u8], canonical: &[u8]) {
        let expected = digest(&SHA256, canonical);
        let got = hash(form, &[body]);
        assert_eq!(got.sha256, expected.as_ref(), "{form:?} {:?}", String::from_utf8_lossy(body));
        assert_eq!(got.length, canonical.len() as u64);
    }

    /// RFC 6376 3.4.5, and the corners.
    #[test]
    fn the_examples() {
        assert_eq!(relaxed(b"A: X\r\n"), b"a:X\r\n");
        assert_eq!(relaxed(b"B : Y\t\r\n\tZ  \r\n"), b"b:Y Z\r\n");
        assert_eq!(relaxed(b"C:\r\n"), b"c:\r\n");
        is(Form::Relaxed, b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n");
        is(Form::Simple, b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n");
        is(Form::Simple, b"", b"\r\n");
        is(Form::Relaxed, b"", b"");
        is(Form::Simple, b"\r\n\r\n", b"\r\n");
        is(Form::Relaxed, b" \t\r\n\r\n", b"");
        is(Form::Relaxed, b"a", b"a\r\n");
        is(Form::Relaxed, b"a ", b"a\r\n");
        is(Form::Simple, b"a\nb\r", b"a\r\nb\r\r\n");
        is(Form::Relaxed, b"a\r\n \r\nb", b"a\r\n\r\nb\r\n");
    }

    proptest! {
        #[test]
        fn in_pieces_as_whole(body in "[ \t\r\na]{0,40}", cut in 0usize..40) {
            let body = body.as_bytes();
            let cut = cut.min(body.len());
            for form in [Form::Simple, Form::Relaxed] {
                let whole = hash(form, &[body]);
                prop_assert_eq!(whole, hash(form, &[&body[..cut], &body[cut..]]));
                let bytes: Vec<&[u8]> = body.chunks(1).collect();
                prop_assert_eq!(whole, hash(form, &bytes));
            }
        }
    }
}
