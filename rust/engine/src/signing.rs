//! The keys that mail is signed with: rows of domain, selector and time, swapped whole while mail flows.
//!
//! A row signs what its authors wrote for its tenant and stream, within its time; every row that matches signs, so that
//! two kinds of keys and both sides of a rotation stand side by side. A row that seals continues ARC chains instead.
//! What makes a swap fail is a key that cannot be read; then the old ones stay.

use std::sync::Arc;

use angarium_auth::author;
use angarium_auth::canon::Form;
use angarium_auth::key::SigningKey;
use angarium_auth::{arc, dkim};
use angarium_message::Header;
use angarium_nouns::{Host, Millis};
use arc_swap::ArcSwap;

use crate::policy::PolicyError;
use crate::policy::networks::Domains;
use crate::pool::Pool;
use crate::tables::{SignerRow, Signers};

/// Signatures of one message. Two kinds of keys in a rotation are four, for a domain and for its provider.
const MOST: usize = 8;
/// Any author.
const ANYBODY: &str = "*";

/// All rows, empty until some come, and the pool on which signatures are made.
pub struct Signing {
    keys: ArcSwap<Keys>,
    pool: Pool,
}

#[derive(Default)]
pub struct Keys {
    signers: Vec<Arc<Row<dkim::Signer>>>,
    sealers: Vec<Arc<Row<arc::Sealer>>>,
}

/// One key, and what it is for.
pub struct Row<Key> {
    pub key: Key,
    /// 8-bit content is made 7-bit first.
    pub converts: bool,
    anybody: bool,
    authors: Domains,
    tenant: Box<str>,
    stream: Box<str>,
    since: Millis,
    until: Millis,
}

/// What a message is, to those who choose its keys.
#[derive(Debug, Clone)]
pub struct Signed {
    pub tenant: String,
    pub stream: String,
    pub now: Millis,
}

impl Signing {
    /// `at_once`: how many messages are signed at the same time.
    pub fn new(at_once: usize) -> Self {
        Self { keys: ArcSwap::default(), pool: Pool::new(at_once) }
    }

    /// `None`: the runtime ends, or the work panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.pool.run(work).await
    }

    pub fn set(&self, table: &Signers) -> Result<(), PolicyError> {
        let mut keys = Keys::default();
        for (number, row) in table.signers.iter().enumerate() {
            keys.add(row).map_err(|(field, why)| PolicyError::new(format!("signers[{number}].{field}"), why))?;
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    pub fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }
}

impl Keys {
    fn add(&mut self, row: &SignerRow) -> Result<(), (&'static str, String)> {
        let key = SigningKey::parse(&row.key).map_err(|error| ("key", error.to_string()))?;
        let named = |error: dkim::SignError| ("domain", error.to_string());
        if row.seals {
            let mut sealer = arc::Sealer::new(key, &row.domain, &row.selector).map_err(named)?;
            sealer.fields = boxed(&row.headers);
            self.sealers.push(Arc::new(Row::new(sealer, row)?));
            return Ok(());
        }
        let mut signer = dkim::Signer::new(key, &row.domain, &row.selector).map_err(named)?;
        let form = |simple| if simple { Form::Simple } else { Form::Relaxed };
        (signer.header_form, signer.body_form) = (form(row.simple_header), form(row.simple_body));
        signer.identity = row.identity.as_deref().map(Into::into);
        signer.lifetime = row.lifetime;
        if !row.headers.is_empty() {
            signer.signed = boxed(&row.headers);
        }
        self.signers.push(Arc::new(Row::new(signer, row)?));
        Ok(())
    }

    pub fn signs(&self) -> bool {
        !self.signers.is_empty()
    }

    pub fn seals(&self) -> bool {
        !self.sealers.is_empty()
    }

