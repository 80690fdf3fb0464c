//! How fast a message is signed beside the raw signing rate of aws-lc-rs, and what judging one costs when DNS is known.
//! The benches run it (`benches/crates.py`).
//!
//! Prints a line for each figure: case, figure, value, noise, detail, with tabs between. Ours and the other take turns
//! in one run; figures are medians, the noise is the spread of the middle half.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use angarium_auth::canon::Form;
use angarium_auth::dkim::{Signer, body_digest};
use angarium_auth::inspection::{Judge, Session, Step};
use angarium_auth::key::{Kind, SigningKey};
use angarium_auth::{Answer, Missing, Question};
use angarium_message::Header;
use aws_lc_rs::digest::{SHA256, digest};

const ROUNDS: usize = 41;
const NOW: u64 = 1_795_594_600_000;

fn message() -> Vec<u8> {
    let header = "Received: from client.example.org (client.example.org [198.51.100.7]) by mail.example.org with ESMTPSA\r\n\
        \tid 4XyZ1aBcD; Wed, 25 Nov 2026 08:16:38 +0000\r\n\
        From: A Sender <sender@example.org>\r\nTo: Someone Else <someone@example.com>\r\n\
        Subject: A subject of the usual length for a mail\r\nDate: Wed, 25 Nov 2026 08:16:38 +0000\r\n\
        Message-ID: <20261125081638.1234@client.example.org>\r\nUser-Agent: Mail 1.0\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\n";
    let mut mail = header.as_bytes().to_vec();
    while mail.len() < 4096 {
        mail.extend_from_slice(b"The quick brown fox jumps over the lazy dog, and then it goes home.\r\n");
    }
    mail
}

fn texts(text: &str) -> Answer {
    Answer::Texts(vec![text.as_bytes().into()])
}

/// What a warm cache knows: one include of SPF, the key, the policy, the name of the client.
fn cache(record: &str) -> HashMap<Question, Answer> {
    HashMap::from([
        (Question::txt("example.org"), texts("v=spf1 mx include:_spf.example.org -all")),
        (Question::txt("_spf.example.org"), texts("v=spf1 ip4:203.0.113.0/24 ip4:192.0.2.0/24 ~all")),
        (Question::mx("example.org"), Answer::Names(vec!["mx.example.org".into()])),
        (Question::a("mx.example.org"), Answer::Addresses(vec!["198.51.100.25".parse().expect("an address")])),
        (Question::txt("mail.example.org"), texts("v=spf1 a -all")),
        (Question::a("mail.example.org"), Answer::Addresses(vec!["192.0.2.1".parse().expect("an address")])),
        (Question::txt("s1._domainkey.example.org"), texts(record)),
        (Question::txt("_dmarc.example.org"), texts("v=DMARC1; p=reject; rua=mailto:dmarc@example.org")),
        (Question::Ptr("192.0.2.1".parse().expect("an address")), Answer::Names(vec!["mail.example.org".into()])),
    ])
}

fn judge(message: &[u8], known: &HashMap<Question, Answer>) -> bool {
    let session = Session {
        ip: "192.0.2.1".parse().ok(),
        helo: "mail.example.org".into(),
        sender: "sender@example.org".into(),
        receiver: "mx.example.com".into(),
        now: NOW,
    };
    let mut judge = Judge::new(message, session);
    loop {
        match judge.step() {
            Step::Ask(questions) => {
                for question in questions {
                    let answer = known.get(&question).cloned().unwrap_or(Answer::NotFound(Missing::Name));
                    judge.answer(question, answer);
                }
            }
            Step::Done(report) => return report.dmarc.outcome == angarium_auth::dmarc::Outcome::Pass,
        }
    }
}

/// Microseconds of CPU for one call, as the mean over `calls`. One thread that does nothing but this: its wall clock
/// is its CPU where nobody else takes the core, and the median leaves the rounds out where somebody did.
fn timed<T>(calls: usize, run: &mut impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        black_box(run());
    }
    begun.elapsed().as_nanos() as f64 / 1e3 / calls as f64
}

/// Median, and the spread of the middle half as its share.
fn median(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let middle = values[values.len() / 2];
    (middle, (values[values.len() * 3 / 4] - values[values.len() / 4]) / middle)
}

fn main() {
    let calls = if std::env::args().any(|argument| argument == "--brief") { 1 } else { 25 };
    let mail = message();
    let (key, pem) = SigningKey::generate(Kind::Rsa2048).expect("a key");
    let record = key.record();
    let raw = SigningKey::parse(pem.as_bytes()).expect("the same key");
    let signer = Signer::new(key, "example.org", "s1").expect("a signer");
    let hash = digest(&SHA256, &mail);
    let mut sign = || {
        let header = Header::scan(&mail);
        let body = body_digest(&mail[header.body_start()..], Form::Relaxed);
        signer.sign(&header, &mail, &body, NOW).expect("a signature")
    };
    let signed = [sign(), mail.clone()].concat();
    let mut raw_sign = || raw.sign(&hash).expect("a signature");
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (timed(calls, &mut sign), timed(calls, &mut raw_sign))).collect();
    let (share, noise) = median(rounds.iter().map(|(ours, raw)| raw / ours).collect());
    let (ours, _) = median(rounds.iter().map(|round| round.0).collect());
    let (theirs, _) = median(rounds.iter().map(|round| round.1).collect());
    let detail = format!("{ours:.1} µs; {theirs:.1} µs");
    println!("DKIM rsa-2048 signature, 4 KiB\tshare of raw aws-lc-rs\t{share}\t{noise}\t{detail}");

    let known = cache(&record);
    assert!(judge(&signed, &known), "the message passes");
    let (cost, noise) = median((0..ROUNDS).map(|_| timed(calls, &mut || judge(&signed, &known))).collect());
    println!("SPF, DKIM, DMARC of a warm message, 4 KiB\tµs CPU\t{cost}\t{noise}\tone rsa-2048 signature, iprev too");
}
