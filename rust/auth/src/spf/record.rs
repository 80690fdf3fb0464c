//! SPF records as data (RFC 7208 4.6, 5, 6). A record is read as a whole: one bad term makes all of it bad.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Outcome;
use super::macros::{MacroError, MacroText};

/// Terms in one record. Only ten may ask DNS; the rest are addresses, of which large senders list some dozens.
pub const MAX_TERMS: usize = 1_000;

/// A record that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub directives: Vec<Directive>,
    pub redirect: Option<MacroText>,
    pub explanation: Option<MacroText>,
}

/// What to say if the mechanism matches. `text` is the term as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    pub outcome: Outcome,
    pub mechanism: Mechanism,
    pub text: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    All,
    Include(MacroText),
    A(Option<MacroText>, Prefixes),
    Mx(Option<MacroText>, Prefixes),
    Ptr(Option<MacroText>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(MacroText),
}

/// Prefix lengths for both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    pub four: u8,
    pub six: u8,
}

/// Why a record is bad, with the term.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record holds bytes outside ASCII")]
    NotAscii,
    #[error("the record has more than 1,000 terms")]
    TooLong,
    #[error("unknown mechanism {0:?}")]
    Mechanism(Box<str>),
    #[error("{0:?} has a bad or no argument")]
    Argument(Box<str>),
    #[error("{0:?} has a bad prefix length")]
    Prefix(Box<str>),
    #[error("{0:?}: {1}")]
    Macro(Box<str>, MacroError),
    #[error("{0} stands twice")]
    Twice(&'static str),
}

/// Whether a TXT record is an SPF record at all (RFC 7208 4.5).
pub fn is_spf(text: &[u8]) -> bool {
    let version = text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"v=spf1"));
    version && matches!(text.get(6), None | Some(b' '))
}

impl Record {
    /// Reads a record that [`is_spf`].
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii()).ok_or(RecordError::NotAscii)?;
        let mut record = Self { directives: Vec::new(), redirect: None, explanation: None };
        for (count, term) in text[6..].split(' ').filter(|term| !term.is_empty()).enumerate() {
            if count == MAX_TERMS {
                return Err(RecordError::TooLong);
            }
            match modifier(term) {
                Some((name, value)) => record.modifier(term, name, value)?,
                None => record.directives.push(directive(term)?),
            }
        }
        Ok(record)
    }

    fn modifier(&mut self, term: &str, name: &str, value: &str) -> Result<(), RecordError> {
        let slot = match name.to_ascii_lowercase().as_str() {
            "redirect" => (&mut self.redirect, "redirect"),
            "exp" => (&mut self.explanation, "exp"),
            _ => {
                // RFC 7208 6: unknown modifiers are ignored, but must be well-formed.
                let checked = MacroText::parse(value, false);
                return checked.map(drop).map_err(|error| RecordError::Macro(term.into(), error));
            }
        };
        let domain = domain_spec(term, value)?;
        match slot.0.replace(domain) {
            Some(_) => Err(RecordError::Twice(slot.1)),
            None => Ok(()),
        }
    }
}

/// A term with `=` behind a name is a modifier (RFC 7208 4.6.1).
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    good.then_some((name, value))
}

fn directive(term: &str) -> Result<Directive, RecordError> {
    let (outcome, rest) = match term.as_bytes().first() {
        Some(b'+') => (Outcome::Pass, &term[1..]),
        Some(b'-') => (Outcome::Fail, &term[1..]),
        Some(b'~') => (Outcome::SoftFail, &term[1..]),
        Some(b'?') => (Outcome::Neutral, &term[1..]),
        _ => (Outcome::Pass, term),
    };
    Ok(Directive { outcome, mechanism: mechanism(term, rest)?, text: term.into() })
}

fn mechanism(term: &str, text: &str) -> Result<Mechanism, RecordError> {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let argument = rest.strip_prefix(':');
    match (name.to_ascii_lowercase().as_str(), argument) {
        ("all", None) if rest.is_empty() => Ok(Mechanism::All),
        ("include", Some(domain)) => Ok(Mechanism::Include(domain_spec(term, domain)?)),
        ("exists", Some(domain)) => Ok(Mechanism::Exists(domain_spec(term, domain)?)),
        ("a", _) => domain_and_prefixes(term, rest).map(|(domain, prefixes)| Mechanism::A(domain, prefixes)),
        ("mx", _) => domain_and_prefixes(term, rest).map(|(domain, prefixes)| Mechanism::Mx(domain, prefixes)),
        ("ptr", None) if rest.is_empty() => Ok(Mechanism::Ptr(None)),
        ("ptr", Some(domain)) => Ok(Mechanism::Ptr(Some(domain_spec(term, domain)?))),
        ("ip4", Some(network)) => ip4(term, network),
        ("ip6", Some(network)) => ip6(term, network),
        ("all" | "include" | "exists" | "ptr" | "ip4" | "ip6", _) => Err(RecordError::Argument(term.into())),
        _ => Err(RecordError::Mechanism(term.into())),
    }
}

