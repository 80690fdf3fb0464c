//! DNS for the checks of mail: one memory for all of them, one question on its way for all who ask it.
//!
//! [`Dns::remembered`] answers at once or not at all, [`Dns::ask`] waits, by a moment that its caller names; what is
//! not answered by then is a temporary failure. Answers are kept by their TTL within the policy's bounds, failures for
//! its hold-down, so that a dead name server is not asked for every message. What asks the servers is `network`.

mod memory;
mod network;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use angarium_auth::{Answer, Question};
use angarium_nouns::Millis;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::counters::Counters;
use crate::policy::DnsPolicy;
use memory::Memory;
use network::Network;

/// Asks, remembers, and lets everybody share both.
pub struct Dns {
    clock: Clock,
    counters: Arc<Counters>,
    memory: Mutex<Memory>,
    flights: Mutex<HashMap<Question, Arc<OnceCell<Answer>>>>,
    servers: Mutex<Arc<Servers>>,
}

/// What is asked by one policy.
struct Servers {
    policy: DnsPolicy,
    network: Network,
    /// Questions on their way at once.
    room: Semaphore,
}

impl Servers {
    fn new(policy: &DnsPolicy) -> Arc<Self> {
        Arc::new(Self {
            policy: policy.clone(),
            network: Network::new(policy),
            room: Semaphore::new(policy.queries as usize),
        })
    }
}

impl Dns {
    pub fn new(policy: &DnsPolicy, clock: Clock, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            counters,
            memory: Mutex::new(Memory::new(policy.cache as usize)),
            flights: Mutex::default(),
            servers: Mutex::new(Servers::new(policy)),
        })
    }

    /// Another policy: other servers forget what the ones before said.
    pub fn set_policy(&self, policy: &DnsPolicy) {
        let mut servers = self.servers.lock();
        if servers.policy != *policy {
            *servers = Servers::new(policy);
            *self.memory.lock() = Memory::new(policy.cache as usize);
        }
    }

    /// What is known already.
    pub fn remembered(&self, question: &Question) -> Option<Answer> {
        let answer = self.memory.lock().get(question, self.clock.now());
        if answer.is_some() {
            self.counters.dns_remembered.one_more();
        }
        answer
    }

    /// Asks all of them side by side.
    pub async fn ask(self: &Arc<Self>, questions: Vec<Question>, until: Millis) -> Vec<(Question, Answer)> {
        let left = Duration::from_millis(until.saturating_sub(self.clock.now()));
        let mut asked = JoinSet::new();
        for question in &questions {
            let (dns, question) = (self.clone(), question.clone());
            asked.spawn(async move {
                let answer = tokio::time::timeout(left, dns.one(&question)).await;
                (question, answer.unwrap_or(Answer::Temporary))
            });
        }
        let mut answers = Vec::with_capacity(questions.len());
        while let Some(joined) = asked.join_next().await {
            answers.extend(joined);
        }
        // Nobody waits for ever: what has no answer, whatever the reason, failed for now.
        let missing = |question: &Question| !answers.iter().any(|(answered, _)| answered == question);
        let failed: Vec<_> = questions.into_iter().filter(missing).map(|one| (one, Answer::Temporary)).collect();
        answers.extend(failed);
        answers
    }

    async fn one(&self, question: &Question) -> Answer {
        if let Some(answer) = self.remembered(question) {
            return answer;
        }
        let flight = self.flights.lock().entry(question.clone()).or_default().clone();
        let landing = Landing { dns: self, question, flight };
        landing.flight.get_or_init(|| self.fly(question)).await.clone()
    }

    async fn fly(&self, question: &Question) -> Answer {
        let servers = self.servers.lock().clone();
        let Ok(_room) = servers.room.acquire().await else { return Answer::Temporary };
        self.counters.dns_questions.one_more();
        let asked = servers.network.ask(question);
        let lifetime = Duration::from_millis(servers.policy.lifetime);
        let (answer, seconds) = tokio::time::timeout(lifetime, asked).await.unwrap_or((Answer::Temporary, 0));
        let keep = if answer.is_temporary() {
            self.counters.dns_failures.one_more();
            servers.policy.hold_down
        } else {
            (seconds * 1_000).clamp(servers.policy.min_ttl, servers.policy.max_ttl)
        };
        self.memory.lock().put(question.clone(), answer.clone(), self.clock.now() + keep);
        answer
    }
}

/// The last one who waits for a flight takes it from the board, also when he goes away without an answer.
struct Landing<'a> {
    dns: &'a Dns,
    question: &'a Question,
    flight: Arc<OnceCell<Answer>>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = self.dns.flights.lock();
        // The board's and ours.
        let is_over = self.flight.initialized() || Arc::strong_count(&self.flight) <= 2;
        let is_there = flights.get(self.question).is_some_and(|there| Arc::ptr_eq(there, &self.flight));
        if is_over && is_there {
            flights.remove(self.question);
        }
    }
}
