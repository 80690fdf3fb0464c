//! New messages: text, HTML, inline images and attachments with their header, each part in the encoding its content
//! asks for. Times, identities and boundaries are arguments; nothing that is put in can break a line.
//!
//! mixed( related( alternative( text, html ), inline … ), attachments … ), with only the layers that are needed.

use angarium_nouns::Millis;

use crate::address;
use crate::convert::is_seven_bit;
use crate::date;
use crate::line::{Line, push};
use crate::transfer;
use crate::words;

/// Something to attach, or to show inside the HTML under its content id.
#[derive(Debug, Clone, Default)]
pub struct Attachment<'a> {
    pub file_name: &'a str,
    /// `type/subtype`; empty: application/octet-stream.
    pub content_type: &'a str,
    pub content: &'a [u8],
    /// Not empty: inline under this id (RFC 2392).
    pub content_id: &'a str,
}

/// A message to be built.
#[derive(Debug, Clone, Default)]
pub struct Draft<'a> {
    /// (name, address) of one or more.
    pub from: Vec<(&'a str, &'a str)>,
    pub to: Vec<(&'a str, &'a str)>,
    pub cc: Vec<(&'a str, &'a str)>,
    pub subject: &'a str,
    /// Without brackets; empty for none.
    pub message_id: &'a str,
    pub date: Millis,
    /// More fields as (name, text).
    pub fields: Vec<(&'a str, &'a str)>,
    pub text: Option<&'a str>,
    pub html: Option<&'a str>,
    pub attachments: Vec<Attachment<'a>>,
    /// 1 to 50 letters or digits that stand in no content, such as 24 drawn ones.
    pub boundary: &'a str,
    /// Letters outside ASCII stand in the header as they are (RFC 6532); encoded words else.
    pub utf8: bool,
}

/// A part in the making: its fields behind `Content-Type`, and its body.
type Built = Vec<u8>;

impl Draft<'_> {
    /// The message with CRLF line ends.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        self.write_header(&mut out);
        out.extend_from_slice(&self.body());
        if !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        Line::new(out, "Date", false).words(&date::text(self.date)).end();
        for (name, list) in [("From", &self.from), ("To", &self.to), ("Cc", &self.cc)] {
            if !list.is_empty() {
                let mut line = Line::new(out, name, self.utf8);
                for (at, (shown, mailbox)) in list.iter().enumerate() {
                    let comma = if at + 1 < list.len() { "," } else { "" };
                    line.words(&format!("{}{comma}", address::write(shown, mailbox, self.utf8)));
                }
                line.end();
            }
        }
        self.write_text(out, "Subject", self.subject);
        if !self.message_id.is_empty() {
            Line::new(out, "Message-ID", false).word(&format!("<{}>", self.message_id)).end();
        }
        for (name, text) in &self.fields {
            if name.bytes().all(|byte| matches!(byte, 33..=57 | 59..=126)) && !name.is_empty() {
                self.write_text(out, name, text);
            }
        }
        Line::new(out, "MIME-Version", false).word("1.0").end();
    }

    fn write_text(&self, out: &mut Vec<u8>, name: &str, text: &str) {
        let mut line = Line::new(out, name, self.utf8);
        if (text.is_ascii() || self.utf8) && !text.contains("=?") {
            line.words(text);
        } else {
            let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            for word in words::encode(&clean) {
                line.word(&word);
            }
        }
        line.end();
    }

    fn body(&self) -> Built {
        let inline: Vec<_> = self.attachments.iter().filter(|one| !one.content_id.is_empty()).collect();
        let attached: Vec<_> = self.attachments.iter().filter(|one| one.content_id.is_empty()).collect();
        let texts = [("plain", self.text), ("html", self.html)];
        let mut shown: Vec<Built> =
            texts.iter().filter_map(|(sub, text)| text.map(|text| text_part(sub, text))).collect();
        if shown.is_empty() && attached.is_empty() && inline.is_empty() {
            shown.push(text_part("plain", ""));
        }
        let mut parts: Vec<Built> = Vec::new();
        if !shown.is_empty() {
            parts.push(self.multipart("alternative", shown));
        }
        parts.extend(inline.iter().map(|one| attachment_part(one)));
        let mut all = vec![self.multipart("related", parts)];
        all.retain(|part| !part.is_empty());
        all.extend(attached.iter().map(|one| attachment_part(one)));
        self.multipart("mixed", all)
    }

    /// One part stays what it is; more are put together.
    fn multipart(&self, sub: &str, mut parts: Vec<Built>) -> Built {
        if parts.len() < 2 {
            return parts.pop().unwrap_or_default();
        }
        let clean: String = self.boundary.chars().filter(char::is_ascii_alphanumeric).take(50).collect();
        // The `=_` can stand in no quoted-printable text (RFC 2045 6.7).
        let boundary = format!("=_{sub}_{clean}");
        let mut out = Vec::with_capacity(parts.iter().map(Vec::len).sum::<usize>() + 200);
        push(&mut out, format_args!("Content-Type: multipart/{sub};\r\n boundary=\"{boundary}\"\r\n\r\n"));
        for part in parts {
            push(&mut out, format_args!("--{boundary}\r\n"));
            out.extend_from_slice(&part);
            out.extend_from_slice(b"\r\n");
        }
        push(&mut out, format_args!("--{boundary}--\r\n"));
        out
    }
}

