//! Where two honest readers would see different things in one message, as named findings with their places; and the
//! union of the readings of a part, for a filter that must not be led around.
//!
//! Found by looking, never by judging: whether a finding is reason enough to refuse is the site's policy.

use memchr::{memchr, memchr2, memmem};

use crate::header::Field;
use crate::parameter::Parameters;
use crate::part::Part;
use crate::scan::{Kind, Tree};
use crate::transfer::Encoding;

/// One thing that readers take differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Finding {
    pub kind: &'static str,
    /// The part it is in, and the byte where.
    pub part: usize,
    pub at: usize,
}

/// Fields of which a message or part may have one only (RFC 5322 3.6, RFC 2045 3), and what a second one is called.
const SINGLE: [(&str, &str); 6] = [
    ("Content-Type", "repeated-content-type"),
    ("Content-Transfer-Encoding", "repeated-encoding"),
    ("Content-Disposition", "repeated-disposition"),
    ("From", "repeated-from"),
    ("Subject", "repeated-subject"),
    ("MIME-Version", "repeated-mime-version"),
];
/// Every name that a finding may have.
pub const KINDS: [&str; 27] = [
    "bare-cr",
    "bare-lf",
    "bound-boundary",
    "bound-depth",
    "bound-fields",
    "bound-header",
    "bound-message",
    "bound-parts",
    "encoded-boundary",
    "encoding-unknown",
    "field-malformed",
    "missing-boundary",
    "name-conflict",
    "near-delimiter",
    "nested-encoding",
    "nul",
    "repeated-boundary",
    "repeated-content-type",
    "repeated-disposition",
    "repeated-encoding",
    "repeated-from",
    "repeated-mime-version",
    "repeated-parameter",
    "repeated-subject",
    "stray-epilogue",
    "stray-preamble",
    "unclosed-multipart",
];
/// Findings of one kind that are named; the rest would say nothing new.
const MAX_SAME: usize = 16;

/// All findings, in the order of the parts, those of the bytes as a whole last.
#[must_use]
pub fn findings(tree: &Tree, data: &[u8]) -> Vec<Finding> {
    let mut list = List::default();
    for part in tree.parts(data) {
        header(&part, &mut list);
        names(&part, &mut list);
        structure(&part, data, &mut list);
    }
    for bound in tree.bounds() {
        list.add(bound_name(bound), 0, data.len());
    }
    bytes(data, &mut list);
    list.0
}

fn bound_name(bound: crate::scan::Bound) -> &'static str {
    ["bound-message", "bound-header", "bound-fields", "bound-depth", "bound-parts", "bound-boundary"][bound as usize]
}

#[derive(Default)]
struct List(Vec<Finding>);

impl List {
    fn add(&mut self, kind: &'static str, part: usize, at: usize) {
        debug_assert!(KINDS.contains(&kind), "{kind}");
        if self.0.iter().rev().filter(|found| found.kind == kind).take(MAX_SAME).count() < MAX_SAME {
            self.0.push(Finding { kind, part, at });
        }
    }
}

fn header(part: &Part<'_>, list: &mut List) {
    for (name, kind) in SINGLE {
        for field in part.all(name).skip(1) {
            list.add(kind, part.number(), field.range().start);
        }
    }
    for field in part.fields().iter().filter(|field| !field.is_named()) {
        list.add("field-malformed", part.number(), field.range().start);
    }
    for (field, parameters) in parameters(part) {
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for parameter in parameters {
            let name = parameter.name.to_ascii_lowercase();
            if seen.contains(&name) {
                let kind = if name == b"boundary" { "repeated-boundary" } else { "repeated-parameter" };
                list.add(kind, part.number(), field.range().start);
            }
            seen.push(name);
        }
    }
    if part.encoding() == Encoding::Unknown {
        list.add("encoding-unknown", part.number(), part.range().start);
    }
}

/// Content-Type and Content-Disposition fields with their parameters.
fn parameters<'t>(part: &Part<'t>) -> Vec<(&'t Field, Parameters<'t>)> {
    let part = *part;
    ["Content-Type", "Content-Disposition"]
        .into_iter()
        .flat_map(|name| part.all(name).collect::<Vec<_>>())
        .map(|field| (field, Parameters::of(part.value_of(field))))
        .collect()
}

fn names(part: &Part<'_>, list: &mut List) {
    if file_names(part).len() > 1 {
        list.add("name-conflict", part.number(), part.range().start);
    }
}

/// Every file name that some reader takes, each once: plain and RFC 2231, of disposition and type, of all fields.
#[must_use]
pub fn file_names(part: &Part<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, parameters) in parameters(part) {
        for name in ["filename", "name"] {
            let plain = parameters.clone().filter(|one| one.name.eq_ignore_ascii_case(name.as_bytes()));
            let texts = plain.map(|one| crate::words::decode(&one.value)).chain(parameters.extended(name));
            for text in texts.filter(|text| !text.is_empty()) {
                if !found.contains(&text) {
                    found.push(text);
                }
            }
        }
    }
    found
}

/// The content of a leaf as each of its encoding fields would have it, each once: what the first says comes first.
#[must_use]
pub fn readings(part: &Part<'_>) -> Vec<Vec<u8>> {
    let mut found = vec![part.decode().bytes.into_owned()];
    if part.kind() == Kind::Leaf {
        for field in part.all("Content-Transfer-Encoding").skip(1) {
            let other = Encoding::read(part.value_of(field)).decode(part.body()).bytes.into_owned();
            if !found.contains(&other) {
                found.push(other);
            }
        }
    }
    found
}

