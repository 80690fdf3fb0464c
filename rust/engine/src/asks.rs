//! Questions to hooks: a credit, an event, a deadline that is kept here, and a default when no answer came.
//!
//! Only session tasks and submissions ask. A question's number is never used twice, so an answer that comes late
//! finds nobody and is told so. What a hook answers is data ([`Verdict`]); the stages decide what it does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use angarium_events::EventQueue;
use angarium_nouns::{MessageId, Millis};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::counters::Counters;
use crate::event::Event;
use crate::policy::{Hook, HookDefault};
use crate::tables::{Decision, Verdict};

/// When a hook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskPhase {
    Connect,
    Mail,
    Rcpt,
    Message,
    Auth,
}

impl AskPhase {
    pub fn name(self) -> &'static str {
        ["connect", "mail", "rcpt", "message", "auth"][self as usize]
    }
}

/// Where the spool keeps bodies with a file of their own.
const BODIES: &str = "bodies";

/// The content as a hook may look at it: never copied for it.
#[derive(Debug, Clone)]
pub enum View {
    /// The bytes, and where the content as received begins in them.
    Memory(Arc<Vec<u8>>, usize),
    /// A file, by its path in the spool's folder; the same.
    File(String, usize),
}

impl View {
    /// A body with a file of its own.
    pub fn of_file(name: &str, front: usize) -> Self {
        Self::File(format!("{BODIES}/{name}"), front)
    }
}

/// What a client wants to prove its login with.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// PLAIN, LOGIN, ...
    pub mechanism: &'static str,
    /// "password", "token", "external", or what the engine wants to judge by itself: "keys" (SCRAM), "secret" (CRAM-MD5).
    pub kind: &'static str,
    pub login: String,
    /// Whom it wants to act as; empty: itself.
    pub authzid: String,
    /// The password or token; empty for the other kinds.
    pub secret: Vec<u8>,
    /// "external": the client certificate, DER.
    pub certificate: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    /// Without the secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Credentials({} {} {:?})", self.mechanism, self.kind, self.login)
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub phase: AskPhase,
    pub session: u64,
    pub listener: u16,
    pub peer: Option<SocketAddr>,
    pub trusted: bool,
    pub hello: String,
    pub login: String,
    pub tls: String,
    pub id: Option<MessageId>,
    pub sender: String,
    pub recipients: Vec<String>,
    pub size: u64,
    pub view: Option<View>,
    /// message: [`angarium_nouns::Verdicts`] as it is kept; empty: the sender was not judged.
    pub verdicts: Vec<u8>,
    /// auth only.
    pub credentials: Option<Box<Credentials>>,
}

/// A question on its way to Python.
#[derive(Debug)]
pub struct Ask {
    pub number: u64,
    pub deadline: Millis,
    pub question: Question,
}

/// All open questions.
#[derive(Debug)]
pub struct Asks {
    open: Mutex<HashMap<u64, oneshot::Sender<Verdict>>>,
    last: AtomicU64,
    events: EventQueue<Event>,
    clock: Clock,
    counters: Arc<Counters>,
}

impl Asks {
    pub fn new(events: EventQueue<Event>, clock: Clock, counters: Arc<Counters>) -> Self {
        Self { open: Mutex::default(), last: AtomicU64::new(0), events, clock, counters }
    }

    /// Asks and waits, at most the hook's deadline (waiting for a credit included); then the default holds.
    pub async fn ask(&self, hook: &Hook, question: Question) -> Verdict {
        let begun = self.clock.micros();
        self.counters.asks.one_more();
        let deadline = self.clock.now() + hook.deadline;
        let answered = tokio::time::timeout(Duration::from_millis(hook.deadline), self.put(question, deadline)).await;
        self.counters.ask_time.record(self.clock.micros().saturating_sub(begun));
        if let Ok(Some(verdict)) = answered {
            return verdict;
        }
        self.counters.asks_late.one_more();
        Verdict { decision: default_decision(hook.otherwise), ..Verdict::default() }
    }

    async fn put(&self, question: Question, deadline: Millis) -> Option<Verdict> {
        let credit = self.events.credit().await;
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = oneshot::channel();
        self.open.lock().insert(number, sender);
        let _forget = Forget { asks: self, number };
        self.events.ask(&credit, Event::Ask(Box::new(Ask { number, deadline, question })));
        receiver.await.ok()
    }

    /// An answer; false: it came too late.
    pub fn answer(&self, number: u64, verdict: Verdict) -> bool {
        let sender = self.open.lock().remove(&number);
        sender.is_some_and(|sender| sender.send(verdict).is_ok())
    }
}

/// A question that nobody waits for any more leaves the table.
struct Forget<'a> {
    asks: &'a Asks,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.asks.open.lock().remove(&self.number);
    }
}

fn default_decision(otherwise: HookDefault) -> Decision {
    match otherwise {
        HookDefault::Accept => Decision::Accept,
        HookDefault::Defer => Decision::Defer,
    }
}
