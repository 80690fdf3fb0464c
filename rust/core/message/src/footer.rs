//! A footer put into a part of any charset and encoding, with as few bytes changed as that allows.
//!
//! What the part's charset has is written in it. Where it lacks a character, HTML gets a character reference, and plain
//! text becomes UTF-8: body, charset and, where it was 7bit, transfer encoding. A part whose own text cannot be read
//! (unknown charset, malformed bytes) keeps its bytes and takes `?` for what is lacking. Content as it is and
//! quoted-printable are inserted into; base64 is written anew. Uuencode and encodings nobody knows are left alone.

use memchr::memmem;

use crate::charset;
use crate::edit::Edit;
use crate::flaw::Flaw;
use crate::part::Part;
use crate::transfer::{self, Encoding};

/// The edits that append `footer`, in HTML in front of `</body>`; none where the part cannot take one.
pub(crate) fn edits(part: &Part<'_>, footer: &str, html: bool) -> Vec<Edit> {
    if matches!(part.encoding(), Encoding::Uuencode | Encoding::Unknown) {
        return Vec::new();
    }
    let footer = format!("\n{}", footer.replace("\r\n", "\n").replace('\r', "\n"));
    let footer = footer.replace('\n', line_end(part));
    let label = part.charset().unwrap_or_default();
    let encoded = charset::encode(&label, &footer, html).or_else(|| lossy(part, &label, &footer));
    match encoded {
        Some(bytes) if part.encoding() == Encoding::SevenBit && !bytes.is_ascii() => {
            let content = part.decode().bytes;
            let at = place(&content, html);
            recoded(part, &[&content[..at], &bytes, &content[at..]].concat(), None)
        }
        Some(bytes) => vec![inserted(part, &bytes, html)],
        None => {
            let text = part.text().text;
            let at = place(text.as_bytes(), html);
            recoded(part, [&text[..at], &footer, &text[at..]].concat().as_bytes(), Some("utf-8"))
        }
    }
}

/// `?` for what the charset lacks, where the part's own text cannot be put into another one.
fn lossy(part: &Part<'_>, label: &[u8], footer: &str) -> Option<Vec<u8>> {
    let flaws = part.text().flaws;
    let unreadable = flaws.has(Flaw::CharsetUnknown) || flaws.has(Flaw::CharsetMalformed) || !charset::is_known(label);
    unreadable.then(|| footer.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect())
}

/// The line end of the part: that of its header, or of what stands behind it.
pub(crate) fn line_end(part: &Part<'_>) -> &'static str {
    let header = part.header();
    let bytes = if header.is_empty() { part.body() } else { header };
    match memchr::memchr(b'\n', bytes) {
        Some(lf) if lf == 0 || bytes[lf - 1] != b'\r' => "\n",
        _ => "\r\n",
    }
}

/// In front of `</body>`, else the end.
fn place(content: &[u8], html: bool) -> usize {
    if html { body_end(content).unwrap_or(content.len()) } else { content.len() }
}

fn body_end(content: &[u8]) -> Option<usize> {
    memmem::rfind(&content.to_ascii_lowercase(), b"</body")
}

fn inserted(part: &Part<'_>, bytes: &[u8], html: bool) -> Edit {
    let body = part.body();
    let start = part.body_range().start;
    match part.encoding() {
        Encoding::QuotedPrintable => match quoted_place(part, html) {
            Some(at) => {
                let mut text = quoted(bytes, line_end(part));
                if body.get(at).is_some_and(|byte| !matches!(byte, b'\r' | b'\n')) {
                    text.extend_from_slice(b"=");
                    text.extend_from_slice(line_end(part).as_bytes());
                }
                Edit::insert(start + at, text)
            }
            None => whole(part, bytes, html),
        },
        Encoding::Base64 => whole(part, bytes, html),
        _ => {
            let at = place(body, html);
            // The rest of a line goes on behind the footer, on a line of its own.
            let behind = if at < body.len() { line_end(part) } else { "" };
            let text = [bytes, behind.as_bytes()].concat();
            Edit::insert(start + at, text)
        }
    }
}

/// Where the encoded bytes can be cut open; `None` where they must be written anew.
fn quoted_place(part: &Part<'_>, html: bool) -> Option<usize> {
    let body = part.body();
    if body.trim_ascii_end().ends_with(b"=") {
        return None;
    }
    if !html {
        return Some(body.len());
    }
    match (body_end(body), body_end(&part.decode().bytes)) {
        (Some(at), Some(_)) => Some(at),
        (None, None) => Some(body.len()),
        _ => None,
    }
}

fn whole(part: &Part<'_>, bytes: &[u8], html: bool) -> Edit {
    let content = part.decode().bytes;
    let at = place(&content, html);
    rewritten(part, &[&content[..at], bytes, &content[at..]].concat(), part.encoding())
}

/// Quoted-printable with the line ends of the part.
fn quoted(content: &[u8], line_end: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() * 2);
    if line_end == "\n" {
        transfer::write_quoted_printable(&with_crlf(content), &mut out);
        out.retain(|byte| *byte != b'\r');
    } else {
        transfer::write_quoted_printable(content, &mut out);
    }
    out
}

