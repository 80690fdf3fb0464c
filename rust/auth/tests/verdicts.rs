//! Whole messages judged with a table for DNS: what a signature may and may not be, and what a policy asks for.

use std::collections::HashMap;
use std::net::IpAddr;

use angarium_auth::dkim::{Signer, body_digest};
use angarium_auth::inspection::{Judge, Report, Session, Step};
use angarium_auth::key::{Kind, SigningKey};
use angarium_auth::{Answer, Missing, Question, dkim, dmarc};
use angarium_message::Header;

const NOW: u64 = 1_795_594_600_000;
const DAY: u64 = 24 * 3600;

/// A message from `author`.
fn mail(author: &str) -> String {
    format!("From: {author}\r\nTo: b@example.net\r\nSubject: hello\r\n\r\nbody\r\n")
}

fn signer(domain: &str) -> Signer {
    let (key, _) = SigningKey::generate(Kind::Ed25519).expect("a key");
    Signer::new(key, domain, "s").expect("a signer")
}

fn signed(signer: &Signer, message: &str, at: u64) -> String {
    let header = Header::scan(message.as_bytes());
    let body = body_digest(&message.as_bytes()[header.body_start()..], signer.body_form);
    let field = signer.sign(&header, message.as_bytes(), &body, at).expect("a signature");
    String::from_utf8(field).expect("ASCII") + message
}

/// Judges with these TXT records; names in `there` have an address, all others do not exist.
fn judged(message: &str, records: &[(String, String)], there: &[&str]) -> Report {
    let known: HashMap<Question, Answer> = records
        .iter()
        .map(|(name, text)| (Question::txt(name), Answer::Texts(vec![text.as_bytes().into()])))
        .chain(there.iter().map(|name| (Question::a(name), Answer::Addresses(vec![IpAddr::from([192, 0, 2, 1])]))))
        .collect();
    let session = Session {
        ip: "203.0.113.1".parse().ok(),
        helo: "helo.example.net".into(),
        sender: String::new(),
        receiver: "mx.here.example".into(),
        now: NOW,
    };
    let mut judge = Judge::new(message.as_bytes(), session);
    loop {
        match judge.step() {
            Step::Done(report) => return *report,
            Step::Ask(questions) => {
                for question in questions {
                    let exists =
                        there.contains(&&*question.name()) || records.iter().any(|one| one.0 == question.name());
                    let none = Answer::NotFound(if exists { Missing::Record } else { Missing::Name });
                    let answer = known.get(&question).cloned().unwrap_or(none);
                    judge.answer(question, answer);
                }
            }
        }
    }
}

fn key_of(signer: &Signer) -> (String, String) {
    (format!("s._domainkey.{}", signer.domain), signer.key.record())
}

