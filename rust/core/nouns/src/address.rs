//! Mail addresses as the envelope knows them (RFC 5321 4.1.2, RFC 6531 3.3).
//!
//! Strict: a dot-string or a quoted string, `@`, a domain or an address literal. Lenient reading of header fields
//! is the business of `core/message`. An [`Address`] keeps the writing it came in; comparison and routing use
//! [`Address::host`].

use std::borrow::Cow;
use std::fmt;

use crate::domain::{DomainError, Host};

/// RFC 5321 4.5.3.1.1.
pub const MAX_LOCAL: usize = 64;
/// RFC 5321 4.5.3.1.3: a path of 256 octets includes the angle brackets.
pub const MAX_ADDRESS: usize = 254;

/// A mailbox: `local@host`, grammar checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    text: Box<str>,
    at: u16,
    host: Host,
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the address has no @ with a domain behind it")]
    NoDomain,
    #[error("the part before the @ is empty")]
    EmptyLocal,
    #[error("the part before the @ is longer than 64 octets (RFC 5321 4.5.3.1.1)")]
    LocalTooLong,
    #[error("the address is longer than 254 octets (RFC 5321 4.5.3.1.3)")]
    TooLong,
    #[error("the part before the @ is neither a dot-string nor a quoted string (RFC 5321 4.1.2)")]
    Local,
    #[error("{0}")]
    Domain(#[from] DomainError),
}

impl Address {
    /// Reads `local@host`. Characters outside ASCII are accepted (RFC 6531); ask [`Address::is_ascii`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let at = text.rfind('@').ok_or(AddressError::NoDomain)?;
        let (local, host) = (&text[..at], &text[at + 1..]);
        if local.is_empty() {
            return Err(AddressError::EmptyLocal);
        }
        if local.len() > MAX_LOCAL {
            return Err(AddressError::LocalTooLong);
        }
        if text.len() > MAX_ADDRESS {
            return Err(AddressError::TooLong);
        }
        if !is_dot_string(local) && !is_quoted_string(local) {
            return Err(AddressError::Local);
        }
        if host.is_empty() {
            return Err(AddressError::NoDomain);
        }
        Ok(Self { text: text.into(), at: at as u16, host: Host::parse(host)? })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn local(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// The local part as it is meant: a quoted string without its quotes and backslashes, which say nothing more
    /// (RFC 5321 4.1.2). Two writings of a mailbox have the same.
    pub fn meant_local(&self) -> Cow<'_, str> {
        let local = self.local();
        let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return local.into() };
        let mut meant = String::with_capacity(inner.len());
        let mut characters = inner.chars();
        while let Some(c) = characters.next() {
            meant.extend(if c == '\\' { characters.next() } else { Some(c) });
        }
        meant.into()
    }

    /// The writing behind the `@`, as it came.
    pub fn domain_text(&self) -> &str {
        &self.text[usize::from(self.at) + 1..]
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The sender of an envelope: an address, or the null path `<>` of reports (RFC 5321 4.5.5).
pub type ReversePath = Option<Address>;

fn is_atom_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

fn is_dot_string(local: &str) -> bool {
    local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_char))
}

fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut escaped = false;
    for c in inner.chars() {
        let printable = matches!(c, ' '..='~') || !c.is_ascii();
        if !printable || (!escaped && c == '"') {
            return false;
        }
        escaped = !escaped && c == '\\';
    }
    !escaped && local.len() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads() {
        for text in ["a@b", "john.doe@Example.org", "\"a @ b\\\"\"@example.org", "x@[192.0.2.1]", "jörg@bücher.example"]
        {
            assert_eq!(Address::parse(text).unwrap().as_str(), text);
        }
        let address = Address::parse("\"a@b\"@c.example").unwrap();
        assert_eq!((address.local(), address.domain_text()), ("\"a@b\"", "c.example"));
    }

    #[test]
    fn what_a_local_part_means() {
        for (text, meant) in [
            ("a.b@c", "a.b"),
            ("\"a.b\"@c", "a.b"),
            ("\"b\\ücher\"@c", "bücher"),
            ("\"a \\\"b\\\\\"@c", "a \"b\\"),
            ("\"\"@c", ""),
        ] {
            assert_eq!(Address::parse(text).unwrap().meant_local(), meant, "{text}");
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "a",
            "@b",
            "a@",
            "a b@c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "\"a@b",
            "\"a\"b\"@c",
            "a@b@c",
            "a\r@b",
            "a@-b",
            "\"@b",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Address::parse(&format!("{}@b", "a".repeat(65))), Err(AddressError::LocalTooLong));
    }

    proptest! {
        #[test]
        fn never_holds_what_breaks_a_line(text in "\\PC*@[a-z.]{1,9}|.*") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(!address.as_str().contains(['\r', '\n', '\0']));
            }
        }
    }
}
