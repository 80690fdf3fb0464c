//! The one way from verdicts back into the ledger: settlements with their attempt, the rest given back without.
//! Figures and plan reports are kept here, so that they count what the ledger was told.

use std::sync::atomic::Ordering::Relaxed;

use angarium_ledger::{LaneId, Lease, LeasedEntry, Settlement};
use angarium_nouns::outcome::{Judgement, Outcome, Reason, Scope};
use angarium_nouns::reply::Reply;

use super::desk::Desk;
use super::envelope::{Addressee, Envelope};
use super::handover::Lent;
use super::transaction::{Verdict, rules, verdict};

/// Whom a transaction was with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spoken<'a> {
    /// `name[address]:port`.
    pub host: &'a str,
    /// The connection's TLS in words; empty for none.
    pub tls: &'a str,
    /// It reports successes itself: it was told who wants to know (RFC 3461 6.2.1).
    pub reports: bool,
}

/// Settles every recipient of the envelope by its verdict, in one call.
pub fn envelope(desk: &Desk, lane: LaneId, peer: Spoken<'_>, envelope: &Envelope, verdicts: &[Verdict]) {
    let now = desk.now();
    let took = envelope.since.elapsed().as_millis() as u32;
    let mut settlements = Vec::with_capacity(verdicts.len());
    let mut returned = Vec::new();
    for (addressee, verdict) in envelope.recipients.iter().zip(verdicts) {
        match verdict {
            Verdict::Returned => returned.push(addressee.leased),
            Verdict::Settled { judgement, reply, may_repeat } => settlements.push(Settlement {
                id: envelope.lease.id,
                entry: addressee.leased.entry,
                number: addressee.leased.number,
                judgement: narrowed(*judgement),
                reply: reply.as_ref(),
                host: peer.host,
                tls: peer.tls,
                owes_report: !peer.reports && wants_success(envelope, addressee) && is_delivery(*judgement),
                may_repeat: *may_repeat,
                took,
            }),
        }
    }
    count(desk, lane, peer.host, &settlements);
    if settlements.iter().any(|settlement| settlement.judgement.outcome == Outcome::Delivered) {
        desk.counters.bytes.fetch_add(envelope.content.head.body.length, Relaxed);
    }
    if !settlements.is_empty() {
        desk.ledger.settle(&settlements, now);
    }
    give_back(desk, &envelope.lease, &returned);
}

fn is_delivery(judgement: Judgement) -> bool {
    judgement.outcome == Outcome::Delivered
}

/// NOTIFY=SUCCESS of one whose reports may go out (RFC 3461 4.1).
fn wants_success(envelope: &Envelope, addressee: &Addressee) -> bool {
    let recipient = &addressee.recipient;
    let asked = recipient.notify.wants_success() && recipient.may_report;
    asked && !recipient.sender.as_ref().unwrap_or(&envelope.content.head.sender).is_empty()
}

/// Settles one entry that was with Python.
pub fn lent(desk: &Desk, lent: &Lent, host: &str, judgement: Judgement, reply: Option<&Reply>, may_repeat: bool) {
    let now = desk.now();
    let settlement = Settlement {
        id: lent.lease.id,
        entry: lent.leased.entry,
        number: lent.leased.number,
        judgement,
        reply,
        host,
        tls: "",
        owes_report: false,
        may_repeat,
        took: now.saturating_sub(lent.taken) as u32,
    };
    count(desk, lent.lane, host, &[settlement]);
    desk.ledger.settle(&[settlement], now);
}

/// Our own disk does not give the content now: later, and counted, so that it does not come at once again and again.
pub fn unreadable(desk: &Desk, lease: &Lease) {
    let judgement = verdict(Outcome::Deferred, Reason::LocalDisk, rules::LOCAL_DISK);
    let settlement = |leased: &LeasedEntry| Settlement {
        id: lease.id,
        entry: leased.entry,
        number: leased.number,
        judgement,
        reply: None,
        host: "",
        tls: "",
        owes_report: false,
        may_repeat: false,
        took: 0,
    };
    let settlements: Vec<_> = lease.entries.iter().map(settlement).collect();
    count(desk, lease.lane, "", &settlements);
    desk.ledger.settle(&settlements, desk.now());
}

/// Returns entries as they were.
pub fn give_back(desk: &Desk, lease: &Lease, entries: &[LeasedEntry]) {
    if !entries.is_empty() {
        desk.counters.given_back.fetch_add(entries.len() as u64, Relaxed);
        desk.ledger.give_back(lease, entries, desk.now());
    }
}

/// What settles an entry speaks of the transaction at most; wider things sleep beside it.
fn narrowed(judgement: Judgement) -> Judgement {
    Judgement { scope: judgement.scope.min(Scope::Transaction), ..judgement }
}

fn count(desk: &Desk, lane: LaneId, host: &str, settlements: &[Settlement<'_>]) {
    // Runs of one judgement (mostly: all of them) are counted at once.
    for run in settlements.chunk_by(|a, b| a.judgement == b.judgement) {
        let first: &Settlement<'_> = &run[0];
        desk.counters.count(first.judgement.outcome, run.len());
        desk.reports.add(lane, host, first.judgement, first.reply, run.len());
    }
    let uncertain = settlements.iter().filter(|settlement| settlement.may_repeat).count();
    desk.counters.uncertain.fetch_add(uncertain as u64, Relaxed);
}

/// A lane goes to sleep over a failure that no entry is to blame for.
pub fn sleep(desk: &Desk, lane: LaneId, host: &str, judgement: Judgement, reply: Option<&Reply>) {
    let scope = judgement.scope.max(Scope::Lane);
    let until = desk.ledger.sleep(&angarium_ledger::Sleep { scope, lane, object: "", judgement, reply }, desk.now());
    desk.reports.slept(lane, host, judgement.reason, reply, until);
}