fn with_crlf(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 16);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => out.extend_from_slice(&[text.strip_suffix(b"\r").unwrap_or(text), b"\r\n"].concat()),
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// The body anew, in an encoding.
pub(crate) fn rewritten(part: &Part<'_>, content: &[u8], encoding: Encoding) -> Edit {
    let line_end = line_end(part);
    let text = match encoding {
        Encoding::Base64 => {
            let mut text = Vec::new();
            transfer::write_base64(content, &mut text);
            if line_end == "\n" {
                text.retain(|byte| *byte != b'\r');
            }
            // The line end in front of a delimiter is the delimiter's.
            if part.parent().is_some() {
                text.truncate(text.len().saturating_sub(line_end.len()));
            }
            text
        }
        Encoding::QuotedPrintable => quoted(content, line_end),
        _ => content.to_vec(),
    };
    Edit::new(part.body_range(), text)
}

/// The body anew in an encoding that its content asks for, and what the header must say of it now.
fn recoded(part: &Part<'_>, content: &[u8], charset: Option<&str>) -> Vec<Edit> {
    let encoding = match part.encoding() {
        Encoding::SevenBit if transfer::prefers_quoted(content) => Encoding::QuotedPrintable,
        Encoding::SevenBit => Encoding::Base64,
        same => same,
    };
    let mut edits = vec![rewritten(part, content, encoding)];
    if encoding != part.encoding() {
        edits.push(field(part, "Content-Transfer-Encoding", encoding.name()));
    }
    if let Some(charset) = charset {
        edits.push(charset_edit(part, charset));
    }
    if part.parent().is_none() && part.value("MIME-Version").is_none() {
        edits.push(field(part, "MIME-Version", "1.0"));
    }
    edits
}

/// A field in place of the first of its name, or behind all others.
fn field(part: &Part<'_>, name: &str, value: &str) -> Edit {
    let text = format!("{name}: {value}{}", line_end(part));
    match part.all(name).next() {
        Some(found) => Edit::new(found.range(), text),
        None => Edit::insert(header_end(part), text),
    }
}

fn header_end(part: &Part<'_>) -> usize {
    part.fields().last().map_or(part.header_range().start, |field| field.range().end)
}

/// The charset of the Content-Type exchanged, everything else in the field as it was.
fn charset_edit(part: &Part<'_>, charset: &str) -> Edit {
    let Some(found) = part.all("Content-Type").next() else {
        return field(part, "Content-Type", &format!("text/plain; charset={charset}"));
    };
    let value = part.value_of(found);
    let name_end = found.name_range().end;
    let colon = memchr::memchr(b':', part.bytes_of(name_end..found.range().end)).unwrap_or_default();
    let start = name_end + colon + 1;
    match charset_range(value) {
        Some(range) => Edit::new(start + range.start..start + range.end, format!("charset={charset}")),
        None => Edit::insert(start + value.trim_ascii_end().len(), format!("; charset={charset}")),
    }
}

/// Where `charset=…` stands in a value.
fn charset_range(value: &[u8]) -> Option<std::ops::Range<usize>> {
    let low = value.to_ascii_lowercase();
    let begins = |at: &usize| *at > 0 && matches!(low[at - 1], b';' | b' ' | b'\t' | b'\n');
    let start = memmem::find_iter(&low, b"charset").find(begins)?;
    let rest = &value[start..];
    let equals = memchr::memchr(b'=', rest)?;
    let behind = &rest[equals + 1..];
    let quoted = behind.trim_ascii_start().starts_with(b"\"");
    let length = if quoted {
        let open = memchr::memchr(b'"', behind)?;
        memchr::memchr(b'"', &behind[open + 1..]).map_or(behind.len(), |close| open + close + 2)
    } else {
        let ends = |byte: &u8| matches!(byte, b';' | b'\r' | b'\n');
        behind.iter().position(ends).unwrap_or(behind.len())
    };
    Some(start..start + equals + 1 + length)
}

#[cfg(test)]
mod tests {
    use crate::rewrite::Rewrite;
    use crate::scan::Tree;

