//! TLS and logins over real sockets: what counts before and after a handshake, who may log in how, and what becomes of
//! octets that somebody puts in between.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{Read, Write};

use angarium_engine::asks::Ask;
use angarium_engine::event::Event;
use angarium_engine::policy::{
    ClientCertificates, Hook, Listener, LoginUse, Logins, Policy, Profile, SenderRule, TlsUse, TlsVersion,
};
use angarium_engine::tables::{Decision, Identity, Verdict};
use angarium_smtp::sasl::{ClientExchange, ClientLogin, Mechanism, Secret, StoredKeys};
use support::tls::{TlsClient, config, plain_config, rsa_alone};
use support::{House, find_in_spool, table};

fn listening(change: impl FnOnce(&mut Listener)) -> House {
    let mut listener = Listener::default();
    change(&mut listener);
    House::with(|policy: &mut Policy| {
        policy.listeners = vec![listener];
        policy.hooks.auth = Some(Hook::default());
        policy.logins = Logins { delay: 0, ..Logins::default() };
    })
    .certified()
}

fn submission() -> House {
    listening(|listener| listener.profile = Profile::Submission)
}

fn base64(text: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(text)
}

fn asked(house: &House) -> Box<Ask> {
    match house.event(|event| matches!(event, Event::Ask(_))) {
        Event::Ask(ask) => ask,
        _ => unreachable!("only that was looked for"),
    }
}

fn identity(login: &str) -> Verdict {
    Verdict { identity: Some(Identity { login: login.into(), ..Identity::default() }), ..Verdict::default() }
}

fn answer(house: &House, verdict: &Verdict) -> Box<Ask> {
    let ask = asked(house);
    assert!(house.engine.answer(ask.number, &table(verdict)).unwrap());
    ask
}

/// AUTH PLAIN, judged by this verdict.
fn log_in(house: &House, client: &mut TlsClient, login: &str, verdict: &Verdict) -> u16 {
    let response = base64(format!("\0{login}\0secret").as_bytes());
    client.send(format!("AUTH PLAIN {response}\r\n").as_bytes());
    answer(house, verdict);
    client.reply().0
}

#[test]
fn starttls_forgets_everything_and_shows_in_the_trace() {
    let house = listening(|_| {});
    let mut client = house.client();
    let offered = client.expect("EHLO client.example", 250);
    assert!(offered.contains("STARTTLS") && !offered.contains("REQUIRETLS"), "{offered}");
    client.expect("MAIL FROM:<a@b.example>", 250);
    client.expect("RSET", 250);
    client.expect("STARTTLS", 220);
    let mut client = client.secure(plain_config(), "mx.example").unwrap();
    client.expect("MAIL FROM:<a@b.example>", 503);
    let offered = client.expect("EHLO client.example", 250);
    assert!(!offered.contains("STARTTLS") && offered.contains("REQUIRETLS"), "{offered}");
    assert_eq!(client.try_deliver("user@there.example", "Subject: x\r\n\r\nsecret").0, 250);
    assert!(find_in_spool(&house, b"ESMTPS") && find_in_spool(&house, b"(TLSv1.3"));
    client.expect("QUIT", 221);
    assert_eq!(client.rest(), "");
    house.until("tls", 1);
}

#[test]
fn octets_behind_starttls_are_refused() {
    let house = listening(|_| {});
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.send(b"STARTTLS\r\nMAIL FROM:<evil@b.example>\r\n");
    assert_eq!(client.reply().0, 220);
    assert_eq!(client.reply().0 / 100, 5);
    assert_eq!(client.reply().0, 0);
    house.until("tls", 0);
}

#[test]
fn clear_octets_instead_of_a_handshake_end_the_session() {
    let house = listening(|_| {});
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.expect("STARTTLS", 220);
    client.send(b"EHLO again.example\r\n");
    let rest = client.0.get_mut().read_to_end(&mut Vec::new());
    assert!(rest.is_ok() || rest.is_err(), "it ends, with an alert or without");
    house.until("tls_failed", 1);
    house.until("sessions", 0);
}

