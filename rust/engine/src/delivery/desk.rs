//! What every delivery shares: the ledger, the clock, settings, health marks, figures, reports; and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use angarium_ledger::Ledger;
use angarium_nouns::Millis;
use arc_swap::ArcSwap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::counters::DeliveryCounters;
use super::handover::Handovers;
use super::health::Health;
use super::idle::IdlePool;
use super::reports::Reports;
use super::settings::DeliverySettings;
use super::tls::TlsClients;
use crate::clock::Clock;
use crate::signing::Signing;

/// Jobs of the delivery room on the blocking pool at once: cold reads, body files, Maildir syncs. Four are enough
/// to keep one disk busy.
const BLOCKING_JOBS: usize = 4;
/// KiB of content that deliveries hold in memory at once (S7), as much as intake has by default.
const MEMORY: u32 = 128 * 1024;
/// Smaller records are not counted: a thousand connections with two of them each stay far below the bound.
const UNCOUNTED: u32 = 64 * 1024;

pub struct Desk {
    pub ledger: Arc<Ledger>,
    pub clock: Clock,
    pub settings: ArcSwap<DeliverySettings>,
    pub counters: DeliveryCounters,
    pub health: Health,
    pub tls: TlsClients,
    pub reports: Reports,
    pub idle: IdlePool,
    pub handovers: Handovers,
    pub signing: Arc<Signing>,
    /// Wakes the driver: work appeared, or a connection ended.
    pub work: Notify,
    /// The stop's patience is over: what is under way ends now.
    pub cut: Notify,
    blocking: Semaphore,
    memory: Arc<Semaphore>,
    stopping: AtomicBool,
}

impl Desk {
    pub fn new(
        ledger: Arc<Ledger>,
        clock: Clock,
        settings: DeliverySettings,
        handovers: Handovers,
        signing: Arc<Signing>,
    ) -> Self {
        Self {
            ledger,
            clock,
            settings: ArcSwap::from_pointee(settings),
            counters: DeliveryCounters::default(),
            health: Health::default(),
            tls: TlsClients::default(),
            reports: Reports::default(),
            idle: IdlePool::default(),
            handovers,
            signing,
            work: Notify::new(),
            cut: Notify::new(),
            blocking: Semaphore::new(BLOCKING_JOBS),
            memory: Arc::new(Semaphore::new(MEMORY as usize)),
            stopping: AtomicBool::new(false),
        }
    }

    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// No new transaction may begin.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.idle.close();
        self.work.notify_one();
    }

    /// A share of the memory for so many bytes; small ones need none. `None`: no room, and the caller does not wait.
    pub async fn reserve(&self, bytes: u32, patient: bool) -> Option<Option<OwnedSemaphorePermit>> {
        if bytes <= UNCOUNTED {
            return Some(None);
        }
        let (share, memory) = (bytes.div_ceil(1024).min(MEMORY), Arc::clone(&self.memory));
        let permit = if patient {
            memory.acquire_many_owned(share).await.ok()
        } else {
            memory.try_acquire_many_owned(share).ok()
        };
        permit.map(Some)
    }

    /// Runs what blocks on the pool for it, a bounded number at once. `None`: it panicked or the engine is ending.
    pub async fn block<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let _permit = self.blocking.acquire().await.ok()?;
        tokio::task::spawn_blocking(job).await.ok()
    }
}
