//! What happened on each lane since Python last asked, summed: the feedback that plans are made from.
//!
//! Bounded: lanes and hosts past the limit are summed under the lane alone, and past that not at all; the journal
//! has everything.

use std::collections::HashMap;

use angarium_ledger::LaneId;
use angarium_nouns::Millis;
use angarium_nouns::outcome::{Judgement, Outcome, Reason};
use angarium_nouns::reply::Reply;
use parking_lot::Mutex;

/// Sums kept at once. Python takes up to 200 a second (queue-and-delivery: bridge rules).
const MAX_SUMS: usize = 16_384;

/// Hosts summed apart on one lane; the rest of them are one sum without a name.
const MAX_HOSTS: usize = 32;

/// The sum of what one host said on one lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanReport {
    pub lane: u64,
    /// `name[address]:port`.
    pub host: String,
    pub delivered: u64,
    pub deferred: u64,
    pub failed: u64,
    /// Of the last entry or connection that was not delivered.
    pub reason: Reason,
    pub code: u16,
    pub text: String,
    /// 0: the lane does not sleep.
    pub sleeps_until: Millis,
}

impl PlanReport {
    /// The reason's name; empty when everything was delivered.
    pub fn reason_name(&self) -> &'static str {
        let all_well = self.deferred == 0 && self.failed == 0 && self.sleeps_until == 0;
        if all_well { "" } else { self.reason.name() }
    }
}

#[derive(Default)]
pub struct Reports {
    sums: Mutex<HashMap<LaneId, Vec<PlanReport>>>,
}

impl Reports {
    /// Adds entries with one outcome.
    pub fn add(&self, lane: LaneId, host: &str, judgement: Judgement, reply: Option<&Reply>, entries: usize) {
        self.change(lane, host, |sum| {
            let count = match judgement.outcome {
                Outcome::Delivered => &mut sum.delivered,
                Outcome::Deferred => &mut sum.deferred,
                Outcome::Failed => &mut sum.failed,
            };
            *count += entries as u64;
            if judgement.outcome != Outcome::Delivered {
                note(sum, judgement.reason, reply);
            }
        });
    }

    /// The lane was put to sleep.
    pub fn slept(&self, lane: LaneId, host: &str, reason: Reason, reply: Option<&Reply>, until: Millis) {
        self.change(lane, host, |sum| {
            note(sum, reason, reply);
            sum.sleeps_until = until;
        });
    }

    /// Takes up to `limit` sums out, whole lanes first come.
    pub fn take(&self, limit: usize) -> Vec<PlanReport> {
        let mut sums = self.sums.lock();
        let mut taken = Vec::new();
        while let Some(lane) = sums.keys().next().copied() {
            let Some(of_lane) = sums.get_mut(&lane) else { break };
            let room = limit - taken.len();
            taken.extend(of_lane.drain(..room.min(of_lane.len())));
            if of_lane.is_empty() {
                sums.remove(&lane);
            }
            if taken.len() == limit {
                break;
            }
        }
        taken
    }

    pub fn is_empty(&self) -> bool {
        self.sums.lock().is_empty()
    }

    fn change(&self, lane: LaneId, host: &str, change: impl FnOnce(&mut PlanReport)) {
        let mut sums = self.sums.lock();
        if sums.len() >= MAX_SUMS && !sums.contains_key(&lane) {
            return;
        }
        let of_lane = sums.entry(lane).or_default();
        let host = if of_lane.len() < MAX_HOSTS { host } else { "" };
        let at = of_lane.iter().position(|sum| sum.host == host).unwrap_or_else(|| {
            of_lane.push(PlanReport { lane: lane.0, host: host.to_owned(), ..PlanReport::default() });
            of_lane.len() - 1
        });
        change(&mut of_lane[at]);
    }
}

fn note(sum: &mut PlanReport, reason: Reason, reply: Option<&Reply>) {
    sum.reason = reason;
    sum.code = reply.map_or(0, |reply| reply.code);
    sum.text = reply.map(|reply| reply.text.to_string()).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::transaction::verdict;

    #[test]
    fn sums_by_lane_and_host_and_is_taken_once() {
        let reports = Reports::default();
        let delivered = verdict(Outcome::Delivered, Reason::Done, 0);
        let deferred = verdict(Outcome::Deferred, Reason::Greylist, 303);
        reports.add(LaneId(1), "a", delivered, None, 3);
        reports.add(LaneId(1), "a", deferred, Some(&Reply::plain(450, "later")), 1);
        reports.add(LaneId(1), "b", delivered, None, 1);
        reports.slept(LaneId(2), "c", Reason::Connect, None, 99);
        let mut taken = reports.take(2);
        taken.extend(reports.take(9));
        taken.sort_by_key(|sum| (sum.lane, sum.host.clone()));
        assert!(reports.is_empty());
        assert_eq!(taken.len(), 3);
        assert_eq!((taken[0].delivered, taken[0].deferred, taken[0].code), (3, 1, 450));
        assert_eq!((taken[2].sleeps_until, taken[2].reason), (99, Reason::Connect));
    }
}
