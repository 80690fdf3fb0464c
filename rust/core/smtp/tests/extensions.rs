//! The server's extensions: what EHLO offers, what each command and parameter is answered, in which state.
#![allow(clippy::unwrap_used)]

mod play;

use std::sync::Arc;

use angarium_nouns::{BodyType, DsnNotify, DsnReturn, Reply};
use angarium_smtp::sasl::{Mechanism, Mechanisms};
use angarium_smtp::{
    ByMode, DeliverBy, Event, Extensions, Given, Hold, MailCommand, ProxiedCommand, RcptCommand, Server,
    ServerSettings, State,
};
use play::{NOON, REFUSED_CHUNK, Transcript, extended, lmtp, play_bytewise, play_whole};
use proptest::prelude::*;

const EHLO: &str = "EHLO c.example\r\n";
const MAIL: &str = "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n";
const RCPT: &str = "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

/// Plays `input` whole and byte by byte.
fn played(settings: &ServerSettings, input: &str) -> Transcript {
    let whole = play_whole(settings, input.as_bytes());
    assert_eq!(whole, play_bytewise(settings, input.as_bytes()), "{input:?}");
    whole
}

fn last_reply(settings: &ServerSettings, input: &str) -> String {
    played(settings, input).output.lines().last().unwrap_or_default().to_owned()
}

fn codes(input: &str) -> Vec<String> {
    played(&extended(), input).codes().iter().skip(1).map(ToString::to_string).collect()
}

/// A server behind the banner that has read `input`, everything accepted; and the last event's text.
fn server(settings: ServerSettings, input: &str) -> Server {
    let mut server = Server::new(Arc::new(settings));
    server.set_now(NOON);
    server.greet();
    give(&mut server, input);
    server.output().clear();
    server
}

fn give(server: &mut Server, input: &str) -> String {
    let (mut at, mut last) = (0, String::new());
    loop {
        let (used, event) = server.receive(&input.as_bytes()[at..]);
        at += used;
        if event == Event::Need {
            return last;
        }
        last = format!("{event:?}");
        if server.awaits().is_some() {
            server.accept();
        }
    }
}

fn said(server: &mut Server) -> String {
    String::from_utf8(std::mem::take(server.output())).unwrap()
}

#[test]
fn ehlo_offers_what_holds_now() {
    let mut server = server(extended(), "");
    give(&mut server, EHLO);
    let offered = said(&mut server);
    for line in [
        "250-SIZE 3000\r\n",
        "250-STARTTLS\r\n",
        "250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 EXTERNAL OAUTHBEARER XOAUTH2 CRAM-MD5 PLAIN LOGIN\r\n",
        "250-CHUNKING\r\n250-BINARYMIME\r\n250-DSN\r\n250-DELIVERBY 60\r\n",
        "250-FUTURERELEASE 86400 2026-11-26T12:00:00Z\r\n",
        "250-MT-PRIORITY\r\n250-REQUIRETLS\r\n250-LIMITS MAILMAX=20 RCPTMAX=3\r\n250-ETRN\r\n250-PRDR\r\n",
        "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n",
        "250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n250 EXPN\r\n",
    ] {
        assert!(offered.contains(line), "{line:?} is not in {offered}");
    }
    server.withdraw(Extensions::XCLIENT.with(Extensions::REQUIRETLS));
    server.offer_mechanisms(Mechanisms::NONE);
    server.set_now(0);
    give(&mut server, EHLO);
    let offered = said(&mut server);
    for keyword in ["XCLIENT", "REQUIRETLS", "AUTH", "FUTURERELEASE"] {
        assert!(!offered.contains(keyword), "{keyword} is in {offered}");
    }
    give(&mut server, "MAIL FROM:<a@b.example> REQUIRETLS\r\nAUTH PLAIN\r\n");
    assert!(said(&mut server).starts_with("555 5.5.4"));
    server.offer(Extensions::REQUIRETLS);
    give(&mut server, "MAIL FROM:<a@b.example> REQUIRETLS\r\n");
    assert!(said(&mut server).starts_with("250 2.1.0"));
}

