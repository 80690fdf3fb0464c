//! What an operator may set about carrying plans out: time-outs of each phase and bounds on work at once.
//!
//! Everything has a default that suits the open network. Settings are swapped whole; a connection keeps those it
//! began with. What differs from lane to lane (hosts, source, windows) is in the plan and not here.

use std::time::Duration;

use angarium_nouns::outcome::Phase;

/// Time-outs in milliseconds, so that the table in the configuration and this one read alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySettings {
    /// The name for EHLO where the plan gives none.
    pub hello: String,
    /// Connections at once, all lanes together.
    pub connections: u32,
    /// Recipients of one SMTP transaction. RFC 5321 4.5.3.1.8 lets every server take 100.
    pub recipients: u32,
    /// Addresses tried by one connection before its lane sleeps (as Postfix's `smtp_mx_address_limit`).
    pub addresses: u32,
    /// Messages over one connection where the plan gives no number; long-lived connections hide moved hosts.
    pub messages_per_connection: u32,
    /// How long a connection without work waits for some before it says QUIT.
    pub linger_ms: u64,
    /// TCP connect: shorter than the standard's time-outs, so that the next host gets its turn (as Postfix, 30 s).
    pub connect_ms: u64,
    /// RFC 5321 4.5.3.2.1.
    pub greeting_ms: u64,
    /// The answers to EHLO, HELO and RSET; the standard names none, greeting's is the nearest.
    pub hello_ms: u64,
    /// RFC 5321 4.5.3.2.2.
    pub mail_ms: u64,
    /// RFC 5321 4.5.3.2.3.
    pub rcpt_ms: u64,
    /// RFC 5321 4.5.3.2.4.
    pub data_ms: u64,
    /// RFC 5321 4.5.3.2.5: one block of the body being taken.
    pub block_ms: u64,
    /// RFC 5321 4.5.3.2.6.
    pub dot_ms: u64,
    /// The answer to QUIT; nothing depends on it.
    pub quit_ms: u64,
    /// How long a Python next hop may keep leased entries before they return as uncertain.
    pub handover_ms: u64,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            hello: "localhost".into(),
            connections: 1_000,
            recipients: 100,
            addresses: 5,
            messages_per_connection: 1_000,
            linger_ms: 2_000,
            connect_ms: 30_000,
            greeting_ms: 300_000,
            hello_ms: 300_000,
            mail_ms: 300_000,
            rcpt_ms: 300_000,
            data_ms: 120_000,
            block_ms: 180_000,
            dot_ms: 600_000,
            quit_ms: 5_000,
            handover_ms: 300_000,
        }
    }
}

impl DeliverySettings {
    /// How long the answer of this phase may take.
    pub fn patience(&self, phase: Phase) -> Duration {
        Duration::from_millis(match phase {
            Phase::Connect => self.connect_ms,
            Phase::Greeting => self.greeting_ms,
            Phase::Hello | Phase::Tls => self.hello_ms,
            Phase::Mail => self.mail_ms,
            Phase::Rcpt => self.rcpt_ms,
            Phase::Data => self.data_ms,
            Phase::Dot => self.dot_ms,
        })
    }
}
