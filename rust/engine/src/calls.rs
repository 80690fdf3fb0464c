//! The calls of the engine's owner, one function each. What touches disk runs on the blocking pool and ends a ticket.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;

use angarium_ledger::{
    BodyReader, Content, ContentBody, Control, ControlError, Cursor, FindError, FollowError, FollowerView, JournalPage,
    JournalRecord, LaneId, LaneWanted, LoadError, Plan, Predicate, ReadError, RouteAnswer, RouteWanted,
};
use angarium_nouns::record::Claim;
use angarium_nouns::{MessageId, Millis, Reply};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use crate::accept::{Answer, sign_copy, submit};
use crate::asks::View;
use crate::counters::Figures;
use crate::delivery::render::{self, Rendered};
use crate::delivery::{self, HandoverResult, PlanReport};
use crate::engine::{CallError, Engine};
use crate::event::{Event, Finished, Problem};
use crate::faults::FaultKind;
use crate::figures;
use crate::notices::{Met, Times};
use crate::policy::{Policy, PolicyError};
use crate::running::Running;
use crate::session::{Adopted, adopt};
use crate::signing::Keys;
use crate::tables::{PythonOutcome, Submission, Verdict, decode};
use crate::tickets::{Ticket, finished};

/// The reply that a submission was refused with.
#[derive(Debug, Serialize)]
struct Refused<'a> {
    code: u16,
    enhanced: String,
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct Accepted {
    id: String,
}

#[derive(Debug, Serialize)]
struct Page {
    /// LSN, the fact, the strings that its numbers speak of.
    records: Vec<(u64, ByteBuf, Vec<String>)>,
    next: ByteBuf,
    end: bool,
}

#[derive(Debug, Serialize)]
struct Follower {
    name: String,
    cursor: ByteBuf,
    lsn: u64,
    claims: &'static str,
    skipped: u64,
}

impl Follower {
    fn of(view: FollowerView) -> Self {
        let FollowerView { name, cursor, claim, skipped } = view;
        Self { name, cursor: encoded(cursor), lsn: cursor.lsn, claims: claim, skipped }
    }
}

#[derive(Debug, Serialize)]
struct Controlled {
    changed: u64,
    too_late: u64,
    rule: u64,
}

impl Engine {
    pub fn drain(&self, limit: usize) -> Vec<Event> {
        self.events().drain(limit)
    }

    /// Takes descriptors over; gives back those refused, each with what to say before closing.
    pub fn adopt(
        &self,
        listener: u16,
        sockets: &[(RawFd, SocketAddr)],
    ) -> Result<Vec<(RawFd, Option<Reply>)>, CallError> {
        let running = self.running()?;
        let refused =
            |&(fd, peer): &(RawFd, SocketAddr)| match adopt(&running.intake, running.handle(), listener, fd, peer) {
                Adopted::Taken => None,
                Adopted::Refused(fd, reply) => Some((fd, reply)),
            };
        Ok(sockets.iter().filter_map(refused).collect())
    }

    pub fn set_policy(&self, table: &[u8]) -> Result<Result<u64, PolicyError>, CallError> {
        let running = self.running()?;
        Ok(Policy::decode(table).and_then(|table| running.set_policy(table)))
    }

    pub fn answer(&self, ask: u64, verdict: &[u8]) -> Result<bool, CallError> {
        let verdict: Verdict = table(verdict)?;
        Ok(self.running()?.intake.asks.answer(ask, verdict))
    }

    /// Limits that were met since the last call: which, by whom, where, how often, in which session last.
    pub fn limits_met(&self) -> Result<Vec<(Met, Times)>, CallError> {
        Ok(self.running()?.intake.notices.take())
    }

    /// One message from code.
    pub fn submit(&self, submission: &[u8], content: Vec<u8>) -> Result<u64, CallError> {
        let submission: Submission = table(submission)?;
        let running = self.running()?;
        let ticket = self.ticket()?;
        let (number, intake) = (ticket.number(), running.intake.clone());
        running.handle().spawn(async move {
            ticket.finish(submitted(submit(&intake, submission, content).await));
        });
        Ok(number)
    }

    pub fn wanted_routes(&self, limit: usize) -> Result<Vec<RouteWanted>, CallError> {
        Ok(self.running()?.intake.ledger.wanted_routes(limit, self.clock().now()))
    }

    pub fn set_route(&self, key: u32, answer: &[u8], valid: Millis, stale: Millis) -> Result<bool, CallError> {
        let answer: RouteAnswer = required(answer)?;
        let running = self.running()?;
        let wanted = running.intake.ledger.set_route(key, answer, valid, stale, self.clock().now());
        crate::upkeep::tell_what_is_wanted(&running.intake);
        Ok(wanted)
    }

