//! Our verdicts beside those of the crate mail-auth: every SPF record of up to three terms from a table, DKIM
//! signatures of ours whole and with each kind of damage. What differs is listed with its reason in
//! `tests/oracle/differences.tsv`; a difference that is not listed fails, and so does a listed one that is gone.
//! DNS is a table for both; nothing is asked.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use angarium_auth::canon::Form;
use angarium_auth::dkim::{Bodies, Signer, body_digest, candidates};
use angarium_auth::key::{Kind, SigningKey};
use angarium_auth::{Answer, Known, Missing, Question, dkim, spf};
use angarium_message::Header;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::spf::Spf;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimResult, DnssecStatus, MX, MessageAuthenticator, Parameters, RecordSet, ResolverCache, Txt,
};

/// What the other crate looks into before it would ask.
struct Table<K, V>(Mutex<HashMap<K, V>>);

impl<K: Hash + Eq, V: Clone> ResolverCache<K, V> for Table<K, V> {
    fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.lock().expect("nobody panics here").get(name).cloned()
    }

    fn remove<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        None
    }

    fn insert(&self, _: K, _: V, _: Instant) {}
}

fn table<K: Hash + Eq, V, const N: usize>(rows: [(K, V); N]) -> Table<K, V> {
    Table(Mutex::new(HashMap::from(rows)))
}

/// Nothing here ever waits.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the other crate waits for something"),
    }
}

fn fqdn(name: &str) -> Box<str> {
    format!("{name}.").into()
}

const TERMS: [&str; 19] = [
    "",
    "ip4:192.0.2.0/24",
    "-ip4:192.0.2.1",
    "?a",
    "a:one.example",
    "~a:one.example/24",
    "mx",
    "mx:none.example",
    "include:one.example",
    "include:two.example",
    "include:none.example",
    "exists:%{ir}.e.example",
    "redirect=two.example",
    "redirect=none.example",
    "-all",
    "~all",
    "bogus",
    "ip4:300.1.1.1",
    "other=%{d}",
];
const ONE: &str = "v=spf1 ip4:198.51.100.0/24 -all";
const TWO: &str = "v=spf1 a:one.example ?all";
const ADDRESSES: [(&str, [u8; 4]); 4] = [
    ("example.org", [192, 0, 2, 1]),
    ("one.example", [192, 0, 2, 7]),
    ("mx.example", [203, 0, 113, 5]),
    ("5.113.0.203.e.example", [127, 0, 0, 2]),
];
const CLIENTS: [[u8; 4]; 4] = [[192, 0, 2, 1], [192, 0, 2, 7], [198, 51, 100, 9], [203, 0, 113, 5]];

fn our_spf(record: &str, ip: IpAddr) -> String {
    let text = |text: &str| Answer::Texts(vec![text.as_bytes().into()]);
    let mut known = Known::default();
    known.learn(Question::txt("example.org"), text(record));
    known.learn(Question::txt("one.example"), text(ONE));
    known.learn(Question::txt("two.example"), text(TWO));
    known.learn(Question::mx("example.org"), Answer::Names(vec!["mx.example".into()]));
    for (name, address) in ADDRESSES {
        known.learn(Question::a(name), Answer::Addresses(vec![IpAddr::from(address)]));
    }
    let request =
        spf::Request { ip, helo: "helo.example", sender: "a@example.org", receiver: "mx.here.example", now: 0 };
    loop {
        match spf::check_mail_from(&known, &request) {
            Ok(verdict) => return verdict.outcome.as_str().to_owned(),
            Err(_) => {
                for question in known.take_wanted() {
                    known.learn(question, Answer::NotFound(Missing::Name));
                }
            }
        }
    }
}

