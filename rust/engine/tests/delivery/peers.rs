//! Peers that misbehave, one row each: what became of the entries, whether an attempt was counted, who slept.
use crate::house::{House, plan, quick};
use std::sync::Arc;

use crate::peer::{self, Offers};
use crate::tls::Authority;
use angarium_ledger::{Plan, Protocol, SignedEightBit};
use angarium_nouns::envelope::BodyType;
use angarium_nouns::outcome::Outcome;
use angarium_nouns::record::{ContentHead, Recipient, Settled, Slept};
use rustls::ServerConfig;

const BODY: &[u8] = b"Subject: hello\r\n\r\n.dot\r\nlast\r\n";

/// One row. `messages` gives the number of recipients of each.
struct Case {
    name: &'static str,
    offers: Offers,
    /// Sessions of each host.
    hosts: &'static [&'static [&'static str]],
    messages: &'static [usize],
    /// `message.recipient outcome/reason`, `!` for may-repeat; in any order. Each is one counted attempt.
    settled: &'static [&'static str],
    /// Reasons of the lane's sleeps.
    slept: &'static [&'static str],
}

macro_rules! cases {
    ($($name:literal $offers:ident $hosts:expr, $messages:expr => $settled:expr, $slept:expr;)+) => {
        &[$(Case { name: $name, offers: Offers::$offers, hosts: &$hosts, messages: &$messages, settled: &$settled, slept: &$slept }),+]
    };
}