fn text_part(sub: &str, text: &str) -> Built {
    // Line ends of any kind become CRLF.
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
    let charset = if text.is_ascii() { "us-ascii" } else { "utf-8" };
    let mut out = format!("Content-Type: text/{sub}; charset={charset}\r\n").into_bytes();
    write_content(text.as_bytes(), true, &mut out);
    out
}

fn attachment_part(one: &Attachment<'_>) -> Built {
    let kind = if one.content_type.is_empty() { "application/octet-stream" } else { one.content_type };
    let kind: String = kind.chars().filter(char::is_ascii_graphic).collect();
    let mut out = format!("Content-Type: {kind}\r\n").into_bytes();
    let disposition = if one.content_id.is_empty() { "attachment" } else { "inline" };
    push(&mut out, format_args!("Content-Disposition: {disposition}{}\r\n", file_name(one.file_name)));
    if !one.content_id.is_empty() {
        Line::new(&mut out, "Content-ID", false).word(&format!("<{}>", one.content_id)).end();
    }
    write_content(one.content, false, &mut out);
    out
}

/// RFC 2183 2.3 for plain names, RFC 2231 in pieces for the others.
fn file_name(name: &str) -> String {
    const PIECE: usize = 60;
    if name.is_empty() {
        return String::new();
    }
    let plain = name.len() <= PIECE && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_. ()+,@".contains(c));
    if plain {
        return format!(";\r\n filename=\"{name}\"");
    }
    let encoded: Vec<String> = name
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let pieces = encoded.chunks(PIECE / 3).enumerate();
    let text = pieces
        .map(|(at, piece)| format!(";\r\n filename*{at}*={}{}", if at == 0 { "utf-8''" } else { "" }, piece.concat()));
    text.collect()
}

fn write_content(content: &[u8], text: bool, out: &mut Vec<u8>) {
    if text && is_seven_bit(content) {
        out.extend_from_slice(b"Content-Transfer-Encoding: 7bit\r\n\r\n");
        out.extend_from_slice(content);
    } else if text && transfer::prefers_quoted(content) {
        out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        transfer::write_quoted_printable(content, out);
    } else {
        out.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
        transfer::write_base64(content, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Tree;
    use proptest::prelude::*;

    fn draft<'a>() -> Draft<'a> {
        Draft {
            from: vec![("J\u{f6}rg", "j@example.org")],
            to: vec![("", "a@b.example")],
            boundary: "x1",
            ..Draft::default()
        }
    }

    #[test]
    fn builds_only_the_layers_it_needs() {
        let picture = Attachment { content_id: "p@x", content_type: "image/png", content: b"\x89", file_name: "p.png" };
        let file = Attachment { file_name: "\u{fc} 1.pdf", content: b"%PDF", ..Attachment::default() };
        for (text, html, attachments, want) in [
            (Some("t"), None, vec![], "text/plain"),
            (Some("t"), Some("<p>"), vec![], "multipart/alternative"),
            (Some("t"), Some("<p>"), vec![picture.clone()], "multipart/related"),
            (Some("t"), None, vec![file.clone()], "multipart/mixed"),
            (None, Some("<p>"), vec![picture, file], "multipart/mixed"),
        ] {
            let count = usize::from(text.is_some()) + usize::from(html.is_some()) + attachments.len();
            let built = Draft { text, html, attachments, ..draft() }.write();
            let tree = Tree::scan(&built);
            assert_eq!(tree.root(&built).content_type().name(), want);
            assert_eq!(tree.parts(&built).filter(|part| part.kind() == crate::Kind::Leaf).count(), count);
            assert!(crate::findings::findings(&tree, &built).is_empty());
            assert!(crate::convert::is_seven_bit(&built));
        }
    }

    proptest! {
        #[test]
        fn reads_back(subject in "[ -~\u{e4}-\u{f6}]{0,120}", text in "\\PC{0,80}(\n\\PC{0,80}){0,5}", name in "\\PC{1,90}", content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let attachment = Attachment { file_name: &name, content: &content, ..Attachment::default() };
            let built = Draft { subject: &subject, text: Some(&text), attachments: vec![attachment], ..draft() }.write();
            let tree = Tree::scan(&built);
            prop_assert_eq!(tree.len(), 3);
            let part = |number| tree.part(&built, number).unwrap();
            prop_assert_eq!(&*part(1).text().text, text.replace('\n', "\r\n"));
            prop_assert_eq!(part(2).file_name(), Some(name.clone()));
            prop_assert_eq!(&*part(2).decode().bytes, &*content);
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            prop_assert_eq!(squeezed(&part(0).text_of("Subject").unwrap()), squeezed(&subject));
        }
    }
}
