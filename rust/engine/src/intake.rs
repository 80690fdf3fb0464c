//! What all doors in share: policy, ledger, committer, questions, limits and figures.
//!
//! Built once by the engine's start and handed down in an `Arc`; nothing here is global.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use angarium_events::EventQueue;
use angarium_ledger::{Body, CommitError, FaultKind, Ledger};
use angarium_nouns::Reply;
use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::admission::Admission;
use crate::asks::Asks;
use crate::clock::Clock;
use crate::committer::Committer;
use crate::counters::Counters;
use crate::dns::Dns;
use crate::event::Event;
use crate::logins::Logins;
use crate::notices::Notices;
use crate::policy::compiled::Compiled;
use crate::pool::Pool;
use crate::session::budget::Budget;
use crate::session::registry::Registry;
use crate::signing::Signing;
use crate::stress::Stress;
use crate::tls::Tls;
use crate::traffic::Traffic;
use crate::verdicts::VerdictCounts;

/// RFC 5321 3.8.
pub const SHUTTING_DOWN: Reply = Reply::new(421, (4, 3, 2), "Shutting down, try again later");

/// `limits.entries` is reached.
const CROWDED: Reply = Reply::new(452, (4, 3, 1), "Too many messages wait here, try again later");

pub struct Intake {
    pub clock: Clock,
    pub policy: ArcSwap<Compiled>,
    pub ledger: Arc<Ledger>,
    pub committer: Arc<Committer>,
    pub events: EventQueue<Event>,
    pub asks: Asks,
    pub counters: Arc<Counters>,
    pub admission: Arc<Admission>,
    pub budget: Arc<Budget>,
    pub sessions: Arc<Registry>,
    /// No new transactions.
    pub stopping: AtomicBool,
    /// Rings when that is so.
    pub stop_told: Notify,
    /// As many entries wait as the policy allows; the upkeep looks.
    pub crowded: AtomicBool,
    /// The last session's number; they name sessions in hooks and the journal.
    pub last_session: AtomicU64,
    pub tls: Arc<Tls>,
    /// Where handshakes are made: threads of their own.
    pub handshakes: Handle,
    pub traffic: Arc<Traffic>,
    pub logins: Logins,
    pub stress: Stress,
    pub notices: Notices,
    pub verdicts: VerdictCounts,
    pub dns: Arc<Dns>,
    /// Where senders are judged when it takes long.
    pub judging: Pool,
    pub signing: Arc<Signing>,
}

/// A session as replies, the log and the journal name it.
pub fn session_name(number: u64) -> String {
    format!("{number:x}")
}

impl Intake {
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// No new transactions from here on; who rests or shakes hands hears of it.
    pub fn tell_to_stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.stop_told.notify_waiters();
    }

    /// Returns when a stop has begun.
    pub async fn told_to_stop(&self) {
        let told = self.stop_told.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if !self.is_stopping() {
            told.await;
        }
    }

    pub fn next_session(&self) -> u64 {
        self.last_session.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Fresh chance as text, for a login (RFC 5802 5.1: no comma).
    pub fn nonce() -> Box<str> {
        let octets: [u8; 18] = crate::chance();
        octets.iter().fold(String::with_capacity(36), |text, octet| text + &format!("{octet:02x}")).into()
    }

    /// A body that nobody was promised: its file goes, in its own time.
    pub fn drop_body(&self, body: Body) {
        if let Body::File(file) = body {
            let ledger = self.ledger.clone();
            tokio::task::spawn_blocking(move || ledger.drop_body(&file));
        }
    }

    /// May a transaction begin? Asked at MAIL, so that a full disk or queue is told before the body is sent (S4, S5).
    pub fn takes_mail(&self, tenant: &str) -> Result<(), Reply> {
        if self.ledger.refuses_tenant(tenant) {
            return Err(CommitError::Full.reply());
        }
        match (self.ledger.takes_mail(), self.ledger.is_faulty()) {
            (true, _) if self.crowded.load(Ordering::Relaxed) => Err(CROWDED),
            (true, _) => Ok(()),
            (false, true) => Err(CommitError::Fault(FaultKind::Content, String::new()).reply()),
            (false, false) => Err(CommitError::Full.reply()),
        }
    }
}
