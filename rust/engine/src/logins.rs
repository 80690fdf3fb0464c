//! What is remembered of logins: right and wrong ones as keyed hashes for minutes, failures, bans.
//!
//! A password never stays: what is kept is HMAC-SHA-256 under a key that is made at the start and told to nobody. Two
//! generations bound the memory: a full one becomes the old one, and the old one goes. Failures are counted by address
//! and by account; each makes the next answer later, too many of an address ban it, too many of an account let only
//! those addresses try it that logged in to it lately. A restart forgets all of this.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use angarium_nouns::envelope::Class;
use angarium_nouns::{Address, Millis};
use aws_lc_rs::hmac;
use parking_lot::Mutex;

use crate::asks::Credentials;
use crate::policy::networks::Pattern;
use crate::policy::{Logins as Settings, PolicyError};
use crate::tables::{Identity, ScramKeys};
use crate::traffic::{Subject, Traffic, Whose};

/// Entries of one generation: 16,384 of some hundred octets.
const GENERATION: usize = 16 << 10;

/// Somebody who is logged in.
#[derive(Debug)]
pub struct Login {
    pub name: Box<str>,
    pub tenant: Box<str>,
    pub campaign: Box<str>,
    pub class: Option<Class>,
    senders: Vec<Pattern>,
}

impl Login {
    /// What an identity means; `said` is the login as the client wrote it.
    pub fn new(identity: &Identity, said: &str) -> Result<Self, PolicyError> {
        let name = if identity.login.is_empty() { said } else { &identity.login };
        let own = [name.to_owned()];
        let addresses: &[String] = match identity.addresses.as_slice() {
            [] if Address::parse(name).is_ok() => &own,
            given => given,
        };
        let pattern = |(n, text): (usize, &String)| Pattern::compile(&format!("identity.addresses[{n}]"), text);
        Ok(Self {
            name: name.into(),
            tenant: identity.tenant.as_str().into(),
            campaign: identity.campaign.as_str().into(),
            class: identity.class.and_then(|class| Class::try_from(class).ok()),
            senders: addresses.iter().enumerate().map(pattern).collect::<Result<_, _>>()?,
        })
    }

    /// May it send as this? The null path is everybody's.
    pub fn may_send_as(&self, sender: Option<&Address>) -> bool {
        sender.is_none() || self.senders.iter().any(|pattern| pattern.matches(sender))
    }
}

/// What is known of credentials.
#[derive(Debug, Clone)]
pub enum Known {
    Good(Arc<Login>),
    Bad,
    /// What a mechanism goes on with that judges here.
    Keys(Arc<Login>, Keys),
}

/// Stored keys as an identity's source gave them.
#[derive(Clone)]
pub enum Keys {
    Scram(Box<ScramKeys>),
    Cram(Box<[u8]>),
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Keys(..)")
    }
}

type Print = [u8; 16];

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Print, (Known, Millis)>,
    old: HashMap<Print, (Known, Millis)>,
}

impl Generations {
    fn put(&mut self, print: Print, known: Known, until: Millis) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(print, (known, until));
    }

    fn get(&self, print: &Print, now: Millis) -> Option<Known> {
        let (known, until) = self.young.get(print).or_else(|| self.old.get(print))?;
        (now < *until).then(|| known.clone())
    }
}

#[derive(Debug)]
pub struct Logins {
    key: hmac::Key,
    remembered: Mutex<Generations>,
    /// Addresses, and pairs of account and address that were right lately: until when.
    banned: Mutex<HashMap<Print, Millis>>,
    welcome: Mutex<HashMap<Print, Millis>>,
    traffic: Arc<Traffic>,
}

