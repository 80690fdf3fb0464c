//! The policy tables: what needs no judgement while mail flows, as plain data.
//!
//! Python compiles the configuration into this (MessagePack maps by field name; mirrored in
//! `python/angarium/engine.py`) and hands it over whole; `policy::Policy` is the raw table, `compiled::Compiled`
//! what sessions read. A field that is left out has its default, an unknown field is an error, and so is a value
//! out of its range: [`Policy::decode`] says where and why. Times are milliseconds, sizes bytes.

pub mod authentication;
pub mod compiled;
mod dns;
mod face;
pub mod listener;
pub mod networks;

use serde::{Deserialize, Serialize};

pub use authentication::{Action, Authentication, Judges};
pub use dns::DnsPolicy;
pub use listener::{
    Allowance, ClientCertificates, Listener, ListenerLimits, LoginUse, NewlineMode, Profile, SenderRule, TlsUse,
    TlsVersion,
};

/// Everything, swapped whole. A transaction keeps the policy that it began with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Stands in the journal and in every content record. 0: one above the last.
    pub generation: u64,
    /// Our name in banners, EHLO answers and Received fields.
    pub hostname: String,
    /// By number: `Engine.adopt(listener, ...)`.
    pub listeners: Vec<Listener>,
    /// Networks (`192.0.2.0/24`, `2001:db8::/32`, single addresses) that may relay; exempt from per-address limits.
    pub trusted_networks: Vec<String>,
    /// Domains (`example.org`, or `.example.org` for all below it) whose mail ends here.
    pub local_domains: Vec<String>,
    /// Recipients at local domains that exist (`user@example.org`, `@example.org`); empty: all.
    pub local_recipients: Vec<String>,
    /// Domains that anybody may send to through us.
    pub relay_domains: Vec<String>,
    /// Any recipient from any client (the first run, which delivers into a catch-all mailbox only).
    pub accept_any: bool,
    /// First row that matches gives the recipient's route tag.
    pub route_tags: Vec<RouteTagRule>,
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// At least one: number 0 serves entries without a plan.
    pub retry: Vec<RetryTable>,
    pub expiry: Expiry,
    pub journal: Journal,
    #[serde(default)]
    pub quota: Quota,
    #[serde(default)]
    pub brake: Brake,
    pub reports: Reports,
    pub hooks: Hooks,
    pub commit: Commit,
    pub logins: Logins,
    pub dns: DnsPolicy,
    pub authentication: Authentication,
}

/// All conditions given must hold. Patterns: `user@example.org`, `@example.org`, `@.example.org` (below it), `*`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTagRule {
    /// Empty: any; `<>` the null sender.
    pub sender: String,
    pub recipient: String,
    pub listener: String,
    pub tenant: String,
    pub tag: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Sessions in all.
    pub sessions: u32,
    /// Per client address (an IPv6 /64 counts as one); trusted networks are exempt.
    pub sessions_per_address: u32,
    /// Messages in one session before 421; 0: no limit.
    pub transactions_per_session: u32,
    /// Bytes of bodies in memory or on their way to a file, in all (S7).
    pub bytes_in_flight: u64,
    /// A body above this goes to a file of its own.
    pub inline_body: u32,
    /// Received fields of a message before it is a loop (RFC 5321 6.3 asks for 100 at least).
    pub max_received: u32,
    /// Octets of a header section, 1 MiB at most.
    pub max_header: u32,
    /// Entries waiting in all before 452 4.3.1.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sessions_per_address: 50, // Postfix smtpd_client_connection_count_limit
            transactions_per_session: 0,
            bytes_in_flight: 128 << 20,
            inline_body: 1 << 20,
            max_received: 100,
            max_header: 1 << 20, // what a scan looks at; Exim header_maxsize
            entries: 20_000_000, // 1.6 GB of index
        }
    }
}

