//! The driver: one task that learns of work and starts what carries it out. It never polls: the ledger's waker, the
//! end of a connection and the next due time wake it.

use std::sync::Arc;
use std::time::Duration;

use angarium_ledger::{LaneRun, Protocol};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::desk::Desk;
use super::{local, task};

/// Lanes looked at in one step, so that one step stays short.
const LANES_AT_ONCE: usize = 64;
/// Every settlement may wake the driver; it looks at most so often, and answers at once after a rest.
const PACE: Duration = Duration::from_millis(1);
/// Something due that others have to do (reports, upkeep) must not make this loop spin.
const SHORTEST_NAP: Duration = Duration::from_millis(20);
/// A nap ends by itself, in case the clock was set while nothing happened.
const LONGEST_NAP: Duration = Duration::from_mins(1);

/// Runs until the desk is stopped and every delivery has ended, or was cut off.
pub async fn drive(desk: Arc<Desk>) {
    let mut tasks = JoinSet::new();
    while !desk.is_stopping() {
        let looked = Instant::now();
        local::expire_handovers(&desk);
        while tasks.try_join_next().is_some() {}
        let more = start_lanes(&desk, &mut tasks);
        if more {
            tokio::task::yield_now().await;
        } else {
            sleep(&desk).await;
            tokio::time::sleep_until(looked + PACE).await;
        }
    }
    loop {
        tokio::select! {
            ended = tasks.join_next() => if ended.is_none() { break },
            () = desk.cut.notified() => tasks.abort_all(),
        }
    }
    local::return_handovers(&desk);
}

/// Starts what is useful now, within the global limit. True: there may be more.
fn start_lanes(desk: &Arc<Desk>, tasks: &mut JoinSet<()>) -> bool {
    let limit = desk.settings.load().connections.max(1) as usize;
    let room = limit.saturating_sub(tasks.len());
    if room == 0 && !desk.idle.evict() {
        return false;
    }
    let runs = desk.ledger.lanes_to_run(desk.now(), room.min(LANES_AT_ONCE));
    let full = runs.len() == LANES_AT_ONCE;
    for run in runs {
        start_lane(desk, tasks, &run, limit);
    }
    full
}

fn start_lane(desk: &Arc<Desk>, tasks: &mut JoinSet<()>, run: &LaneRun, limit: usize) {
    for _ in 0..run.connections {
        let Err(run) = desk.idle.resume(run.clone()) else { continue };
        if tasks.len() >= limit {
            // The ledger counted it as open; the end of another connection wakes the driver again.
            desk.ledger.connection_ended(run.lane, desk.now());
            continue;
        }
        let desk = Arc::clone(desk);
        match run.key.kind {
            Protocol::Smtp | Protocol::Lmtp => tasks.spawn(task::run(desk, run)),
            Protocol::Maildir => tasks.spawn(local::fill_folder(desk, run)),
            Protocol::Python => tasks.spawn(local::hand_over(desk, run)),
        };
    }
}

async fn sleep(desk: &Desk) {
    let now = desk.now();
    let due = [desk.ledger.next_due(now), desk.handovers.next_deadline()].into_iter().flatten().min();
    let nap = due.map_or(LONGEST_NAP, |due| Duration::from_millis(due.saturating_sub(now)));
    let nap = nap.clamp(SHORTEST_NAP, LONGEST_NAP);
    tokio::select! {
        () = desk.work.notified() => {}
        () = tokio::time::sleep(nap) => {}
    }
}
