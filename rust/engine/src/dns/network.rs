//! One question to the name servers: UDP, TCP where an answer does not fit, aliases followed.
//!
//! The servers are those of the policy, else those of `/etc/resolv.conf`; the search list is never used, and no hosts
//! file. An answer comes with the seconds for which it holds. What is no sense, no server or no time is temporary.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use angarium_auth::{Answer, Missing, Question};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::policy::DnsPolicy;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// As the resolver of the C library (`MAXNS`).
const MOST_SERVERS: usize = 3;
/// Answers wait on one TCP connection; the policy bounds all of them.
const MOST_ON_A_CONNECTION: usize = 256;
/// A server is asked again once when an answer got lost.
const TRIES: usize = 2;

pub(super) struct Network(Option<TokioResolver>);

impl Network {
    /// No servers: every question fails for now.
    pub fn new(policy: &DnsPolicy) -> Self {
        let servers = if policy.servers.is_empty() { of_the_system() } else { policy.addresses() };
        if servers.is_empty() {
            return Self(None);
        }
        let servers = servers.iter().map(|server| configured(*server)).collect();
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = Duration::from_millis(policy.timeout);
        options.attempts = TRIES;
        options.use_hosts_file = ResolveHosts::Never;
        // The memory is ours.
        options.cache_size = 0;
        options.max_active_requests = MOST_ON_A_CONNECTION;
        options.preserve_intermediates = false;
        Self(builder.build().ok())
    }

    /// The answer, and for how many seconds it holds.
    pub async fn ask(&self, question: &Question) -> (Answer, u64) {
        let Some(resolver) = &self.0 else { return (Answer::Temporary, 0) };
        let Some(name) = name_of(question) else { return (Answer::NotFound(Missing::Name), 0) };
        let kind = record_type(question);
        match resolver.lookup(name, kind).await {
            Ok(lookup) => found(&lookup, kind),
            Err(error) => failed(&error),
        }
    }
}

fn configured(server: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    config
}

/// resolv.conf(5): `nameserver ADDRESS`.
fn of_the_system() -> Vec<SocketAddr> {
    servers_in(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

fn servers_in(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    };
    text.lines().filter_map(address).take(MOST_SERVERS).map(|ip| SocketAddr::new(ip, PORT)).collect()
}

/// The octets of the labels as they stand: nothing is an escape, nothing is converted.
fn name_of(question: &Question) -> Option<Name> {
    Name::from_labels(question.name().split('.').map(str::as_bytes)).ok()
}

fn record_type(question: &Question) -> RecordType {
    match question {
        Question::Txt(_) => RecordType::TXT,
        Question::A(_) => RecordType::A,
        Question::Aaaa(_) => RecordType::AAAA,
        Question::Mx(_) => RecordType::MX,
        Question::Ptr(_) => RecordType::PTR,
    }
}

fn found(lookup: &Lookup, kind: RecordType) -> (Answer, u64) {
    let seconds = lookup.valid_until().saturating_duration_since(Instant::now()).as_secs();
    let records = || lookup.answers().iter().map(|record| &record.data).filter(|data| data.record_type() == kind);
    let answer = match kind {
        RecordType::TXT => Answer::Texts(records().filter_map(text).collect()),
        RecordType::MX => Answer::Names(by_preference(records())),
        RecordType::PTR => Answer::Names(records().filter_map(pointer).collect()),
        _ => Answer::Addresses(records().filter_map(RData::ip_addr).collect()),
    };
    // Aliases that lead to no such record.
    if answer.is_void() { (Answer::NotFound(Missing::Record), seconds) } else { (answer, seconds) }
}

/// RFC 7208 3.3: the strings of a record are one text.
fn text(data: &RData) -> Option<Box<[u8]>> {
    let RData::TXT(text) = data else { return None };
    Some(text.txt_data.concat().into())
}

fn pointer(data: &RData) -> Option<Box<str>> {
    let RData::PTR(name) = data else { return None };
    Some(plain(name))
}

fn by_preference<'a>(records: impl Iterator<Item = &'a RData>) -> Vec<Box<str>> {
    let mut hosts: Vec<_> = records
        .filter_map(|data| match data {
            RData::MX(mx) => Some((mx.preference, plain(&mx.exchange))),
            _ => None,
        })
        .collect();
    hosts.sort_by_key(|(preference, _)| *preference);
    hosts.into_iter().map(|(_, host)| host).collect()
}

/// In lower case without a final dot, as questions are.
fn plain(name: &Name) -> Box<str> {
    let labels: Vec<_> = name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    labels.join(".").into()
}

fn failed(error: &NetError) -> (Answer, u64) {
    let NetError::Dns(DnsError::NoRecordsFound(nothing)) = error else { return (Answer::Temporary, 0) };
    let missing = match nothing.response_code {
        ResponseCode::NXDomain => Missing::Name,
        ResponseCode::NoError => Missing::Record,
        _ => return (Answer::Temporary, 0),
    };
    // RFC 2308 5: without a SOA nothing says how long; the least time of the policy holds.
    (Answer::NotFound(missing), nothing.negative_ttl.unwrap_or(0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_systems_servers() {
        let text = "# x\nsearch a.example\nnameserver 192.0.2.1\n nameserver ::1 # y\nnameserver nobody\noptions a\n";
        let servers: Vec<_> = servers_in(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[::1]:53"]);
    }

    #[test]
    fn labels_are_octets() {
        let name = name_of(&Question::txt("a\\.b c._spf.example")).unwrap();
        let labels: Vec<_> = name.iter().collect();
        assert_eq!(labels, [&b"a\\"[..], b"b c", b"_spf", b"example"]);
    }
}
