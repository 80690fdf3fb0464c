//! In which order the addresses of a plan are tried.
//!
//! The plan's hosts keep their order (routing has sorted and shuffled them); the addresses of one host alternate
//! between the families, so that a broken IPv6 costs one attempt and not all (RFC 8305 4 in spirit); a source
//! address rules out the other family; addresses with a mark against them go last.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use angarium_nouns::Millis;

use super::health::Health;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A place to connect to and the name of the host that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub name: String,
    /// The host's number in the plan.
    pub host: usize,
    pub place: Place,
}

impl std::fmt::Display for Candidate {
    /// As the journal has it: `name[address]:port`, or `[unix:path]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Tcp(address) => write!(f, "{}[{}]:{}", self.name, address.ip(), address.port()),
            Place::Unix(path) => write!(f, "[unix:{}]", path.display()),
        }
    }
}

/// The one candidate of a plan that names a socket.
pub fn of_socket(path: &str) -> Candidate {
    Candidate { name: "localhost".into(), host: usize::MAX, place: Place::Unix(path.into()) }
}

/// The candidates of these hosts, best first, at most `limit`.
pub fn order<'a>(
    hosts: impl Iterator<Item = (&'a str, &'a [IpAddr], u16)>,
    source: Option<IpAddr>,
    health: &Health,
    now: Millis,
    limit: usize,
) -> Vec<Candidate> {
    let usable = |ip: &IpAddr| source.is_none_or(|source| source.is_ipv4() == ip.is_ipv4());
    let of_host = |(host, (name, addresses, port)): (usize, (&'a str, &'a [IpAddr], u16))| {
        let addresses = interleave(addresses).into_iter().filter(usable);
        let place = move |ip| Place::Tcp(SocketAddr::new(ip, port));
        addresses.map(move |ip| Candidate { name: name.to_owned(), host, place: place(ip) })
    };
    let mut candidates: Vec<_> = hosts.enumerate().flat_map(of_host).collect();
    candidates.sort_by_cached_key(|candidate| health.weight(&candidate.place, now));
    candidates.truncate(limit);
    candidates
}

/// IPv6 and IPv4 in turn, beginning with the family of the first address; the rest of the longer one behind.
fn interleave(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut one, mut other): (Vec<_>, Vec<_>) = addresses.iter().partition(|ip| ip.is_ipv4() == first.is_ipv4());
    let shorter = one.len().min(other.len());
    let tail = if one.len() > shorter { one.split_off(shorter) } else { other.split_off(shorter) };
    one.into_iter().zip(other).flat_map(|(a, b)| [a, b]).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate() {
        let cases = [
            (vec![], vec![]),
            (vec!["192.0.2.1"], vec!["192.0.2.1"]),
            (vec!["2001:db8::1", "2001:db8::2", "192.0.2.1"], vec!["2001:db8::1", "192.0.2.1", "2001:db8::2"]),
            (vec!["192.0.2.1", "2001:db8::1", "2001:db8::2"], vec!["192.0.2.1", "2001:db8::1", "2001:db8::2"]),
        ];
        for (given, want) in cases {
            assert_eq!(interleave(&ips(&given)), ips(&want));
        }
    }

    #[test]
    fn marked_addresses_go_last_and_the_source_rules_out_a_family() {
        let health = Health::default();
        health.failed(&Place::Tcp("192.0.2.1:25".parse().unwrap()), 0);
        let (a, b) = (ips(&["192.0.2.1", "2001:db8::1"]), ips(&["192.0.2.2"]));
        let hosts = [("a.example", &a[..], 25), ("b.example", &b[..], 25)];
        let names = |source: Option<&str>, limit| -> Vec<String> {
            let source = source.map(|text| text.parse().unwrap());
            order(hosts.into_iter(), source, &health, 0, limit).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(None, 9), ["a.example[2001:db8::1]:25", "b.example[192.0.2.2]:25", "a.example[192.0.2.1]:25"]);
        assert_eq!(names(Some("192.0.2.9"), 1), ["b.example[192.0.2.2]:25"]);
        assert_eq!(names(Some("2001:db8::9"), 9), ["a.example[2001:db8::1]:25"]);
    }
}