/// Seconds of patience, by phase (RFC 5321 4.5.3.2 where a number stands there), in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Server: waiting for a command (RFC 5321 4.5.3.2.7).
    pub command: u64,
    /// Server: between two reads inside DATA (Postfix uses the same 5 minutes).
    pub data_block: u64,
    /// Server: one message from 354 to the final dot, in all.
    pub data_total: u64,
    /// Server: octets per second that a body must reach on average after the first `data_block`.
    pub data_rate: u32,
    /// Server: a session's whole life.
    pub session: u64,
    /// Server: a handshake of TLS (RFC 8446 has no number: two round trips and some arithmetic).
    pub handshake: u64,
    /// Server: writing replies to a peer that does not read.
    pub write: u64,
    /// Client: TCP connect (one address).
    pub connect: u64,
    /// Client (RFC 5321 4.5.3.2.1).
    pub greeting: u64,
    pub hello: u64,
    /// Client (RFC 5321 4.5.3.2.2 to .6).
    pub mail: u64,
    pub rcpt: u64,
    pub data: u64,
    pub block: u64,
    pub dot: u64,
    pub quit: u64,
    /// Client: an open connection waits so long for its next message.
    pub idle: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        const SECOND: u64 = 1_000;
        const MINUTE: u64 = 60 * SECOND;
        Self {
            command: 5 * MINUTE,
            data_block: 5 * MINUTE,
            data_total: 60 * MINUTE,
            data_rate: 256,
            session: 24 * 60 * MINUTE,
            handshake: 30 * SECOND, // the slowest link that carries mail makes it in this
            write: 5 * MINUTE,
            connect: 30 * SECOND, // Postfix smtp_connect_timeout
            greeting: 5 * MINUTE,
            hello: 5 * MINUTE,
            mail: 5 * MINUTE,
            rcpt: 5 * MINUTE,
            data: 2 * MINUTE,
            block: 3 * MINUTE,
            dot: 10 * MINUTE,
            quit: 5 * SECOND,
            idle: 2 * SECOND,
        }
    }
}

/// When a deferred entry is due again, by reason class. The last delay of a row repeats; ±15 % jitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryTable {
    pub name: String,
    pub greylist: Vec<u64>,
    pub mailbox_full: Vec<u64>,
    pub throttle: Vec<u64>,
    pub tls: Vec<u64>,
    pub dns: Vec<u64>,
    pub uncertain: Vec<u64>,
    pub other: Vec<u64>,
}

impl Default for RetryTable {
    fn default() -> Self {
        let minutes = |list: &[u64]| list.iter().map(|m| m * 60_000).collect();
        Self {
            name: "default".into(),
            greylist: minutes(&[5, 10, 20, 60]),
            mailbox_full: minutes(&[60, 120, 240]),
            throttle: minutes(&[5, 10, 20, 40, 60]),
            tls: minutes(&[10, 30, 60, 120]),
            dns: minutes(&[5, 10, 30, 60]),
            uncertain: minutes(&[15, 30, 60, 120]),
            other: minutes(&[5, 10, 20, 40, 60, 120, 180]), // RFC 5321 4.5.4.1: at least 30 minutes, then longer
        }
    }
}

/// When permanent failures of one reason at one provider become deferrals; `failures` 0: never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Brake {
    /// In ten minutes.
    pub failures: u32,
    /// Times their usual share.
    pub multiple: u32,
}

impl Default for Brake {
    fn default() -> Self {
        Self { failures: 500, multiple: 10 }
    }
}

/// What one tenant's open mail may take while room is short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Bytes; 0: no quota.
    pub tenant: u64,
    /// Room is short below so many free bytes.
    pub below: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { tenant: 0, below: 1 << 30 }
    }
}