#[test]
fn parameters_that_are_refused() {
    let long = "x".repeat(501);
    #[rustfmt::skip]
    let mail: &[(&str, &str)] = &[
        ("RET=BOTH", "501"), ("RET", "501"), ("RET=", "501"), ("RET=FULL RET=FULL", "501"),
        ("ENVID", "501"), ("ENVID=", "501"), ("ENVID=a b", "555"), ("ENVID=a+0D+0AEvil:+20x", "501"),
        ("ENVID=a+0", "501"), ("ENVID=a+", "501"), ("ENVID=a+00", "501"), ("ENVID=a+FF", "501"), ("ENVID=\u{fc}", "501"),
        (&format!("ENVID={}", &long[..101]), "501"), ("ENVID=a=b", "501"), ("ENVID=a\"b\"<c>", "250"),
        ("AUTH", "501"), ("AUTH=", "501"), ("AUTH=nobody", "501"), ("AUTH=a@b.example+0D+0A", "501"),
        ("AUTH=<>", "250"), ("AUTH=a+2Bb@c.example", "250"), (&format!("AUTH={}", "y".repeat(450)), "501"),
        ("BY=10;R", "501"), ("BY=0;R", "501"), ("BY=-1;RT", "501"), ("BY=60;R", "250"), ("BY=-60;N", "250"),
        ("BY=+60;NT", "250"), ("BY=60", "501"), ("BY=60;X", "501"), ("BY=60;", "501"), ("BY=;R", "501"), ("BY=--6;N", "501"),
        ("BY=9999999999;N", "501"), ("BY=6\u{fc};N", "501"), ("BY", "501"),
        ("HOLDFOR=86400", "250"), ("HOLDFOR=86401", "501"), ("HOLDFOR=-1", "501"), ("HOLDFOR=", "501"),
        ("HOLDUNTIL=2026-11-26T12:00:00Z", "250"), ("HOLDUNTIL=2026-11-26T12:00:01Z", "501"),
        ("HOLDUNTIL=2020-01-01T00:00:00Z", "250"), ("HOLDUNTIL=tomorrow", "501"), ("HOLDUNTIL=2026-02-30T00:00:00Z", "501"),
        ("HOLDFOR=1 HOLDUNTIL=2026-11-26T00:00:00Z", "501"),
        ("MT-PRIORITY=9", "250"), ("MT-PRIORITY=-9", "250"), ("MT-PRIORITY=10", "501"), ("MT-PRIORITY=+1", "501"),
        ("MT-PRIORITY=-", "501"), ("MT-PRIORITY", "501"),
        ("REQUIRETLS", "250"), ("REQUIRETLS=yes", "501"), ("PRDR", "250"), ("PRDR=1", "501"),
        ("BODY=BINARYMIME", "250"), ("BODY=BINARY", "501"), ("FROB=\u{7f}", "555"), ("NOTIFY=NEVER", "555"), ("=x", "555"),
    ];
    for (words, expected) in mail {
        let reply = last_reply(&extended(), &format!("{EHLO}MAIL FROM:<a@b.example> {words}\r\n"));
        assert!(reply.starts_with(expected), "{words:?} got {reply:?}, not {expected}");
    }
    #[rustfmt::skip]
    let rcpt: &[(&str, &str)] = &[
        ("NOTIFY=NEVER", "250"), ("NOTIFY=never", "250"), ("NOTIFY=SUCCESS,FAILURE,DELAY", "250"), ("NOTIFY=", "501"),
        ("NOTIFY=NEVER,DELAY", "501"), ("NOTIFY=SUCCESS,SUCCESS", "501"), ("NOTIFY=SUCCESS,", "501"), ("NOTIFY=ALWAYS", "501"),
        ("ORCPT=rfc822;a+2Bb@c.example", "250"), ("ORCPT=rfc822;", "501"), ("ORCPT=;a", "501"), ("ORCPT=a@b.example", "501"),
        ("ORCPT=rfc822;a+0D+0ABcc:+20evil", "501"), ("ORCPT=rfc822;a\u{fc}", "501"), ("ORCPT=rfc(822);a", "501"),
        ("ORCPT=utf-8;j\\x{F6}rg@b.example", "250"), ("ORCPT=utf-8;j\u{f6}rg@b.example", "501"), ("ORCPT=utf-8;\\x{D800}", "501"),
        ("ORCPT=utf-8;\\x{0D}", "501"), ("ORCPT=utf-8;\\x{0A", "501"), (&format!("ORCPT=rfc822;{}", &long[..494]), "501"),
        (&format!("ORCPT=rfc822;{}", &long[..493]), "250"), ("ENVID=x", "555"),
    ];
    for (words, expected) in rcpt {
        let reply = last_reply(&extended(), &format!("{MAIL}RCPT TO:<c@d.example> {words}\r\n"));
        assert!(reply.starts_with(expected), "{words:?} got {reply:?}, not {expected}");
    }
    let utf8 =
        format!("{EHLO}MAIL FROM:<a@b.example> SMTPUTF8\r\nRCPT TO:<c@d.example> ORCPT=utf-8;j\u{f6}rg@b.example\r\n");
    assert!(last_reply(&extended(), &utf8).starts_with("250 2.1.5"));
}

#[test]
fn parameters_are_read() {
    let mut server = server(extended(), EHLO);
    let words = "SIZE=9 BODY=BINARYMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=j+2Bk@l.example BY=120;RT HOLDFOR=60 MT-PRIORITY=-3 \
        REQUIRETLS PRDR";
    let line = format!("MAIL FROM:<a@b.example> {words}\r\n");
    let (_, event) = server.receive(line.as_bytes());
    let expected = MailCommand {
        path: Some(angarium_nouns::Address::parse("a@b.example").unwrap()),
        size: Some(9),
        body: BodyType::BinaryMime,
        smtputf8: true,
        ret: DsnReturn::Headers,
        envid: Some("a+b".into()),
        auth: Some(Some(angarium_nouns::Address::parse("j+k@l.example").unwrap())),
        by: Some(DeliverBy { seconds: 120, mode: ByMode::Return, trace: true }),
        hold: Some(Hold::For(60)),
        priority: Some(-3),
        require_tls: true,
        prdr: true,
    };
    assert_eq!(event, Event::Mail(expected));
    server.accept();
    let (_, event) = server.receive(b"RCPT TO:<c@d.example> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;x+3Dy@z.example\r\n");
    let expected = RcptCommand {
        path: angarium_nouns::Address::parse("c@d.example").unwrap(),
        bare_postmaster: false,
        notify: DsnNotify(DsnNotify::DELAY | DsnNotify::SUCCESS),
        orcpt: Some("rfc822;x=y@z.example".into()),
    };
    assert_eq!(event, Event::Rcpt(expected));
}