impl Logins {
    /// `chance`: 32 octets.
    pub fn new(chance: &[u8; 32], traffic: Arc<Traffic>) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, chance),
            remembered: Mutex::default(),
            banned: Mutex::default(),
            welcome: Mutex::default(),
            traffic,
        }
    }

    /// An account was changed: everything is asked anew.
    pub fn forget(&self) {
        *self.remembered.lock() = Generations::default();
    }

    pub fn recall(&self, credentials: &Credentials, now: Millis) -> Option<Known> {
        self.remembered.lock().get(&self.print_of(credentials), now)
    }

    pub fn remember(&self, credentials: &Credentials, known: Known, settings: &Settings, now: Millis) {
        let wait = if matches!(known, Known::Bad) { settings.remember_refused } else { settings.remember };
        if wait > 0 {
            self.remembered.lock().put(self.print_of(credentials), known, now + wait);
        }
    }

    /// Keys for a login that is not there: always the same for it, so that nobody learns that it is not.
    pub fn fake_keys(&self, login: &str) -> ScramKeys {
        let part = |name: &[u8]| hmac::sign(&self.key, &[name, b"\0", login.as_bytes()].concat()).as_ref().to_vec();
        ScramKeys {
            salt: part(b"salt")[..16].to_vec().into(),
            iterations: 4_096, // RFC 7677 4: the least, and what most have
            stored_key: part(b"stored").into(),
            server_key: part(b"server").into(),
        }
    }

    /// A failure; gives how late its answer should be.
    pub fn failed(&self, peer: IpAddr, login: &str, settings: &Settings, now: Millis) -> Millis {
        let address = self.traffic.failed(self.of_address(peer), settings.window, now);
        let account = self.traffic.failed(self.of_account(login), settings.window, now);
        if settings.failures_per_address > 0 && address >= u64::from(settings.failures_per_address) {
            put(&self.banned, self.print(b"address", &[&octets(peer)]), now + settings.ban, now);
        }
        settings.delay.saturating_mul(address.max(account)).min(settings.slowest)
    }

    pub fn succeeded(&self, peer: IpAddr, login: &str, settings: &Settings, now: Millis) {
        self.traffic.forget(self.of_address(peer));
        put(&self.welcome, self.print(b"welcome", &[login.as_bytes(), &octets(peer)]), now + WELCOME, now);
        let _ = settings;
    }

    /// Is this address kept from logging in?
    pub fn is_banned(&self, peer: IpAddr, now: Millis) -> bool {
        let banned = self.banned.lock();
        !banned.is_empty() && banned.get(&self.print(b"address", &[&octets(peer)])).is_some_and(|until| now < *until)
    }

    /// Is this account under attack, and the address not one of those that logged in lately?
    pub fn is_locked(&self, peer: IpAddr, login: &str, settings: &Settings, now: Millis) -> bool {
        let failures = self.traffic.failures(self.of_account(login), settings.window, now);
        if settings.failures_per_account == 0 || failures < u64::from(settings.failures_per_account) {
            return false;
        }
        let print = self.print(b"welcome", &[login.as_bytes(), &octets(peer)]);
        self.welcome.lock().get(&print).is_none_or(|until| now >= *until)
    }

    fn of_address(&self, peer: IpAddr) -> Subject {
        self.traffic.subject(Whose::Address, &[b"login".as_slice(), &octets(peer)].concat())
    }

    fn of_account(&self, login: &str) -> Subject {
        self.traffic.subject(Whose::Login, &[b"account", login.to_lowercase().as_bytes()].concat())
    }

    fn print_of(&self, credentials: &Credentials) -> Print {
        let Credentials { kind, login, authzid, secret, certificate, .. } = credentials;
        self.print(kind.as_bytes(), &[login.as_bytes(), authzid.as_bytes(), secret, certificate])
    }

    /// Lengths stand in front, so that no two lists are the same octets.
    fn print(&self, kind: &[u8], parts: &[&[u8]]) -> Print {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(kind);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut print = Print::default();
        print.copy_from_slice(&context.sign().as_ref()[..16]);
        print
    }
}

