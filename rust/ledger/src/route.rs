//! Routes and plans as Python hands them over (MessagePack maps by field name, unknown fields refused).
//!
//! A route is a function of (domain, route tag, the message's TLS demand) and fixes the lane's key; a plan fixes
//! what a lane does now: hosts with addresses, windows, the number of its retry table. Nothing here decides.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use angarium_nouns::{Millis, Reason};

/// How a lane's mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Smtp,
    Lmtp,
    /// Into Maildir folders, by the engine.
    Maildir,
    /// Leased to Python.
    Python,
}

impl Protocol {
    /// As in a route table.
    pub fn name(self) -> &'static str {
        ["smtp", "lmtp", "maildir", "python"][self as usize]
    }
}

/// Where a domain's mail goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub kind: Protocol,
    /// The lane's site: MX set, smarthost or mailbox store by its name.
    pub site: String,
    #[serde(default)]
    pub port: u16,
    /// Egress pool; empty: the default one.
    #[serde(default)]
    pub pool: String,
    /// EHLO name, credential and client certificate in use, as one name.
    #[serde(default)]
    pub identity: String,
    /// Effective TLS demand: 0 none, 1 encrypt, 2 verify.
    #[serde(default)]
    pub tls: u8,
    /// Host names in order of preference, for people and limiters; addresses come with the plan.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// No route: what happens to the entries of the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoRoute {
    /// True fails the entries now (NXDOMAIN, null MX); false defers them (SERVFAIL).
    pub failed: bool,
    /// The reply code and text that bounces and listings show.
    pub code: u16,
    /// `5.1.2` and the like.
    #[serde(default)]
    pub enhanced: String,
    pub text: String,
    /// A reason's number ([`Reason`]).
    #[serde(default = "no_route")]
    pub reason: Reason,
}

fn no_route() -> Reason {
    Reason::NoRoute
}

/// The answer to a wanted route. In MessagePack a map whose field `type` says which: `route` or `none`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RouteAnswer {
    Route(Route),
    #[serde(rename = "none", alias = "no_route")]
    NoRoute(NoRoute),
}

/// What makes a lane one lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct LaneKey {
    pub kind: Protocol,
    pub site: String,
    pub port: u16,
    pub pool: String,
    pub identity: String,
    pub tls: u8,
}

impl Route {
    pub fn lane_key(&self) -> LaneKey {
        let Self { kind, site, port, pool, identity, tls, .. } = self.clone();
        LaneKey { kind, site, port, pool, identity, tls }
    }
}

/// One host of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanHost {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    /// 0: the plan's port.
    #[serde(default)]
    pub port: u16,
}

/// Messages in a time: a token bucket of `messages`, refilled over `per` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub messages: u32,
    pub per: Millis,
}

/// What a lane does now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// In the order in which they are tried; equal preference is shuffled by whoever made the plan.
    #[serde(default)]
    pub hosts: Vec<PlanHost>,
    #[serde(default = "smtp_port")]
    pub port: u16,
    /// Local address to send from.
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// Name said in EHLO; empty: the server's own.
    #[serde(default)]
    pub hello: String,
    /// Connections at once.
    #[serde(default = "few_connections")]
    pub connections: u32,
    /// After so many messages a connection is closed; 0: no limit.
    #[serde(default)]
    pub messages_per_connection: u32,
    /// Recipients of one transaction (RFC 5321 4.5.3.1.8 asks servers for 100).
    #[serde(default = "usual_recipients")]
    pub recipients_per_transaction: u32,
    #[serde(default)]
    pub rate: Option<Rate>,
    #[serde(default)]
    pub retry_table: u16,
    /// Maildir: the folder that holds the mailboxes.
    #[serde(default)]
    pub folder: String,
    /// Python: who serves the lane.
    #[serde(default)]
    pub handler: String,
    /// Suspended by operator or warm-up until then; 0: not.
    #[serde(default)]
    pub suspended_until: Millis,
}

fn smtp_port() -> u16 {
    25
}

fn few_connections() -> u32 {
    4
}

fn usual_recipients() -> u32 {
    100
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            port: smtp_port(),
            source: None,
            hello: String::new(),
            connections: few_connections(),
            messages_per_connection: 0,
            recipients_per_transaction: usual_recipients(),
            rate: None,
            retry_table: 0,
            folder: String::new(),
            handler: String::new(),
            suspended_until: 0,
        }
    }
}