/// How much of what happened, and of delivered mail, is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// Facts older than this go, if nobody needs them.
    pub keep: u64,
    /// The same for what is more than so many bytes of journal ago.
    pub bytes: u64,
    /// Delivered content kept for required followers and legal holds; at the limit new mail gets 452.
    pub required_bytes: u64,
    /// Delivered content kept for other followers and pins; at the limit the oldest goes.
    pub best_effort_bytes: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self { keep: 30 * 24 * 3_600_000, bytes: 4 << 30, required_bytes: 16 << 30, best_effort_bytes: 1 << 30 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expiry {
    /// A message is given up after (RFC 5321 4.5.4.1: 4 to 5 days).
    pub message: u64,
    /// Reports are given up after.
    pub report: u64,
    /// A hold without its own deadline ends after.
    pub hold: u64,
}

impl Default for Expiry {
    fn default() -> Self {
        const DAY: u64 = 86_400_000;
        Self { message: 5 * DAY, report: 2 * DAY, hold: 30 * DAY }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reports {
    /// In From of reports; empty: `postmaster@hostname`.
    pub postmaster: String,
    /// Reporting-MTA; empty: the policy's hostname.
    pub hostname: String,
    /// Octets of the original that a failure report carries; more: headers only.
    pub full_limit: u64,
    /// How long owed reports wait for company.
    pub collect: u64,
    /// Who asked to hear of delay does so after; 0: never.
    pub delay_after: u64,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            postmaster: String::new(),
            hostname: String::new(),
            full_limit: 50 << 10, // Postfix bounce_size_limit
            collect: 60_000,
            delay_after: 4 * 3_600_000,
        }
    }
}

/// What happens when a hook does not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookDefault {
    Accept,
    #[default]
    Defer,
}

/// One phase with hooks; a phase without them is `None` and costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hook {
    pub deadline: u64,
    pub otherwise: HookDefault,
}

impl Default for Hook {
    fn default() -> Self {
        Self { deadline: 10_000, otherwise: HookDefault::Defer }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    pub connect: Option<Hook>,
    pub mail: Option<Hook>,
    pub rcpt: Option<Hook>,
    pub message: Option<Hook>,
    /// Judges logins; without it AUTH is not offered.
    pub auth: Option<Hook>,
    /// Questions that may be open at once; more wait their turn inside the hook's deadline.
    pub credits: u32,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { connect: None, mail: None, rcpt: None, message: None, auth: None, credits: 1_024 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Commit {
    /// Records of one group; spool.md: 512.
    pub group_records: u32,
    /// Bytes of one group; spool.md: 1 MiB.
    pub group_bytes: u32,
    /// Settle facts wait so long for company at most; spool.md: 50 ms.
    pub journal_wait: u64,
}

impl Default for Commit {
    fn default() -> Self {
        Self { group_records: 512, group_bytes: 1 << 20, journal_wait: 50 }
    }
}

/// What the engine remembers of logins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logins {
    /// A login that was right is right again for so long without a question; 0: always asked.
    pub remember: u64,
    /// The same for one that was wrong.
    pub remember_refused: u64,
    /// Each failure in a row of an address or an account makes the next answer so much later, at most `slowest`.
    pub delay: u64,
    pub slowest: u64,
    /// Failures of one address (IPv6 /64) within `window` before it is banned for `ban`; 0: never.
    pub failures_per_address: u32,
    /// The same of one account: then only addresses that logged in lately may try it.
    pub failures_per_account: u32,
    pub window: u64,
    pub ban: u64,
}

impl Default for Logins {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        Self {
            remember: 5 * MINUTE,
            remember_refused: 10_000,
            delay: 500,
            slowest: 8_000,
            failures_per_address: 20, // a family behind one address mistypes less
            failures_per_account: 50, // Dovecot's penalty grows alike
            window: 15 * MINUTE,
            ban: 15 * MINUTE,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            generation: 0,
            hostname: "localhost".into(),
            listeners: vec![Listener::default()],
            trusted_networks: Vec::new(),
            local_domains: Vec::new(),
            local_recipients: Vec::new(),
            relay_domains: Vec::new(),
            accept_any: false,
            route_tags: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            retry: vec![RetryTable::default()],
            expiry: Expiry::default(),
            journal: Journal::default(),
            quota: Quota::default(),
            brake: Brake::default(),
            reports: Reports::default(),
            hooks: Hooks::default(),
            commit: Commit::default(),
            logins: Logins::default(),
            dns: DnsPolicy::default(),
            authentication: Authentication::default(),
        }
    }
}

/// Where in the table something is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct PolicyError {
    /// `listeners[0].max_line`; empty when the bytes are no table at all.
    pub path: String,
    pub why: String,
}

