//! Connections without work, waiting for some. The ledger does not count them as open; the driver hands a lane's
//! next run to the one that came last, since it is the least likely to have been closed by the peer meanwhile.
//!
//! A parked connection leaves by itself when its time is up; a run sent at that very moment is not lost, it finds
//! the run in its receiver and goes on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use angarium_ledger::{LaneId, LaneRun};
use parking_lot::Mutex;
use tokio::sync::oneshot::{self, Receiver, Sender};

#[derive(Default)]
pub struct IdlePool {
    lanes: Mutex<HashMap<LaneId, Vec<Sender<LaneRun>>>>,
    closed: AtomicBool,
}

impl IdlePool {
    /// A place to wait in; the sender's end going away means: leave.
    pub fn park(&self, lane: LaneId) -> Receiver<LaneRun> {
        let (sender, receiver) = oneshot::channel();
        let mut lanes = self.lanes.lock();
        if !self.closed.load(Ordering::Acquire) {
            let parked = lanes.entry(lane).or_default();
            parked.retain(|sender| !sender.is_closed());
            parked.push(sender);
        }
        receiver
    }

    /// Gives one run to a parked connection; gives it back when there is none.
    pub fn resume(&self, run: LaneRun) -> Result<(), LaneRun> {
        let mut lanes = self.lanes.lock();
        let Some(parked) = lanes.get_mut(&run.lane) else { return Err(run) };
        let lane = run.lane;
        let mut left = Some(run);
        while let Some(run) = left.take() {
            let Some(sender) = parked.pop() else {
                lanes.remove(&lane);
                return Err(run);
            };
            left = sender.send(run).err();
        }
        Ok(())
    }

    /// Sends a parked connection of any other lane away, to make room. False: nobody was parked.
    pub fn evict(&self) -> bool {
        let mut lanes = self.lanes.lock();
        while let Some(lane) = lanes.keys().next().copied() {
            let sender = lanes.get_mut(&lane).and_then(Vec::pop);
            match sender {
                None => drop(lanes.remove(&lane)),
                Some(sender) if sender.is_closed() => {}
                Some(_) => return true,
            }
        }
        false
    }

    /// Sends everybody away, now and later.
    pub fn close(&self) {
        let mut lanes = self.lanes.lock();
        self.closed.store(true, Ordering::Release);
        lanes.clear();
    }
}
