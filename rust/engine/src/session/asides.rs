//! Commands beside the way of a message: ETRN (RFC 1985), VRFY, EXPN, XCLIENT and XFORWARD.

use std::net::IpAddr;

use angarium_ledger::{Control, ControlKind, Predicate};
use angarium_nouns::{Address, Reply};
use angarium_smtp::{EtrnCommand, EtrnScope, ProxiedCommand};

use super::{Flow, ON, Session, Step, first};
use crate::logins::Login;
use crate::tables::Identity;

/// RFC 1985 5.4.
const STARTED: Reply = Reply::new(250, (2, 0, 0), "Queuing for the node started");
const NOT_THIS: Reply = Reply::new(504, (5, 5, 4), "Name a domain, as in ETRN example.org or ETRN @example.org");
const NOBODY: Reply = Reply::new(550, (5, 1, 1), "No such recipient here; check the address");
/// RFC 5321 3.5.2: to those who may not ask.
const NOT_SHOWN: Reply = Reply::new(550, (5, 7, 1), "Lists are not shown; ask the postmaster");
/// One order each: more domains below another are no longer a site that dials in.
const DOMAINS_BELOW: usize = 1_000;

fn retry(domain: String, by: &str) -> Control {
    Control {
        kind: ControlKind::Retry,
        predicate: Predicate { domain: Some(domain), ..Predicate::default() },
        by: by.to_owned(),
        why: String::new(),
        until: None,
        rule: 0,
        tag: None,
    }
}

impl Session {
    /// Entries of the domain are tried now. Walks the index: on the blocking pool, and nobody waits for it.
    pub(super) fn etrn(&mut self, command: &EtrnCommand) -> Flow {
        if command.scope == EtrnScope::Queue {
            self.say(&NOT_THIS);
            return ON;
        }
        let below = command.scope == EtrnScope::Subdomains;
        let domain = command.name.to_ascii_lowercase();
        let by = format!("ETRN from {}", self.peer.ip());
        let (ledger, now) = (self.intake.ledger.clone(), self.intake.clock.now());
        tokio::task::spawn_blocking(move || {
            let more = if below { ledger.domains_below(&domain, DOMAINS_BELOW) } else { Vec::new() };
            for domain in std::iter::once(domain).chain(more) {
                let _it_is_in_the_journal = ledger.control(&retry(domain, &by), now);
            }
        });
        self.say(&STARTED);
        ON
    }

    /// The truth for whom we know, if the listener says so; else neither yes nor no (RFC 5321 3.5.3).
    pub(super) fn verify(&mut self, asked: &str) -> Flow {
        if !self.is_known() || !self.face(&self.policy).offers("VRFY") {
            self.server.accept();
            return ON;
        }
        let asked = asked.trim_start_matches('<').trim_end_matches('>');
        match Address::parse(asked) {
            Ok(address) if self.policy.is_here(&address) => {
                self.say(&Reply::new(250, (2, 1, 5), "").with_text(format!("<{address}>")));
            }
            Ok(address) if self.policy.recipient(true, &address).is_ok() => self.server.accept(),
            _ => self.say(&NOBODY),
        }
        ON
    }

    /// What an address stands for, if the listener says so. We keep no lists: a mailbox expands to itself, and what
    /// leaves us is not ours to expand (RFC 5321 3.5.2).
    pub(super) fn expand(&mut self, asked: &str) -> Flow {
        if !self.is_known() || !self.face(&self.policy).offers("EXPN") {
            self.say(&NOT_SHOWN);
            return ON;
        }
        let asked = asked.trim_start_matches('<').trim_end_matches('>');
        match Address::parse(asked) {
            Ok(address) if self.policy.is_here(&address) => {
                self.say(&Reply::new(250, (2, 1, 5), "").with_text(format!("<{address}>")));
            }
            Ok(address) if self.policy.recipient(true, &address).is_ok() => self.say(&NOT_SHOWN),
            _ => self.say(&NOBODY),
        }
        ON
    }

    /// The session goes on as that of another client: its trust, its limits, what the listener offers to it. A login
    /// is known by its name alone, so it sends as that address and no other.
    pub(super) fn xclient(&mut self, given: &ProxiedCommand) -> Flow {
        self.abort();
        if let Some(ip) = given.addr.value() {
            self.peer.set_ip(*ip);
            self.peer.set_port(0);
        }
        if let Some(port) = given.port.value() {
            self.peer.set_port(*port);
        }
        self.hello = given.helo.value().cloned().unwrap_or_default();
        let login = given.login.value().and_then(|name| Login::new(&Identity::default(), name).ok());
        self.more().login = login.map(Into::into);
        if given.addr.value().is_some() {
            self.become_a_client_of(self.peer.ip());
            self.more().places.clear();
            if let Err(reply) = self.has_room() {
                self.hang_up(&reply);
                return first(Step::Close);
            }
        }
        self.server.accept();
        if self.is_known() {
            self.server.set_logged_in();
        }
        self.offer_now();
        ON
    }

    fn become_a_client_of(&mut self, ip: IpAddr) {
        let policy = self.policy.clone();
        let face = self.face(&policy).clone();
        self.trusted = policy.is_trusted(&face.listener, ip);
        self.is_clear = face.is_clear(ip);
        self.server.take_settings(face.settings(self.trusted, self.is_clear).clone());
    }

    pub(super) fn xforward(&mut self, given: Box<ProxiedCommand>) -> Flow {
        let more = self.more();
        match &mut more.forwarded {
            Some(forwarded) => forwarded.merge(*given),
            None => more.forwarded = Some(given),
        }
        self.server.accept();
        ON
    }
}