/// RFC 3030: the content arrives as it was sent, whatever its octets look like to a reader of commands.
#[test]
fn chunks() {
    #[rustfmt::skip]
    let table: &[(&str, &[&str], &str)] = &[
        ("BDAT 5\r\none\r\nBDAT 5 LAST\r\ntwo\r\n", &["250", "250"], "one\r\ntwo\r\n"),
        ("BDAT 5\r\none\r\nBDAT 0 LAST\r\n", &["250", "250"], "one\r\n"),
        ("BDAT 0 LAST\r\n", &["250"], ""),
        ("BDAT 0\r\nBDAT 3 last\r\nend", &["250", "250"], "end\r\n"),
        ("BDAT 9 LAST\r\na\r\n.\r\nb\r\n", &["250"], "a\r\n.\r\nb\r\n"),
        ("BDAT 4\r\none\rBDAT 1 LAST\r\n\n", &["250", "250"], "one\r\n"),
        ("BDAT 6 LAST\r\n..\r\n.xQUIT\r\n", &["250", "221"], "..\r\n.x\r\n"),
        ("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["250", "250"], "QUIT\r\n"),
        ("BDAT 3\r\na\r\nNOOP\r\nBDAT 3 LAST\r\nb\r\n", &["250", "250", "250"], "a\r\nb\r\n"),
    ];
    for (input, expected, content) in table {
        let transcript = played(&extended(), &format!("{RCPT}{input}"));
        assert_eq!(transcript.codes()[4..], **expected, "{input:?}");
        assert_eq!(transcript.bodies, [content.as_bytes()], "{input:?}");
    }
}

/// Every octet of a chunk that is refused is read and dropped; nothing of it becomes a command or a message.
#[test]
fn chunks_that_are_refused() {
    #[rustfmt::skip]
    let table: &[(&str, &str, &[&str])] = &[
        // Out of order: no EHLO, no MAIL, no recipient, all recipients refused.
        ("", "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["503", "250"]),
        (EHLO, "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["250", "503", "250"]),
        (MAIL, "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["250", "250", "503", "250"]),
        (MAIL, "RCPT TO:<refuse@d.example>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["250", "250", "550", "554", "503", "250"]),
        (EHLO, "MAIL FROM:<refuse@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["250", "550", "503", "503", "250"]),
        // Too large, in one or in several; the caller's refusal; bare newlines, NUL, long lines.
        (RCPT, "BDAT 3001 LAST\r\n", &["250", "250", "250"]),
        (RCPT, "BDAT 13\r\nQUIT\r\nQUIT\r\n\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["250", "250", "250", "452", "503", "250"]),
        (RCPT, "BDAT 7 LAST\r\na\nQUIT\nNOOP\r\n", &["250", "250", "250", "550", "250"]),
        (RCPT, "BDAT 3\r\na\rbBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["250", "250", "250", "550", "503", "250"]),
        (RCPT, "BDAT 2 LAST\r\na\rNOOP\r\n", &["250", "250", "250", "550", "250"]),
        (RCPT, "BDAT 2 LAST\r\na\0NOOP\r\n", &["250", "250", "250", "550", "250"]),
        // Mixed with DATA and other commands.
        (RCPT, "BDAT 3\r\na\r\nDATA\r\nNOOP\r\n", &["250", "250", "250", "250", "503", "250"]),
        (RCPT, "BDAT 3\r\na\r\nMAIL FROM:<>\r\nRCPT TO:<x@y.example>\r\n", &["250", "250", "250", "250", "503", "503"]),
        (RCPT, "BDAT 3\r\na\r\nRSET\r\nBDAT 3 LAST\r\nb\r\nNOOP\r\n", &["250", "250", "250", "250", "250", "503", "250"]),
        (RCPT, "BDAT 3\r\na\r\nEHLO again.example\r\nBDAT 3 LAST\r\nb\r\n", &["250", "250", "250", "250", "250", "503"]),
        (RCPT, "BDAT 3\r\na\r\nSTARTTLS\r\nAUTH PLAIN\r\n", &["250", "250", "250", "250", "503", "503"]),
        // Without a size nothing can be told apart any more.
        (RCPT, "BDAT\r\nQUIT\r\n", &["250", "250", "250", "501"]),
        (RCPT, "BDAT -1 LAST\r\nQUIT\r\n", &["250", "250", "250", "501"]),
        (RCPT, "BDAT 5 FIRST\r\nQUIT\r\n", &["250", "250", "250", "501"]),
        (RCPT, "BDAT 99999999999999999999 LAST\r\nQUIT\r\n", &["250", "250", "250", "501"]),
        (RCPT, "BDAT 5LAST\r\nQUIT\r\n", &["250", "250", "250", "501"]),
        (RCPT, "BDAT 6 LAST\nQUIT\r\n", &["250", "250", "250", "501"]),
        (RCPT, "bdat 6 LAST\0\r\nQUIT\r\n", &["250", "250", "250", "501"]),
        (RCPT, "NOOP\nBDAT 6 LAST\r\nQUIT\r\n", &["250", "250", "250", "500", "501"]),
    ];
    for (before, input, expected) in table {
        let transcript = played(&extended(), &format!("{before}{input}"));
        assert_eq!(transcript.codes()[1..], **expected, "{input:?}");
        assert!(transcript.bodies.is_empty(), "{input:?}");
    }
    let filled = "x".repeat(2_900);
    let input = format!("{RCPT}BDAT 2900\r\n{filled}BDAT 200 LAST\r\n{}NOOP\r\n", &filled[..200]);
    assert_eq!(codes(&input), ["250", "250", "250", "500", "503", "250"], "a line of 2,900");
    let lines = "x\r\n".repeat(967);
    let input = format!("{RCPT}BDAT 2901\r\n{lines}BDAT 200 LAST\r\n{}NOOP\r\n", &lines[..200]);
    assert_eq!(codes(&input), ["250", "250", "250", "250", "552", "250"]);
}

#[test]
fn binary_content_is_octets() {
    let before = "EHLO c.example\r\nMAIL FROM:<a@b.example> BODY=BINARYMIME\r\nRCPT TO:<c@d.example>\r\n";
    let transcript = played(&extended(), &format!("{before}BDAT 7\r\n\n.\r\0\r\n\rBDAT 1 LAST\r\nx"));
    assert_eq!(transcript.bodies, [b"\n.\r\0\r\n\rx"]);
    assert_eq!(transcript.events.last().unwrap(), "End { size: 8, body: BinaryMime }");
    assert_eq!(codes(&format!("{before}DATA\r\nNOOP\r\n")), ["250", "250", "250", "503", "250"]);
    let large = format!("{before}BDAT 2999\r\n{}BDAT 2 LAST\r\n..NOOP\r\n", "\n".repeat(2_999));
    assert_eq!(codes(&large), ["250", "250", "250", "250", "552", "250"]);
}

/// CVE-2023-51764 and kin, behind BDAT: no ending in a chunk ends anything, wherever a read cuts it.
#[test]
fn smuggling_in_and_behind_chunks() {
    let endings = ["\r\n.\r\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\0\r\n.\r\n"];
    for ending in endings {
        let smuggled = "MAIL FROM:<evil@b.example>\r\nRCPT TO:<victim@d.example>\r\nDATA\r\nevil\r\n";
        let content = format!("first{ending}{smuggled}");
        let last = format!("{RCPT}BDAT {} LAST\r\n{content}QUIT\r\n", content.len());
        for split in RCPT.len()..last.len() {
            let (front, back) = last.as_bytes().split_at(split);
            let transcript = play::play(&extended(), [front, back]);
            let expected = if ending == "\r\n.\r\n" { "250" } else { "550" };
            assert_eq!(transcript.codes()[4..], [expected, "221"], "{ending:?} at {split}");
        }
        // A chunk that ends in the middle of an ending, and DATA's dot behind it.
        for cut in 0..content.len() {
            let (one, two) = content.split_at(cut);
            let input = format!("{RCPT}BDAT {}\r\n{one}BDAT {} LAST\r\n{two}QUIT\r\n", one.len(), two.len());
            let transcript = play_whole(&extended(), input.as_bytes());
            assert!(transcript.bodies.len() <= 1 && transcript.codes().last() == Some(&"221"), "{ending:?} at {cut}");
            assert!(transcript.bodies.iter().all(|body| body == content.as_bytes()), "{ending:?} at {cut}");
        }
    }
}

#[test]
fn what_cuts_a_chunk_delivers_nothing() {
    use angarium_smtp::Cut;
    let cut = |input: &str| server(extended(), input).eof();
    assert_eq!(cut(&format!("{RCPT}BDAT 10 LAST\r\nabc")), Cut::Content);
    assert_eq!(cut(&format!("{RCPT}BDAT 3\r\nabc")), Cut::Content);
    assert_eq!(cut(&format!("{RCPT}BDAT 3 LAST\r\nabc")), Cut::Nothing);
}

#[test]
fn logins() {
    #[rustfmt::skip]
    let table: &[(&str, &[&str])] = &[
        ("AUTH PLAIN AGEAYg==\r\nMAIL FROM:<>\r\n", &["235", "250"]),
        ("AUTH PLAIN\r\nAGEAYg==\r\nAUTH PLAIN AGEAYg==\r\n", &["334", "235", "503"]),
        ("auth plain =\r\nb2s=\r\n", &["334", "235"]),
        ("AUTH LOGIN\r\nbW9yZQ==\r\n\r\nb2s=\r\nNOOP\r\n", &["334", "334", "334", "235", "250"]),
        ("AUTH PLAIN bm8=\r\nAUTH PLAIN bm8=\r\nNOOP\r\n", &["535", "535", "250"]),
        ("AUTH PLAIN\r\n*\r\nNOOP\r\n", &["334", "501", "250"]),
        ("AUTH PLAIN\r\nnot base64\r\nNOOP\r\n", &["334", "501", "250"]),
        ("AUTH PLAIN\r\nb2s\r\nNOOP\r\n", &["334", "501", "250"]),
        ("AUTH PLAIN\r\nb2s=\nNOOP\r\nNOOP\r\n", &["334", "500", "500", "250"]),
        ("AUTH PLAIN\r\nb2\0s=\r\nQUIT\r\n", &["334", "501", "221"]),
        ("AUTH PLAIN b2s= b2s=\r\n", &["501"]),
        ("AUTH PLAIN !!!!\r\n", &["501"]),
        ("AUTH PLAIN  b2s=\r\n", &["501"]),
        ("AUTH\r\n", &["501"]),
        ("AUTH GSSAPI\r\n", &["504"]),
        ("AUTH PL\u{c4}IN\r\n", &["504"]),
        ("MAIL FROM:<>\r\nAUTH PLAIN AGEAYg==\r\n", &["250", "503"]),
    ];
    for (input, expected) in table {
        assert_eq!(codes(&format!("{EHLO}{input}"))[1..], **expected, "{input:?}");
    }
    assert_eq!(codes("AUTH PLAIN AGEAYg==\r\n"), ["503"], "before EHLO");
    let long = "A".repeat(12_288 - 13);
    assert_eq!(codes(&format!("{EHLO}AUTH PLAIN {}\r\n", &long[3..])), ["250", "235"]);
    assert_eq!(codes(&format!("{EHLO}AUTH PLAIN {long}A\r\nNOOP\r\n")), ["250", "500", "250"]);
    assert_eq!(codes(&format!("{EHLO}AUTH PLAIN\r\n{long}{long}\r\nNOOP\r\n")), ["250", "334", "500", "250"]);
    assert_eq!(codes(&format!("{EHLO}NOOP {long}\r\nNOOP\r\n")), ["250", "500", "250"], "no other line is so long");
}

#[test]
fn challenges_are_base64() {
    let mut server = server(extended(), EHLO);
    assert!(
        matches!(server.receive(b"AUTH CRAM-MD5\r\n"), (15, Event::Auth(auth)) if auth.mechanism == Mechanism::CramMd5)
    );
    server.challenge(b"<1@x>");
    assert_eq!(said(&mut server), "334 PDFAeD4=\r\n");
    assert_eq!(server.state(), State::Authenticating);
    assert_eq!(server.receive(b"b2s=\r\n"), (6, Event::AuthResponse(b"ok".to_vec())));
    server.accept();
    assert!(server.is_logged_in() && server.state() == State::Ready);
}

#[test]
fn what_must_go_before() {
    let tls = ServerSettings { tls_required: true, ..extended() };
    let transcript = played(
        &tls,
        &format!("{EHLO}NOOP\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nVRFY a\r\nETRN a.example\r\n"),
    );
    assert_eq!(transcript.codes()[2..], ["250", "530", "530", "503", "530", "530"]);
    let login = ServerSettings { login_required: true, ..extended() };
    let transcript =
        played(&login, &format!("{EHLO}MAIL FROM:<>\r\nEXPN a\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<>\r\n"));
    assert_eq!(transcript.codes()[2..], ["530", "530", "235", "250"]);
    let transcript = played(&login, &format!("{MAIL}BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"));
    assert_eq!(transcript.codes()[2..], ["530", "503", "250"]);
    let clear = ServerSettings { mechanisms: Mechanisms::NONE, ..extended() };
    assert!(last_reply(&clear, &format!("{EHLO}AUTH PLAIN AGEAYg==\r\n")).starts_with("538 5.7.11"));
}

/// CVE-2011-0411 and kin: octets behind STARTTLS are never read as commands, before or behind the handshake.
#[test]
fn starttls_injection() {
    let input = format!("{EHLO}STARTTLS\r\nRSET\r\nMAIL FROM:<evil@b.example>\r\n");
    for split in EHLO.len()..input.len() {
        let (front, back) = input.as_bytes().split_at(split);
        let transcript = play::play(&extended(), [front, back]);
        assert_eq!(transcript.codes(), ["220", "250", "220", "554"], "at {split}");
        assert_eq!(transcript.state, Some(State::Closed));
        assert!(transcript.events.last().unwrap().starts_with("Hangup"));
    }
    // A part of a line that was read before STARTTLS does not wait for its rest either.
    for (before, expected) in [("", "503 5.5.1"), ("MAIL FROM:<>\r\n", "503 5.5.1"), ("RSET\r\n", "503 5.5.1")] {
        let mut server = server(extended(), &format!("{EHLO}AUTH PLAIN AGEAYg==\r\n{before}RSET\r\nSTARTTLS\r\n"));
        assert_eq!((server.state(), server.receive(b"").0), (State::Securing, 0));
        server.secured();
        assert!(server.is_secure() && !server.is_logged_in() && !server.is_extended());
        assert_eq!(server.state(), State::Fresh);
        give(&mut server, "MAIL FROM:<a@b.example>\r\n");
        assert!(said(&mut server).starts_with(expected), "EHLO must come again");
        give(&mut server, EHLO);
        assert!(!said(&mut server).contains("STARTTLS"));
        give(&mut server, "STARTTLS\r\n");
        assert!(said(&mut server).starts_with("503 5.5.1"));
    }
    assert_eq!(codes("STARTTLS\r\n"), ["503"]);
    assert_eq!(codes(&format!("{EHLO}STARTTLS now\r\n")), ["250", "501"]);
    assert_eq!(codes(&format!("{MAIL}STARTTLS\r\n")), ["250", "250", "503"]);
}

#[test]
fn implicit_tls() {
    let mut server = Server::new(Arc::new(extended()));
    server.secured();
    server.greet();
    give(&mut server, EHLO);
    assert!(server.is_secure() && !said(&mut server).contains("STARTTLS"));
}

#[test]
fn tls_and_http_on_a_clear_port() {
    for input in ["\u{16}\u{3}\u{1}\u{2}", "GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "POST /\r\nMAIL FROM:<>\r\n"] {
        let transcript = played(&extended(), input);
        assert_eq!((transcript.codes(), transcript.state), (vec!["220", "421"], Some(State::Closed)), "{input:?}");
    }
    assert_eq!(codes(&format!("{RCPT}DATA\r\n\u{16}\u{3}\u{1}\r\n.\r\n"))[4..], ["250"], "content is content");
}

#[test]
fn etrn_vrfy_expn() {
    #[rustfmt::skip]
    let table: &[(&str, &str)] = &[
        ("ETRN d.example\r\n", "250"), ("ETRN @d.example\r\n", "250"), ("ETRN #queue-7\r\n", "250"), ("ETRN\r\n", "501"),
        ("ETRN a b\r\n", "501"), ("ETRN @\r\n", "501"), ("ETRN -x.example\r\n", "501"), ("ETRN d.example\0\r\n", "500"),
        ("VRFY joe\r\n", "252"), ("VRFY j\u{f6}rg\r\n", "553"), ("VRFY j\u{f6}rg SMTPUTF8\r\n", "252"), ("EXPN list\r\n", "550"),
        ("EXPN\r\n", "501"), ("TURN\r\n", "502"), ("BURL imap://x\r\n", "502"), ("LHLO c.example\r\n", "500"),
    ];
    for (line, expected) in table {
        let reply = last_reply(&extended(), &format!("{EHLO}{line}"));
        assert!(reply.starts_with(expected), "{line:?} got {reply:?}, not {expected}");
    }
    assert_eq!(codes(&format!("{MAIL}ETRN d.example\r\n")), ["250", "250", "503"]);
}

/// RFC 6531 3.7.4.2: UTF-8 goes to those who asked for it.
#[test]
fn utf8_in_replies() {
    let answer = Reply::new(252, (2, 1, 5), "J\u{f6}rg <j\u{f6}rg@b.example>");
    let ask = |line: &str| {
        let mut server = server(extended(), EHLO);
        server.receive(line.as_bytes());
        server.reply(&answer);
        said(&mut server)
    };
    assert_eq!(ask("VRFY joerg\r\n"), "252 2.1.5 J?rg <j?rg@b.example>\r\n");
    assert_eq!(ask("VRFY joerg SMTPUTF8\r\n"), "252 2.1.5 J\u{f6}rg <j\u{f6}rg@b.example>\r\n");
    assert_eq!(ask("MAIL FROM:<a@b.example> SMTPUTF8\r\n"), "252 2.1.5 J\u{f6}rg <j\u{f6}rg@b.example>\r\n");
    let mut server = server(extended(), &format!("{EHLO}VRFY x SMTPUTF8\r\n"));
    server.receive(b"VRFY joerg\r\n");
    server.reply(&answer);
    assert!(said(&mut server).is_ascii(), "once asked is asked once");
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let rcpt = "RCPT TO:<a@d.example>\r\nRCPT TO:<refuse@d.example>\r\nRCPT TO:<b@d.example>\r\n";
    let envelope = format!("LHLO c.example\r\nMAIL FROM:<a@b.example>\r\n{rcpt}");
    let transcript = played(&lmtp(), &format!("{envelope}DATA\r\ntext\r\n.\r\nNOOP\r\n"));
    assert_eq!(transcript.codes()[1..], ["250", "250", "250", "550", "250", "354", "250", "552", "250"]);
    let transcript = played(&lmtp(), &format!("{envelope}DATA\r\na\nb\r\n.\r\nNOOP\r\n"));
    assert_eq!(transcript.codes()[6..], ["354", "550", "550", "250"]);
    let transcript = played(&lmtp(), &format!("{envelope}BDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\nNOOP\r\n"));
    assert_eq!(transcript.codes()[6..], ["250", "250", "552", "250"]);
    let transcript = played(&lmtp(), &format!("{envelope}BDAT 2\r\na\nBDAT 3 LAST\r\nb\r\nNOOP\r\n"));
    assert_eq!(transcript.codes()[6..], ["550", "503", "250"]);
    let transcript = played(&lmtp(), "EHLO c.example\r\nHELO c.example\r\n");
    assert_eq!(transcript.codes()[1..], ["500", "500"]);
    let nobody = "LHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<refuse@d.example>\r\nDATA\r\n";
    assert_eq!(played(&lmtp(), nobody).codes()[1..], ["250", "250", "550", "503"]);
}

#[test]
fn prdr_answers_for_each_recipient_and_the_whole() {
    let rcpt = "RCPT TO:<a@d.example>\r\nRCPT TO:<b@d.example>\r\n";
    let message = |words: &str| format!("{EHLO}MAIL FROM:<a@b.example>{words}\r\n{rcpt}DATA\r\ntext\r\n.\r\nNOOP\r\n");
    assert_eq!(codes(&message(" PRDR"))[5..], ["353", "250", "552", "250", "250"]);
    assert_eq!(codes(&message(""))[5..], ["250", "250"]);
}

#[test]
fn xclient_and_xforward() {
    let mut server = server(extended(), EHLO);
    let line =
        "XCLIENT NAME=mail.example ADDR=IPV6:2001:db8::1 port=2525 PROTO=esmtp HELO=[UNAVAILABLE] LOGIN=a+20b\r\n";
    let (_, event) = server.receive(line.as_bytes());
    let expected = ProxiedCommand {
        name: Given::Value("mail.example".into()),
        addr: Given::Value("2001:db8::1".parse().unwrap()),
        port: Given::Value(2_525),
        proto: Given::Value("ESMTP".into()),
        helo: Given::Unavailable,
        login: Given::Value("a b".into()),
        ..ProxiedCommand::default()
    };
    assert_eq!(event, Event::Xclient(Box::new(expected)));
    server.accept();
    assert_eq!(said(&mut server), "220 mx.example ESMTP Angarium\r\n");
    assert_eq!(server.state(), State::Fresh, "EHLO comes again");
    #[rustfmt::skip]
    let table: &[(&str, &str, &str)] = &[
        ("", "XCLIENT ADDR=192.0.2.1\r\n", "220"),
        (MAIL, "XCLIENT ADDR=192.0.2.1\r\n", "503"),
        (EHLO, "XCLIENT\r\n", "501"), (EHLO, "XCLIENT ADDR\r\n", "501"), (EHLO, "XCLIENT ADDR=\r\n", "501"),
        (EHLO, "XCLIENT ADDR=192.0.2.300\r\n", "501"), (EHLO, "XCLIENT PORT=99999\r\n", "501"),
        (EHLO, "XCLIENT NAME=a+0D+0AReceived:\r\n", "501"), (EHLO, "XCLIENT HELO=a+20(b\r\n", "501"),
        (EHLO, "XCLIENT HELO=a+28b+29\r\n", "501"), (EHLO, "XCLIENT IDENT=x\r\n", "501"), (EHLO, "XCLIENT FROB=x\r\n", "501"),
        (EHLO, "XFORWARD NAME=[TEMPUNAVAIL] IDENT=4ABC SOURCE=local\r\n", "250"), (EHLO, "XFORWARD LOGIN=x\r\n", "501"),
        (EHLO, "XFORWARD IDENT=a+0Ab\r\n", "501"), (MAIL, "XFORWARD IDENT=x\r\n", "503"), ("", "XFORWARD IDENT=x\r\n", "503"),
    ];
    for (before, line, expected) in table {
        let reply = last_reply(&extended(), &format!("{before}{line}"));
        assert!(reply.starts_with(expected), "{line:?} got {reply:?}, not {expected}");
    }
    let none = ServerSettings { extensions: Extensions::STANDARD, ..extended() };
    assert!(last_reply(&none, &format!("{EHLO}XCLIENT ADDR=192.0.2.1\r\n")).starts_with("502"));
}

#[test]
fn later_attributes_hold() {
    let mut first =
        ProxiedCommand { ident: Given::Value("one".into()), port: Given::Value(1), ..ProxiedCommand::default() };
    first.merge(ProxiedCommand { ident: Given::Unavailable, ..ProxiedCommand::default() });
    assert_eq!((first.ident, first.port), (Given::Unavailable, Given::Value(1)));
}

#[test]
fn nothing_is_read_behind_quit() {
    let transcript = played(&extended(), &format!("{RCPT}QUIT\r\nDATA\r\nevil\r\n.\r\nBDAT 3 LAST\r\n"));
    assert_eq!(transcript.codes().last(), Some(&"221"));
    assert!(transcript.bodies.is_empty());
}

/// What may not be pipelined is worked off in order all the same: nothing is read while an answer is owed.
#[test]
fn what_must_not_be_pipelined() {
    let input = format!(
        "{EHLO}AUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nQUIT\r\n.\r\nQUIT\r\n"
    );
    let transcript = played(&extended(), &input);
    assert_eq!(transcript.codes()[1..], ["250", "235", "250", "250", "354", "250", "221"]);
    assert_eq!(transcript.bodies, [b"QUIT\r\n"]);
    let input = format!("{EHLO}AUTH PLAIN\r\nMAIL FROM:<a@b.example>\r\nNOOP\r\n");
    assert_eq!(codes(&input), ["250", "334", "501", "250"], "a command is no response");
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    const LINES: [&str; 32] = [
        "EHLO c.example\r\n",
        "LHLO c.example\r\n",
        "MAIL FROM:<a@b.example> RET=FULL ENVID=x+2By\r\n",
        "MAIL FROM:<a@b.example> BODY=BINARYMIME PRDR\r\n",
        "MAIL FROM:<refuse@b.example>\r\n",
        "RCPT TO:<c@d.example> NOTIFY=NEVER\r\n",
        "RCPT TO:<e@d.example> ORCPT=rfc822;x+0A\r\n",
        "RCPT TO:<refuse@d.example>\r\n",
        "DATA\r\n",
        "BDAT 3\r\n",
        "BDAT 4 LAST\r\n",
        "BDAT 0 LAST\r\n",
        "BDAT 0\r\n",
        "BDAT 13\r\n",
        "BDAT 2990\r\n",
        "BDAT x\r\n",
        "a\r\n",
        "..\r\n",
        "\r\n.\r\n",
        "\r",
        "\n",
        "\0",
        "AUTH PLAIN\r\n",
        "AUTH PLAIN b2s=\r\n",
        "b2s=\r\n",
        "bm8=\r\n",
        "*\r\n",
        "STARTTLS\r\n",
        "XCLIENT ADDR=192.0.2.1\r\n",
        "XFORWARD IDENT=x\r\n",
        "RSET\r\n",
        "VRFY x SMTPUTF8\r\n",
    ];
    const STARTS: [&str; 2] = [
        "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@d.example>\r\n",
        "LHLO c\r\nMAIL FROM:<a@b.example> BODY=BINARYMIME\r\nRCPT TO:<c@d.example>\r\n",
    ];
    prop_oneof![
        16 => proptest::sample::select(&LINES[..]).prop_map(|line| line.as_bytes().to_vec()),
        4 => proptest::sample::select(&STARTS[..]).prop_map(|lines| lines.as_bytes().to_vec()),
        1 => (400_usize..3_100).prop_map(|length| vec![b'x'; length]),
        1 => (11_000_usize..14_000).prop_map(|length| [b"AUTH PLAIN ".to_vec(), vec![b'A'; length]].concat()),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn cuts_do_not_matter(
        fragments in proptest::collection::vec(fragment(), 0..30),
        size in 1_usize..60,
        speaks_lmtp: bool,
        lenient: bool,
        strict: bool,
    ) {
        let settings = if speaks_lmtp { lmtp() } else { extended() };
        let bare_newline = if lenient { angarium_smtp::BareNewline::Normalise } else { settings.bare_newline };
        let max_errors = if strict { 4 } else { 1_000 };
        let settings = ServerSettings { bare_newline, max_errors, login_required: strict && lenient, ..settings };
        let input = fragments.concat();
        let whole = play_whole(&settings, &input);
        prop_assert_eq!(&whole, &play_bytewise(&settings, &input));
        prop_assert_eq!(&whole, &play::play(&settings, input.chunks(size)));
        prop_assert!(whole.output.ends_with("\r\n"));
        for line in whole.output.split_inclusive("\r\n") {
            prop_assert!(line.len() <= 512 && !line[..line.len() - 2].contains(['\r', '\n']));
        }
    }

    /// What is sent in chunks of any sizes is what is kept; nothing of it is a command.
    #[test]
    fn chunks_keep_what_was_sent(
        content in "(QUIT\r\n|BDAT 9 LAST\r\n|\r\n|\\.\r\n|[a.]{1,9}|\u{fc}){0,20}",
        sizes in proptest::collection::vec(0_usize..20, 1..12),
    ) {
        let (mut input, mut rest, mut sizes) = (RCPT.as_bytes().to_vec(), content.as_bytes(), sizes.into_iter());
        loop {
            let size = sizes.next().filter(|size| *size < rest.len());
            let (chunk, behind) = rest.split_at(size.unwrap_or(rest.len()));
            prop_assume!(chunk.len() as u64 != REFUSED_CHUNK);
            let last = if size.is_none() { " LAST" } else { "" };
            input.extend([format!("BDAT {}{last}\r\n", chunk.len()).as_bytes(), chunk].concat());
            rest = behind;
            if size.is_none() {
                break;
            }
        }
        input.extend(b"QUIT\r\n");
        let transcript = play_whole(&extended(), &input);
        prop_assert!(transcript.codes().last() == Some(&"221"));
        let ended = content.is_empty() || content.ends_with("\r\n");
        let expected = if ended { content } else { content + "\r\n" };
        prop_assert_eq!(&transcript.bodies, &[expected.into_bytes()]);
    }
}
