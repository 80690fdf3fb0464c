//! Delivery: carries plans out. It asks the ledger which lanes have work, connects, speaks, judges, settles.
//!
//! One driver task, one task for each connection, local deliveries on the blocking pool. It decides nothing that a
//! route or a plan decides. Promises: an entry that was leased is settled or given back exactly once; every wait is
//! bounded; a failure of a host or more costs one fact and no attempts of the entries behind it.
//!
//! Order of reading: `driver`, `task`, `connection`, `transaction`, `wire`; local: `local`, `maildir`; Python's
//! lanes: `handover`.

mod connection;
mod content;
mod counters;
mod desk;
mod driver;
mod envelope;
mod fit;
mod handover;
mod health;
mod hosts;
mod idle;
mod local;
mod maildir;
mod refusals;
pub(crate) mod render;
mod reports;
mod settings;
mod settle;
mod stream;
mod task;
mod tls;
mod transaction;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use angarium_ledger::Ledger;
use angarium_nouns::outcome::{Outcome, Reason};
use angarium_nouns::reply::Reply;

pub use counters::DeliveryCounters;
pub use handover::{Door, Handover};
pub use reports::PlanReport;
pub use settings::DeliverySettings;
pub use transaction::rules;

use crate::clock::Clock;
use crate::signing::Signing;
use desk::Desk;

/// How a Python next hop ended with one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoverResult {
    /// From [`Handover::entries`].
    pub number: u64,
    pub outcome: Outcome,
    pub reason: Reason,
    pub reply: Option<Reply>,
    /// Who answered, for the journal.
    pub host: String,
    pub may_repeat: bool,
}

/// The running room. Dropping it stops nothing; call [`Delivery::stop`].
pub struct Delivery {
    desk: Arc<Desk>,
    driver: tokio::task::JoinHandle<()>,
}

/// Starts the driver on this runtime. Let the ledger's waker call [`Delivery::waker`]. `door` queues an event for
/// Python; `signing` has the keys for copies that differ from recipient to recipient.
pub fn start(
    runtime: &tokio::runtime::Handle,
    ledger: Arc<Ledger>,
    clock: Clock,
    settings: DeliverySettings,
    door: Door,
    signing: Arc<Signing>,
) -> Delivery {
    let desk = Arc::new(Desk::new(ledger, clock, settings, handover::Handovers::new(door), signing));
    let driver = runtime.spawn(driver::drive(Arc::clone(&desk)));
    Delivery { desk, driver }
}

impl Delivery {
    /// For those that connections begin with from now on.
    pub fn set_settings(&self, settings: DeliverySettings) {
        self.desk.settings.store(Arc::new(settings));
    }

    /// Look again for lanes to run: a plan was set, a control released something.
    pub fn wake(&self) {
        self.desk.work.notify_one();
    }

    /// The same as a callable that outlives this value and keeps nothing alive.
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let woken = Arc::downgrade(&self.desk);
        Arc::new(move || {
            if let Some(desk) = woken.upgrade() {
                desk.work.notify_one();
            }
        })
    }

    pub fn counters(&self) -> &DeliveryCounters {
        &self.desk.counters
    }

    /// Sums of what happened on lanes since the last call.
    pub fn plan_reports(&self, limit: usize) -> Vec<PlanReport> {
        self.desk.reports.take(limit)
    }

    pub fn has_plan_reports(&self) -> bool {
        !self.desk.reports.is_empty()
    }

    /// Answers of Python next hops; `false` for those that had expired.
    pub fn settle(&self, results: &[HandoverResult]) -> Vec<bool> {
        local::settle_handovers(&self.desk, results)
    }

    /// No new deliveries. Transactions under way go on to their final reply.
    pub fn stop(&self) {
        self.desk.stop();
    }

    /// Waits until nothing is under way, at most `patience`; then cuts off what is left. Gives the connections cut
    /// off: their entries count as uncertain when their final dot was sent, else they return untouched.
    pub async fn finish(self, patience: Duration) -> usize {
        let Self { desk, mut driver } = self;
        desk.stop();
        if tokio::time::timeout(patience, &mut driver).await.is_ok() {
            return 0;
        }
        let cut = desk.counters.connections.load(std::sync::atomic::Ordering::Relaxed) as usize;
        desk.cut.notify_one();
        let _ = driver.await;
        cut
    }
}