#[rustfmt::skip]
static CASES: &[Case] = cases! {
    // Before a transaction: no entry is touched, the lane sleeps once.
    "a good one" Everything [&["220 sink"]], [1] => ["0.0 delivered/done"], [];
    "accepts and never speaks" Everything [&["hang"]], [2] => [], ["timeout"];
    "greets and falls silent" Everything [&["220 hang"]], [1] => [], ["timeout"];
    "closes at once" Everything [&["close"]], [1] => [], ["connect"];
    "resets at once" Everything [&["reset"]], [1] => [], ["connect"];
    "speaks no SMTP" Everything [&["junk"]], [1] => [], ["protocol"];
    "421 instead of a greeting" Everything [&["421"]], [1, 1, 1] => [], ["throttle"];
    "554 instead of a greeting" Everything [&["554"]], [1] => [], ["policy"];
    "421 to EHLO" Everything [&["220 ehlo 421"]], [1] => [], ["throttle"];
    "451 to EHLO" Everything [&["220 ehlo 451"]], [1] => [], ["connect"];
    "drips its greeting" Everything [&["drip"]], [1] => [], ["timeout"];
    "knows no EHLO" Old [&["220 sink"]], [2, 1] => ["0.0 delivered/done", "0.1 delivered/done", "1.0 delivered/done"], [];

    // Answers to a transaction.
    "MAIL refused, the next one goes on" Everything [&["220 !ehlo mail 550 rcpt 503 data 503 sink"]], [1, 1]
        => ["0.0 failed/other", "1.0 delivered/done"], [];
    "MAIL refused, step by step" NoPipelining [&["220 !ehlo mail 550 sink"]], [1, 1]
        => ["0.0 failed/other", "1.0 delivered/done"], [];
    "MAIL deferred by a greylist" Everything [&["220 !ehlo mail 451_4.7.1_greylisted rcpt 503 data 503 sink"]], [1]
        => ["0.0 deferred/greylist"], [];
    "the middle recipient refused" Everything [&["220 !ehlo !mail !rcpt rcpt 550_5.1.1 !rcpt !data dot 250 sink"]], [3]
        => ["0.0 delivered/done", "0.1 failed/no-such-recipient", "0.2 delivered/done"], [];
    "the middle recipient refused, step by step" NoPipelining [&["220 !ehlo !mail !rcpt rcpt 550_5.1.1 !rcpt !data dot 250 sink"]], [3]
        => ["0.0 delivered/done", "0.1 failed/no-such-recipient", "0.2 delivered/done"], [];
    "all recipients refused, DATA refused" Everything [&["220 !ehlo !mail rcpt 550_5.1.1 rcpt 450 data 503 rset 250 sink"]], [2, 1]
        => ["0.0 failed/no-such-recipient", "0.1 deferred/other", "1.0 delivered/done"], [];
    "all recipients refused, DATA taken, lone dot refused" Everything [&["220 !ehlo !mail rcpt 550_5.1.1 !data dot 554 sink"]], [1, 1]
        => ["0.0 failed/no-such-recipient", "1.0 delivered/done"], [];
    "all recipients refused, lone dot taken" Everything [&["220 !ehlo !mail rcpt 550_5.1.1 !data dot 250 sink"]], [1, 1]
        => ["0.0 failed/no-such-recipient", "1.0 delivered/done"], [];
    "all recipients refused, step by step" NoPipelining [&["220 !ehlo !mail rcpt 550_5.1.1 rset 250 sink"]], [1, 1]
        => ["0.0 failed/no-such-recipient", "1.0 delivered/done"], [];
    "DATA deferred" Everything [&["220 !ehlo !mail !rcpt data 451 rset 250 sink"]], [1, 1]
        => ["0.0 deferred/other", "1.0 delivered/done"], [];
    "the dot refused, the next one was behind it" Everything [&["220 !ehlo !mail !rcpt !data dot 554 sink"]], [1, 1]
        => ["0.0 failed/policy", "1.0 delivered/done"], [];
    "the dot deferred" Everything [&["220 !ehlo !mail !rcpt !data dot 451 sink"]], [1, 1]
        => ["0.0 deferred/other", "1.0 delivered/done"], [];
    "the content is too large for it" Everything [&["220 !ehlo !mail !rcpt !data dot 552 sink"]], [1] => ["0.0 failed/too-large"], [];
    "too many recipients: the rest comes again" Everything [&["220 !ehlo !mail !rcpt rcpt 452_4.5.3 rcpt 452_4.5.3 !data dot 250 sink"]], [3]
        => ["0.0 delivered/done", "0.1 delivered/done", "0.2 delivered/done"], [];
    "too many from the first on" Everything [&["220 !ehlo !mail rcpt 452_4.5.3 data 503 sink"]], [1]
        => ["0.0 deferred/too-many-recipients"], [];

    // The connection fails in the middle. Unanswered envelopes come back with no attempt counted.
    "closes behind the first of two" Everything [&["220 !ehlo !mail !rcpt !data dot 250 close", "220 sink"]], [1, 1]
        => ["0.0 delivered/done", "1.0 delivered/done"], [];
    "closes in the second envelope" Everything [&["220 !ehlo !mail !rcpt !data dot 250 !mail close", "220 sink"]], [1, 1]
        => ["0.0 delivered/done", "1.0 delivered/done"], [];
    "421 behind the first of two" Everything [&["220 !ehlo !mail !rcpt !data dot 250 421 close", "220 sink"]], [1, 1]
        => ["0.0 delivered/done", "1.0 delivered/done"], [];
    "421 to the second MAIL" Everything [&["220 !ehlo !mail !rcpt !data dot 250 mail 421 close", "220 sink"]], [1, 1]
        => ["0.0 delivered/done", "1.0 delivered/done"], [];
    "closes behind MAIL, the only host" Everything [&["220 !ehlo !mail close"]], [1] => ["0.0 deferred/connect"], ["connect"];
    "resets behind RCPT, the only host" Everything [&["220 !ehlo !mail !rcpt reset"]], [1] => ["0.0 deferred/connect"], ["connect"];
    "silent behind MAIL, the only host" Everything [&["220 !ehlo mail hang"]], [1] => ["0.0 deferred/timeout"], ["timeout"];
    "drips the answer to RCPT" Everything [&["220 !ehlo !mail rcpt drip"]], [1] => ["0.0 deferred/timeout"], ["timeout"];
    "answers MAIL with 354" Everything [&["220 !ehlo mail 354"]], [1] => ["0.0 deferred/protocol"], ["protocol"];
    "answers DATA with 250" Everything [&["220 !ehlo !mail !rcpt data 250"]], [1] => ["0.0 deferred/protocol"], ["protocol"];
    "junk behind RCPT" Everything [&["220 !ehlo !mail !rcpt junk"]], [1] => ["0.0 deferred/protocol"], ["protocol"];
    "421 to MAIL, the only host" Everything [&["220 !ehlo mail 421 close"]], [1] => ["0.0 deferred/throttle"], ["throttle"];
    "421 to the second RCPT" Everything [&["220 !ehlo !mail rcpt 550_5.1.1 rcpt 421 close"]], [2]
        => ["0.0 failed/no-such-recipient", "0.1 deferred/throttle"], ["throttle"];
    "421 to DATA" Everything [&["220 !ehlo !mail !rcpt data 421 close"]], [1] => ["0.0 deferred/throttle"], ["throttle"];
    "421 to the dot is an attempt, and the lane sleeps" Everything [&["220 !ehlo !mail !rcpt !data dot 421 close"]], [1, 1]
        => ["0.0 deferred/throttle"], ["throttle"];

    // Behind the dot: perhaps delivered.
    "takes the dot and closes" Everything [&["220 !ehlo !mail !rcpt !data dot close"]], [1] => ["0.0 deferred/uncertain!"], ["connect"];
    "takes the dot and resets" Everything [&["220 !ehlo !mail !rcpt !data dot reset"]], [1] => ["0.0 deferred/uncertain!"], ["connect"];
    "takes the dot and is silent" Everything [&["220 !ehlo !mail !rcpt !data dot hang"]], [1] => ["0.0 deferred/uncertain!"], ["timeout"];
    "takes the dot and drips" Everything [&["220 !ehlo !mail !rcpt !data dot drip"]], [1] => ["0.0 deferred/uncertain!"], ["timeout"];
    "takes two messages' dots, answers one" Everything [&["220 !ehlo !mail !rcpt !data dot 250 !mail !rcpt !data dot close"]], [1, 1]
        => ["0.0 delivered/done", "1.0 deferred/uncertain!"], [];
    "one recipient refused, then uncertain" Everything [&["220 !ehlo !mail !rcpt rcpt 550_5.1.1 !data dot close"]], [2]
        => ["0.0 deferred/uncertain!", "0.1 failed/no-such-recipient"], ["connect"];

    // The next host.
    "the first host says 421" Everything [&["421"], &["220 sink"]], [1] => ["0.0 delivered/done"], [];
    "the first host is silent" Everything [&["hang"], &["220 sink"]], [1] => ["0.0 delivered/done"], [];
    "the first host breaks every envelope" Everything [&["220 !ehlo !mail close"], &["220 sink"]], [1] => ["0.0 delivered/done"], [];
    "the first host says 421 to MAIL" Everything [&["220 !ehlo mail 421 close"], &["220 sink"]], [1] => ["0.0 delivered/done"], [];
    "a 5xx to RCPT does not go to the next host" Everything [&["220 !ehlo !mail rcpt 550_5.1.1 data 503 sink"], &["220 sink"]], [1]
        => ["0.0 failed/no-such-recipient"], [];
    "both hosts fail: one sleep" Everything [&["421"], &["220 ehlo 421"]], [3] => [], ["throttle"];
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers() {
    play_all(false).await;
}

/// The same under TLS from the first byte: nothing of it may read differently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_under_tls() {
    play_all(true).await;
}

