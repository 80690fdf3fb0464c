//! How a transaction and a connection end: everything that was begun is settled or given back, whatever happened.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use angarium_nouns::outcome::{Judgement, Scope};

use super::super::desk::Desk;
use super::super::settle;
use super::super::wire::Break;
use super::{Connection, Errand, Failure, Stop};

impl Connection {
    /// Settles the current envelope when all of it is decided.
    pub(super) fn finish_current(&mut self, flow: &Result<(), Stop>) {
        if matches!(flow, Ok(()) | Err(Stop::Spoilt)) {
            self.note_progress();
            if let Some(outgoing) = self.current.take() {
                self.settle(outgoing);
            }
        }
    }

    /// The peer decided on something: it lives, and a lane that was probed wakes up.
    fn note_progress(&mut self) {
        let Errand { desk, run, place, .. } = &self.errand;
        if !std::mem::replace(&mut self.useful, true) {
            desk.health.worked(place);
        }
        if let Some(taken) = self.current.as_ref().and_then(|outgoing| outgoing.transaction.room()) {
            self.room = self.room.min(taken);
        }
        if run.probe {
            desk.ledger.awake(Scope::Lane, run.lane, "", desk.now());
        }
    }

    /// The dialogue is over. Everything begun gets its verdict; the host is at fault when nothing ever got through.
    pub(super) fn stop(&mut self, stop: Stop) -> Result<(), Failure> {
        self.spent = true;
        let failure = match stop {
            Stop::Spoilt | Stop::Recalled | Stop::Broken(Break::Local) => None,
            Stop::Broken(cause) => Some(Failure::broken(&cause)),
            Stop::Host(judgement, reply) => Some(Failure::said(judgement, reply)),
        };
        let blamed = failure.filter(|_| !self.useful);
        if let (Some(failure), Some(outgoing), true) = (&blamed, &mut self.current, self.errand.last_host)
            && !outgoing.has_left(self.wire.sent())
        {
            let judgement = Judgement { scope: Scope::Transaction, ..failure.judgement };
            outgoing.transaction.decide_rest(judgement, failure.reply.as_ref());
        }
        self.release();
        blamed.map_or(Ok(()), Err)
    }

    /// Gives every entry that this connection holds its verdict, or back.
    fn release(&mut self) {
        let sent = self.wire.sent();
        for mut outgoing in [self.current.take(), self.following.take()].into_iter().flatten() {
            outgoing.transaction.broken(outgoing.has_left(sent));
            self.settle(outgoing);
        }
        let desk = &self.errand.desk;
        for envelope in self.waiting.drain(..) {
            let entries: Vec<_> = envelope.recipients.iter().map(|addressee| addressee.leased).collect();
            settle::give_back(desk, &envelope.lease, &entries);
        }
        if let Some(lease) = self.loading.take() {
            settle::give_back(desk, &lease, &lease.entries);
        }
    }
}

impl Drop for Connection {
    /// Cut off at a stop, or by a panic: nothing may stay leased.
    fn drop(&mut self) {
        self.release();
    }
}

/// Counts a transaction while it is carried out.
pub(super) struct UnderWay(Arc<Desk>);

impl UnderWay {
    pub(super) fn new(desk: &Arc<Desk>) -> Self {
        desk.counters.deliveries.fetch_add(1, Relaxed);
        Self(Arc::clone(desk))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.counters.deliveries.fetch_sub(1, Relaxed);
    }
}
