//! Logging in at a smarthost: what is said, what is never said, and what a refusal does.
use crate::house::{House, plan, quick};
use crate::peer::{self, Offers};
use angarium_engine::delivery::rules;
use angarium_ledger::{Plan, PlanLogin, Protocol};

const BODY: &[u8] = b"Subject: hello\r\n\r\nline\r\n";

/// Name; mechanisms; allowed in the clear; the peer's session; what the peer heard of the login, and the rule by which
/// the lane sleeps (0: it was delivered).
type Case = (&'static str, &'static [&'static str], bool, &'static str, &'static [&'static str], u16);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("PLAIN", &["PLAIN"], true, "220 !ehlo auth 235 sink", &["AUTH PLAIN AHVzAHNlY3JldA=="], 0),
    ("LOGIN", &["LOGIN"], true, "220 !ehlo auth 334 dxm= 334 c2vj 235 sink", &["AUTH LOGIN", "dXM=", "c2VjcmV0"], 0),
    ("no secret in the clear", &["PLAIN", "LOGIN"], false, "220 !ehlo sink", &[], rules::LOGIN),
    ("refused", &["PLAIN"], true, "220 !ehlo auth 535 sink", &["AUTH PLAIN AHVzAHNlY3JldA=="], rules::LOGIN),
    ("the next mechanism", &["PLAIN", "LOGIN"], true, "220 !ehlo auth 504 auth 334 dxm= 334 c2vj 235 sink",
        &["AUTH PLAIN AHVzAHNlY3JldA==", "AUTH LOGIN", "dXM=", "c2VjcmV0"], 0),
    ("a mechanism that is not offered", &["CRAM-MD5"], true, "220 !ehlo sink", &[], rules::LOGIN),
    ("a server that does not know the secret", &["SCRAM-SHA-256"], false, "220 !ehlo auth 235 sink", &["AUTH SCRAM-SHA-256 .."], rules::LOGIN),
    ("a challenge that is none", &["SCRAM-SHA-256"], false, "220 !ehlo auth 334 * 501 sink", &["AUTH SCRAM-SHA-256 ..", "*"], rules::LOGIN),
    ("421 in the exchange", &["LOGIN"], true, "220 !ehlo auth 421 close", &["AUTH LOGIN"], 101),
    ("closes in the exchange", &["LOGIN"], true, "220 !ehlo auth 334 close", &["AUTH LOGIN"], rules::BROKEN),
    ("challenges without end", &["LOGIN"], true, "220 !ehlo auth 334 dxm= 334 c2vj 334 * 501 sink",
        &["AUTH LOGIN", "dXM=", "c2VjcmV0", "*"], rules::LOGIN),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins() {
    for &(name, mechanisms, in_the_clear, session, heard, rule) in CASES {
        let peer = peer::start(&[session], Offers::Login).await;
        let login = PlanLogin {
            user: "us".into(),
            secret: "secret".into(),
            mechanisms: mechanisms.iter().map(ToString::to_string).collect(),
            in_the_clear,
            ..PlanLogin::default()
        };
        let mut house = House::open(Protocol::Smtp, Plan { login: Some(login), ..plan(&[peer.port]) }, quick());
        house.submit("s@b.example", &["r@x.example"], BODY);
        let (settled, slept) = house.wait(usize::from(rule == 0), usize::from(rule != 0)).await;
        assert_eq!(
            (settled.len(), slept.first().map_or(0, |fact| fact.rule)),
            (usize::from(rule == 0), rule),
            "{name}"
        );
        house.stop().await;
        let said = peer.seen.lines.lock().clone();
        let quiet = |line: &&String| !["EHLO", "MAIL", "RCPT", "DATA", "QUIT"].contains(&&line[..line.len().min(4)]);
        let told: Vec<_> = said.iter().filter(quiet).map(|line| shortened(line)).collect();
        assert_eq!(told, heard, "{name}");
    }
}

/// A host without AUTH gets no mail that may go only with a login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_is_offered() {
    let peer = peer::start(&["220 sink"], Offers::Everything).await;
    let login = Some(PlanLogin { user: "us".into(), secret: "secret".into(), ..PlanLogin::default() });
    let mut house = House::open(Protocol::Smtp, Plan { login, ..plan(&[peer.port]) }, quick());
    house.submit("s@b.example", &["r@x.example"], BODY);
    let (settled, slept) = house.wait(0, 1).await;
    assert_eq!((settled.len(), slept[0].rule), (0, rules::LOGIN));
    house.stop().await;
}

/// A nonce is another one each time.
fn shortened(line: &str) -> String {
    let scram = line.strip_prefix("AUTH SCRAM-SHA-256 ").map(|_| "AUTH SCRAM-SHA-256 ..");
    scram.unwrap_or(line).to_owned()
}