/// An address that logged in to an account counts as its user's for so long.
const WELCOME: Millis = 7 * 86_400_000;
/// Of bans and welcomes together with what is over: then those over go.
const MOST: usize = 64 << 10;

fn put(map: &Mutex<HashMap<Print, Millis>>, print: Print, until: Millis, now: Millis) {
    let mut map = map.lock();
    if map.len() >= MOST {
        map.retain(|_, until| now < *until);
    }
    if map.len() >= MOST {
        map.clear();
    }
    map.insert(print, until);
}

/// An IPv6 address counts by its /64.
fn octets(peer: IpAddr) -> Vec<u8> {
    match peer.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins() -> Logins {
        Logins::new(&[7; 32], Arc::new(Traffic::new(3)))
    }

    fn password(login: &str, secret: &str) -> Credentials {
        Credentials { kind: "password", login: login.into(), secret: secret.into(), ..Credentials::default() }
    }

    fn login(name: &str, addresses: &[&str]) -> Login {
        let addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
        Login::new(&Identity { addresses, ..Identity::default() }, name).unwrap()
    }

    #[test]
    fn remembers_for_a_time_and_never_another_password() {
        let (logins, settings) = (logins(), Settings::default());
        logins.remember(&password("ann", "right"), Known::Good(Arc::new(login("ann", &[]))), &settings, 0);
        logins.remember(&password("ann", "wrong"), Known::Bad, &settings, 0);
        let known = |secret: &str, now| logins.recall(&password("ann", secret), now);
        assert!(matches!(known("right", 1), Some(Known::Good(_))));
        assert!(matches!(known("wrong", 1), Some(Known::Bad)));
        assert!(known("other", 1).is_none());
        assert!(logins.recall(&password("annr", "ight"), 1).is_none());
        assert!(known("wrong", settings.remember_refused).is_none());
        assert!(known("right", settings.remember).is_none());
        logins.forget();
        assert!(known("right", 1).is_none());
    }

    #[test]
    fn failures_slow_down_and_ban() {
        let (logins, settings) = (logins(), Settings { failures_per_address: 3, ..Settings::default() });
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let delays: Vec<_> = (0..3).map(|_| logins.failed(peer, "ann", &settings, 10)).collect();
        assert_eq!(delays, [500, 1_000, 1_500]);
        assert!(logins.is_banned(peer, 11));
        assert!(!logins.is_banned("192.0.2.2".parse().unwrap(), 11));
        assert!(!logins.is_banned(peer, 11 + settings.ban));
    }

    #[test]
    fn an_attacked_account_is_open_to_its_user() {
        let (logins, settings) = (logins(), Settings { failures_per_account: 2, ..Settings::default() });
        let (user, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
        logins.succeeded(user, "ann", &settings, 1);
        for _ in 0..2 {
            let _late = logins.failed(other, "Ann", &settings, 2);
        }
        assert!(logins.is_locked(other, "ann", &settings, 3));
        assert!(!logins.is_locked(user, "ann", &settings, 3));
        assert!(!logins.is_locked(other, "bob", &settings, 3));
    }

    #[test]
    fn senders_of_a_login() {
        let may = |login: &Login, sender: &str| login.may_send_as(Address::parse(sender).ok().as_ref());
        let named = login("ann@here.example", &[]);
        assert!(may(&named, "ann@HERE.example") && !may(&named, "bob@here.example") && may(&named, ""));
        let domain = login("robot", &["@here.example", "root@there.example"]);
        assert!(
            may(&domain, "x@here.example") && may(&domain, "root@there.example") && !may(&domain, "x@there.example")
        );
        assert!(!may(&login("robot", &[]), "robot@here.example"));
    }

    #[test]
    fn fakes_are_always_the_same() {
        let logins = logins();
        assert_eq!(logins.fake_keys("nobody"), logins.fake_keys("nobody"));
        assert_ne!(logins.fake_keys("nobody"), logins.fake_keys("nobody2"));
    }
}