    pub fn wanted_plans(&self, limit: usize) -> Result<Vec<LaneWanted>, CallError> {
        Ok(self.running()?.intake.ledger.wanted_plans(limit, self.clock().now()))
    }

    pub fn set_plan(&self, lane: u64, plan: &[u8], valid: Millis) -> Result<bool, CallError> {
        let plan: Plan = required(plan)?;
        let running = self.running()?;
        let known = running.intake.ledger.set_plan(LaneId(lane), plan, valid, self.clock().now());
        running.with_delivery(delivery::Delivery::wake);
        Ok(known)
    }

    pub fn plan_reports(&self, limit: usize) -> Result<Vec<PlanReport>, CallError> {
        Ok(self.running()?.with_delivery(|delivery| delivery.plan_reports(limit)).unwrap_or_default())
    }

    /// Answers of Python next hops; false for those whose lease had expired.
    pub fn settle(&self, results: &[(u64, &[u8])]) -> Result<Vec<bool>, CallError> {
        let results: Vec<HandoverResult> = results
            .iter()
            .map(|&(number, outcome)| handover_result(number, &table::<PythonOutcome>(outcome)?))
            .collect::<Result<_, CallError>>()?;
        let settled = self.running()?.with_delivery(|delivery| delivery.settle(&results));
        Ok(settled.unwrap_or_else(|| vec![false; results.len()]))
    }

    /// An order: its ticket ends when its fact is durable.
    pub fn control(&self, control: &[u8]) -> Result<u64, CallError> {
        let control: Control = required(control)?;
        self.cold_then(move |running, ticket, now| match running.intake.ledger.control(&control, now) {
            Ok(done) => {
                let (changed, too_late, rule) = (done.changed, done.too_late, done.rule);
                running.with_delivery(delivery::Delivery::wake);
                match finished(&Controlled { changed, too_late, rule }) {
                    Ok(result) => running.journal.answer_when_durable(done.token, ticket, result),
                    Err(problem) => ticket.finish(Err(problem)),
                }
            }
            Err(error) => ticket.finish(Err(control_problem(&error))),
        })
    }

    pub fn find(&self, predicate: &[u8], after: Vec<u8>, limit: usize) -> Result<u64, CallError> {
        let predicate: Predicate = table(predicate)?;
        self.cold(move |running, _| match running.intake.ledger.find(&predicate, &after, limit) {
            Ok(found) => finished(&found),
            Err(error @ (FindError::Place | FindError::Predicate(_))) => {
                Err(Problem::new("invalid", error.to_string()))
            }
        })
    }

    pub fn message(&self, id: MessageId) -> Result<u64, CallError> {
        self.cold(move |running, _| finished(&running.intake.ledger.message(id).map_err(|error| load_problem(&error))?))
    }

    /// A message's bytes; with a recipient's number as they go over the wire to it.
    pub fn content(&self, id: MessageId, recipient: Option<u32>) -> Result<u64, CallError> {
        self.cold(move |running, _| {
            let content = running.intake.ledger.content(id).map_err(|error| load_problem(&error))?;
            let head = content.head.encode();
            let body = view(&content, recipient, &running.intake.signing.keys())?;
            Ok(Finished { result: head, body: Some(body) })
        })
    }

    /// `at`: a cursor that a page gave; empty: the oldest.
    pub fn read_journal(&self, at: &[u8], kinds: u32, limit: usize) -> Result<u64, CallError> {
        let cursor: Cursor = table(at)?;
        let (faults, now) = (self.shown().clone(), self.clock().now());
        self.cold(move |running, _| match running.intake.ledger.read_journal(cursor, kinds, limit) {
            Ok(page) if page.gap => {
                if let Some((from, to)) = page.damaged {
                    let text = format!("the journal is damaged: facts between {from} and {to} are lost");
                    faults.raise(FaultKind::Damage, text, now);
                }
                Err(gap(&page))
            }
            Ok(page) => finished(&Page {
                next: encoded(page.next),
                end: !page.more,
                records: page.records.into_iter().map(told).collect(),
            }),
            Err(error @ ReadError::OtherSpool) => Err(Problem::new("invalid", error.to_string())),
            Err(error @ ReadError::Unreadable(_)) => Err(Problem::new("damaged", error.to_string())),
        })
    }