fn pair(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

/// What, the outcome, how the signer is changed, how many seconds ago it signed, what is changed in the record.
type Edit = (&'static str, dkim::Outcome, fn(&mut Signer), u64, (&'static str, &'static str));

#[test]
fn what_a_signature_may_not_be() {
    use dkim::Outcome::{Fail, Pass, PermError};
    let message = mail("a@example.org");
    let edits: [Edit; 10] = [
        ("plain", Pass, |_| (), 0, ("", "")),
        ("not expired", Pass, |signer| signer.lifetime = Some(2 * DAY), DAY, ("", "")),
        ("expired", Fail, |signer| signer.lifetime = Some(DAY / 2), DAY, ("", "")),
        ("From is not signed", PermError, |signer| signer.signed = vec!["To".into()], 0, ("", "")),
        ("identity within the domain", Pass, |signer| signer.identity = Some("x@mail.example.org".into()), 0, ("", "")),
        ("identity elsewhere", PermError, |signer| signer.identity = Some("x@example.com".into()), 0, ("", "")),
        (
            "identity below, t=s",
            PermError,
            |signer| signer.identity = Some("@mail.example.org".into()),
            0,
            ("k=", "t=s; k="),
        ),
        ("only for testing", Pass, |_| (), 0, ("k=", "t=y; k=")),
        ("key revoked", PermError, |_| (), 0, ("p=", "p=; x=")),
        ("key of another kind", PermError, |_| (), 0, ("k=ed25519", "k=rsa")),
    ];
    for (what, outcome, edit, ago, (from, to)) in edits {
        let mut signer = signer("example.org");
        edit(&mut signer);
        let (name, record) = key_of(&signer);
        let report = judged(&signed(&signer, &message, NOW - ago * 1000), &[(name, record.replacen(from, to, 1))], &[]);
        assert_eq!(report.dkim[0].outcome, outcome, "{what}: {:?}", report.dkim[0]);
    }
    let early = signer("example.org");
    let report = judged(&signed(&early, &message, NOW + 2 * DAY * 1000), &[key_of(&early)], &[]);
    assert_ne!(report.dkim[0].outcome, Pass, "signed in two days");
    assert!(judged(&message, &[], &[]).dkim.is_empty());
    assert_eq!(
        judged(&signed(&early, &message, NOW).replace("body", "Body"), &[key_of(&early)], &[]).dkim[0].outcome,
        Fail
    );
}

#[test]
fn each_of_several_signatures_has_its_own_verdict() {
    use dkim::Outcome::{Pass, PermError};
    let (one, two, three) = (signer("example.org"), signer("example.net"), signer("example.com"));
    let message = mail("a@example.org");
    let all = signed(&one, &message, NOW);
    let all = signed(&two, &all, NOW);
    let all = signed(&three, &all, NOW).replacen("d=example.com", "d=example.edu", 1);
    let report = judged(&all, &[key_of(&one), key_of(&two)], &[]);
    let verdicts: Vec<_> = report.dkim.iter().map(|one| (&*one.domain, one.outcome)).collect();
    assert_eq!(verdicts, [("example.edu", PermError), ("example.net", Pass), ("example.org", Pass)]);
}

/// Author, domain that signs, records, the outcome, what is asked to be done.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], dmarc::Outcome, &'static str);

#[test]
fn what_policies_ask_for() {
    use dmarc::Outcome::{Fail, None, Pass};
    const ORG: &str = "_dmarc.example.org";
    let cases: [Case; 16] = [
        ("a@example.org", "example.net", &[], None, "none"),
        ("a@example.org", "example.org", &[(ORG, "v=DMARC1; p=reject")], Pass, "none"),
        ("a@example.org", "example.net", &[(ORG, "v=DMARC1; p=reject")], Fail, "reject"),
        ("a@example.org", "example.net", &[(ORG, "v=DMARC1; p=none; sp=reject")], Fail, "none"),
        ("a@mail.example.org", "example.net", &[(ORG, "v=DMARC1; p=none; sp=quarantine")], Fail, "quarantine"),
        ("a@mail.example.org", "example.net", &[(ORG, "v=DMARC1; p=reject")], Fail, "reject"),
        ("a@gone.example.org", "example.net", &[(ORG, "v=DMARC1; p=none; sp=none; np=reject")], Fail, "reject"),
        ("a@gone.example.org", "example.net", &[(ORG, "v=DMARC1; p=none; sp=quarantine")], Fail, "quarantine"),
        ("a@example.org", "example.net", &[(ORG, "v=DMARC1; p=reject; t=y")], Fail, "quarantine"),
        ("a@example.org", "example.net", &[(ORG, "v=DMARC1; p=quarantine; t=y")], Fail, "none"),
        ("a@mail.example.org", "example.org", &[(ORG, "v=DMARC1; p=reject")], Pass, "none"),
        ("a@mail.example.org", "example.org", &[(ORG, "v=DMARC1; p=reject; adkim=s")], Fail, "reject"),
        ("a@mail.example.org", "mail.example.org", &[(ORG, "v=DMARC1; p=reject; adkim=s")], Pass, "none"),
        // A public suffix speaks for what has no record of its own, and nothing aligns with it.
        ("a@shop.bank", "bank", &[("_dmarc.bank", "v=DMARC1; p=reject; psd=y")], Fail, "reject"),
        ("a@www.shop.bank", "shop.bank", &[("_dmarc.bank", "v=DMARC1; p=reject; psd=y")], Pass, "none"),
        // `psd=n`: an organization of its own below another one.
        (
            "a@mail.example.org",
            "example.org",
            &[(ORG, "v=DMARC1; p=none"), ("_dmarc.mail.example.org", "v=DMARC1; p=reject; psd=n")],
            Fail,
            "reject",
        ),
    ];
    let there = ["example.org", "mail.example.org", "shop.bank", "www.shop.bank", "bank"];
    for (author, domain, records, outcome, disposition) in cases {
        let signer = signer(domain);
        let all: Vec<_> = records.iter().map(|(name, text)| pair(name, text)).chain([key_of(&signer)]).collect();
        let report = judged(&signed(&signer, &mail(author), NOW), &all, &there);
        assert_eq!(report.dkim[0].outcome, dkim::Outcome::Pass);
        let found = (report.dmarc.outcome, report.dmarc.disposition.as_str());
        assert_eq!(found, (outcome, disposition), "{author} signed by {domain}, {records:?}: {:#?}", report.dmarc);
    }
}