async fn play_all(under_tls: bool) {
    let server = under_tls.then(|| Authority::new().issue(&["mx.example"]).server());
    let mut running = tokio::task::JoinSet::new();
    for case in CASES {
        running.spawn(play(case, server.clone()));
    }
    let mut failures = Vec::new();
    while let Some(done) = running.join_next().await {
        failures.extend(done.unwrap());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Plays one case; gives what was wrong.
async fn play(case: &'static Case, server: Option<Arc<ServerConfig>>) -> Option<String> {
    let (mut ports, mut seen) = (Vec::new(), Vec::new());
    let implicit_tls = server.is_some();
    for sessions in case.hosts {
        let sessions: Vec<_> =
            sessions.iter().map(|words| if implicit_tls { format!("tls {words}") } else { (*words).into() }).collect();
        let sessions: Vec<_> = sessions.iter().map(String::as_str).collect();
        let peer = peer::start_with(&sessions, case.offers, server.clone()).await;
        ports.push(peer.port);
        seen.push(peer.seen);
    }
    let plan = Plan { implicit_tls, ..plan(&ports) };
    let mut house = House::open(Protocol::Smtp, plan, quick());
    let ids = house.submit_all(case.messages.iter().map(|&count| message(count)).collect());
    let (settled, slept) = house.wait(case.settled.len(), case.slept.len()).await;
    let number = |fact: &Settled| ids.iter().position(|id| *id == fact.id).unwrap();
    let mut got: Vec<_> =
        settled.iter().map(|fact| format!("{}.{} {}", number(fact), fact.number, words(fact))).collect();
    got.sort();
    let reasons: Vec<_> = slept.iter().map(|fact: &Slept| fact.reason.name()).collect();
    house.stop().await;
    let taken: usize =
        seen.iter().map(|seen| seen.taken.lock().iter().map(|one| one.recipients.len()).sum::<usize>()).sum();
    let delivered = settled.iter().filter(|fact| fact.outcome == Outcome::Delivered).count();
    let right = got == case.settled && reasons == case.slept && taken >= delivered;
    (!right).then(|| format!("{}: settled {got:?}, slept {reasons:?}, peer took {taken}", case.name))
}

fn message(recipients: usize) -> (ContentHead, Vec<Recipient>, Vec<u8>) {
    let to = |n| Recipient { address: format!("r{n}@there.example"), ..Recipient::default() };
    let head = ContentHead { sender: "from@here.example".into(), ..ContentHead::default() };
    (head, (0..recipients).map(to).collect(), BODY.to_vec())
}

fn words(fact: &Settled) -> String {
    let outcome = ["delivered", "deferred", "failed"][fact.outcome as usize];
    let repeat = if fact.may_repeat { "!" } else { "" };
    let attempts = if fact.attempts == 1 { String::new() } else { format!(" after {} attempts", fact.attempts) };
    format!("{outcome}/{}{repeat}{attempts}", fact.reason.name())
}

/// Name, what the peer offers, the message's head, recipient and body; what becomes of it.
type Need = (&'static str, Offers, ContentHead, &'static str, &'static [u8], &'static str);

/// What a message needs and a peer lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs() {
    let eight = || ContentHead { body_type: BodyType::EightBitMime, ..ContentHead::default() };
    let utf8 = || ContentHead { smtputf8: true, ..ContentHead::default() };
    let require_tls = || ContentHead { tls_demand: 3, ..ContentHead::default() };
    let none = ContentHead::default;
    #[rustfmt::skip]
    let cases: [Need; 13] = [
        ("too large for SIZE", Offers::Small, none(), "r@x.example", &[b'a'; 200], "failed/too-large 552"),
        ("fits SIZE", Offers::Small, none(), "r@x.example", b"a\r\n", "delivered/done 250"),
        ("8 bits, no 8BITMIME", Offers::OnlyPipelining, eight(), "r@x.example", b"A: b\r\n\r\n\xe4\r\n", "delivered/done 250"),
        ("8 bits in the header", Offers::OnlyPipelining, eight(), "r@x.example", b"A: \xe4\r\n\r\n\xe4\r\n", "failed/conversion 554"),
        ("8 bits signed", Offers::OnlyPipelining, eight(), "r@x.example", b"DKIM-Signature: b\r\n\r\n\xe4\r\n", "failed/conversion 554"),
        ("8 bits declared, 7 held", Offers::OnlyPipelining, eight(), "r@x.example", b"a\r\n", "delivered/done 250"),
        ("8 bits, 8BITMIME", Offers::Everything, eight(), "r@x.example", b"\xe4\r\n", "delivered/done 250"),
        ("SMTPUTF8 asked for in vain", Offers::NoPipelining, utf8(), "r@x.example", b"A: b\r\n\r\na\r\n", "delivered/done 250"),
        ("SMTPUTF8 asked for a header", Offers::NoPipelining, utf8(), "r@x.example", b"A: \xc3\xa4\r\n\r\na\r\n", "failed/conversion 553"),
        ("SMTPUTF8 for the body alone", Offers::NoPipelining, utf8(), "r@x.example", b"A: b\r\n\r\n\xc3\xa4\r\n", "delivered/done 250"),
        ("an address beyond ASCII", Offers::OnlyPipelining, none(), "ä@x.example", b"a\r\n", "failed/conversion 553"),
        ("SMTPUTF8 offered", Offers::Everything, utf8(), "ä@x.example", b"a\r\n", "delivered/done 250"),
        ("REQUIRETLS, not offered in the clear", Offers::Everything, require_tls(), "r@x.example", b"a\r\n", "slept"),
    ];
    for (name, offers, head, to, body, want) in cases {
        let peer = peer::start(&["220 sink"], offers).await;
        let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), quick());
        house.submit_head(ContentHead { sender: "a@b.example".into(), ..head }, &[to], body);
        let sleeps = want == "slept";
        let (settled, _) = house.wait(usize::from(!sleeps), usize::from(sleeps)).await;
        let got = settled.first().map_or("slept".into(), |fact| format!("{} {}", words(fact), fact.code));
        assert_eq!(got, want, "{name}");
        house.stop().await;
    }
}

