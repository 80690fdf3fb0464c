//! Who did how much lately, and who has how many sessions: the limits by address, network, login and tenant.
//!
//! What happened is counted in fixed memory (`traffic::Rates`), sharded so that locks are rarely shared; a limit that
//! is 0 costs nothing. A limit that is reached is told by its name, in the reply and in the figures. Counts are of the
//! process: a restart forgets them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use angarium_nouns::{Millis, Reply};
use angarium_traffic::{Rates, murmur};
use parking_lot::Mutex;

use crate::policy::Allowance;

/// More than any machine has workers.
const SHARDS: usize = 16;
/// Keys remembered in all: 110 octets each, 7 MB.
const KEYS: usize = 64 << 10;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    NewSessions,
    Messages,
    Recipients,
    Bytes,
    Errors,
    FailedLogins,
}

const MEASURES: usize = 6;

/// Of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    Address,
    Network,
    Login,
    Tenant,
}

/// Whom counts are kept of, as a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    pub whose: Whose,
    key: u64,
}

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    pub whose: Whose,
    /// `None`: sessions at once.
    pub measure: Option<Measure>,
}

#[derive(Debug)]
pub struct Traffic {
    seed: u32,
    rates: [Mutex<Rates<MEASURES>>; SHARDS],
    sessions: [Mutex<HashMap<(Whose, u64), u32>>; SHARDS],
}

/// One of the sessions that somebody has at once; given back with its drop.
#[derive(Debug)]
pub struct Place {
    traffic: Arc<Traffic>,
    subject: Subject,
}

impl Traffic {
    /// `seed`: chance, so that nobody chooses keys that meet.
    pub fn new(seed: u32) -> Self {
        Self {
            seed,
            rates: std::array::from_fn(|_| Mutex::new(Rates::new(KEYS / SHARDS))),
            sessions: Default::default(),
        }
    }

    pub fn subject(&self, whose: Whose, name: &[u8]) -> Subject {
        Subject { whose, key: murmur::hash128(name, self.seed ^ whose as u32).0 }
    }

    /// A client's address (an IPv6 one by its /64: a customer has at least that).
    pub fn address(&self, ip: IpAddr) -> Subject {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.subject(Whose::Address, &ip.octets()),
            IpAddr::V6(ip) => self.subject(Whose::Address, &ip.octets()[..8]),
        }
    }

    /// Its network: an IPv4 /24, an IPv6 /64.
    pub fn network(&self, ip: IpAddr) -> Subject {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                self.subject(Whose::Network, &Ipv4Addr::new(a, b, c, 0).octets())
            }
            IpAddr::V6(ip) => self.subject(Whose::Network, &ip.octets()[..8]),
        }
    }

    /// Counts `amount` if that stays within the allowance; what is over is not counted, so that who waits gets on.
    pub fn take(
        &self,
        subject: Subject,
        allowance: &Allowance,
        measure: Measure,
        amount: u64,
        now: Millis,
    ) -> Result<(), Over> {
        let limit = limit(allowance, measure);
        if limit == 0 {
            return Ok(());
        }
        let mut rates = self.shard(subject).lock();
        if rates.count(subject.key, measure as usize, allowance.per, now) + amount > limit {
            return Err(Over { whose: subject.whose, measure: Some(measure) });
        }
        rates.add(subject.key, measure as usize, amount, allowance.per, now);
        Ok(())
    }

    /// Counts what has happened already, and says whether that was too much.
    pub fn note(
        &self,
        subject: Subject,
        allowance: &Allowance,
        measure: Measure,
        amount: u64,
        now: Millis,
    ) -> Result<(), Over> {
        let limit = limit(allowance, measure);
        if limit == 0 {
            return Ok(());
        }
        let told = self.shard(subject).lock().add(subject.key, measure as usize, amount, allowance.per, now);
        if told > limit { Err(Over { whose: subject.whose, measure: Some(measure) }) } else { Ok(()) }
    }

    /// Failures in a window of their own.
    pub fn failed(&self, subject: Subject, window: u64, now: Millis) -> u64 {
        self.shard(subject).lock().add(subject.key, Measure::FailedLogins as usize, 1, window, now)
    }

    pub fn failures(&self, subject: Subject, window: u64, now: Millis) -> u64 {
        self.shard(subject).lock().count(subject.key, Measure::FailedLogins as usize, window, now)
    }

    pub fn forget(&self, subject: Subject) {
        self.shard(subject).lock().forget(subject.key);
    }

    /// One session more at once.
    pub fn place(self: &Arc<Self>, subject: Subject, allowance: &Allowance) -> Result<Option<Place>, Over> {
        if allowance.sessions == 0 {
            return Ok(None);
        }
        let mut sessions = self.sessions[subject.key as usize % SHARDS].lock();
        let count = sessions.entry((subject.whose, subject.key)).or_insert(0);
        if *count >= allowance.sessions {
            return Err(Over { whose: subject.whose, measure: None });
        }
        *count += 1;
        Ok(Some(Place { traffic: self.clone(), subject }))
    }

    fn shard(&self, subject: Subject) -> &Mutex<Rates<MEASURES>> {
        &self.rates[subject.key as usize % SHARDS]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Subject { whose, key } = self.subject;
        let mut sessions = self.traffic.sessions[key as usize % SHARDS].lock();
        if let Some(count) = sessions.get_mut(&(whose, key)) {
            *count -= 1;
            if *count == 0 {
                sessions.remove(&(whose, key));
            }
        }
    }
}

