//! One connection to one peer: the stages from the greeting to QUIT, one small function each.
//!
//! `greet → hello → (secure: a place) → for each envelope: begin → envelope → body → dot → settle`. With PIPELINING
//! the envelope goes out in one write, and behind a final dot the next envelope in the same one (RFC 2920): one
//! round trip a message. Whatever happens, every entry that was begun is settled or given back before this returns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use angarium_ledger::{Content, ContentBody, LaneRun, Lease, Settlement};
use angarium_nouns::outcome::{Action, Judgement, Outcome, Phase, Reason, Scope, judge};
use angarium_nouns::reply::Reply;
use angarium_smtp::{Capabilities, Client, ClientError, Command, Extensions, MailParameters};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::desk::Desk;
use super::envelope::{Envelope, group};
use super::render::{self, Rendered};
use super::settings::DeliverySettings;
use super::transaction::{Final, Line, Step, Transaction, Verdict, host_failure, rules, verdict};
use super::wire::{Break, Wire};

/// Bytes of a body that are stuffed and written at once.
const BLOCK: usize = 64 * 1024;
/// A message younger than this was written by us just now, so its bytes are in the page cache.
const WARM: u64 = 60_000;

/// Why a host is done with, for the lane's sleep and the reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub judgement: Judgement,
    pub reply: Option<Reply>,
}

impl Failure {
    pub fn broken(cause: &Break) -> Self {
        Self { judgement: host_failure(cause.reason(), rules::BROKEN), reply: None }
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Politely, or after it had done something: the lane goes on with other connections.
    Finished,
    /// Nothing got through: the next host's turn.
    HostFailed(Failure),
}

/// An envelope on its way.
struct Outgoing {
    envelope: Envelope,
    transaction: Transaction,
    rendered: Rendered,
    /// RSET was put in front of it and is not answered yet.
    reset: bool,
    /// Where in the stream its final dot ends.
    dot_ends: u64,
}