fn their_spf(authenticator: &MessageAuthenticator, record: &str, ip: IpAddr) -> String {
    let parsed = |text: &str| match Spf::parse(text.as_bytes()) {
        Ok(found) => Txt::Spf(Arc::new(found)),
        Err(error) => Txt::Error(error),
    };
    let texts = table([
        (fqdn("example.org"), parsed(record)),
        (fqdn("one.example"), parsed(ONE)),
        (fqdn("two.example"), parsed(TWO)),
    ]);
    let set = |address: [u8; 4]| RecordSet {
        rrset: Arc::from([Ipv4Addr::from(address)]),
        dnssec_status: DnssecStatus::default(),
    };
    let addresses = table(ADDRESSES.map(|(name, address)| (fqdn(name), set(address))));
    let exchange = MX { exchanges: Box::from([Box::from("mx.example.")]), preference: 10 };
    let hosts = RecordSet { rrset: Arc::from([exchange]), dnssec_status: DnssecStatus::default() };
    let hosts = table([(fqdn("example.org"), hosts)]);
    let asked = SpfParameters::verify_mail_from(ip, "helo.example", "mx.here.example", "a@example.org");
    let asked = Parameters::new(asked).with_txt_cache(&texts).with_ipv4_cache(&addresses).with_mx_cache(&hosts);
    format!("{:?}", ready(authenticator.check_host(asked)).result()).to_lowercase()
}

/// Records in which the two differ, with what each says, the clients together.
fn spf_differences() -> BTreeMap<String, String> {
    let authenticator = MessageAuthenticator::new_google().expect("a resolver that is never used");
    let mut found = BTreeMap::new();
    let all = TERMS.iter().flat_map(|one| TERMS.iter().map(move |two| [*one, *two]));
    for pair in all.flat_map(|[one, two]| ["-all", "?all", "bogus", ""].map(|last| [one, two, last])) {
        let terms: Vec<&str> = pair.into_iter().filter(|term| !term.is_empty()).collect();
        let record = ["v=spf1", &terms.join(" ")].join(" ").trim_end().to_owned();
        for client in CLIENTS.map(IpAddr::from) {
            let (ours, theirs) = (our_spf(&record, client), their_spf(&authenticator, &record, client));
            if ours != theirs {
                found.insert(record.clone(), format!("{ours}/{theirs}"));
            }
        }
    }
    found
}

const MAIL: &str =
    "From: a@example.org\r\nTo: b@example.net\r\nSubject: hello\r\n  there\r\n\r\nbody \r\n\tmore  text\r\n\r\n";

/// Whether each says that the signature holds.
fn verdicts(authenticator: &MessageAuthenticator, message: &[u8], record: &str) -> (bool, bool) {
    let header = Header::scan(message);
    let mut bodies = Bodies::default();
    let found = candidates(&header, message, &mut bodies);
    bodies.update(&message[header.body_start()..]);
    let mut known = Known::default();
    known.learn(Question::txt("s._domainkey.example.org"), Answer::Texts(vec![record.as_bytes().into()]));
    let digests = bodies.finish();
    let ours = found.first().is_some_and(|candidate| {
        dkim::verify(&known, candidate, &digests, 1_700_000_000_000)
            .is_ok_and(|verdict| verdict.outcome == dkim::Outcome::Pass)
    });
    let key = DomainKey::parse(record.as_bytes()).map_or_else(Txt::Error, |key| Txt::DomainKey(Arc::new(key)));
    let keys = table([(fqdn("s._domainkey.example.org"), key)]);
    let theirs = AuthenticatedMessage::parse(message).is_some_and(|parsed| {
        let asked = Parameters::new(&parsed).with_txt_cache(&keys);
        ready(authenticator.verify_dkim(asked)).first().is_some_and(|found| *found.result() == DkimResult::Pass)
    });
    (ours, theirs)
}