    /// What a reader shows of the first part that has text, after a footer.
    fn shown(mail: &[u8], text: &str, html: &str) -> (Vec<u8>, String) {
        let mut rewrite = Rewrite::new(mail);
        rewrite.append_footer(text, html);
        let out = rewrite.finish();
        let tree = Tree::scan(&out);
        let part = tree.parts(&out).find(|part| part.content_type().is("text"));
        let shown = part.map(|part| part.text().text.into_owned()).unwrap_or_default();
        (out, shown)
    }

    const FOOTER: &str = "Grüße — 日本";

    #[test]
    fn plain_text_of_any_charset_shows_the_footer() {
        for (header, body, before) in [
            ("", &b"hello"[..], "hello"),
            ("Content-Type: text/plain\r\n", b"hello", "hello"),
            ("Content-Type: text/plain; charset=us-ascii; format=flowed\r\n", b"hello", "hello"),
            ("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n", b"h\xc3\xa4", "hä"),
            ("Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n", b"h\xe4", "hä"),
            ("Content-Type: text/plain;\r\n charset=\"ISO-8859-1\"\r\n", b"h\xe4", "hä"),
            (
                "Content-Type: text/plain; charset=iso-8859-15\r\nContent-Transfer-Encoding: quoted-printable\r\n",
                b"h=E4 =A4",
                "hä €",
            ),
            ("Content-Type: text/plain; charset=iso-2022-jp\r\n", b"\x1b$B$3$s\x1b(B", "こん"),
            ("Content-Type: text/plain; charset=utf-16le\r\nContent-Transfer-Encoding: base64\r\n", b"aABpAA==", "hi"),
            ("Content-Type: text/plain; charset=utf-7\r\n", b"1 +- 1", "1 + 1"),
            ("Content-Type: text/plain; charset=windows-1252\r\nContent-Transfer-Encoding: base64\r\n", b"aOQ=", "hä"),
        ] {
            for line_end in ["\r\n", "\n"] {
                let mail = [header.replace("\r\n", line_end).as_bytes(), line_end.as_bytes(), body].concat();
                let (out, text) = shown(&mail, FOOTER, "");
                assert_eq!(
                    text,
                    format!("{before}{line_end}{FOOTER}"),
                    "{header:?}\n{}",
                    String::from_utf8_lossy(&out)
                );
                let tree = Tree::scan(&out);
                assert!(tree.root(&out).text().flaws.is_empty(), "{header:?}");
                if !body.iter().any(|byte| *byte >= 0x80) && !header.contains("8bit") {
                    assert!(out.is_ascii(), "what was 7bit is 7bit still: {header:?}");
                }
            }
        }
    }

    #[test]
    fn html_gets_references_for_what_its_charset_lacks() {
        for (header, body) in [
            ("Content-Type: text/html\r\n", &b"<body>h</body>"[..]),
            (
                "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n",
                b"<body>\xe4</BODY>",
            ),
            (
                "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n",
                b"<p>=E4</p></body></html>",
            ),
            (
                "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n",
                b"PGJvZHk+5DwvYm9keT4=",
            ),
        ] {
            let mail = [header.as_bytes(), b"\r\n", body].concat();
            let (out, text) = shown(&mail, "", "<p>ü € 日</p>");
            let (front, behind) = text.split_once("</").map(|_| text.rsplit_once("</p>").unwrap()).unwrap();
            assert!(behind.trim_start().to_lowercase().starts_with("</body"), "{text}");
            assert!(front.contains("&#8364;") && front.contains("&#26085;"), "{text}");
            assert!(front.contains('ü') || front.contains("&#252;"), "{text}");
            assert!(out.starts_with(header.as_bytes()), "the header needed no change: {header:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_keeps_its_bytes() {
        let header = "Content-Type: text/plain; charset=martian\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
        let (out, _) = shown(&[header.as_bytes(), b"\xfe\xff"].concat(), FOOTER, "");
        assert_eq!(out, [header.as_bytes(), b"\xfe\xff\r\nGr??e ? ??"].concat());
        let uu = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: uuencode\r\n\r\nbegin 644 x\r\nend\r\n";
        assert_eq!(shown(uu, FOOTER, "").0, uu);
    }

    #[test]
    fn only_the_footer_is_new_where_it_fits() {
        let mail = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            odd =3D  writing=20\r\n=C3=A4 soft=\r\n break\r\n";
        let (out, _) = shown(mail, FOOTER, "");
        assert!(out.starts_with(mail), "{}", String::from_utf8_lossy(&out));
    }
}