    /// A follower is there now, or gone (`claims`: none, best-effort, required, gone): its ticket ends when that is
    /// durable.
    pub fn follow(&self, name: &str, at: &[u8], claims: &str) -> Result<u64, CallError> {
        let cursor: Cursor = table(at)?;
        let claim = [Claim::None, Claim::BestEffort, Claim::Required, Claim::Gone];
        let claim = claim.into_iter().find(|claim| claim.name() == claims);
        let claim = claim.ok_or_else(|| CallError::Invalid(format!("{claims:?} is no kind of claim")))?;
        let running = self.running()?;
        let ticket = self.ticket()?;
        let number = ticket.number();
        match running.intake.ledger.follow(name, cursor, claim, self.clock().now()) {
            Ok(token) => running.journal.answer_when_durable(token, ticket, empty_map()),
            Err(error) => ticket.finish(Err(follow_problem(&error))),
        }
        Ok(number)
    }

    pub fn followers(&self) -> Result<u64, CallError> {
        self.cold(|running, _| {
            let followers = running.intake.ledger.followers().into_iter().map(Follower::of);
            finished(&BTreeMap::from([("followers", followers.collect::<Vec<_>>())]))
        })
    }

    /// Every order that stands: rules, legal holds, pins.
    pub fn rules(&self) -> Result<u64, CallError> {
        self.cold(|running, _| finished(&BTreeMap::from([("rules", running.intake.ledger.rules())])))
    }

    /// All figures as one MessagePack map.
    pub fn counters(&self) -> Result<Vec<u8>, CallError> {
        self.figures().map(|figures| figures.encode())
    }

    /// All figures; their names stand in `counters` and `figures`.
    pub fn figures(&self) -> Result<Figures, CallError> {
        let running = self.running()?;
        let intake = &running.intake;
        let mut all = intake.counters.figures();
        figures::add_ledger(&mut all, &intake.ledger.stats(self.clock().now()));
        running.with_delivery(|delivery| figures::add_delivery(&mut all, delivery.counters()));
        intake.verdicts.add_to(&mut all);
        all.now.insert("events", self.events().depth() as u64);
        all.now.insert("bytes_in_flight", intake.budget.in_flight());
        Ok(all)
    }

    /// See `running`. A second call moves the deadline nearer and has its own ticket.
    pub fn stop(&self, deadline: Millis) -> Result<u64, CallError> {
        let running = self.running()?;
        let ticket = self.ticket()?;
        let number = ticket.number();
        running.hurry(deadline);
        let task = running.clone();
        running.handle().spawn(async move {
            let stopped = task.stop(deadline).await;
            ticket.give(&stopped);
        });
        Ok(number)
    }

    /// Runs on the blocking pool and ends its ticket with what it gives.
    fn cold(
        &self,
        work: impl FnOnce(&Running, Millis) -> Result<Finished, Problem> + Send + 'static,
    ) -> Result<u64, CallError> {
        self.cold_then(move |running, ticket, now| ticket.finish(work(running, now)))
    }

    fn cold_then(&self, work: impl FnOnce(&Running, Ticket, Millis) + Send + 'static) -> Result<u64, CallError> {
        let running = self.running()?;
        let ticket = self.ticket()?;
        let (number, now) = (ticket.number(), self.clock().now());
        let task = running.clone();
        running.handle().spawn_blocking(move || work(&task, ticket, now));
        Ok(number)
    }
}

fn table<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, CallError> {
    decode(bytes).map_err(|error| CallError::Invalid(error.to_string()))
}

fn required<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CallError> {
    // Addresses come as text, which serde takes only from a format that says it is for people.
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    T::deserialize(&mut deserializer).map_err(|error| CallError::Invalid(error.to_string()))
}

fn encoded(cursor: Cursor) -> ByteBuf {
    ByteBuf::from(rmp_serde::to_vec_named(&cursor).unwrap_or_default())
}

fn empty_map() -> Finished {
    Finished { result: vec![0x80], body: None }
}

fn told(record: JournalRecord) -> (u64, ByteBuf, Vec<String>) {
    let mut fact = Vec::new();
    record.fact.encode_into(&mut fact);
    (record.lsn, ByteBuf::from(fact), record.strings)
}

/// Where reading can go on: in front of the first record that is still there.
fn gap(page: &JournalPage) -> Problem {
    let first = page.records.first().map(|record| record.lsn);
    let next = first.map_or(page.next, |lsn| Cursor { lsn: lsn.saturating_sub(1), ..page.next });
    let result = rmp_serde::to_vec_named(&BTreeMap::from([("next", encoded(next))]));
    let why =
        if page.damaged.is_some() { "facts are lost by damage" } else { "the journal no longer reaches back so far" };
    Problem { result: result.unwrap_or_default(), ..Problem::new("gap", why) }
}