/// Signed content that the peer cannot take goes as it is where the site says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_content_goes_as_it_is_where_the_site_says_so() {
    let body = "DKIM-Signature: b\r\n\r\nä\r\n";
    let peer = peer::start(&["220 sink"], Offers::OnlyPipelining).await;
    let plan = Plan { signed_eight_bit: SignedEightBit::Send, ..plan(&[peer.port]) };
    let mut house = House::open(Protocol::Smtp, plan, quick());
    let head = ContentHead { body_type: BodyType::EightBitMime, ..ContentHead::default() };
    house.submit_head(ContentHead { sender: "a@b.example".into(), ..head }, &["r@x.example"], body.as_bytes());
    let (settled, _) = house.wait(1, 0).await;
    assert_eq!(words(&settled[0]), "delivered/done");
    assert_eq!(peer.seen.taken.lock()[0].body, body);
    house.stop().await;
}

/// Refusals in the middle of a large body, and a peer that stops reading in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_that_are_not_taken() {
    let body = "a line of a body that is large\r\n".repeat(500_000);
    for (script, want) in [
        ("220 !ehlo !mail !rcpt data 354 552 close", "failed/too-large"),
        ("220 !ehlo !mail !rcpt data 354 552 dot sink", "failed/too-large"),
        ("220 !ehlo !mail !rcpt data 354 421 close", "deferred/throttle"),
        // More than the kernel holds for us stays unsent, so nothing is uncertain.
        ("220 !ehlo !mail !rcpt data 354 hang", "deferred/timeout"),
    ] {
        let peer = peer::start(&[script], Offers::Everything).await;
        let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), quick());
        let to = Recipient { address: "r@x.example".into(), ..Recipient::default() };
        house.submit_file(&[to], ContentHead::default(), body.as_bytes());
        let (settled, _) = house.wait(1, 0).await;
        assert_eq!(words(&settled[0]), want, "{script}");
        house.stop().await;
    }
}

