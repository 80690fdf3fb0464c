//! Domain names and address literals.
//!
//! A [`Domain`] is kept in lower case and in its ASCII form (A-labels, RFC 5890), which is what DNS, lanes and
//! comparisons want; the writing the sender chose stays in the address. A [`Host`] is what may stand behind the
//! `@`: a domain or an address literal (RFC 5321 4.1.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RFC 1035 2.3.4: 255 octets on the wire, 253 in dotted writing.
pub const MAX_DOMAIN: usize = 253;
/// RFC 1035 2.3.4.
pub const MAX_LABEL: usize = 63;

/// A domain name: lower case, ASCII, valid labels, no final dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

/// Why a text is not a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    #[error("the domain is empty")]
    Empty,
    #[error("the domain is longer than 253 characters")]
    TooLong,
    #[error("a label of the domain is empty or longer than 63 characters")]
    Label,
    #[error("the domain holds a character that no host name has")]
    Character,
    #[error("the internationalised domain is not valid (RFC 5891)")]
    International,
    #[error("the address literal is not a valid IP address (RFC 5321 4.1.3)")]
    Literal,
}

impl Domain {
    /// Reads `Example.ORG` or `bücher.example`. Letters, digits, hyphens and (as the field does) underscores.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        if text.is_ascii() {
            return Self::from_ascii(text);
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| DomainError::International)?;
        Self::from_ascii(&ascii)
    }

    fn from_ascii(text: &str) -> Result<Self, DomainError> {
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        if text.len() > MAX_DOMAIN {
            return Err(DomainError::TooLong);
        }
        for label in text.split('.') {
            if label.is_empty() || label.len() > MAX_LABEL {
                return Err(DomainError::Label);
            }
            let edge_hyphen = label.starts_with('-') || label.ends_with('-');
            if edge_hyphen || !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                return Err(DomainError::Character);
            }
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may stand behind the `@` of an address or in EHLO.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    Name(Domain),
    Literal(IpAddr),
}

impl Host {
    /// Reads `example.org`, `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        match text.strip_prefix('[') {
            None => Domain::parse(text).map(Self::Name),
            Some(rest) => {
                let inner = rest.strip_suffix(']').ok_or(DomainError::Literal)?;
                Self::parse_literal(inner).ok_or(DomainError::Literal)
            }
        }
    }

    fn parse_literal(inner: &str) -> Option<Self> {
        let ip = match inner.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => IpAddr::V6(inner[5..].parse::<Ipv6Addr>().ok()?),
            _ => IpAddr::V4(inner.parse::<Ipv4Addr>().ok()?),
        };
        Some(Self::Literal(ip))
    }

    /// The key under which queue and routing know it: the domain, or `[literal]`.
    pub fn key(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(domain) => f.write_str(domain.as_str()),
            Self::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Self::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        assert_eq!(Domain::parse("Example.ORG").unwrap().as_str(), "example.org");
        assert_eq!(Domain::parse("bücher.example").unwrap().as_str(), "xn--bcher-kva.example");
        assert_eq!(Host::parse("[IPv6:2001:DB8::1]").unwrap().key(), "[IPv6:2001:db8::1]");
        assert_eq!(Host::parse("[192.0.2.1]").unwrap(), Host::Literal("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn refuses() {
        for (text, error) in [
            ("", DomainError::Empty),
            ("a..b", DomainError::Label),
            ("-a.example", DomainError::Character),
            ("a b.example", DomainError::Character),
            ("exa\u{200}mple..", DomainError::Label),
        ] {
            assert!(Domain::parse(text).is_err(), "{text:?} should be {error:?}");
        }
        for text in ["[192.0.2.1", "[192.0.2.300]", "[]", "[IPv6:192.0.2.1]", "[é]"] {
            assert_eq!(Host::parse(text), Err(DomainError::Literal), "{text:?}");
        }
        assert_eq!(Domain::parse(&"a.".repeat(140)), Err(DomainError::TooLong));
    }
}
