//! The budget of bytes in flight (S7): bodies in memory, over all sessions.
//!
//! A session charges before it lets a body begin and waits there if nothing is left, so reading pauses; a body that
//! grows charges without waiting, and when that fails its session writes what it has to a file and frees it. So
//! whoever holds bytes never waits for bytes, and the budget cannot lock up. What a read already brought is charged
//! by force: the budget may be overdrawn by one read for each session.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Debug)]
pub struct Budget {
    free: AtomicI64,
    limit: AtomicI64,
    waiting: AtomicUsize,
    freed: Notify,
}

/// Bytes charged by one body; given back with its drop.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub fn new(limit: u64) -> Arc<Self> {
        let limit = limit.cast_signed();
        Arc::new(Self {
            free: AtomicI64::new(limit),
            limit: AtomicI64::new(limit),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// A new policy: what is charged stays charged.
    pub fn set_limit(&self, limit: u64) {
        let before = self.limit.swap(limit.cast_signed(), Ordering::Relaxed);
        self.free.fetch_add(limit.cast_signed() - before, Ordering::Relaxed);
        self.wake();
    }

    pub fn in_flight(&self) -> u64 {
        (self.limit.load(Ordering::Relaxed) - self.free.load(Ordering::Relaxed)).max(0) as u64
    }

    /// A charge if the budget has room for it now.
    pub fn try_charge(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        self.take(bytes).then(|| Charge { budget: self.clone(), bytes })
    }

    /// A charge as soon as there is room.
    pub fn charge(self: &Arc<Self>, bytes: u64) -> impl Future<Output = Charge> + Send + use<> {
        let budget = self.clone();
        async move {
            budget.waiting.fetch_add(1, Ordering::SeqCst);
            let charge = loop {
                let freed = budget.freed.notified();
                if let Some(charge) = budget.try_charge(bytes) {
                    break charge;
                }
                freed.await;
            };
            budget.waiting.fetch_sub(1, Ordering::SeqCst);
            budget.wake(); // what is left may do for the next
            charge
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.free.fetch_sub(bytes.cast_signed(), Ordering::SeqCst);
        if before >= bytes.cast_signed() {
            return true;
        }
        self.free.fetch_add(bytes.cast_signed(), Ordering::SeqCst);
        false
    }

    fn give(&self, bytes: u64) {
        self.free.fetch_add(bytes.cast_signed(), Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }
}

impl Charge {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Charges more without waiting; false: there is no room, nothing was charged.
    #[must_use]
    pub fn grow(&mut self, more: u64) -> bool {
        let taken = self.budget.take(more);
        self.bytes += if taken { more } else { 0 };
        taken
    }

    /// Charges what is in memory already.
    pub fn force(&mut self, more: u64) {
        self.budget.free.fetch_sub(more.cast_signed(), Ordering::SeqCst);
        self.bytes += more;
    }

    /// Gives back all but `keep`.
    pub fn shrink_to(&mut self, keep: u64) {
        let back = self.bytes.saturating_sub(keep);
        self.bytes -= back;
        if back > 0 {
            self.budget.give(back);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_until_there_is_room() {
        let budget = Budget::new(100);
        let mut first = budget.try_charge(60).unwrap();
        assert!(!first.grow(50));
        first.force(50);
        assert_eq!(budget.in_flight(), 110);
        assert!(budget.try_charge(1).is_none());
        let waiting = tokio::spawn(budget.charge(30));
        let also = tokio::spawn(budget.charge(30));
        tokio::task::yield_now().await;
        drop(first);
        let held = (waiting.await.unwrap(), also.await.unwrap());
        assert_eq!(budget.in_flight(), 60);
        drop(held);
        assert_eq!(budget.in_flight(), 0);
    }
}
