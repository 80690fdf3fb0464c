//! Commands beside the way of a message: ETRN (RFC 1985), VRFY, EXPN, XCLIENT and XFORWARD.

use angarium_ledger::{Control, ControlKind, Predicate};
use angarium_nouns::{Address, Reply};
use angarium_smtp::{EtrnCommand, EtrnScope, ProxiedCommand};

use super::{Flow, ON, Session};
use crate::logins::Login;
use crate::tables::Identity;

/// RFC 1985 5.4.
const STARTED: Reply = Reply::new(250, (2, 0, 0), "Queuing for the node started");
const NOT_THIS: Reply = Reply::new(504, (5, 5, 4), "Name a domain, as in ETRN example.org");
const NOBODY: Reply = Reply::new(550, (5, 1, 1), "No such recipient here");

impl Session {
    /// Entries of the domain are tried now. Walks the index: on the blocking pool, and nobody waits for it.
    pub(super) fn etrn(&mut self, command: &EtrnCommand) -> Flow {
        if command.scope != EtrnScope::Domain {
            self.say(&NOT_THIS);
            return ON;
        }
        let predicate = Predicate { domain: Some(command.name.to_ascii_lowercase()), ..Predicate::default() };
        let order = Control {
            kind: ControlKind::Retry,
            predicate,
            by: format!("ETRN from {}", self.peer.ip()),
            why: String::new(),
            until: None,
            rule: 0,
            tag: None,
        };
        let (ledger, now) = (self.intake.ledger.clone(), self.intake.clock.now());
        tokio::task::spawn_blocking(move || {
            let _it_is_in_the_journal = ledger.control(&order, now);
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

    /// The session goes on as that of another client.
    pub(super) fn xclient(&mut self, given: &ProxiedCommand) -> Flow {
        self.abort();
        if let Some(ip) = given.addr.value() {
            self.peer.set_ip(*ip);
            self.peer.set_port(0);
            let policy = self.policy.clone();
            self.trusted = policy.is_trusted(&self.face(&policy).listener, *ip);
        }
        if let Some(port) = given.port.value() {
            self.peer.set_port(*port);
        }
        self.hello = given.helo.value().cloned().unwrap_or_default();
        let login = given.login.value().and_then(|name| {
            let identity = Identity { addresses: vec!["*".into()], ..Identity::default() };
            Login::new(&identity, name).ok()
        });
        self.more().login = login.map(Into::into);
        self.server.accept();
        if self.is_known() {
            self.server.set_logged_in();
        }
        self.offer_now();
        ON
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
