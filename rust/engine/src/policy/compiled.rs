//! The policy as sessions read it: compiled once, shared, swapped whole.
//!
//! [`Compiled::recipient`] is the whole question of who may send to whom; hooks and keyed stores come after it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use angarium_nouns::{Address, Reply};

use super::authentication::Judging;
pub use super::face::Face;
use super::networks::{Domains, Networks, Pattern};
use super::{Listener, Policy, PolicyError};

const RELAYING_REFUSED: Reply =
    Reply::new(550, (5, 7, 1), "Relaying refused; log in, or send by your own provider's server");
const NO_SUCH_RECIPIENT: Reply = Reply::new(550, (5, 1, 1), "No such recipient here; check the address");

#[derive(Debug, Clone)]
pub struct Compiled {
    pub generation: u64,
    pub table: Policy,
    pub faces: Vec<Arc<Face>>,
    pub judging: Judging,
    trusted: Networks,
    local: Domains,
    relay: Domains,
    recipients: HashSet<Box<str>>,
    route_tags: Vec<TagRule>,
}

#[derive(Debug, Clone)]
struct TagRule {
    sender: Pattern,
    recipient: Pattern,
    listener: Box<str>,
    tenant: Box<str>,
    tag: Box<str>,
}

/// What a route tag is looked up by.
#[derive(Debug, Clone, Copy)]
pub struct TagQuestion<'a> {
    pub sender: Option<&'a Address>,
    pub recipient: &'a Address,
    pub listener: &'a str,
    pub tenant: &'a str,
}

impl Compiled {
    pub fn compile(table: Policy, previous_generation: u64) -> Result<Self, PolicyError> {
        let generation = if table.generation == 0 { previous_generation + 1 } else { table.generation };
        Ok(Self {
            generation,
            judging: Judging::compile(&table.authentication)?,
            trusted: Networks::compile("trusted_networks", &table.trusted_networks)?,
            local: Domains::compile("local_domains", &table.local_domains)?,
            relay: Domains::compile("relay_domains", &table.relay_domains)?,
            recipients: recipients(&table)?,
            route_tags: route_tags(&table)?,
            faces: (0..table.listeners.len())
                .map(|number| Face::new(&table, number).map(Arc::new))
                .collect::<Result<_, _>>()?,
            table,
        })
    }

    /// Our name in Authentication-Results (RFC 8601 2.5).
    pub fn authserv_id(&self) -> &str {
        let own = &self.table.authentication.id;
        if own.is_empty() { &self.table.hostname } else { own }
    }

    pub fn face(&self, listener: u16) -> Option<&Arc<Face>> {
        self.faces.get(usize::from(listener))
    }

    pub fn is_trusted(&self, listener: &Listener, peer: IpAddr) -> bool {
        listener.trusted || self.trusted.contains(peer)
    }

    /// May a message to this recipient come in from a client of this kind?
    pub fn recipient(&self, trusted: bool, recipient: &Address) -> Result<(), Reply> {
        if self.local.contains(recipient.host()) {
            return if self.exists(recipient) { Ok(()) } else { Err(NO_SUCH_RECIPIENT) };
        }
        if trusted || self.table.accept_any || self.relay.contains(recipient.host()) {
            return Ok(());
        }
        Err(RELAYING_REFUSED)
    }

    /// RFC 5321 4.5.1: postmaster exists wherever mail is taken.
    fn exists(&self, recipient: &Address) -> bool {
        self.recipients.is_empty()
            || recipient.local().eq_ignore_ascii_case("postmaster")
            || self.recipients.contains(mailbox_key(&recipient.meant_local(), &recipient.host().key()).as_str())
            || self.recipients.contains(mailbox_key("", &recipient.host().key()).as_str())
    }

    /// Does mail for this domain end here?
    pub fn is_local(&self, address: &Address) -> bool {
        self.local.contains(address.host())
    }

    /// What VRFY is told: does this address end here?
    pub fn is_here(&self, address: &Address) -> bool {
        self.local.contains(address.host()) && self.exists(address)
    }

    /// The tag of the first rule that matches, or "".
    pub fn route_tag(&self, question: TagQuestion<'_>) -> &str {
        self.route_tags.iter().find(|rule| rule.matches(question)).map_or("", |rule| &rule.tag)
    }
}

