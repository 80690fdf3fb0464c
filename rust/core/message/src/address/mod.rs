//! Addresses of header fields, read leniently (RFC 5322 3.4 and 4.4): lists, groups, comments, routes, encoded words.
//!
//! The strict grammar of envelopes is [`angarium_nouns::Address`]; [`diagnose`] tells what a text is by every rule.
//! Here nothing fails: each comma brings a mailbox, whatever stands there. A mailbox without `@` keeps its text as
//! its name if it stands bare, as its address within `<>`. Time is linear, nesting is counted and not recursed.

pub mod diagnose;

use crate::words;

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Mailbox(Mailbox),
    Group { name: String, members: Vec<Mailbox> },
}

/// A display name and an address, each perhaps empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Encoded words decoded; of a comment where there is no phrase.
    pub name: String,
    /// `local@domain`, without comments and blanks around its words, a route left away (RFC 5322 4.4).
    pub address: String,
}

/// Reads a field value.
#[must_use]
pub fn parse_list(value: &[u8]) -> Vec<Entry> {
    let mut list = List::default();
    let mut rest = value;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match byte {
            b'(' => list.comment(behind),
            b'"' => list.quoted(behind),
            b'<' => list.angle(behind),
            _ => {
                list.plain(byte);
                behind
            }
        };
    }
    list.finish()
}

/// All mailboxes of a field value, those of groups among them.
pub fn mailboxes(value: &[u8]) -> Vec<Mailbox> {
    let entries = parse_list(value).into_iter();
    entries
        .flat_map(|entry| match entry {
            Entry::Mailbox(mailbox) => vec![mailbox],
            Entry::Group { members, .. } => members,
        })
        .collect()
}

#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    group: Option<(String, Vec<Mailbox>)>,
    /// What stands bare, as a name: quotes and backslashes taken out.
    phrase: Vec<u8>,
    /// The same as an address: quotes kept, blanks left away.
    bare: Vec<u8>,
    comment: Vec<u8>,
    angle: Option<Vec<u8>>,
    /// Something stands here, be it an empty quoted string.
    begun: bool,
    /// An `@` outside quotes: what stands bare is an address.
    at_sign: bool,
}

impl List {
    fn plain(&mut self, byte: u8) {
        match byte {
            b',' => self.end_mailbox(),
            b';' => self.end_group(),
            b':' if self.group.is_none() && self.angle.is_none() && !self.at_sign => {
                self.group = Some((name_of(&self.phrase), Vec::new()));
                self.clear();
            }
            b'\r' | b'\n' => {}
            b' ' | b'\t' => self.phrase.push(b' '),
            // Behind an address in angle brackets only comments are looked at.
            _ if self.angle.is_some() => {}
            _ => {
                self.begun = true;
                self.at_sign |= byte == b'@';
                self.phrase.push(byte);
                self.bare.push(byte);
            }
        }
    }

    /// Reads a quoted string; gives what stands behind it. One that is not closed goes to the end.
    fn quoted<'a>(&mut self, inside: &'a [u8]) -> &'a [u8] {
        self.begun = true;
        self.bare.push(b'"');
        let mut at = 0;
        while let Some(&byte) = inside.get(at) {
            match byte {
                b'"' => break,
                b'\\' if at + 1 < inside.len() => {
                    self.bare.extend_from_slice(&inside[at..at + 2]);
                    self.phrase.push(inside[at + 1]);
                    at += 1;
                }
                b'\r' | b'\n' => {}
                _ => {
                    self.bare.push(byte);
                    self.phrase.push(byte);
                }
            }
            at += 1;
        }
        self.bare.push(b'"');
        inside.get(at + 1..).unwrap_or_default()
    }

    fn comment<'a>(&mut self, inside: &'a [u8]) -> &'a [u8] {
        let mut depth = 1_usize;
        let mut at = 0;
        if !self.comment.is_empty() {
            self.comment.push(b' ');
        }
        while let Some(&byte) = inside.get(at) {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' if at + 1 < inside.len() => at += 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            self.comment.push(inside[at]);
            at += 1;
        }
        inside.get(at + 1..).unwrap_or_default()
    }

    /// Reads up to `>`; without one up to a comma, so that one slip does not swallow the list.
    fn angle<'a>(&mut self, inside: &'a [u8]) -> &'a [u8] {
        self.begun = true;
        let (mut in_quotes, mut at) = (false, 0);
        let mut address = Vec::new();
        while let Some(&byte) = inside.get(at) {
            match byte {
                b'"' => in_quotes = !in_quotes,
                b'\\' if in_quotes && at + 1 < inside.len() => {
                    address.push(byte);
                    at += 1;
                }
                b'>' if !in_quotes => break,
                _ => {}
            }
            if in_quotes || !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                address.push(inside[at]);
            }
            at += 1;
        }
        self.angle.get_or_insert(without_comments(&without_route(address)));
        inside.get(at + 1..).unwrap_or_default()
    }

    fn end_mailbox(&mut self) {
        if self.begun || !self.comment.is_empty() {
            let mailbox = self.mailbox();
            match &mut self.group {
                Some((_, members)) => members.push(mailbox),
                None => self.entries.push(Entry::Mailbox(mailbox)),
            }
        }
        self.clear();
    }

    fn end_group(&mut self) {
        self.end_mailbox();
        if let Some((name, members)) = self.group.take() {
            self.entries.push(Entry::Group { name, members });
        }
    }

    fn mailbox(&mut self) -> Mailbox {
        let text = |bytes: &[u8]| words::decode(bytes);
        let comment = name_of(&self.comment);
        match self.angle.take() {
            Some(address) => {
                let phrase = name_of(&self.phrase);
                Mailbox { name: if phrase.is_empty() { comment } else { phrase }, address: text(&address) }
            }
            None if self.at_sign => Mailbox { name: comment, address: text(&self.bare) },
            None if self.begun => Mailbox { name: name_of(&self.phrase), address: String::new() },
            None => Mailbox { name: comment, address: String::new() },
        }
    }

    fn clear(&mut self) {
        self.phrase.clear();
        self.bare.clear();
        self.comment.clear();
        self.angle = None;
        self.begun = false;
        self.at_sign = false;
    }

    fn finish(mut self) -> Vec<Entry> {
        self.end_group();
        self.entries
    }
}

