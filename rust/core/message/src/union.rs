//! Everything that some honest reader sees in a message: names, types and contents, for a filter that must not be led
//! around. [`crate::findings`] tells where readers differ; here each of their ways is gone.
//!
//! Besides the tree itself: every file name and type that a part's fields give; content by each encoding field; parts
//! by each other boundary; what is inside an encoded multipart or message; text around parts; uuencoded files in plain
//! text; and the message with lone CRs as line ends or NULs left out. Work is bounded by [`MAX_SCANS`].

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use memchr::{memchr, memmem};

use crate::findings;
use crate::parameter::{ContentType, Parameters};
use crate::part::Part;
use crate::scan::{Kind, Tree};
use crate::transfer::Encoding;

/// Further scans for one message. A message that honest readers take in more ways than this is not honest.
pub const MAX_SCANS: usize = 16;
/// Uuencoded files in one text.
const MAX_FILES: usize = 100;

/// What readers see, each thing once, in the order in which it was found.
#[derive(Debug, Default)]
pub struct Union {
    pub file_names: Vec<String>,
    /// `text/plain` and the like, in lower case.
    pub types: Vec<String>,
    pub contents: Vec<Vec<u8>>,
    /// Some readings were not gone into: more than [`MAX_SCANS`] scans, or the bounds of a scan.
    pub is_cut: bool,
    seen: HashMap<u64, Vec<usize>>,
    /// Types (true) and file names that are listed already.
    known: HashSet<(bool, String)>,
}

/// The union of all readings.
#[must_use]
pub fn union(data: &[u8]) -> Union {
    let mut union = Union::default();
    let mut waiting: Vec<Vec<u8>> = other_bytes(data);
    union.add_message(data, &mut waiting);
    let mut scans = 0;
    while let Some(message) = waiting.pop() {
        if scans == MAX_SCANS {
            union.is_cut = true;
            break;
        }
        scans += 1;
        union.add_message(&message, &mut waiting);
    }
    union
}

/// The message as readers have it that end lines at a lone CR, or pass over NUL.
fn other_bytes(data: &[u8]) -> Vec<Vec<u8>> {
    let mut others = Vec::new();
    let is_lone = |at: usize| data.get(at + 1) != Some(&b'\n');
    if memchr::memchr_iter(b'\r', data).any(is_lone) {
        let mut bytes = Vec::with_capacity(data.len() + data.len() / 8);
        for (at, byte) in data.iter().enumerate() {
            bytes.push(*byte);
            if *byte == b'\r' && is_lone(at) {
                bytes.push(b'\n');
            }
        }
        others.push(bytes);
    }
    if memchr(0, data).is_some() {
        others.push(data.iter().copied().filter(|byte| *byte != 0).collect());
    }
    others
}

impl Union {
    fn add_message(&mut self, data: &[u8], waiting: &mut Vec<Vec<u8>>) {
        let tree = Tree::scan(data);
        self.is_cut |= tree.bounds().next().is_some();
        for part in tree.parts(data) {
            for name in findings::file_names(&part) {
                self.add_name(name);
            }
            for name in types(&part) {
                if self.known.insert((true, name.clone())) {
                    self.types.push(name);
                }
            }
            match part.kind() {
                Kind::Leaf => self.add_leaf(&part, waiting),
                Kind::Multipart => self.add_around(&part, data),
                Kind::Message => {}
            }
            let room = (MAX_SCANS + 1).saturating_sub(waiting.len());
            waiting.extend(by_other_boundaries(&part, room));
        }
    }

    fn add_leaf(&mut self, part: &Part<'_>, waiting: &mut Vec<Vec<u8>>) {
        let content = part.content_type();
        for reading in findings::readings(part) {
            if content.is("text") {
                self.add_files(&reading);
            }
            if content.is_message() && waiting.len() <= MAX_SCANS {
                waiting.push(reading.clone());
            }
            self.add_content(reading);
        }
    }