impl TagRule {
    fn matches(&self, question: TagQuestion<'_>) -> bool {
        (self.listener.is_empty() || *self.listener == *question.listener)
            && (self.tenant.is_empty() || *self.tenant == *question.tenant)
            && self.sender.matches(question.sender)
            && self.recipient.matches(Some(question.recipient))
    }
}

/// Local parts are compared without case, as every site does that we know of.
fn mailbox_key(local: &str, host: &str) -> String {
    format!("{}@{host}", local.to_lowercase())
}

fn recipients(table: &Policy) -> Result<HashSet<Box<str>>, PolicyError> {
    let mut set = HashSet::new();
    for (number, text) in table.local_recipients.iter().enumerate() {
        let bad = |why: String| PolicyError::new(format!("local_recipients[{number}]"), why);
        let key = if let Some(host) = text.strip_prefix('@') {
            let host = angarium_nouns::Host::parse(host).map_err(|error| bad(format!("{text:?}: {error}")))?;
            mailbox_key("", &host.key())
        } else {
            let address = Address::parse(text).map_err(|error| bad(format!("{text:?}: {error}")))?;
            mailbox_key(&address.meant_local(), &address.host().key())
        };
        set.insert(key.into());
    }
    Ok(set)
}

fn route_tags(table: &Policy) -> Result<Vec<TagRule>, PolicyError> {
    let rule = |(number, row): (usize, &super::RouteTagRule)| {
        Ok(TagRule {
            sender: Pattern::compile(&format!("route_tags[{number}].sender"), &row.sender)?,
            recipient: Pattern::compile(&format!("route_tags[{number}].recipient"), &row.recipient)?,
            listener: row.listener.as_str().into(),
            tenant: row.tenant.as_str().into(),
            tag: row.tag.as_str().into(),
        })
    };
    table.route_tags.iter().enumerate().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(change: impl FnOnce(&mut Policy)) -> Compiled {
        let mut table = Policy { local_domains: vec!["here.example".into()], ..Policy::default() };
        change(&mut table);
        Compiled::compile(table, 7).unwrap()
    }

    fn code(policy: &Compiled, trusted: bool, recipient: &str) -> u16 {
        let refused = policy.recipient(trusted, &Address::parse(recipient).unwrap());
        refused.map_or_else(|reply| reply.code, |()| 250)
    }

    #[test]
    fn who_may_send_to_whom() {
        let policy = compiled(|table| {
            table.relay_domains = vec![".partner.example".into()];
            table.local_recipients = vec!["Ann@here.example".into()];
        });
        for (trusted, recipient, expected) in [
            (false, "ann@HERE.example", 250),
            (false, "Postmaster@here.example", 250),
            (false, "bob@here.example", 550),
            (true, "bob@here.example", 550),
            (false, "x@mx.partner.example", 250),
            (false, "x@elsewhere.example", 550),
            (true, "x@elsewhere.example", 250),
        ] {
            assert_eq!(code(&policy, trusted, recipient), expected, "{trusted} {recipient}");
        }
        assert_eq!(code(&compiled(|table| table.accept_any = true), false, "x@elsewhere.example"), 250);
        assert_eq!(policy.generation, 8);
    }

    #[test]
    fn first_tag_that_matches() {
        let policy = compiled(|table| {
            let rule = |sender: &str, recipient: &str, tag: &str| super::super::RouteTagRule {
                sender: sender.into(),
                recipient: recipient.into(),
                tag: tag.into(),
                ..Default::default()
            };
            table.route_tags = vec![rule("<>", "", "reports"), rule("@a.example", "@b.example", "b")];
        });
        let tag = |sender: &str, recipient: &str| {
            let (sender, recipient) = (Address::parse(sender).ok(), Address::parse(recipient).unwrap());
            let question = TagQuestion { sender: sender.as_ref(), recipient: &recipient, listener: "mx", tenant: "" };
            policy.route_tag(question).to_owned()
        };
        assert_eq!(tag("", "x@b.example"), "reports");
        assert_eq!(tag("u@a.example", "x@b.example"), "b");
        assert_eq!(tag("u@a.example", "x@c.example"), "");
    }
}