    /// Those who sign this message of ours.
    pub fn signers(&self, header: &Header<'_>, message: &Signed) -> Vec<Arc<Row<dkim::Signer>>> {
        let authors = author::authors(header).map_or_else(|_| Vec::new(), |authors| authors.domains);
        let hosts: Vec<Host> = authors.into_iter().map(Host::Name).collect();
        let writes = |row: &Row<dkim::Signer>| row.anybody || hosts.iter().any(|host| row.authors.contains(host));
        let chosen = self.signers.iter().filter(|row| row.is_for(message) && writes(row));
        chosen.take(MOST).cloned().collect()
    }

    /// The one who seals a message that goes on; a hop adds one set (RFC 8617 5.1).
    pub fn sealer(&self, message: &Signed) -> Option<Arc<Row<arc::Sealer>>> {
        self.sealers.iter().find(|row| row.is_for(message)).cloned()
    }
}

impl<Key> Row<Key> {
    fn new(key: Key, row: &SignerRow) -> Result<Self, (&'static str, String)> {
        let own = [row.domain.clone()];
        let authors = if row.authors.is_empty() { &own[..] } else { &row.authors };
        let named: Vec<_> = authors.iter().filter(|author| *author != ANYBODY).cloned().collect();
        Ok(Self {
            key,
            converts: row.converts,
            anybody: named.len() < authors.len(),
            authors: Domains::compile("authors", &named).map_err(|error| ("authors", error.why))?,
            tenant: row.tenant.as_str().into(),
            stream: row.stream.as_str().into(),
            since: row.since,
            until: if row.until == 0 { Millis::MAX } else { row.until },
        })
    }

    fn is_for(&self, message: &Signed) -> bool {
        let fits = |own: &str, given: &str| own.is_empty() || own == given;
        fits(&self.tenant, &message.tenant)
            && fits(&self.stream, &message.stream)
            && (self.since..self.until).contains(&message.now)
    }
}

fn boxed(names: &[String]) -> Vec<Box<str>> {
    names.iter().map(|name| name.as_str().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use angarium_auth::key::Kind;

    fn row(selector: &str, change: impl FnOnce(&mut SignerRow)) -> SignerRow {
        let (_, pem) = SigningKey::generate(Kind::Ed25519).unwrap();
        let mut row = SignerRow {
            domain: "example.org".into(),
            selector: selector.into(),
            key: pem.into_bytes().into(),
            ..SignerRow::default()
        };
        change(&mut row);
        row
    }

    #[test]
    fn rows_are_chosen_by_author_tenant_stream_and_time() {
        let signing = Signing::new(1);
        let signers = vec![
            row("plain", |_| {}),
            row("below", |row| row.authors = vec![".example.org".into()]),
            row("all", |row| row.authors = vec!["*".into()]),
            row("shop", |row| row.tenant = "shop".into()),
            row("news", |row| row.stream = "news".into()),
            row("old", |row| row.until = 100),
            row("new", |row| row.since = 100),
            row("arc", |row| row.seals = true),
        ];
        signing.set(&Signers { signers }).unwrap();
        let keys = signing.keys();
        for (from, tenant, stream, now, want) in [
            ("a@example.org", "", "", 99, "plain all old"),
            ("a@EXAMPLE.org", "", "", 100, "plain all new"),
            ("a@x.example.org", "", "", 99, "below all"),
            ("a@example.net, b@example.org", "shop", "", 99, "plain all shop old"),
            ("a@example.org", "", "news", 99, "plain all news old"),
            ("nobody", "", "", 99, "all"),
        ] {
            let mail = format!("From: {from}\r\n\r\n");
            let message = Signed { tenant: tenant.into(), stream: stream.into(), now };
            let chosen = keys.signers(&Header::scan(mail.as_bytes()), &message);
            let names: Vec<&str> = chosen.iter().map(|row| &*row.key.selector).collect();
            assert_eq!(names.join(" "), want, "{from} {tenant} {stream} {now}");
            assert_eq!(&*keys.sealer(&message).unwrap().key.selector, "arc");
        }
        let bad = signing.set(&Signers { signers: vec![row("x", |row| row.key = b"nothing".to_vec().into())] });
        assert_eq!(bad.unwrap_err().path, "signers[0].key");
        assert!(signing.keys().signs(), "the old ones stay");
    }
}