fn limit(allowance: &Allowance, measure: Measure) -> u64 {
    match measure {
        Measure::NewSessions => u64::from(allowance.new_sessions),
        Measure::Messages => u64::from(allowance.messages),
        Measure::Recipients => u64::from(allowance.recipients),
        Measure::Bytes => allowance.bytes,
        Measure::Errors => u64::from(allowance.errors),
        Measure::FailedLogins => u64::from(allowance.failed_logins),
    }
}

impl Over {
    /// Which limit, as the log names it.
    pub fn name(self) -> &'static str {
        const NAMES: [[&str; 4]; MEASURES + 1] = [
            [
                "sessions at once of an address",
                "sessions at once of a network",
                "sessions at once of a login",
                "sessions at once of a tenant",
            ],
            [
                "new sessions of an address",
                "new sessions of a network",
                "new sessions of a login",
                "new sessions of a tenant",
            ],
            ["messages of an address", "messages of a network", "messages of a login", "messages of a tenant"],
            ["recipients of an address", "recipients of a network", "recipients of a login", "recipients of a tenant"],
            ["octets of an address", "octets of a network", "octets of a login", "octets of a tenant"],
            ["errors of an address", "errors of a network", "errors of a login", "errors of a tenant"],
            [
                "failed logins of an address",
                "failed logins of a network",
                "failed logins of a login",
                "failed logins of a tenant",
            ],
        ];
        NAMES[self.measure.map_or(0, |measure| measure as usize + 1)][self.whose as usize]
    }

    /// Which limit, in words and with the code that its command may have.
    pub fn reply(self) -> Reply {
        let whose = ["your address", "your network", "your login", "your tenant"][self.whose as usize];
        let (code, what) = match self.measure {
            None => (421, "sessions at once"),
            Some(Measure::NewSessions) => (421, "new sessions"),
            Some(Measure::Messages) => (451, "messages"),
            Some(Measure::Recipients) => (451, "recipients"),
            Some(Measure::Bytes) => (451, "octets"),
            Some(Measure::Errors) => (421, "errors"),
            Some(Measure::FailedLogins) => (421, "failed logins"),
        };
        Reply::new(code, (4, 7, 0), "").with_text(format!("Too many {what} of {whose}, try again later"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_name_themselves() {
        let traffic = Arc::new(Traffic::new(1));
        let allowance = Allowance { messages: 2, sessions: 1, ..Allowance::default() };
        let one = traffic.network("192.0.2.1".parse().unwrap());
        assert_eq!(one, traffic.network("::ffff:192.0.2.200".parse().unwrap()));
        assert_ne!(one, traffic.address("192.0.2.1".parse().unwrap()));
        for expected in [true, true, false] {
            assert_eq!(traffic.take(one, &allowance, Measure::Messages, 1, 5).is_ok(), expected);
        }
        let over = traffic.take(one, &allowance, Measure::Messages, 1, 5).unwrap_err();
        assert_eq!(over.reply().to_string(), "451 4.7.0 Too many messages of your network, try again later");
        assert!(traffic.take(one, &allowance, Measure::Recipients, 1_000, 5).is_ok());
        let place = traffic.place(one, &allowance).unwrap();
        assert_eq!(traffic.place(one, &allowance).unwrap_err().measure, None);
        drop(place);
        assert!(traffic.place(one, &allowance).is_ok());
        let sixty_four = |ip: &str| traffic.address(ip.parse().unwrap());
        assert_eq!(sixty_four("2001:db8::1"), sixty_four("2001:db8::ffff"));
    }
}