    /// Text in front of the first part, and behind the last.
    fn add_around(&mut self, part: &Part<'_>, data: &[u8]) {
        let body = part.body_range();
        let first = part.children().next().map_or(body.end, |child| child.range().start);
        let last = part.children().last().map_or(body.end, |child| child.range().end);
        for text in [&data[body.start..first.max(body.start)], &data[last.min(body.end)..body.end]] {
            if text.split(|byte| *byte == b'\n').any(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"--")) {
                self.add_content(text.to_vec());
            }
        }
    }

    /// Files that stand in a text as `begin 644 name` … `end`, which some readers make attachments of.
    fn add_files(&mut self, text: &[u8]) {
        for at in memmem::find_iter(text, b"begin ").filter(|at| *at == 0 || text[at - 1] == b'\n').take(MAX_FILES) {
            let line = &text[at..];
            let line = &line[..memchr(b'\n', line).unwrap_or(line.len())];
            let mut words = line.trim_ascii().splitn(3, |byte| *byte == b' ').skip(1);
            let (Some(mode), Some(name)) = (words.next(), words.next()) else { continue };
            if mode.iter().all(u8::is_ascii_digit) && !name.is_empty() {
                self.add_name(String::from_utf8_lossy(name).into_owned());
                self.add_content(Encoding::Uuencode.decode(&text[at..]).bytes.into_owned());
            }
        }
    }

    fn add_name(&mut self, name: String) {
        if self.known.insert((false, name.clone())) {
            self.file_names.push(name);
        }
    }

    fn add_content(&mut self, content: Vec<u8>) {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let same = self.seen.entry(hasher.finish()).or_default();
        if !same.iter().any(|at| self.contents[*at] == content) {
            same.push(self.contents.len());
            self.contents.push(content);
        }
    }
}

/// The type by each Content-Type field, or the one that holds without.
fn types(part: &Part<'_>) -> Vec<String> {
    let read = part.all("Content-Type").map(|field| ContentType::read(part.value_of(field)).name());
    let mut found: Vec<String> = read.filter(|name| !name.is_empty()).collect();
    found.push(part.content_type().name());
    found
}

