//! The authors of a message: the domains of its From field, read leniently but never two ways (RFC 5322 3.6.2).
//!
//! Comments, quoted strings, groups and routes are passed over; what remains of each mailbox is the address before
//! the comma. A From without any address is a fault: DMARC has nothing to go by then. Of two From fields both are
//! read, because readers show one or the other; whoever judges must know that there were two.

use angarium_message::Header;
use angarium_nouns::Domain;

/// Authors that are judged. Mail has one; a few lists of programs write several.
pub const MAX_AUTHORS: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    #[error("there is no From field")]
    NoFrom,
    #[error("From holds no address with a domain")]
    NoAddress,
    #[error("From holds more than 10 addresses")]
    TooMany,
}

/// The authors of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authors {
    /// The different domains, in lower case and as A-labels, in the order they stand there.
    pub domains: Vec<Domain>,
    /// How many From fields there are; RFC 5322 3.6 allows one.
    pub fields: usize,
}

pub fn authors(header: &Header<'_>) -> Result<Authors, AuthorError> {
    let mut authors = Authors { domains: Vec::new(), fields: 0 };
    for field in header.all("From") {
        authors.fields += 1;
        for address in addresses(header.value_of(field)) {
            let domain = address.rsplit_once('@').and_then(|(_, domain)| Domain::parse(domain).ok());
            // One author without a domain would be the one whom a reader shows.
            let domain = domain.ok_or(AuthorError::NoAddress)?;
            if authors.domains.contains(&domain) {
                continue;
            }
            if authors.domains.len() == MAX_AUTHORS {
                return Err(AuthorError::TooMany);
            }
            authors.domains.push(domain);
        }
    }
    match (authors.fields, authors.domains.len()) {
        (0, _) => Err(AuthorError::NoFrom),
        (_, 0) => Err(AuthorError::NoAddress),
        _ => Ok(authors),
    }
}

/// What stands where addresses stand: the angle brackets of each mailbox, or all of it.
pub fn addresses(value: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut bare = String::new();
    let mut angle: Option<String> = None;
    let mut in_angle = false;
    let text = String::from_utf8_lossy(value);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '(' => skip_comment(&mut chars),
            '"' => quoted(&mut chars, if in_angle { angle.get_or_insert_default() } else { &mut bare }),
            '<' if !in_angle => {
                in_angle = true;
                angle.get_or_insert_default();
            }
            '>' => in_angle = false,
            // A route before the address (RFC 5322 4.4).
            ':' if in_angle => angle.get_or_insert_default().clear(),
            ':' => bare.clear(),
            ',' | ';' if !in_angle => take(&mut found, &mut bare, &mut angle),
            c if c.is_whitespace() => {}
            c if in_angle => angle.get_or_insert_default().push(c),
            c => bare.push(c),
        }
    }
    take(&mut found, &mut bare, &mut angle);
    found
}

fn take(found: &mut Vec<String>, bare: &mut String, angle: &mut Option<String>) {
    let bare = std::mem::take(bare);
    let address = angle.take().unwrap_or(bare);
    if !address.is_empty() {
        found.push(address);
    }
}

fn skip_comment(chars: &mut std::str::Chars<'_>) {
    let mut depth = 1;
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn quoted(chars: &mut std::str::Chars<'_>, out: &mut String) {
    while let Some(c) = chars.next() {
        match c {
            '"' => return,
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_are_found() {
        let cases: &[(&str, &[&str])] = &[
            ("a@example.org", &["example.org"]),
            ("\"x@evil.example\" <a@Example.org>", &["example.org"]),
            ("x@evil.example <a@example.org>", &["example.org"]),
            ("a@example.org (b@evil.example)", &["example.org"]),
            ("A <a@example.org>, b@example.net", &["example.org", "example.net"]),
            ("Group: a@example.org, b@example.org;", &["example.org"]),
            ("<@route.example:a@example.org>", &["example.org"]),
            ("a@b\u{fc}cher.example", &["xn--bcher-kva.example"]),
            ("\"a, b\" <\"c, d\"@example.org>", &["example.org"]),
        ];
        for (value, expected) in cases {
            let message = format!("From: {value}\r\n\r\n");
            let found = authors(&Header::scan(message.as_bytes())).unwrap().domains;
            assert_eq!(found.iter().map(Domain::as_str).collect::<Vec<_>>(), *expected, "{value}");
        }
    }

    #[test]
    fn faults() {
        let of = |message: &str| authors(&Header::scan(message.as_bytes())).map(|authors| authors.fields);
        assert_eq!(of("To: a@b.c\r\n\r\n"), Err(AuthorError::NoFrom));
        assert_eq!(of("From: a@b.c\r\nFrom: a@b.c\r\n\r\n"), Ok(2));
        assert_eq!(of("From: undisclosed:;\r\n\r\n"), Err(AuthorError::NoAddress));
        assert_eq!(of("From: nobody, a@b.c\r\n\r\n"), Err(AuthorError::NoAddress));
    }
}