#[test]
fn the_end_of_tls_in_a_chunk_ends_the_message() {
    let house = listening(|_| {});
    let mut client = house.client().starttls("mx.example");
    client.expect("EHLO client.example", 250);
    client.expect("MAIL FROM:<a@b.example>", 250);
    client.expect("RCPT TO:<user@there.example>", 250);
    client.send(b"BDAT 1000 LAST\r\nhalf of it");
    let stream = client.0.get_mut();
    stream.conn.send_close_notify();
    let _ = stream.conn.complete_io(&mut stream.sock);
    let _ = stream.sock.write_all(&[b'x'; 2_000]);
    house.until("aborted", 1);
    house.until("received", 0);
    house.until("sessions", 0);
}

#[test]
fn certificates_by_name_and_by_what_the_client_verifies() {
    let house = listening(|_| {});
    for (name, ends_in) in
        [("mx.example", "mx"), ("other.example", "other"), ("a.wild.example", "other"), ("x.example", "mx")]
    {
        let client = house.client().starttls(name);
        let shown = client.0.get_ref().conn.peer_certificates().unwrap()[0].to_vec();
        let needle = format!("{ends_in}.example");
        assert!(memchr::memmem::find(&shown, needle.as_bytes()).is_some(), "{name}");
    }
    // TLS 1.2 with RSA alone gets the RSA certificate under the same name.
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.expect("STARTTLS", 220);
    let mut client = client.secure(rsa_alone(), "mx.example").unwrap();
    client.expect("EHLO client.example", 250);
}

#[test]
fn certificates_are_swapped_whole_or_not_at_all() {
    let house = listening(|_| {});
    let mut broken = support::tls::certificates();
    broken.certificates[1].key = broken.certificates[0].key.clone();
    let error = house.engine.set_certificates(&table(&broken)).unwrap_err();
    assert_eq!(error.path, "certificates[1].key");
    let mut client = house.client().starttls("mx.example");
    client.expect("EHLO client.example", 250);
    let nothing = angarium_engine::tables::Certificates::default();
    house.engine.set_certificates(&table(&nothing)).unwrap();
    client.expect("NOOP", 250);
    let offered = house.client().expect("EHLO client.example", 250);
    assert!(!offered.contains("STARTTLS"));
}

#[test]
fn a_session_resumes() {
    let house = listening(|_| {});
    let config = plain_config();
    for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let mut client = house.client();
        client.expect("EHLO client.example", 250);
        client.expect("STARTTLS", 220);
        let mut client = client.secure(config.clone(), "mx.example").unwrap();
        client.expect("EHLO client.example", 250);
        assert_eq!(client.0.get_ref().conn.handshake_kind(), Some(kind));
    }
}

#[test]
fn the_oldest_version_is_kept() {
    let house = listening(|listener| listener.tls_version = TlsVersion::Tls13);
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.expect("STARTTLS", 220);
    assert!(client.secure(config(|_| {}, false, true), "mx.example").is_err());
}

#[test]
fn implicit_tls_greets_under_tls() {
    let house = listening(|listener| listener.profile = Profile::Submissions);
    let client = house.silent_client();
    let mut client = client.secure(plain_config(), "mx.example").unwrap();
    assert_eq!(client.reply().0, 220);
    let offered = client.expect("EHLO client.example", 250);
    assert!(
        offered.contains("AUTH ") && offered.contains("PLAIN") && offered.contains("SCRAM-SHA-256-PLUS"),
        "{offered}"
    );
    client.expect("MAIL FROM:<a@b.example>", 530);
    // Who speaks in the clear here gets no word.
    let mut clear = house.silent_client();
    clear.send(b"EHLO client.example\r\n");
    let _ = clear.0.get_mut().read_to_end(&mut Vec::new());
    house.until("tls_failed", 1);
}

