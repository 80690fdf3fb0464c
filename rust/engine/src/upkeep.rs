//! The upkeep thread: one bounded step at a time of what nobody waits for.
//!
//! Checkpoints, reclaim, copying and expiry are the ledger's steps; here are the rhythm, the sweep of the sessions'
//! deadlines, reports that are due (committed like other mail), the watch on the wall clock, and the word to Python
//! that routes or plans are wanted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use angarium_events::Level;
use angarium_nouns::Millis;
use parking_lot::{Condvar, Mutex};

use crate::accept::sign_report;
use crate::faults::{FaultKind, Faults};
use crate::intake::Intake;

/// A rest between two rounds; also how late a session's time-out may be.
const REST: Duration = Duration::from_millis(100);
/// Steps of the ledger in one round, so that the sweep never waits long.
const STEPS: usize = 64;
/// Reports committed in one round.
const REPORTS: usize = 64;
/// Figures that cost a lock are looked at so often.
const WATCH_EVERY: Millis = 1_000;
/// A wall clock this far from ours was set (spool.md: time).
const WALL_JUMP: u64 = 5 * 60_000;

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    woken: bool,
}

#[derive(Debug, Default)]
pub struct Upkeep {
    state: Mutex<State>,
    work: Condvar,
}

impl Upkeep {
    /// Something is to be done soon (a segment was taken).
    pub fn wake(&self) {
        self.state.lock().woken = true;
        self.work.notify_one();
    }

    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_one();
    }

    /// The thread. `reports_wait`: has delivery something to tell Python?
    pub fn run(&self, intake: &Arc<Intake>, faults: &Faults, reports_wait: impl Fn() -> bool) {
        let mut watch = Watch::default();
        while !self.wait() {
            let now = intake.clock.now();
            intake.sessions.sweep(now);
            for _ in 0..STEPS {
                if !intake.ledger.maintain(now) {
                    break;
                }
            }
            commit_reports(intake);
            tell_what_is_wanted(intake);
            if reports_wait() {
                intake.events.raise(Level::PlanReport);
            }
            intake.stress.look(intake);
            if intake.notices.are_due(now) {
                intake.events.raise(Level::LimitsMet);
            }
            watch.look(intake, faults, now);
        }
    }

    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        if !state.stopping && !state.woken {
            self.work.wait_for(&mut state, REST);
        }
        state.woken = false;
        state.stopping
    }
}

/// Raises the levels by which Python learns that it should pull.
pub fn tell_what_is_wanted(intake: &Intake) {
    let (routes, plans) = intake.ledger.wanted(intake.clock.now());
    if routes {
        intake.events.raise(Level::RouteWanted);
    }
    if plans {
        intake.events.raise(Level::PlanWanted);
    }
}

/// Nobody waits for a report's commit: if it is refused, it is owed still and comes again.
fn commit_reports(intake: &Intake) {
    let now = intake.clock.now();
    let (reports, notices) = (intake.ledger.reports_due(now, REPORTS), intake.ledger.notices_due(now, REPORTS));
    for report in reports.into_iter().chain(notices) {
        let _owed_until_durable = intake.committer.put(sign_report(intake, report), -1);
    }
}

/// What is looked at again and again: room, faults, losses, the wall clock.
#[derive(Debug, Default)]
struct Watch {
    /// The jump of the wall clock that was told already.
    jumped: bool,
    /// Lost entries that were told already.
    lost: u64,
    next: Millis,
}

impl Watch {
    fn look(&mut self, intake: &Intake, faults: &Faults, now: Millis) {
        if now < self.next {
            return;
        }
        self.next = now + WATCH_EVERY;
        watch_the_room(intake, faults, now);
        watch_the_brakes(intake, faults, now);
        let stats = intake.ledger.stats(now);
        let most = intake.policy.load().table.limits.entries;
        intake.crowded.store(stats.depth.iter().sum::<u64>() >= most, Ordering::Relaxed);
        if stats.content_fault {
            faults.raise(FaultKind::ContentLog, "the content log failed and is not written any more", now);
        }
        if stats.journal_fault {
            faults.raise(FaultKind::Journal, "the journal failed and is not written any more", now);
        }
        if stats.lost > self.lost {
            self.lost = stats.lost;
            faults.renew(FaultKind::Lost, format!("the content of {} recipients cannot be read", stats.lost), now);
        }
        self.watch_the_clock(intake, faults, stats.frozen, now);
    }

    fn watch_the_clock(&mut self, intake: &Intake, faults: &Faults, frozen: bool, now: Millis) {
        let jump = intake.clock.wall_jump();
        let far = jump.unsigned_abs() >= WALL_JUMP;
        if far && !self.jumped {
            let why = format!("the wall clock was set by {} seconds", jump / 1_000);
            intake.ledger.clock_jumped(&why, now);
            faults.raise(FaultKind::Clock, format!("expiry is frozen: {why}"), now);
        } else if frozen && !far {
            faults.raise(FaultKind::Clock, "expiry is frozen: the clock is in doubt", now);
        } else if !frozen {
            faults.clear(FaultKind::Clock);
        }
        self.jumped = far;
    }
}

fn watch_the_brakes(intake: &Intake, faults: &Faults, now: Millis) {
    let braked = intake.ledger.braked(now);
    let Some(first) = braked.first() else { return faults.clear(FaultKind::Brake) };
    let (provider, reason, more) = (&first.provider, first.reason.name(), braked.len() - 1);
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    let why = format!("failures at {provider} ({reason}) are far above their usual share{more}: deferred for an hour");
    faults.raise(FaultKind::Brake, why, now);
}

fn watch_the_room(intake: &Intake, faults: &Faults, now: Millis) {
    if intake.ledger.is_overclaimed() {
        let why = "required followers and legal holds keep as much delivered mail as they may: no new mail is taken";
        faults.raise(FaultKind::Claims, why, now);
    } else {
        faults.clear(FaultKind::Claims);
    }
    if intake.ledger.is_short_of_bodies() {
        faults.raise(FaultKind::DiskFull, "no room for large messages", now);
    } else if intake.ledger.takes_mail() || intake.ledger.is_faulty() || intake.ledger.is_overclaimed() {
        faults.clear(FaultKind::DiskFull);
    } else {
        faults.raise(FaultKind::DiskFull, "no room for new mail", now);
    }
}
