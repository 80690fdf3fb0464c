//! Sets of networks and of domains, compiled for look-ups in a session: no allocation, no scan.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};

use angarium_nouns::{Address, Domain, Host};

use super::PolicyError;

/// Merged ranges of addresses, IPv4 as mapped IPv6, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<(u128, u128)>);

impl Networks {
    /// Reads `192.0.2.0/24`, `2001:db8::/32`, `192.0.2.1`.
    pub fn compile(path: &str, texts: &[String]) -> Result<Self, PolicyError> {
        let mut ranges = Vec::with_capacity(texts.len());
        for (number, text) in texts.iter().enumerate() {
            let range = parse(text).ok_or_else(|| {
                let why = format!("{text:?} is no network; right is 192.0.2.0/24 or 2001:db8::/32");
                PolicyError::new(format!("{path}[{number}]"), why)
            })?;
            ranges.push(range);
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Ok(Self(merged))
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        let number = number(ip);
        let after = self.0.partition_point(|&(low, _)| low <= number);
        after > 0 && number <= self.0[after - 1].1
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => Ipv6Addr::to_bits(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn parse(text: &str) -> Option<(u128, u128)> {
    let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
    let ip: IpAddr = ip.parse().ok()?;
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let bits: u32 = bits.map_or(Some(width), |bits| bits.parse().ok())?;
    let host = width.checked_sub(bits)?;
    let mask = 1u128.checked_shl(host).map_or(u128::MAX, |size| size - 1);
    let low = number(ip) & !mask;
    Some((low, low | mask))
}

/// Domains by name (`example.org`) and all below a name (`.example.org`).
#[derive(Debug, Clone, Default)]
pub struct Domains {
    exact: HashSet<Box<str>>,
    below: HashSet<Box<str>>,
}

impl Domains {
    pub fn compile(path: &str, texts: &[String]) -> Result<Self, PolicyError> {
        let mut domains = Self::default();
        for (number, text) in texts.iter().enumerate() {
            domains.add(text).map_err(|why| PolicyError::new(format!("{path}[{number}]"), why))?;
        }
        Ok(domains)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (set, name) = match text.strip_prefix('.') {
            Some(name) => (&mut self.below, name),
            None => (&mut self.exact, text),
        };
        let host = Host::parse(name).map_err(|error| format!("{text:?}: {error}"))?;
        set.insert(host.key().into());
        Ok(())
    }

    pub fn contains(&self, host: &Host) -> bool {
        match host {
            Host::Name(domain) => self.exact.contains(domain.as_str()) || self.is_below(domain),
            Host::Literal(_) => !self.exact.is_empty() && self.exact.contains(host.key().as_str()),
        }
    }

    fn is_below(&self, domain: &Domain) -> bool {
        if self.below.is_empty() {
            return false;
        }
        let mut rest = domain.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if self.below.contains(parent) {
                return true;
            }
            rest = parent;
        }
        false
    }
}

/// `user@example.org` (case of the local part counts), `@example.org`, `@.example.org`, `*`, `<>`; empty and `*`: any.
#[derive(Debug, Clone)]
pub enum Pattern {
    Any,
    Null,
    /// The local part as it is meant.
    Mailbox(Box<str>, Host),
    Domain(Domains),
}

impl Pattern {
    pub fn compile(path: &str, text: &str) -> Result<Self, PolicyError> {
        let bad = |why: String| PolicyError::new(path, why);
        match text {
            "" | "*" => Ok(Self::Any),
            "<>" => Ok(Self::Null),
            _ => match text.strip_prefix('@') {
                Some(domain) => {
                    let mut domains = Domains::default();
                    domains.add(domain).map_err(bad)?;
                    Ok(Self::Domain(domains))
                }
                None => Address::parse(text)
                    .map(|address| Self::Mailbox(address.meant_local().into(), address.host().clone()))
                    .map_err(|error| bad(format!("{text:?}: {error}"))),
            },
        }
    }

    /// `None` is the null sender.
    pub fn matches(&self, address: Option<&Address>) -> bool {
        match (self, address) {
            (Self::Any, _) | (Self::Null, None) => true,
            (Self::Mailbox(local, host), Some(address)) => **local == *address.meant_local() && host == address.host(),
            (Self::Domain(domains), Some(address)) => domains.contains(address.host()),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn networks() {
        let networks =
            Networks::compile("t", &texts(&["192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32", "198.51.100.7"]))
                .unwrap();
        assert_eq!(networks.0.len(), 3);
        for (ip, inside) in [
            ("192.0.2.255", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.3.0", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("2001:db8:1::5", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(networks.contains(ip.parse().unwrap()), inside, "{ip}");
        }
        assert!(Networks::compile("t", &texts(&["0.0.0.0/0"])).unwrap().contains("10.1.2.3".parse().unwrap()));
        assert!(Networks::compile("t", &texts(&["::/0"])).unwrap().contains("10.1.2.3".parse().unwrap()));
        for bad in ["192.0.2.0/33", "x", "192.0.2.0/", "2001:db8::/129"] {
            assert_eq!(Networks::compile("t", &texts(&[bad])).unwrap_err().path, "t[0]", "{bad}");
        }
    }

    #[test]
    fn domains() {
        let domains = Domains::compile("d", &texts(&["Example.org", ".example.net", "[192.0.2.1]"])).unwrap();
        for (host, inside) in [
            ("example.ORG", true),
            ("a.example.org", false),
            ("example.net", false),
            ("a.b.example.net", true),
            ("[192.0.2.1]", true),
            ("[192.0.2.2]", false),
        ] {
            assert_eq!(domains.contains(&Host::parse(host).unwrap()), inside, "{host}");
        }
    }

    #[test]
    fn patterns() {
        let matches = |pattern: &str, address: &str| {
            Pattern::compile("p", pattern).unwrap().matches(Address::parse(address).ok().as_ref())
        };
        for (pattern, address, yes) in [
            ("*", "a@b", true),
            ("<>", "", true),
            ("<>", "a@b", false),
            ("@b", "", false),
            ("a@B.example", "a@b.EXAMPLE", true),
            ("a@b.example", "A@b.example", false),
            ("@.b.example", "x@y.b.example", true),
        ] {
            assert_eq!(matches(pattern, address), yes, "{pattern} {address}");
        }
    }
}