impl PolicyError {
    pub fn new(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self { path: path.into(), why: why.into() }
    }
}

impl Policy {
    /// Reads a table as Python wrote it and checks every range.
    pub fn decode(bytes: &[u8]) -> Result<Self, PolicyError> {
        let policy: Self = rmp_serde::from_slice(bytes).map_err(|error| PolicyError::new("", error.to_string()))?;
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        let rules: [(&str, bool, &str); 6] = [
            ("hostname", !self.hostname.is_empty(), "must not be empty"),
            ("listeners", !self.listeners.is_empty() && self.listeners.len() < 1_000, "needs 1 to 999 rows"),
            ("retry", !self.retry.is_empty() && self.retry.len() < 256, "needs 1 to 255 tables"),
            ("commit.group_records", (1..=4_096).contains(&self.commit.group_records), "lies between 1 and 4096"),
            (
                "commit.group_bytes",
                (64 << 10..=16 << 20).contains(&self.commit.group_bytes),
                "lies between 64 KiB and 16 MiB",
            ),
            (
                "limits.inline_body",
                (4 << 10..=8 << 20).contains(&self.limits.inline_body),
                "lies between 4 KiB and 8 MiB",
            ),
        ];
        if let Some((path, _, why)) = rules.iter().find(|(_, good, _)| !good) {
            return Err(PolicyError::new(*path, *why));
        }
        self.dns.check()?;
        self.listeners.iter().enumerate().try_for_each(|(n, listener)| listener.check(n))?;
        self.retry.iter().enumerate().try_for_each(|(n, table)| table.check(n))
    }
}

impl RetryTable {
    fn check(&self, number: usize) -> Result<(), PolicyError> {
        let rows = [
            ("greylist", &self.greylist),
            ("mailbox_full", &self.mailbox_full),
            ("throttle", &self.throttle),
            ("tls", &self.tls),
            ("dns", &self.dns),
            ("uncertain", &self.uncertain),
            ("other", &self.other),
        ];
        match rows.iter().find(|(_, row)| row.is_empty() || row.contains(&0)) {
            Some((field, _)) => {
                Err(PolicyError::new(format!("retry[{number}].{field}"), "needs at least one delay above 0"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_map(fields: &[(&str, rmp_serde_value::Value)]) -> Result<Policy, PolicyError> {
        Policy::decode(&rmp_serde_value::map(fields))
    }

    /// The few MessagePack shapes that the tests write by hand.
    mod rmp_serde_value {
        use serde::Serialize;

        #[derive(Serialize, Clone)]
        #[serde(untagged)]
        pub enum Value {
            Text(&'static str),
            List(Vec<std::collections::BTreeMap<&'static str, u64>>),
        }

        pub fn map(fields: &[(&str, Value)]) -> Vec<u8> {
            let map: std::collections::BTreeMap<_, _> = fields.iter().cloned().collect();
            rmp_serde::to_vec_named(&map).unwrap()
        }
    }
    use rmp_serde_value::Value;

    #[test]
    fn the_default_is_good_and_reads_back() {
        let bytes = rmp_serde::to_vec_named(&Policy::default()).unwrap();
        assert_eq!(Policy::decode(&bytes), Ok(Policy::default()));
        assert_eq!(decode_map(&[("hostname", Value::Text("mx.example"))]).unwrap().hostname, "mx.example");
    }

    #[test]
    fn wrong_tables_say_where() {
        let short = Value::List(vec![std::collections::BTreeMap::from([("max_line", 10)])]);
        let error = decode_map(&[("listeners", short)]).unwrap_err();
        assert_eq!(error.path, "listeners[0].max_line");
        assert!(decode_map(&[("hostnam", Value::Text("x"))]).unwrap_err().why.contains("hostnam"));
        assert_eq!(decode_map(&[("hostname", Value::Text(""))]).unwrap_err().path, "hostname");
    }
}