/// A phrase as text: trimmed, blanks single, encoded words decoded.
fn name_of(phrase: &[u8]) -> String {
    let mut single = Vec::with_capacity(phrase.len());
    for byte in phrase.trim_ascii() {
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if !blank {
            single.push(*byte);
        } else if single.last() != Some(&b' ') {
            single.push(b' ');
        }
    }
    words::decode(&single)
}

/// RFC 5322 4.4: `@a,@b:local@domain` is `local@domain`.
fn without_route(address: Vec<u8>) -> Vec<u8> {
    match address.first() {
        Some(b'@') => {
            address.iter().position(|byte| *byte == b':').map_or(address.clone(), |at| address[at + 1..].to_vec())
        }
        _ => address,
    }
}

fn without_comments(address: &[u8]) -> Vec<u8> {
    let (mut depth, mut quoted) = (0_usize, false);
    let mut kept = Vec::with_capacity(address.len());
    for byte in address {
        match byte {
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            kept.push(*byte);
        }
    }
    kept
}

/// A mailbox as it is written into a field: phrase or quoted string or encoded words, and the address in brackets.
#[must_use]
pub fn write(name: &str, address: &str, utf8: bool) -> String {
    if name.is_empty() {
        return address.to_owned();
    }
    format!("{} <{address}>", phrase(name, utf8))
}

/// A display name as a phrase (RFC 5322 3.2.5), encoded where it must be. `utf8`: letters outside ASCII may stand.
#[must_use]
pub fn phrase(name: &str, utf8: bool) -> String {
    let clean: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c) || (utf8 && !c.is_ascii());
    if (!clean.is_ascii() && !utf8) || clean.contains("=?") {
        return words::encode(&clean).join(" ");
    }
    if clean.chars().all(atom) && clean.trim() == clean && !clean.contains("  ") {
        return clean;
    }
    format!("\"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: &str) -> String {
        let mailbox = |m: &Mailbox| format!("{}|{}", m.name, m.address);
        let entries = parse_list(value.as_bytes()).into_iter().map(|entry| match entry {
            Entry::Mailbox(one) => mailbox(&one),
            Entry::Group { name, members } => {
                format!("{name}[{}]", members.iter().map(mailbox).collect::<Vec<_>>().join("; "))
            }
        });
        entries.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn reads_lists() {
        for (value, want) in [
            (" a@b", "|a@b"),
            ("Joe Q. Public <john.q.public@example.com>", "Joe Q. Public|john.q.public@example.com"),
            ("\"Joe, \\\"Q\\\"\" <a@b>, c@d", "Joe, \"Q\"|a@b; |c@d"),
            ("a@b (Joe (the) One)", "Joe (the) One|a@b"),
            (
                "A Group:Ed Jones <joe@where.test>,joe@where.test;, x@y",
                "A Group[Ed Jones|joe@where.test; |joe@where.test]; |x@y",
            ),
            ("Undisclosed recipients:;", "Undisclosed recipients[]"),
            ("Mary Smith <@machine.tld,@b:mary@example.net>, , x @ test", "Mary Smith|mary@example.net; |x@test"),
            ("\"joe blow\"@example.org", "|\"joe blow\"@example.org"),
            ("=?iso-8859-1?q?J=F6rg?= =?iso-8859-1?q?_X?= <a@b>", "J\u{f6}rg X|a@b"),
            ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|pete@silly.test"),
            ("J\u{f6}rg <j\u{f6}rg@b\u{fc}cher.example>", "J\u{f6}rg|j\u{f6}rg@b\u{fc}cher.example"),
            ("name only", "name only|"),
            ("<>", "|"),
            ("<never@closed", "|never@closed"),
            ("\"never closed <a@b>", "never closed <a@b>|"),
            ("", ""),
        ] {
            assert_eq!(shown(value), want, "{value}");
        }
    }

    #[test]
    fn writes_names() {
        for (name, want) in [
            ("Joe", "Joe <a@b>"),
            ("Joe, \"Q\"", "\"Joe, \\\"Q\\\"\" <a@b>"),
            ("J\u{f6}", "=?utf-8?b?SsO2?= <a@b>"),
            ("", "a@b"),
            ("a\r\nb", "\"a  b\" <a@b>"),
        ] {
            assert_eq!(write(name, "a@b", false), want);
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(name in "[^\\p{C} ]{1,10}( [^\\p{C} ]{1,10}){0,5}") {
            let written = write(&name, "a@b.example", false);
            prop_assert_eq!(mailboxes(written.as_bytes()), vec![Mailbox { name, address: "a@b.example".into() }]);
        }

        #[test]
        fn any_bytes_survive(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = mailboxes(&value);
        }
    }
}
