//! How DNS is asked. Times are milliseconds.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::PolicyError;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsPolicy {
    /// `192.0.2.1:53`; empty: those of the system.
    pub servers: Vec<String>,
    /// Of one server.
    pub timeout: u64,
    /// Of a whole question.
    pub lifetime: u64,
    /// Answers kept.
    pub cache: u32,
    /// How long at least and at most, whatever their TTL says.
    pub min_ttl: u64,
    pub max_ttl: u64,
    /// A question that failed is not asked again so soon.
    pub hold_down: u64,
    /// Questions on their way at once.
    pub queries: u32,
}

impl Default for DnsPolicy {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: 3_000,
            lifetime: 12_000,
            cache: 50_000,
            min_ttl: 30_000,
            max_ttl: 86_400_000,
            hold_down: 30_000,
            queries: 200,
        }
    }
}

impl DnsPolicy {
    /// As addresses; what is none was told by the check.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        if let Some(at) = self.servers.iter().position(|text| text.parse::<SocketAddr>().is_err()) {
            let why = format!("{:?} is no address with a port, as 192.0.2.1:53", self.servers[at]);
            return Err(PolicyError::new(format!("dns.servers[{at}]"), why));
        }
        let rules = [
            ("dns.timeout", self.timeout >= 1, "is 1 at least"),
            ("dns.lifetime", self.lifetime >= self.timeout, "is as long as dns.timeout at least"),
            ("dns.max_ttl", self.max_ttl >= self.min_ttl, "is as long as dns.min_ttl at least"),
            ("dns.queries", (1..=10_000).contains(&self.queries), "lies between 1 and 10000"),
        ];
        match rules.iter().find(|(_, good, _)| !good) {
            Some((path, _, why)) => Err(PolicyError::new(*path, *why)),
            None => Ok(()),
        }
    }
}