fn submitted(answer: Answer) -> Result<Finished, Problem> {
    match answer {
        Answer::Accepted(id) | Answer::Each(id, _) | Answer::Discarded(id) => {
            finished(&Accepted { id: id.to_string() })
        }
        Answer::Refused(reply) => {
            let enhanced = reply.enhanced.map_or_else(String::new, |enhanced| enhanced.to_string());
            let table = Refused { code: reply.code, enhanced, text: &reply.text };
            let result = rmp_serde::to_vec_named(&table).unwrap_or_default();
            Err(Problem { result, ..Problem::new("refused", reply.to_string()) })
        }
        Answer::Refusals(_) | Answer::Gone => Err(Problem::new("stopped", "nobody waits for this message")),
    }
}

fn control_problem(error: &ControlError) -> Problem {
    let word = if matches!(error, ControlError::NoRule(_)) { "not-found" } else { "invalid" };
    Problem::new(word, error.to_string())
}

fn follow_problem(error: &FollowError) -> Problem {
    let word = if matches!(error, FollowError::Unknown(_)) { "not-found" } else { "invalid" };
    Problem::new(word, error.to_string())
}

fn load_problem(error: &LoadError) -> Problem {
    let word = match error {
        LoadError::Unknown | LoadError::NoRecipient(_) => "not-found",
        LoadError::Lost(_) => "lost",
        LoadError::Unreadable(_) => "fault",
    };
    Problem::new(word, error.to_string())
}

fn handover_result(number: u64, outcome: &PythonOutcome) -> Result<HandoverResult, CallError> {
    let (kind, reason) = outcome.words().map_err(|error| CallError::Invalid(error.to_string()))?;
    Ok(HandoverResult {
        number,
        outcome: kind,
        reason,
        reply: outcome.reply(),
        host: outcome.host.clone(),
        may_repeat: outcome.may_repeat,
    })
}

/// The bytes as kept, or rendered for one recipient.
fn view(content: &Content, recipient: Option<u32>, keys: &Keys) -> Result<View, Problem> {
    if let Some(number) = recipient {
        return rendered(content, number, keys).map(|bytes| View::Memory(Arc::new(bytes), 0));
    }
    Ok(match &content.body {
        ContentBody::Inline(bytes) => View::Memory(Arc::new(bytes.to_vec()), 0),
        ContentBody::File(_) => View::of_file(&content.head.body.file, 0),
    })
}

/// What goes over the wire to this recipient.
fn rendered(content: &Content, number: u32, keys: &Keys) -> Result<Vec<u8>, Problem> {
    let missing = |_| Problem::new("not-found", format!("the message has no recipient {number}"));
    let recipient = content.head.recipients.get(number).map_err(missing)?;
    let body = match &content.body {
        ContentBody::Inline(bytes) => bytes.to_vec(),
        ContentBody::File(file) => read_whole(file)?,
    };
    let edited = render::edit(&content.head, recipient.variant, &body);
    let Rendered { mut front, from } = render::substitute(&content.head, &recipient, edited, &body);
    front.extend_from_slice(&body[from as usize..]);
    let personal = render::is_personal(&content.head, recipient.variant);
    let signed = if personal { sign_copy(keys, &content.head, &front) } else { None };
    Ok(signed.unwrap_or(front))
}

fn read_whole(file: &BodyReader) -> Result<Vec<u8>, Problem> {
    let mut bytes = vec![0; file.length() as usize];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], read as u64) {
            Ok(0) => return Err(Problem::new("lost", "the body's file is shorter than it was")),
            Ok(more) => read += more,
            Err(error) => return Err(Problem::new("lost", error.to_string())),
        }
    }
    Ok(bytes)
}

/// An address and a port as Python has them.
pub fn peer(address: &str, port: u16) -> Option<SocketAddr> {
    // A link-local address comes with its zone, which no table of ours knows.
    let ip: IpAddr = address.split('%').next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `angarium.engine.Plan` is written by msgspec.
    const PLAN: &[u8] = b"\x83\xa5hosts\x91\x83\xa4name\xaamx.example\xa9addresses\x92\xa9192.0.2.1\xab2001:db8::1\
        \xa4port\x00\xa6source\xa9192.0.2.9\xa4rate\x82\xa8messages\x05\xa3per\xcd\x03\xe8";

    #[test]
    fn addresses_come_as_text() {
        let plan: Plan = required(PLAN).unwrap();
        assert_eq!(plan.hosts[0].addresses, ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(plan.source, Some("192.0.2.9".parse().unwrap()));
    }
}
