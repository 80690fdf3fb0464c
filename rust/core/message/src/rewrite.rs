//! Changes to a finished message that touch only the bytes they must: fields added, replaced, removed; a footer; links.
//!
//! A part under a signature of its own (multipart/signed) or encrypted is left alone, and so is a message inside. What
//! is changed inside a part is written in the encoding the part had. Without a change the bytes come back as they were.

use std::fmt::Write;

use memchr::memmem;

use crate::edit::{Edit, apply};
use crate::footer;
use crate::part::Part;
use crate::scan::{Kind, Tree};
use crate::transfer::Encoding;

/// Characters that end a link in plain text (RFC 3986 2 has none of them).
const LINK_ENDS: &[u8] = b" \t\r\n<>\"'`{}|\\^";

/// A message with changes noted.
#[derive(Debug)]
pub struct Rewrite<'a> {
    data: &'a [u8],
    tree: Tree,
    edits: Vec<Edit>,
}

impl<'a> Rewrite<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, tree: Tree::scan(data), edits: Vec::new() }
    }

    /// A field in front of all others. `field`: the whole line or lines with CRLF.
    pub fn add_field(&mut self, field: &[u8]) {
        self.edits.push(Edit::insert(0, field));
    }

    /// Takes all fields of this name away.
    pub fn remove_field(&mut self, name: &str) {
        self.replace_field(name, &[]);
    }

    /// Puts `field` in place of the first field of this name and takes the others away; false: there was none.
    pub fn replace_field(&mut self, name: &str, field: &[u8]) -> bool {
        let ranges: Vec<_> = self.tree.root(self.data).all(name).map(crate::header::Field::range).collect();
        let mut text = field.to_vec();
        for range in &ranges {
            self.edits.push(Edit::new(range.clone(), std::mem::take(&mut text)));
        }
        !ranges.is_empty()
    }

    /// Appends a footer to the first plain text and the first HTML that are shown, each in the charset of its part (see
    /// `footer.rs` for what happens where that lacks a character); how many parts took it. An empty one is none.
    pub fn append_footer(&mut self, text: &str, html: &str) -> usize {
        let shown = self.shown();
        let mut count = 0;
        for (subtype, footer) in [("plain", text), ("html", html)] {
            let number = shown.iter().find(|number| {
                self.tree.part(self.data, **number).is_some_and(|part| part.content_type().subtype_is(subtype))
            });
            let Some(part) = number.and_then(|number| self.tree.part(self.data, *number)) else { continue };
            if !footer.is_empty() {
                let edits = footer::edits(&part, footer, subtype == "html");
                count += usize::from(!edits.is_empty());
                self.edits.extend(edits);
            }
        }
        count
    }

    /// Gives each link of the shown texts to `change`; how many were changed.
    pub fn rewrite_links(&mut self, mut change: impl FnMut(&str) -> Option<String>) -> usize {
        let mut count = 0;
        for number in self.shown() {
            let Some(part) = self.tree.part(self.data, number) else { continue };
            let html = part.content_type().subtype_is("html");
            let content = part.decode().bytes;
            let edits = link_edits(&content, html, &mut change);
            if edits.is_empty() {
                continue;
            }
            count += edits.len();
            if part.encoding().is_identity() {
                let start = part.body_range().start;
                let moved = |edit: Edit| Edit::new(edit.range.start + start..edit.range.end + start, edit.text);
                self.edits.extend(edits.into_iter().map(moved));
            } else if part.encoding() != Encoding::Uuencode {
                self.edits.push(footer::rewritten(&part, &apply(&content, edits), part.encoding()));
            }
        }
        count
    }

    /// The message with its changes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        apply(self.data, self.edits)
    }

    /// Text parts that may be changed: shown, not signed, not encrypted, not in a message inside.
    fn shown(&self) -> Vec<usize> {
        let free = |part: &Part<'_>| {
            std::iter::successors(part.parent(), Part::parent).all(|outer| {
                let content = outer.content_type();
                outer.kind() != Kind::Message && !content.subtype_is("signed") && !content.subtype_is("encrypted")
            })
        };
        let parts = self.tree.parts(self.data).filter(|part| part.kind() == Kind::Leaf);
        let texts = parts.filter(|part| part.content_type().is("text") && !part.is_attachment() && free(part));
        texts.map(|part| part.number()).collect()
    }
}

/// Edits for the links of a text: in HTML those in `href` and `src` values, in plain text all.
fn link_edits(content: &[u8], html: bool, change: &mut impl FnMut(&str) -> Option<String>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in memmem::find_iter(content, b"://") {
        let start = if content[..at].to_ascii_lowercase_ends(b"https") {
            at - 5
        } else if content[..at].to_ascii_lowercase_ends(b"http") {
            at - 4
        } else {
            continue;
        };
        if html && !in_attribute(&content[..start]) {
            continue;
        }
        let length = content[start..].iter().position(|byte| LINK_ENDS.contains(byte)).unwrap_or(content.len() - start);
        let mut link = &content[start..start + length];
        while let Some((b'.' | b',' | b')' | b';' | b'!', rest)) = link.split_last().filter(|_| !html) {
            link = rest;
        }
        let Ok(text) = std::str::from_utf8(link) else { continue };
        let plain = if html { text.replace("&amp;", "&") } else { text.to_owned() };
        if let Some(new) = change(&plain) {
            let new = ascii_link(&new);
            let new = if html { new.replace('&', "&amp;") } else { new };
            edits.push(Edit::new(start..start + link.len(), new));
        }
    }
    edits
}

