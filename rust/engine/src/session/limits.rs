//! The limits that a session meets, by address, network, login and tenant; and what errors cost: a pause, the end.
//!
//! Trusted clients are exempt from those of address and network. What is reached is said by name and counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use angarium_nouns::{MessageId, Reply};

use super::Session;
use crate::intake::session_name;
use crate::notices::Met;
use crate::traffic::{Measure, Over, Subject, Whose};

/// An IPv4 /24, an IPv6 /64, as people write them.
fn network_of(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => format!("{}/24", Ipv4Addr::from_bits(ip.to_bits() & !0xff)),
        IpAddr::V6(ip) => format!("{}/64", Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

/// A client may err so often before it waits.
const FREE_REFUSALS: u32 = 3;

impl Session {
    /// Whom this session counts for.
    fn subjects(&self, of: &[Whose]) -> Vec<Subject> {
        let (traffic, ip) = (&self.intake.traffic, self.peer.ip());
        let tenant = self.tenant();
        let subject = |whose: &Whose| match whose {
            Whose::Address => (!self.trusted).then(|| traffic.address(ip)),
            Whose::Network => (!self.trusted).then(|| traffic.network(ip)),
            Whose::Login => self.login().map(|login| traffic.subject(Whose::Login, login.name.as_bytes())),
            Whose::Tenant => (!tenant.is_empty()).then(|| traffic.subject(Whose::Tenant, tenant.as_bytes())),
        };
        of.iter().filter_map(subject).collect()
    }

    /// The login's tenant, or the listener's.
    pub(super) fn tenant(&self) -> &str {
        match self.login() {
            Some(login) if !login.tenant.is_empty() => &login.tenant,
            _ => &self.face(&self.policy).listener.tenant,
        }
    }

    fn judge(&self, measure: Measure, amount: u64, happened: bool) -> Result<(), Over> {
        let face = self.face(&self.policy);
        if !face.is_limited {
            return Ok(());
        }
        let now = self.intake.clock.now();
        for subject in self.subjects(&[Whose::Address, Whose::Network, Whose::Login, Whose::Tenant]) {
            let allowance = face.allowance(subject.whose);
            let traffic = &self.intake.traffic;
            if happened {
                traffic.note(subject, allowance, measure, amount, now)?;
            } else {
                traffic.take(subject, allowance, measure, amount, now)?;
            }
        }
        Ok(())
    }

    /// May this happen?
    pub(super) fn may(&self, measure: Measure, amount: u64) -> Result<(), Reply> {
        self.judge(measure, amount, false).map_err(|over| self.told(over))
    }

    /// This has happened; an error means that it was too much.
    pub(super) fn happened(&self, measure: Measure, amount: u64) -> Result<(), Reply> {
        self.judge(measure, amount, true).map_err(|over| self.told(over))
    }

    fn told(&self, over: Over) -> Reply {
        let counters = &self.intake.counters;
        match over.whose {
            Whose::Address => counters.limited_by_address.one_more(),
            Whose::Network => counters.limited_by_network.one_more(),
            Whose::Login => counters.limited_by_login.one_more(),
            Whose::Tenant => counters.limited_by_tenant.one_more(),
        }
        let who = match over.whose {
            Whose::Address => self.peer.ip().to_canonical().to_string(),
            Whose::Network => network_of(self.peer.ip()),
            Whose::Login => self.login().map_or_else(String::new, |login| login.name.to_string()),
            Whose::Tenant => self.tenant().to_owned(),
        };
        self.intake.notices.note(Met { limit: over.name(), listener: self.listener, who }, self.number);
        over.reply()
    }

    /// One session more of this address and network.
    pub(super) fn has_room(&mut self) -> Result<(), Reply> {
        self.places(&[Whose::Address, Whose::Network])?;
        self.may(Measure::NewSessions, 1)
    }

    /// The same once the login is known.
    pub(super) fn has_room_with_login(&mut self) -> Result<(), Reply> {
        self.places(&[Whose::Login, Whose::Tenant])
    }

    fn places(&mut self, of: &[Whose]) -> Result<(), Reply> {
        let policy = self.policy.clone();
        let face = self.face(&policy).clone();
        if !face.is_limited {
            return Ok(());
        }
        for subject in self.subjects(of) {
            let place = self.intake.traffic.place(subject, face.allowance(subject.whose));
            if let Some(place) = place.map_err(|over| self.told(over))? {
                self.more().places.push(place);
            }
        }
        Ok(())
    }

    /// A refusal was said: how long the session waits before it hears more (tarpit).
    pub(super) fn pause_for_refusal(&mut self) -> u64 {
        let tarpit = self.face(&self.policy).listener.tarpit;
        if tarpit == 0 || self.trusted {
            return 0;
        }
        let more = self.more();
        more.refusals += 1;
        if more.refusals > FREE_REFUSALS { tarpit } else { 0 }
    }

    /// In the site's own words. A refusal in ours names the session, so that whoever asks about it can be helped.
    pub(super) fn reworded(&self, reply: &Reply) -> Reply {
        self.worded_for(reply, self.transaction.as_ref().map(|transaction| transaction.id))
    }

    pub(super) fn worded_for(&self, reply: &Reply, id: Option<MessageId>) -> Reply {
        let wording = &self.face(&self.policy).wording;
        if wording.is_empty() && reply.is_positive() {
            return reply.clone();
        }
        let session = session_name(self.number);
        let known_as = id.map_or_else(|| session.clone(), |id| id.to_string());
        match wording.of(reply, &self.policy.table.hostname, &known_as) {
            Some(own) => own,
            None if reply.is_positive() => reply.clone(),
            None => reply.clone().with_text(format!("{} [{session}]", reply.text)),
        }
    }

    /// Answers what waits, in the site's own words.
    pub(super) fn say(&mut self, reply: &Reply) {
        let reply = self.reworded(reply);
        self.server.reply(&reply);
    }

    /// The last word.
    pub(super) fn hang_up(&mut self, reply: &Reply) {
        let reply = self.reworded(reply);
        self.server.close(&reply);
    }
}
