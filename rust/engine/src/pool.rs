//! A bounded pool for arithmetic that would hold up a worker: verifying, hashing, signing, scanning.
//!
//! Work beyond the bound waits here without a thread. The threads are the runtime's blocking ones, of which each pool
//! takes its share only, so that bodies still find one to be written by.

use tokio::sync::Semaphore;

pub struct Pool {
    room: Semaphore,
}

impl Pool {
    /// `at_once`: how many pieces of work are done at the same time.
    pub fn new(at_once: usize) -> Self {
        Self { room: Semaphore::new(at_once.max(1)) }
    }

    /// `None`: the runtime ends, or the work panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let _room = self.room.acquire().await.ok()?;
        tokio::task::spawn_blocking(work).await.ok()
    }
}