/// A link that may stand in a part of any charset: what is not a printable ASCII character is percent-encoded, and so
/// is what would end it (RFC 3987 3.1).
fn ascii_link(link: &str) -> String {
    let mut out = String::with_capacity(link.len());
    for byte in link.bytes() {
        if byte.is_ascii_graphic() && !LINK_ENDS.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

trait EndsIgnoringCase {
    fn to_ascii_lowercase_ends(&self, end: &[u8]) -> bool;
}

impl EndsIgnoringCase for [u8] {
    fn to_ascii_lowercase_ends(&self, end: &[u8]) -> bool {
        self.len() >= end.len() && self[self.len() - end.len()..].eq_ignore_ascii_case(end)
    }
}

/// What stands in front is `href=` or `src=` with or without a quote.
fn in_attribute(front: &[u8]) -> bool {
    let front = &front[front.len().saturating_sub(16)..];
    let front = front.strip_suffix(b"\"").or(front.strip_suffix(b"'")).unwrap_or(front).trim_ascii_end();
    let Some(front) = front.strip_suffix(b"=") else { return false };
    let front = front.trim_ascii_end();
    front.to_ascii_lowercase_ends(b"href") || front.to_ascii_lowercase_ends(b"src")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAIL: &str = "A: 1\r\nB: 2\r\nA: 3\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
        --b\r\n\r\nsee http://x.example/a.\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        PGJvZHk+PGEgaHJlZj0iaHR0cDovL3guZXhhbXBsZS8/YT0xJmFtcDtiPTIiPng8L2E+PC9ib2R5Pg==\r\n--b--\r\n";

    #[test]
    fn changes_fields() {
        let mut rewrite = Rewrite::new(MAIL.as_bytes());
        assert!(rewrite.replace_field("a", b"A: 9\r\n"));
        rewrite.remove_field("B");
        rewrite.add_field(b"C: 0\r\n");
        let out = String::from_utf8(rewrite.finish()).unwrap();
        assert!(out.starts_with("C: 0\r\nA: 9\r\nContent-Type"), "{out}");
        assert!(out.ends_with(MAIL.split_once("boundary=b").unwrap().1));
    }

    #[test]
    fn appends_a_footer() {
        let mut rewrite = Rewrite::new(MAIL.as_bytes());
        assert_eq!(rewrite.append_footer("-- foot", "<p>foot</p>"), 2);
        let out = rewrite.finish();
        let tree = Tree::scan(&out);
        assert!(tree.part(&out, 1).unwrap().text().text.ends_with("\r\n-- foot"));
        assert!(tree.part(&out, 2).unwrap().text().text.ends_with("\r\n<p>foot</p></body>"));
    }

    #[test]
    fn rewrites_links() {
        let mut rewrite = Rewrite::new(MAIL.as_bytes());
        let mut seen = Vec::new();
        let count = rewrite.rewrite_links(|link| {
            seen.push(link.to_owned());
            Some("https://t.example/?u=1&v=2".into())
        });
        assert_eq!(
            (count, &seen[..]),
            (2, &["http://x.example/a".to_owned(), "http://x.example/?a=1&b=2".to_owned()][..])
        );
        let out = rewrite.finish();
        let tree = Tree::scan(&out);
        assert_eq!(tree.part(&out, 1).unwrap().text().text, "see https://t.example/?u=1&v=2.");
        assert!(tree.part(&out, 2).unwrap().text().text.contains("href=\"https://t.example/?u=1&amp;v=2\""));
    }

    #[test]
    fn leaves_signed_parts_alone() {
        let mail = MAIL.replace("alternative", "signed");
        let mut rewrite = Rewrite::new(mail.as_bytes());
        assert_eq!((rewrite.append_footer("x", "y"), rewrite.rewrite_links(|_| Some(String::new()))), (0, 0));
        assert_eq!(rewrite.finish(), mail.as_bytes());
    }

    #[test]
    fn a_new_link_stands_in_any_charset() {
        let mail = b"Content-Type: text/plain; charset=iso-8859-1\n\nh\xe4 http://x.example/ b";
        let mut rewrite = Rewrite::new(mail);
        rewrite.rewrite_links(|_| Some("http://y.example/ü \"\r\n".into()));
        let want = b"Content-Type: text/plain; charset=iso-8859-1\n\nh\xe4 http://y.example/%C3%BC%20%22%0D%0A b";
        assert_eq!(rewrite.finish(), want);
    }

    #[test]
    fn links_in_quoted_printable_keep_its_line_ends() {
        let mail = "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\none=\n two\nhttp://x.ex=\nample/\n";
        let mut rewrite = Rewrite::new(mail.as_bytes());
        assert_eq!(rewrite.rewrite_links(|link| Some(format!("{link}y"))), 1);
        let out = rewrite.finish();
        assert!(out.ends_with(b"\n\none two\nhttp://x.example/y\n"), "{}", String::from_utf8_lossy(&out));
    }

    proptest! {
        #[test]
        fn without_changes_nothing_changes(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut rewrite = Rewrite::new(&data);
            rewrite.rewrite_links(|_| None);
            prop_assert_eq!(rewrite.finish(), data);
        }
    }
}
