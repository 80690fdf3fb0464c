//! A connection task: one run of a lane, from the list of hosts to the end of the last connection.
//!
//! `order hosts → connect → open → work → rest → work …`. When a host fails before anything got through, the next
//! one has its turn; when none is left, the lane sleeps, recorded once. A connection without work is not counted by
//! the ledger: it rests in the idle pool until the driver has a run for it or its time is up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use angarium_ledger::{LaneId, LaneRun};
use angarium_nouns::outcome::{Phase, Reason};

use super::connection::{Connection, Errand, Failure};
use super::desk::Desk;
use super::hosts::{self, Candidate};
use super::settle;
use super::stream::Stream;
use super::tls::{self, Security};
use super::transaction::rules;

/// The ledger's count of this connection on its lane, given back exactly once for each run.
pub struct Slot {
    desk: Arc<Desk>,
    lane: LaneId,
    open: bool,
}

impl Slot {
    pub fn new(desk: &Arc<Desk>, lane: LaneId) -> Self {
        Self { desk: Arc::clone(desk), lane, open: true }
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.open, false) {
            self.desk.ledger.connection_ended(self.lane, self.desk.now());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.close();
        // The task ends: there is room for another.
        self.desk.work.notify_one();
    }
}

/// Carries out a run over SMTP.
pub async fn run(desk: Arc<Desk>, run: LaneRun) {
    let mut slot = Slot::new(&desk, run.lane);
    let candidates = candidates(&desk, &run);
    let mut failure = Failure::of(Reason::Connect, rules::CONNECT);
    let mut host = String::new();
    for (at, candidate) in candidates.iter().enumerate() {
        if desk.is_stopping() {
            return;
        }
        let last_host = at + 1 == candidates.len();
        match visit(&desk, &run, candidate, last_host, &mut slot).await {
            Ok(()) => return,
            Err(why) => failure = why,
        }
        desk.health.failed(&candidate.place, desk.now());
        desk.counters.refused.fetch_add(1, Relaxed);
        host = candidate.to_string();
        desk.reports.add(run.lane, &host, failure.judgement, failure.reply.as_ref(), 0);
    }
    settle::sleep(&desk, slot.lane, &host, failure.judgement, failure.reply.as_ref());
}

fn candidates(desk: &Desk, run: &LaneRun) -> Vec<Candidate> {
    let plan = &run.plan;
    if !plan.unix_path.is_empty() {
        return vec![hosts::of_socket(&plan.unix_path)];
    }
    let limit = desk.settings.load().addresses.max(1) as usize;
    let hosts = plan.hosts.iter().map(|host| {
        let port = if host.port == 0 { plan.port } else { host.port };
        (host.name.as_str(), host.addresses.as_slice(), port)
    });
    let mut ordered = hosts::order(hosts, plan.source, &desk.health, desk.now(), limit);
    if let Some(host) = &run.same_host {
        // queue-and-delivery: what is uncertain goes to the same host first.
        ordered.sort_by_key(|candidate| candidate.to_string() != **host);
    }
    ordered
}

/// All that is done with one place. An error: nothing got through, it is the next one's turn. A handshake that fails
/// is followed by a connection in the clear where the plan allows it.
async fn visit(
    desk: &Arc<Desk>,
    run: &LaneRun,
    candidate: &Candidate,
    last_host: bool,
    slot: &mut Slot,
) -> Result<(), Failure> {
    let security = tls::security(desk, &run.plan, run.key.tls, candidate).await.map_err(Failure::from)?;
    let may_go_clear = security.may_go_clear();
    let errand = |security| Errand {
        desk: Arc::clone(desk),
        run: run.clone(),
        place: candidate.place.clone(),
        host: candidate.to_string(),
        security,
        last_host,
    };
    match talk(errand(security), slot).await {
        Err(failure) if failure.of_the_handshake && may_go_clear => {
            desk.tls.handshake_failed(&candidate.place, desk.now());
            talk(errand(Security::none()), slot).await
        }
        ended => ended,
    }
}

/// One connection from its beginning to its end.
async fn talk(errand: Errand, slot: &mut Slot) -> Result<(), Failure> {
    let desk = &Arc::clone(&errand.desk);
    let patience = desk.settings.load().patience(Phase::Connect);
    let source = errand.run.plan.source;
    let stream = Stream::connect(&errand.place, source, patience).await.map_err(|error| refused(&error))?;
    let mut connection = Connection::new(errand, stream);
    let _open = Open::new(desk);
    connection.open().await?;
    desk.counters.connected.fetch_add(1, Relaxed);
    loop {
        connection.work().await?;
        if !connection.may_begin() || connection.is_spent() || !rest(desk, &mut connection, slot).await {
            break;
        }
    }
    slot.close();
    connection.quit().await;
    Ok(())
}

/// Waits in the idle pool for the lane's next run. False: there was none in time, or it does not suit.
async fn rest(desk: &Arc<Desk>, connection: &mut Connection, slot: &mut Slot) -> bool {
    let linger = Duration::from_millis(connection.settings().linger_ms);
    let mut place = desk.idle.park(slot.lane);
    slot.close();
    let run = tokio::select! {
        biased;
        run = &mut place => run.ok(),
        () = connection.disturbed() => None,
        () = tokio::time::sleep(linger) => None,
    };
    place.close();
    let undisturbed = run.is_some();
    // A run that came at the very end must not be lost: its count on the lane is ours to give back.
    let Some(run) = run.or_else(|| place.try_recv().ok()) else { return false };
    slot.open = true;
    connection.resume(run) && undisturbed
}

fn refused(error: &io::Error) -> Failure {
    let reason = if error.kind() == io::ErrorKind::TimedOut { Reason::Timeout } else { Reason::Connect };
    Failure::of(reason, rules::CONNECT)
}

/// Counts an open connection while it lives.
struct Open<'a>(&'a Desk);

impl<'a> Open<'a> {
    fn new(desk: &'a Desk) -> Self {
        desk.counters.connections.fetch_add(1, Relaxed);
        Self(desk)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.counters.connections.fetch_sub(1, Relaxed);
    }
}
