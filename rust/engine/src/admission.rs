//! Who may have how many sessions: in all, and per client address.
//!
//! Counted here because Python only knows its last table; a [`Seat`] gives its place back when dropped. An IPv6
//! network of /64 counts as one address (one customer has at least that). Trusted clients are exempt from the
//! per-address limit, never from the one in all. When a limit is reached the answer is a 421 with the reason.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use angarium_nouns::Reply;
use parking_lot::Mutex;

/// Shards of the table of addresses: more than any machine has workers, so that locks are rarely shared.
const SHARDS: usize = 16;

pub const TOO_MANY: Reply = Reply::new(421, (4, 7, 0), "Too many connections, try again later");
pub const TOO_MANY_OF_YOURS: Reply =
    Reply::new(421, (4, 7, 0), "Too many connections from your address, try again later");

#[derive(Debug, Default)]
pub struct Admission {
    all: AtomicU32,
    by_address: [Mutex<HashMap<u64, u32>>; SHARDS],
}

/// A session's place.
#[derive(Debug)]
pub struct Seat {
    admission: Arc<Admission>,
    /// `None` for trusted clients.
    address: Option<u64>,
}

impl Admission {
    /// A place for one more session, or the reply to give instead.
    pub fn admit(self: &Arc<Self>, peer: IpAddr, trusted: bool, all: u32, each: u32) -> Result<Seat, Reply> {
        if self.all.fetch_add(1, Ordering::Relaxed) >= all {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(TOO_MANY);
        }
        if trusted {
            return Ok(Seat { admission: self.clone(), address: None });
        }
        let address = key(peer);
        let mut shard = self.shard(address).lock();
        let count = shard.entry(address).or_insert(0);
        if *count >= each {
            drop(shard);
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(TOO_MANY_OF_YOURS);
        }
        *count += 1;
        Ok(Seat { admission: self.clone(), address: Some(address) })
    }

    /// Places taken now.
    pub fn sessions(&self) -> u32 {
        self.all.load(Ordering::Relaxed)
    }

    fn shard(&self, address: u64) -> &Mutex<HashMap<u64, u32>> {
        &self.by_address[(address ^ address >> 32) as usize % SHARDS]
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.admission.all.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut shard = self.admission.shard(address).lock();
        if let Some(count) = shard.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&address);
            }
        }
    }
}

/// IPv4 as it is, IPv6 by its network; the two cannot meet, since no IPv6 network in use begins with zeros.
fn key(peer: IpAddr) -> u64 {
    match peer.to_canonical() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_addresses_and_all() {
        let admission = Arc::new(Admission::default());
        let admit = |peer: &str, trusted| admission.admit(peer.parse().unwrap(), trusted, 3, 1);
        let first = admit("2001:db8::1", false).unwrap();
        assert_eq!(admit("2001:db8::2", false).unwrap_err(), TOO_MANY_OF_YOURS);
        let second = admit("192.0.2.1", false).unwrap();
        let third = admit("192.0.2.1", true).unwrap();
        assert_eq!(admit("192.0.2.9", false).unwrap_err(), TOO_MANY);
        drop((first, second, third));
        assert_eq!(admission.sessions(), 0);
        assert!(admission.by_address.iter().all(|shard| shard.lock().is_empty()));
    }
}