#[test]
fn acme_alone_is_answered_by_alpn() {
    let house = listening(|listener| listener.profile = Profile::Submissions);
    let acme = config(|config| config.alpn_protocols = vec![b"acme-tls/1".to_vec()], false, false);
    let mut client = house.silent_client().secure(acme, "mx.example").unwrap();
    assert_eq!(client.0.get_ref().conn.alpn_protocol(), Some(b"acme-tls/1".as_slice()));
    assert_eq!(client.rest(), "");
}

#[test]
fn a_login_in_the_clear_is_refused() {
    let house = submission();
    let mut client = house.client();
    let offered = client.expect("EHLO client.example", 250);
    assert!(!offered.contains("AUTH"), "{offered}");
    assert!(client.say("AUTH PLAIN AGFubgBzZWNyZXQ=").0 >= 500);
    client.expect("MAIL FROM:<a@b.example>", 530);
}

#[test]
fn a_login_sends_as_itself_and_is_remembered() {
    let house = submission();
    let mut client = house.client().starttls("mx.example");
    client.expect("EHLO client.example", 250);
    client.expect("MAIL FROM:<ann@here.example>", 530);
    assert_eq!(log_in(&house, &mut client, "ann@here.example", &identity("")), 235);
    client.expect("MAIL FROM:<bob@here.example>", 553);
    client.expect("MAIL FROM:<ann@here.example>", 250);
    client.expect("RCPT TO:<user@there.example>", 250);
    client.expect("DATA", 354);
    client.expect("x: y\r\n\r\nhello\r\n.", 250);
    assert!(find_in_spool(&house, b"with ESMTPSA"));
    assert!(find_in_spool(&house, b"Message-ID: <"));
    // The second time nobody is asked.
    let mut again = house.client().starttls("mx.example");
    again.expect("EHLO client.example", 250);
    let response = base64(b"\0ann@here.example\0secret");
    again.expect(&format!("AUTH PLAIN {response}"), 235);
    house.engine.forget_logins().unwrap();
    house.until("logins", 2);
}

#[test]
fn from_is_held_to_the_login_where_that_is_set() {
    let house = listening(|listener| {
        listener.profile = Profile::Submission;
        listener.senders = Some(SenderRule::Header);
    });
    let mut client = house.client().starttls("mx.example");
    client.expect("EHLO client.example", 250);
    assert_eq!(log_in(&house, &mut client, "ann@here.example", &identity("")), 235);
    for (from, code) in [("Ann <ann@here.example>", 250), ("Boss <boss@here.example>", 550)] {
        client.expect("MAIL FROM:<ann@here.example>", 250);
        client.expect("RCPT TO:<user@there.example>", 250);
        client.expect("DATA", 354);
        client.expect(&format!("From: {from}\r\n\r\nhello\r\n."), code);
    }
}

#[test]
fn wrong_logins_are_counted_and_banned() {
    let house = House::with(|policy: &mut Policy| {
        policy.listeners = vec![Listener { login: Some(LoginUse::Offered), ..Listener::default() }];
        policy.hooks.auth = Some(Hook::default());
        policy.logins = Logins { delay: 1, failures_per_address: 2, remember_refused: 0, ..Logins::default() };
    })
    .certified();
    let mut client = house.client().starttls("mx.example");
    client.expect("EHLO client.example", 250);
    let refused = Verdict { decision: Decision::Reject, ..Verdict::default() };
    assert_eq!(log_in(&house, &mut client, "ann", &refused), 535);
    assert_eq!(log_in(&house, &mut client, "ann", &refused), 535);
    client.expect(&format!("AUTH PLAIN {}", base64(b"\0ann\0right")), 421);
    assert_eq!(house.figure("logins_failed"), 2);
}

#[test]
fn a_source_that_is_down_is_no_failure() {
    let house = submission();
    let mut client = house.client().starttls("mx.example");
    client.expect("EHLO client.example", 250);
    let down = Verdict { decision: Decision::Defer, ..Verdict::default() };
    assert_eq!(log_in(&house, &mut client, "ann", &down), 454);
    assert_eq!(house.figure("logins_failed"), 0);
    client.expect("AUTH PLAIN", 334);
    client.expect("*", 501);
    client.expect("AUTH LOGIN", 334);
    client.expect(&base64(b"ann@here.example"), 334);
    client.send(format!("{}\r\n", base64(b"secret")).as_bytes());
    let ask = answer(&house, &identity(""));
    let credentials = ask.question.credentials.as_ref().unwrap();
    assert_eq!((credentials.mechanism, credentials.kind), ("LOGIN", "password"));
    assert_eq!(client.reply().0, 235);
}