/// Many messages over a few connections arrive byte by byte as they were, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once_and_whole() {
    const MESSAGES: usize = 500;
    for offers in [Offers::Everything, Offers::NoPipelining] {
        let peer = peer::start(&["220 sink"], offers).await;
        let plan = Plan { connections: 4, messages_per_connection: 50, ..plan(&[peer.port]) };
        let mut house = House::open(Protocol::Smtp, plan, quick());
        let body = |n: usize| format!("Subject: {n}\r\n\r\n..{}\r\n.\r\n..\r\nend", "x\r\n.y\r\n".repeat(n % 70));
        let head = || ContentHead { sender: "s@b.example".into(), ..ContentHead::default() };
        let to = |n| vec![Recipient { address: format!("r{n}@x.example"), ..Recipient::default() }];
        house.submit_all((0..MESSAGES).map(|n| (head(), to(n), body(n).into_bytes())).collect());
        house.wait(MESSAGES, 0).await;
        house.stop().await;
        let mut taken = peer.seen.taken.lock().clone();
        taken.sort_by_key(|one| one.recipients[0][1..].split('@').next().unwrap().parse::<usize>().unwrap());
        assert_eq!(taken.len(), MESSAGES);
        for (n, one) in taken.iter().enumerate() {
            assert_eq!((one.sender.as_str(), one.body.as_str()), ("s@b.example", format!("{}\r\n", body(n)).as_str()));
        }
        assert!(*peer.seen.connections.lock() >= MESSAGES / 50, "messages_per_connection holds");
    }
}