fn structure(part: &Part<'_>, data: &[u8], list: &mut List) {
    let content = part.content_type();
    let body = part.body_range().start;
    if (content.is("multipart") || content.is_message()) && !part.encoding().is_identity() {
        list.add("nested-encoding", part.number(), body);
    }
    if !content.is("multipart") {
        return;
    }
    let parameters = part.parameters();
    if parameters.plain("boundary").is_none() {
        let kind = if parameters.boundary().is_some() { "encoded-boundary" } else { "missing-boundary" };
        list.add(kind, part.number(), part.range().start);
    } else if part.boundary().is_some_and(|boundary| memmem::find(&boundary, b"=?").is_some()) {
        list.add("encoded-boundary", part.number(), part.range().start);
    }
    if part.kind() == Kind::Multipart {
        around(part, data, list);
    }
}

/// Text in front of, between and behind the parts, delimiters that nearly fit, an end that is missing.
fn around(part: &Part<'_>, data: &[u8], list: &mut List) {
    let Some(boundary) = part.boundary() else { return };
    if !part.is_closed() {
        list.add("unclosed-multipart", part.number(), part.range().end);
    }
    let first = part.children().next().map_or(part.range().end, |child| child.range().start);
    let last = part.children().last().map_or(first, |child| child.range().end);
    let start = part.body_range().start;
    let delimiter = [b"--", &*boundary].concat();
    let line = memmem::rfind(&data[start..first], &delimiter).map_or(first, |at| start + at);
    if !data[start..line].trim_ascii().is_empty() {
        list.add("stray-preamble", part.number(), start);
    }
    let tail = &data[last..part.range().end];
    let behind = memmem::find(tail, &delimiter).map_or(0, |at| at + delimiter.len() + 2).min(tail.len());
    if !tail[behind..].trim_ascii().is_empty() {
        list.add("stray-epilogue", part.number(), last + behind);
    }
    // A delimiter with more behind it, or in the middle of a line: RFC 2046 5.1.1 takes the first, few readers do.
    for at in memmem::find_iter(&data[part.body_range()], &delimiter).map(|at| start + at) {
        let rest = &data[at + delimiter.len()..part.range().end];
        let text = rest[..memchr(b'\n', rest).unwrap_or(rest.len())].trim_ascii_end();
        let at_start = at == 0 || data[at - 1] == b'\n';
        if !at_start || !(text.is_empty() || text == b"--") {
            list.add("near-delimiter", part.number(), at);
            break;
        }
    }
}

/// NUL, and CR or LF alone where the message has CRLF elsewhere.
fn bytes(data: &[u8], list: &mut List) {
    if let Some(at) = memchr(0, data) {
        list.add("nul", 0, at);
    }
    let (mut bare_cr, mut bare_lf, mut crlf) = (None, None, false);
    let mut at = 0;
    while let Some(found) = memchr2(b'\r', b'\n', &data[at..]) {
        let place = at + found;
        at = place + 1;
        if data[place] == b'\n' {
            bare_lf = bare_lf.or(Some(place));
        } else if data.get(at) == Some(&b'\n') {
            crlf = true;
            at += 1;
        } else {
            bare_cr = bare_cr.or(Some(place));
        }
    }
    if let Some(at) = bare_cr {
        list.add("bare-cr", 0, at);
    }
    if let Some(at) = bare_lf.filter(|_| crlf) {
        list.add("bare-lf", 0, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(mail: &str) -> Vec<&'static str> {
        findings(&Tree::scan(mail.as_bytes()), mail.as_bytes()).iter().map(|found| found.kind).collect()
    }

    #[test]
    fn finds() {
        let multipart = |header: &str, body: &str| format!("Content-Type: multipart/mixed; {header}\r\n\r\n{body}");
        let none: &[&str] = &[];
        for (mail, want) in [
            ("Subject: x\r\n\r\nhello\r\n".to_owned(), none),
            (multipart("boundary=a", "--a\r\n\r\nx\r\n--a--\r\n"), none),
            ("Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n".into(), &["repeated-content-type"]),
            (multipart("boundary=a; boundary=b", "--a\r\n\r\nx\r\n--a--\r\n"), &["repeated-boundary"]),
            (multipart("boundary*=utf-8''a", "--a\r\n\r\nx\r\n--a--\r\n"), &["encoded-boundary"]),
            (multipart("x=y", "x"), &["missing-boundary"]),
            (
                multipart("boundary=a", "pre\r\n--a\r\n\r\nx\r\n--a--\r\nepilogue\r\n"),
                &["stray-preamble", "stray-epilogue"],
            ),
            (multipart("boundary=a", "--a\r\n\r\nx --a\r\n"), &["unclosed-multipart", "near-delimiter"]),
            (
                "Content-Disposition: attachment; filename=a.txt; filename*=utf-8''b.exe\r\n\r\n".into(),
                &["name-conflict"],
            ),
            ("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n".into(), &["nested-encoding"]),
            ("A: b\r\n\r\nx\ry\nz\0\r\n".into(), &["nul", "bare-cr", "bare-lf"]),
            ("no field\r\n\r\n".into(), &["field-malformed"]),
        ] {
            assert_eq!(kinds(&mail), want, "{mail}");
        }
    }

    #[test]
    fn gives_every_reading() {
        let mail = b"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 8bit\r\n\r\naGk=";
        let tree = Tree::scan(mail);
        assert_eq!(readings(&tree.root(mail)), [b"hi".to_vec(), b"aGk=".to_vec()]);
    }

    proptest! {
        #[test]
        fn any_bytes_survive(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let tree = Tree::scan(&data);
            let found = findings(&tree, &data);
            prop_assert!(found.iter().all(|one| one.at <= data.len()));
        }
    }
}