#[test]
fn scram_with_the_channel_bound() {
    let house = submission();
    let mut client = house.client().starttls("mx.example");
    client.expect("EHLO client.example", 250);
    let exporter =
        client.0.get_ref().conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
    let StoredKeys::Scram { salt, iterations, stored_key, server_key } =
        StoredKeys::scram(b"secret", b"salt salt salt sa", 4_096)
    else {
        unreachable!("made as such")
    };
    let keys = angarium_engine::tables::ScramKeys {
        salt: salt.to_vec().into(),
        iterations,
        stored_key: stored_key.as_bytes().to_vec().into(),
        server_key: server_key.as_bytes().to_vec().into(),
    };
    let mut verdict = identity("ann");
    verdict.identity.as_mut().unwrap().keys = Some(keys);
    let secret = Secret::new(b"secret".to_vec());
    for (channel, code) in [(exporter, 235), ([7; 32], 535)] {
        let login = ClientLogin {
            login: "ann",
            authzid: "",
            secret: &secret,
            server: ("mx.example", 587),
            nonce: "abcdefghijklmnopqr",
            channel: Some(("tls-exporter", &channel)),
        };
        let (mut exchange, first) = ClientExchange::start(Mechanism::ScramSha256Plus, login).unwrap();
        let first = base64(&first.unwrap());
        client.send(format!("AUTH SCRAM-SHA-256-PLUS {first}\r\n").as_bytes());
        if code == 235 {
            // The keys are remembered for the second time.
            answer(&house, &verdict);
        }
        let mut reply = client.reply();
        while reply.0 == 334 {
            let challenge = base64_simd::STANDARD.decode_to_vec(reply.1.as_bytes()).unwrap();
            let response = base64(&exchange.answer(&challenge).unwrap());
            reply = client.say(&response);
        }
        assert_eq!(reply.0, code, "{}", reply.1);
        client = house.client().starttls("mx.example");
        client.expect("EHLO client.example", 250);
    }
}

#[test]
fn a_client_certificate_logs_in() {
    let house = listening(|listener| {
        listener.profile = Profile::Submission;
        listener.client_certificates = ClientCertificates::Ask;
    });
    let mut stranger = house.client().starttls("mx.example");
    assert!(!stranger.expect("EHLO client.example", 250).contains("EXTERNAL"));
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.expect("STARTTLS", 220);
    let mut client = client.secure(config(|_| {}, true, false), "mx.example").unwrap();
    assert!(client.expect("EHLO client.example", 250).contains("EXTERNAL"));
    client.send(b"AUTH EXTERNAL =\r\n");
    let ask = answer(&house, &identity("ann@here.example"));
    let credentials = ask.question.credentials.as_ref().unwrap();
    assert!(credentials.kind == "external" && !credentials.certificate.is_empty());
    assert_eq!(client.reply().0, 235);
    client.expect("MAIL FROM:<ann@here.example>", 250);
}

#[test]
fn clear_networks_log_in_without_tls() {
    let house = listening(|listener| {
        (listener.login, listener.tls) = (Some(LoginUse::Offered), Some(TlsUse::Required));
        listener.clear_networks = vec!["127.0.0.0/8".into()];
    });
    let mut client = house.client();
    assert!(client.expect("EHLO client.example", 250).contains("AUTH"));
    client.send(format!("AUTH PLAIN {}\r\n", base64(b"\0ann@here.example\0secret")).as_bytes());
    answer(&house, &identity(""));
    assert_eq!(client.reply().0, 235);
    client.expect("MAIL FROM:<ann@here.example>", 250);
}