/// What is done to a signed message, and what to the record of its key.
const DAMAGES: [(&str, &str, &str); 17] = [
    ("nothing", "", ""),
    ("subject folded otherwise", "hello\r\n  there", "hello there"),
    ("subject with more blanks", "hello\r\n  there", "hello \t there"),
    ("subject changed", "Subject: hello", "Subject: Hello"),
    ("name in capitals", "Subject:", "SUBJECT:"),
    ("blank before the colon", "Subject:", "Subject :"),
    ("body with other blanks", "more  text", "more text"),
    ("body without last line", "text\r\n\r\n", "text\r\n"),
    ("body with more lines", "text\r\n\r\n", "text\r\n\r\nx\r\n"),
    ("second From", "From: a@", "From: x@example.net\r\nFrom: a@"),
    ("second Subject", "Subject:", "Subject: x\r\nSubject:"),
    ("unsigned field", "Subject:", "X-Other: x\r\nSubject:"),
    ("other algorithm", "-sha256", "-sha1"),
    ("other version", "v=1;", "v=2;"),
    ("other domain", "d=example.org", "d=example.net"),
    ("a tag twice", "v=1;", "v=1; v=1;"),
    ("signature cut", "b=", "b=A"),
];
const RECORDS: [(&str, &str, &str); 5] = [
    ("", "", ""),
    ("revoked", "p=", "p=; x="),
    ("other version", "DKIM1", "DKIM2"),
    ("no version", "v=DKIM1; ", ""),
    ("other service", "v=DKIM1;", "v=DKIM1; s=other;"),
];

fn dkim_differences() -> BTreeMap<String, String> {
    let authenticator = MessageAuthenticator::new_google().expect("a resolver that is never used");
    let mut found = BTreeMap::new();
    for kind in [Kind::Rsa2048, Kind::Ed25519] {
        let (key, _) = SigningKey::generate(kind).expect("a key");
        let record = key.record();
        let mut signer = Signer::new(key, "example.org", "s").expect("a signer");
        for (header_form, body_form) in
            [(Form::Simple, Form::Simple), (Form::Relaxed, Form::Relaxed), (Form::Simple, Form::Relaxed)]
        {
            (signer.header_form, signer.body_form) = (header_form, body_form);
            let header = Header::scan(MAIL.as_bytes());
            let body = body_digest(&MAIL.as_bytes()[header.body_start()..], body_form);
            let field = signer.sign(&header, MAIL.as_bytes(), &body, 1_600_000_000_000).expect("a signature");
            let signed = String::from_utf8(field).expect("ASCII") + MAIL;
            assert_eq!(verdicts(&authenticator, signed.as_bytes(), &record), (true, true));
            for (what, from, to) in DAMAGES {
                for (why, old, new) in RECORDS {
                    let (message, key) = (signed.replacen(from, to, 1), record.replacen(old, new, 1));
                    let (ours, theirs) = verdicts(&authenticator, message.as_bytes(), &key);
                    if ours != theirs {
                        let case = [what, why].join(" ").trim_end().to_owned();
                        found.insert(case, format!("{}/{}", word(ours), word(theirs)));
                    }
                }
            }
        }
    }
    found
}

fn word(holds: bool) -> &'static str {
    if holds { "pass" } else { "fail" }
}

/// Every difference is explained by a row of its kind whose words stand in the case, and every row explains one.
fn assert_listed(kind: &str, found: &BTreeMap<String, String>) {
    let lines = include_str!("oracle/differences.tsv").lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let rows: Vec<_> = lines.filter(|row| row[0] == kind).collect();
    for row in &rows {
        assert!(row.len() == 4 && !row[3].is_empty(), "{row:?} is listed without a reason");
        assert!(found.iter().any(|difference| explains(row, difference)), "{row:?} is listed and gone");
    }
    let other: Vec<_> = found.iter().filter(|one| !rows.iter().any(|row| explains(row, *one))).collect();
    assert!(other.is_empty(), "{other:#?}");
}

/// The columns: kind, words of the case, ours.
fn explains(row: &[&str], (case, said): (&String, &String)) -> bool {
    case.contains(row[1]) && said.starts_with(row[2])
}

#[test]
fn spf_as_mail_auth_has_it() {
    assert_listed("spf", &spf_differences());
}

#[test]
fn dkim_as_mail_auth_has_it() {
    assert_listed("dkim", &dkim_differences());
}
