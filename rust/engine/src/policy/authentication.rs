//! What is done about who sent a message: whose mail is judged, and what its results lead to.
//!
//! A row is `method=result` and an action: `spf=fail`, `dmarc=temperror`, `finding=repeated-from`. What no row names
//! leads to nothing, but for failures of DNS, which put a message off. Known forwarders and trusted ARC sealers excuse
//! what SPF, DKIM and DMARC found.

use std::collections::BTreeMap;
use std::net::IpAddr;

use angarium_message::findings;
use angarium_nouns::Host;
use serde::{Deserialize, Serialize};

use super::PolicyError;
use super::networks::{Domains, Networks};

/// Whose mail a listener judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judges {
    #[default]
    Off,
    /// Of clients that we do not know: neither trusted nor on this very machine.
    Strangers,
    All,
}

/// What a result leads to; of several the last one here is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    #[default]
    None,
    /// A header field says so.
    Tag,
    /// Taken, and held until somebody releases it.
    Quarantine,
    /// 451.
    Defer,
    /// 550.
    Reject,
}

impl Action {
    pub fn word(self) -> &'static str {
        ["none", "tag", "quarantine", "defer", "reject"][self as usize]
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authentication {
    /// Our name in Authentication-Results (RFC 8601 2.5); empty: the policy's hostname.
    pub id: String,
    /// What the domain of the author asks for mail that fails DMARC is done.
    pub honour_dmarc: bool,
    pub actions: BTreeMap<String, Action>,
    /// Forwarders by their address, or by a name that was proved (SPF, DKIM, iprev).
    pub forwarder_networks: Vec<String>,
    pub forwarder_domains: Vec<String>,
    /// Domains whose ARC seals are believed.
    pub sealers: Vec<String>,
}

/// The results of each method (RFC 8601 2.7).
pub const RESULTS: [(&str, &[&str]); 6] = [
    ("iprev", &["pass", "fail", "temperror", "permerror"]),
    ("helo", &["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]),
    ("spf", &["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]),
    ("dkim", &["none", "pass", "fail", "policy", "neutral", "temperror", "permerror"]),
    ("arc", &["none", "pass", "fail"]),
    ("dmarc", &["none", "pass", "fail", "temperror", "permerror"]),
];
const FINDING: &str = "finding";
/// Any of them.
const ANY: &str = "any";

/// The table as the stage reads it.
#[derive(Debug, Clone, Default)]
pub struct Judging {
    pub honour_dmarc: bool,
    rows: BTreeMap<Box<str>, BTreeMap<Box<str>, Action>>,
    forwarder_networks: Networks,
    forwarder_domains: Domains,
    sealers: Domains,
}

impl Judging {
    pub fn compile(table: &Authentication) -> Result<Self, PolicyError> {
        let mut judging = Self {
            honour_dmarc: table.honour_dmarc,
            rows: BTreeMap::new(),
            forwarder_networks: Networks::compile("authentication.forwarder_networks", &table.forwarder_networks)?,
            forwarder_domains: Domains::compile("authentication.forwarder_domains", &table.forwarder_domains)?,
            sealers: Domains::compile("authentication.sealers", &table.sealers)?,
        };
        for (key, action) in &table.actions {
            let bad = |why: &str| PolicyError::new(format!("authentication.actions.{key}"), why);
            let (method, word) = key.split_once('=').ok_or_else(|| bad("a row is method=result"))?;
            if !is_known(method, word) {
                return Err(bad("no method gives this result"));
            }
            if word == "temperror" && *action == Action::Reject {
                return Err(bad("a failure of DNS is for now and refuses nobody for good"));
            }
            judging.rows.entry(method.into()).or_default().insert(word.into(), *action);
        }
        Ok(judging)
    }

    /// What the row of this result says; `None`: there is no row.
    pub fn row(&self, method: &str, word: &str) -> Option<Action> {
        self.rows.get(method)?.get(word).copied()
    }

    /// Does any result of this method lead to something?
    pub fn has_rows(&self, method: &str) -> bool {
        self.rows.contains_key(method)
    }

    /// Are messages to be scanned for findings?
    pub fn scans(&self) -> bool {
        self.has_rows(FINDING)
    }

    pub fn finding(&self, kind: &str) -> Action {
        let action = |word| self.row(FINDING, word).unwrap_or_default();
        action(kind).max(action(ANY))
    }

    pub fn forwards(&self, client: IpAddr) -> bool {
        self.forwarder_networks.contains(client)
    }

    pub fn forwards_as(&self, name: &str) -> bool {
        Host::parse(name).is_ok_and(|host| self.forwarder_domains.contains(&host))
    }

    pub fn trusts_sealer(&self, name: &str) -> bool {
        Host::parse(name).is_ok_and(|host| self.sealers.contains(&host))
    }
}

/// Every method with its results, findings included: what a row may name.
pub fn words() -> Vec<(&'static str, Vec<&'static str>)> {
    let findings = [ANY].into_iter().chain(findings::KINDS).collect();
    RESULTS.iter().map(|(method, words)| (*method, words.to_vec())).chain([(FINDING, findings)]).collect()
}

fn is_known(method: &str, word: &str) -> bool {
    words().iter().any(|(name, words)| *name == method && words.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(rows: &[(&str, Action)]) -> Result<Judging, PolicyError> {
        let actions = rows.iter().map(|(key, action)| ((*key).to_owned(), *action)).collect();
        Judging::compile(&Authentication { actions, ..Authentication::default() })
    }

    #[test]
    fn rows_are_found_and_wrong_ones_told() {
        let judging =
            compiled(&[("spf=fail", Action::Tag), ("finding=any", Action::Tag), ("finding=nul", Action::Reject)]);
        let judging = judging.unwrap();
        assert_eq!((judging.row("spf", "fail"), judging.row("spf", "pass")), (Some(Action::Tag), None));
        assert_eq!((judging.finding("nul"), judging.finding("bare-lf")), (Action::Reject, Action::Tag));
        for (row, action) in [
            ("spf", Action::Tag),
            ("spf=never", Action::Tag),
            ("finding=never", Action::Tag),
            ("dmarc=temperror", Action::Reject),
        ] {
            assert!(compiled(&[(row, action)]).unwrap_err().path.ends_with(row));
        }
    }
}