fn ip4(term: &str, network: &str) -> Result<Mechanism, RecordError> {
    let (address, prefix) = network.split_once('/').map_or((network, None), |(a, p)| (a, Some(p)));
    let prefix = prefix.map_or(Some(32), |text| prefix_length(text, 32));
    let prefix = prefix.ok_or_else(|| RecordError::Prefix(term.into()))?;
    let address = address.parse().map_err(|_| RecordError::Argument(term.into()))?;
    Ok(Mechanism::Ip4(address, prefix))
}

fn ip6(term: &str, network: &str) -> Result<Mechanism, RecordError> {
    let (address, prefix) = network.split_once('/').map_or((network, None), |(a, p)| (a, Some(p)));
    let prefix = prefix.map_or(Some(128), |text| prefix_length(text, 128));
    let prefix = prefix.ok_or_else(|| RecordError::Prefix(term.into()))?;
    let address = address.parse().map_err(|_| RecordError::Argument(term.into()))?;
    Ok(Mechanism::Ip6(address, prefix))
}

/// `0`, or digits without a zero in front, up to `most` (RFC 7208 5.6).
fn prefix_length(text: &str, most: u8) -> Option<u8> {
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let good = good && (text == "0" || !text.starts_with('0'));
    good.then(|| text.parse().ok()).flatten().filter(|length| *length <= most)
}

/// `[":" domain-spec] ["/" prefix4] ["//" prefix6]`.
fn domain_and_prefixes(term: &str, rest: &str) -> Result<(Option<MacroText>, Prefixes), RecordError> {
    let bad = || RecordError::Prefix(term.into());
    let mut prefixes = Prefixes { four: 32, six: 128 };
    let mut left = rest;
    if let Some((before, digits)) = left.rsplit_once("//")
        && !digits.ends_with('}')
    {
        prefixes.six = prefix_length(digits, 128).ok_or_else(bad)?;
        left = before;
    }
    if let Some((before, digits)) = left.rsplit_once('/')
        && !digits.ends_with('}')
        && (digits.is_empty() || digits.bytes().all(|byte| byte.is_ascii_digit()))
    {
        prefixes.four = prefix_length(digits, 32).ok_or_else(bad)?;
        left = before;
    }
    match left.strip_prefix(':') {
        Some(domain) => Ok((Some(domain_spec(term, domain)?), prefixes)),
        None if left.is_empty() => Ok((None, prefixes)),
        None => Err(bad()),
    }
}

fn domain_spec(term: &str, text: &str) -> Result<MacroText, RecordError> {
    let domain = MacroText::parse(text, false).map_err(|error| RecordError::Macro(term.into(), error))?;
    if domain.ends_like_a_domain() { Ok(domain) } else { Err(RecordError::Argument(term.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_their_faults() {
        let good = Record::parse(b"v=spf1 a:x.example/24//64 -ip4:192.0.2.0/24 redirect=%{d} x-y=%{l}").unwrap();
        assert_eq!(good.directives.len(), 2);
        assert!(good.redirect.is_some());
        assert!(matches!(Record::parse(b"v=spf1 all:x"), Err(RecordError::Argument(_))));
        assert!(matches!(Record::parse(b"v=spf1 ip4:1.2.3.4/33"), Err(RecordError::Prefix(_))));
        assert!(matches!(Record::parse(b"v=spf1 ip4:1.2.3.4/032"), Err(RecordError::Prefix(_))));
        assert!(matches!(Record::parse(b"v=spf1 foo"), Err(RecordError::Mechanism(_))));
        assert!(matches!(Record::parse(b"v=spf1 exp=a.b exp=a.b"), Err(RecordError::Twice("exp"))));
        assert!(matches!(Record::parse(b"v=spf1 a:\xc3\xa4.example"), Err(RecordError::NotAscii)));
    }

    #[test]
    fn versions() {
        assert!(is_spf(b"V=SPF1"));
        assert!(is_spf(b"v=spf1 -all"));
        assert!(!is_spf(b"v=spf10 -all"));
        assert!(!is_spf(b"v=spf1\t-all"));
    }
}