/// The part as a message of its own for each boundary by which it was not read, and for what its encoding hides.
fn by_other_boundaries(part: &Part<'_>, room: usize) -> Vec<Vec<u8>> {
    if room == 0 {
        return Vec::new();
    }
    let used = part.boundary().filter(|_| part.kind() == Kind::Multipart);
    let mut boundaries: Vec<Vec<u8>> = Vec::new();
    for field in part.all("Content-Type") {
        let value = part.value_of(field);
        if !ContentType::read(value).is("multipart") {
            continue;
        }
        let parameters = Parameters::of(value);
        let plain = parameters.clone().filter(|one| one.name.eq_ignore_ascii_case(b"boundary")).map(|one| one.value);
        let texts = [parameters.extended("boundary"), parameters.text("boundary")];
        let all = plain.map(std::borrow::Cow::into_owned).chain(texts.into_iter().flatten().map(String::into_bytes));
        for boundary in all.filter(|boundary| !boundary.is_empty()) {
            let boundary = boundary.trim_ascii_end().to_vec();
            if boundaries.len() <= room && !boundaries.contains(&boundary) {
                boundaries.push(boundary);
            }
        }
    }
    let encoded = !part.encoding().is_identity() && !boundaries.is_empty();
    let decoded = encoded.then(|| part.encoding().decode(part.body()).bytes.into_owned());
    let as_message = |boundary: &[u8], body: &[u8]| {
        let quoted: Vec<u8> =
            boundary.iter().copied().filter(|byte| !matches!(byte, b'"' | b'\\' | b'\r' | b'\n')).collect();
        [b"Content-Type: multipart/mixed; boundary=\"", &*quoted, b"\"\r\n\r\n", body].concat()
    };
    let raw = boundaries.iter().filter(|boundary| used.as_deref() != Some(boundary.as_slice()));
    let mut messages: Vec<Vec<u8>> = raw.map(|boundary| as_message(boundary, part.body())).collect();
    if let Some(decoded) = decoded {
        messages.extend(boundaries.iter().map(|boundary| as_message(boundary, &decoded)));
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn has(mail: &str, content: &str) -> bool {
        union(mail.as_bytes()).contents.iter().any(|one| memmem::find(one, content.as_bytes()).is_some())
    }

    const EVIL: &str =
        "Content-Type: application/x-evil\r\nContent-Disposition: attachment; filename=e.exe\r\n\r\nEVIL";

    #[test]
    fn every_way_of_reading_is_gone() {
        let encoded = "Content-Type: multipart/mixed; boundary=a\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        for (what, mail) in [
            ("plain", EVIL.to_owned()),
            (
                "two boundaries",
                format!(
                    "Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\nx\r\n--a--\r\n--b\r\n{EVIL}\r\n--b--\r\n"
                ),
            ),
            (
                "two types",
                format!(
                    "Content-Type: multipart/mixed; boundary=a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--a\r\n\r\nx\r\n--a--\r\n--b\r\n{EVIL}\r\n--b--"
                ),
            ),
            (
                "an encoded boundary",
                format!(
                    "Content-Type: multipart/mixed; boundary=a; boundary*=utf-8''%62\r\n\r\n--a\r\n\r\nx\r\n--a--\r\n--b\r\n{EVIL}\r\n--b--"
                ),
            ),
            ("an encoded multipart", {
                let mut body = Vec::new();
                crate::transfer::write_base64(format!("--a\r\n{EVIL}\r\n--a--\r\n").as_bytes(), &mut body);
                encoded.to_owned() + std::str::from_utf8(&body).unwrap()
            }),
            ("an encoded message", {
                let mut body = Vec::new();
                crate::transfer::write_base64(EVIL.as_bytes(), &mut body);
                let header = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n";
                header.to_owned() + std::str::from_utf8(&body).unwrap()
            }),
            ("lone CR", EVIL.replace("\r\n", "\r")),
            ("NUL", EVIL.replace("filename", "file\0name")),
        ] {
            let found = union(mail.as_bytes());
            assert!(found.contents.iter().any(|content| content.ends_with(b"EVIL")), "{what}: {found:?}");
            assert!(found.file_names.iter().any(|name| name == "e.exe"), "{what}: {found:?}");
            assert!(found.types.iter().any(|name| name == "application/x-evil"), "{what}: {found:?}");
        }
    }

    #[test]
    fn names_types_and_contents_of_each_field() {
        let mail = "Content-Type: text/plain; name=a.txt; name*=utf-8''b.exe\r\nContent-Type: application/x\r\n\
            Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Disposition: attachment; filename=\"=?utf-8?q?c?=.js\"\r\n\r\nRVZJTA==";
        let found = union(mail.as_bytes());
        assert_eq!(found.file_names, ["a.txt", "b.exe", "c.js"]);
        assert_eq!(found.types, ["text/plain", "application/x"]);
        assert_eq!(found.contents, [&b"RVZJTA=="[..], b"EVIL"]);
    }

    #[test]
    fn text_around_parts_and_files_in_text() {
        let multipart = "Content-Type: multipart/mixed; boundary=a\r\n\r\nPRE\r\n--a\r\n\r\nx\r\n--a--\r\nPOST";
        assert!(has(multipart, "PRE") && has(multipart, "POST"));
        let text = "Subject: x\r\n\r\nsee\r\nbegin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\n";
        let found = union(text.as_bytes());
        assert!(found.file_names == ["cat.txt"] && found.contents.contains(&b"Cat".to_vec()), "{found:?}");
    }

    #[test]
    fn honest_mail_is_read_once_and_work_is_bounded() {
        let honest = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a\r\n\r\nx\r\n--a--\r\n";
        let found = union(honest.as_bytes());
        assert_eq!((found.contents, found.is_cut), (vec![b"x".to_vec()], false));
        let many = (0..150).map(|number| format!("; boundary=b{number}")).collect::<Vec<_>>().concat();
        assert!(union(format!("Content-Type: multipart/mixed{many}\r\n\r\n").as_bytes()).is_cut);
    }

    proptest! {
        #[test]
        fn any_bytes_survive(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            let found = union(&data);
            prop_assert!(!found.types.is_empty());
        }
    }
}
