//! The fields that a hop adds: their words, and that no peer can write a second line with them.

use angarium_message::Header;
use angarium_message::trace::{self, Protocol, Received};
use angarium_nouns::MessageId;
use angarium_nouns::record::SessionFacts;
use proptest::prelude::*;

fn facts(hello: &str, peer: &str) -> SessionFacts {
    SessionFacts {
        peer: peer.into(),
        hello: hello.into(),
        protocol: "ESMTPS".into(),
        tls: "TLSv1.3 TLS_AES_256_GCM_SHA384".into(),
        ..SessionFacts::default()
    }
}

fn written(session: &SessionFacts, only_recipient: Option<&str>, utf8: bool) -> String {
    let at = 1_795_594_600_000;
    let mut out = Vec::new();
    Received { session, by: "mx.example.org", id: MessageId(77), only_recipient, at, utf8 }.write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn unfolded(field: &str) -> String {
    field.replace("\r\n ", " ")
}

#[test]
fn says_where_it_came_from() {
    let tail = "by mx.example.org with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id 0000000000000000000000002D; \
                Wed, 25 Nov 2026 08:16:40 +0000\r\n";
    for (hello, peer, from) in [
        ("client.example", "192.0.2.1:25025", "from client.example ([192.0.2.1]) "),
        ("[192.0.2.9]", "[2001:db8::1]:4", "from [192.0.2.9] ([IPv6:2001:db8::1]) "),
        ("a b (c)", "[::ffff:192.0.2.1]:4", "from [192.0.2.1] ([192.0.2.1] helo=a b \\(c\\)) "),
        ("b\u{fc}cher.example", "192.0.2.1:1", "from xn--bcher-kva.example ([192.0.2.1]) "),
        ("", "192.0.2.1:1", "from [192.0.2.1] ([192.0.2.1]) "),
        ("local", "unix", "from local (unknown) "),
        ("whatever", "", ""),
    ] {
        assert_eq!(unfolded(&written(&facts(hello, peer), None, false)), format!("Received: {from}{tail}"));
    }
}

#[test]
fn is_folded() {
    let want = "Received: from client.example ([192.0.2.1]) by mx.example.org with ESMTPS\r\n \
                (TLSv1.3 TLS_AES_256_GCM_SHA384) id 0000000000000000000000002D for\r\n \
                <someone@example.net>; Wed, 25 Nov 2026 08:16:40 +0000\r\n";
    assert_eq!(written(&facts("client.example", "192.0.2.1:1"), Some("someone@example.net"), false), want);
}

#[test]
fn a_recipient_in_utf8_is_named_only_where_it_may_stand() {
    let session = facts("client.example", "192.0.2.1:1");
    assert!(!written(&session, Some("j\u{f6}rg@example.net"), false).contains(" for"));
    assert!(unfolded(&written(&session, Some("j\u{f6}rg@example.net"), true)).contains("for <j\u{f6}rg@example.net>;"));
}

#[test]
fn protocol_words() {
    for (word, lmtp, extended, utf8, tls, login) in [
        ("SMTP", false, false, false, false, false),
        ("ESMTP", false, true, false, false, false),
        ("ESMTPS", false, true, false, true, false),
        ("ESMTPA", false, true, false, false, true),
        ("ESMTPSA", false, true, false, true, true),
        ("UTF8SMTPSA", false, true, true, true, true),
        ("LMTP", true, true, false, false, false),
        ("UTF8LMTPS", true, true, true, true, false),
    ] {
        assert_eq!(Protocol { lmtp, extended, utf8, tls, login }.word(), word);
    }
}

#[test]
fn other_fields() {
    let mut out = Vec::new();
    trace::write_return_path(&mut out, "a@example.org");
    trace::write_return_path(&mut out, "");
    trace::write_delivered_to(&mut out, "b@example.org");
    trace::write_date(&mut out, 0);
    trace::write_message_id(&mut out, MessageId(1), "example.org");
    let want = "Return-Path: <a@example.org>\r\nReturn-Path: <>\r\nDelivered-To: b@example.org\r\n\
                Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <00000000000000000000000001@example.org>\r\n";
    assert_eq!(String::from_utf8(out).expect("UTF-8"), want);
}

proptest! {
    #[test]
    fn nothing_a_peer_says_makes_a_second_field(
        hello in "(\\PC|\\s|\\x00|[\r\n]|X: y){0,1200}",
        tls in ".{0,80}",
        protocol in "(.|\r|\n){0,9}",
        recipient in "(.|\r|\n){0,300}",
        utf8: bool,
    ) {
        let session = SessionFacts { protocol, tls, ..facts(&hello, "192.0.2.1:1") };
        let field = written(&session, Some(&recipient), utf8);
        let header = Header::scan(field.as_bytes());
        prop_assert_eq!((header.fields().len(), header.received_count()), (1, 1));
        prop_assert_eq!(header.body_start(), field.len());
        for line in field.split_terminator("\r\n") {
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            prop_assert!(line.len() <= 998);
            prop_assert!(!line.trim().is_empty());
        }
        prop_assert!(utf8 || field.is_ascii());
    }
}
