//! The client: replies matched to commands, peers that misbehave, content that goes out.
#![allow(clippy::unwrap_used)]

mod play;

use angarium_nouns::{BodyType, EnhancedCode, Reply};
use angarium_smtp::{Client, ClientError, Command, CommandKind, Extensions, MailParameters, RcptParameters};
use play::{EHLO, GREETING, listen};
use proptest::prelude::*;

fn read(client: &mut Client) -> Vec<(CommandKind, Reply)> {
    std::iter::from_fn(|| client.next_reply()).collect()
}

fn codes(client: &mut Client) -> Vec<(CommandKind, u16)> {
    read(client).into_iter().map(|(kind, reply)| (kind, reply.code)).collect()
}

/// A connection behind its EHLO.
fn ready() -> Client {
    let mut client = Client::new();
    client.receive(GREETING).unwrap();
    client.send(Command::Ehlo("c.example")).unwrap();
    client.receive(EHLO).unwrap();
    read(&mut client);
    client.output().clear();
    client
}

fn sent(client: &mut Client) -> String {
    String::from_utf8(std::mem::take(client.output())).unwrap()
}

/// A connection in which content may be written.
fn in_content() -> Client {
    let mut client = ready();
    client.send(Command::Data).unwrap();
    client.receive(b"354 go\r\n").unwrap();
    read(&mut client);
    client.output().clear();
    client
}

#[test]
fn capabilities_are_read() {
    let client = ready();
    let capabilities = client.capabilities();
    assert_eq!((&*capabilities.hostname, capabilities.size), ("mx.example", Some(1_000)));
    assert!(capabilities.has(Extensions::PIPELINING.with(Extensions::EIGHT_BIT_MIME).with(Extensions::SMTPUTF8)));
    assert!(!capabilities.has(Extensions::ENHANCED_STATUS_CODES));
    assert_eq!(capabilities.parameter("xclient"), Some("NAME ADDR"));
    assert_eq!(capabilities.parameter("AUTH=LOGIN"), Some(""));
    assert_eq!(capabilities.parameter("STARTTLS"), None);
}

#[test]
fn commands_are_written_as_the_peer_can_read_them() {
    let mut client = ready();
    let parameters =
        MailParameters { size: Some(77), body: BodyType::EightBitMime, smtputf8: true, ..MailParameters::default() };
    client.send(Command::Mail("jörg@b.example", parameters)).unwrap();
    client.send(Command::Rcpt("\"a b\"@d.example", RcptParameters::default())).unwrap();
    client.send(Command::Rset).unwrap();
    client.send(Command::Mail("", MailParameters::default())).unwrap();
    assert_eq!(
        sent(&mut client),
        "MAIL FROM:<jörg@b.example> SIZE=77 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<\"a b\"@d.example>\r\nRSET\r\nMAIL FROM:<>\r\n"
    );
    assert_eq!(client.outstanding(), 4);
}

#[test]
fn what_the_peer_lacks_is_not_sent() {
    let mut client = Client::new();
    client.receive(GREETING).unwrap();
    client.send(Command::Helo("c.example")).unwrap();
    assert_eq!(client.send(Command::Rset), Err(ClientError::OutOfTurn), "no pipelining");
    client.receive(b"250 mx\r\n").unwrap();
    let eight = MailParameters { body: BodyType::EightBitMime, ..MailParameters::default() };
    let utf8 = MailParameters { smtputf8: true, ..MailParameters::default() };
    assert_eq!(client.send(Command::Mail("a@b.example", eight)), Err(ClientError::NotOffered("8BITMIME")));
    assert_eq!(client.send(Command::Mail("a@b.example", utf8)), Err(ClientError::NotOffered("SMTPUTF8")));
    client.output().clear();
    client.send(Command::Mail("a@b.example", MailParameters { size: Some(9), ..MailParameters::default() })).unwrap();
    assert_eq!(sent(&mut client), "MAIL FROM:<a@b.example>\r\n");
}

#[test]
fn nothing_breaks_a_command_line() {
    let mut client = ready();
    for bad in ["a@b.example>\r\nRSET", "a@b.example> SIZE=1", "a\0@b.example", "", "a b@c.example", "<a@b.example>"] {
        assert_eq!(client.send(Command::Rcpt(bad, RcptParameters::default())), Err(ClientError::Argument), "{bad:?}");
    }
    assert_eq!(client.send(Command::Mail("a@b\n", MailParameters::default())), Err(ClientError::Argument));
    assert_eq!(client.send(Command::Vrfy("a\r\nQUIT")), Err(ClientError::Argument));
    assert_eq!(
        client.send(Command::Rcpt("jörg@b.example", RcptParameters::default())),
        Err(ClientError::NeedsSmtputf8)
    );
    assert_eq!((client.outstanding(), sent(&mut client)), (0, String::new()));
}

/// RFC 2920 3.1: DATA and EHLO end a group; the final dot does not.
#[test]
fn turns() {
    let mut client = ready();
    client.send(Command::Mail("a@b.example", MailParameters::default())).unwrap();
    client.send(Command::Data).unwrap();
    assert!(!client.may_send());
    assert_eq!(client.send(Command::Rset), Err(ClientError::OutOfTurn));
    assert_eq!(client.body(b"x"), Err(ClientError::OutOfTurn));
    let mut client = in_content();
    assert_eq!(client.send(Command::Rset), Err(ClientError::OutOfTurn));
    client.end_body().unwrap();
    client.send(Command::Rset).unwrap();
    client.send(Command::Quit).unwrap();
    assert_eq!(sent(&mut client), ".\r\nRSET\r\nQUIT\r\n");
    client.receive(b"250 2.0.0 one\r\n250 2.0.0 two\r\n221 2.0.0 three\r\n").unwrap();
    assert_eq!(codes(&mut client), [(CommandKind::Content, 250), (CommandKind::Rset, 250), (CommandKind::Quit, 221)]);
}

#[test]
fn replies_go_to_their_commands() {
    let mut client = ready();
    client.send(Command::Mail("a@b.example", MailParameters::default())).unwrap();
    client.send(Command::Rcpt("one@d.example", RcptParameters::default())).unwrap();
    client.send(Command::Rcpt("two@d.example", RcptParameters::default())).unwrap();
    client.send(Command::Data).unwrap();
    client.receive(b"250 2.1.0 ok\r\n550-5.1.1 no such\r\n550 5.1.1 user\r\n451 later\r\n").unwrap();
    let replies = read(&mut client);
    assert_eq!(replies[1].1, Reply::new(550, (5, 1, 1), "no such\nuser"));
    assert_eq!((replies[2].0, replies[2].1.enhanced), (CommandKind::Rcpt, None));
    assert_eq!(client.awaits(), Some(CommandKind::Data));
    client.receive(b"554 5.5.1 no recipients\r\n").unwrap();
    assert!(!client.is_in_content());
}

#[test]
fn odd_replies_that_are_replies() {
    #[rustfmt::skip]
    let table: &[(&[u8], u16, Option<EnhancedCode>, &str)] = &[
        (b"250\r\n", 250, None, ""),
        (b"250 \r\n", 250, None, ""),
        (b"250 4.0.0 mixed classes\r\n", 250, None, "4.0.0 mixed classes"),
        (b"250-\r\n250-two\r\n250\r\n", 250, None, "\ntwo\n"),
        (b"250 a\tb\x07c\r\n", 250, None, "a b c"),
        (b"250 gr\xfcn\r\n", 250, None, "gr\u{fffd}n"),
        (b"421 4.3.2 going\r\n", 421, Some(EnhancedCode(4, 3, 2)), "going"),
    ];
    for (bytes, code, enhanced, text) in table {
        let mut client = ready();
        client.send(Command::Noop).unwrap();
        client.receive(bytes).unwrap();
        let (_, reply) = client.next_reply().unwrap();
        assert_eq!((reply.code, reply.enhanced, &*reply.text), (*code, *enhanced, *text), "{bytes:?}");
    }
}

#[test]
fn misbehaving_peers() {
    let lines = b"250-x\r\n".repeat(129);
    let endless = vec![b'2'; 70_000];
    #[rustfmt::skip]
    let table: &[(&[u8], ClientError)] = &[
        (b"HTTP/1.1 400 Bad Request\r\n", ClientError::Garbage),
        (b"\x16\x03\x01\x02\r\n", ClientError::Garbage),
        (b"\r\n", ClientError::Garbage),
        (b"25\r\n", ClientError::Garbage),
        (b"250_ok\r\n", ClientError::Garbage),
        (b"650 ok\r\n", ClientError::Garbage),
        (b"150 wait\r\n", ClientError::Garbage),
        (b"250 ok\n", ClientError::Garbage),
        (b"250-one\r\n251 two\r\n", ClientError::MixedCodes),
        (b"354 go\r\n", ClientError::OutOfStep(CommandKind::Noop, 354)),
        (b"250 one\r\n250 two\r\n", ClientError::Unasked(250)),
        (&lines, ClientError::TooManyLines),
        (&endless, ClientError::LineTooLong),
    ];
    for (bytes, error) in table {
        let mut client = ready();
        client.send(Command::Noop).unwrap();
        assert_eq!(client.receive(bytes).as_ref(), Err(error));
        assert_eq!(client.receive(b"250 ok\r\n").as_ref(), Err(error), "it stays");
        assert_eq!(client.send(Command::Quit).as_ref(), Err(error));
    }
    let mut client = ready();
    client.send(Command::Data).unwrap();
    assert_eq!(client.receive(b"250 ok\r\n"), Err(ClientError::OutOfStep(CommandKind::Data, 250)));
}

#[test]
fn a_long_line_is_cut() {
    let mut client = ready();
    client.send(Command::Noop).unwrap();
    client.receive(format!("250 {}\r\n", "x".repeat(5_000)).as_bytes()).unwrap();
    assert_eq!(client.next_reply().unwrap().1.text.len(), 508);
}

#[test]
fn a_421_may_come_at_any_time() {
    let mut client = ready();
    client.receive(b"421 4.3.2 shutting down\r\n").unwrap();
    assert_eq!(codes(&mut client), [(CommandKind::Unasked, 421)]);
}

#[test]
fn content_may_be_refused_before_its_end() {
    let mut client = in_content();
    client.body(b"a\r\n").unwrap();
    client.receive(b"552 5.3.4 enough\r\n").unwrap();
    assert_eq!(codes(&mut client), [(CommandKind::Content, 552)]);
    assert_eq!(client.receive(b"250 ok\r\n"), Err(ClientError::Unasked(250)));
}

#[test]
fn content_is_stuffed() {
    #[rustfmt::skip]
    let table = [
        ("", ".\r\n"), ("a", "a\r\n.\r\n"), ("a\r\n", "a\r\n.\r\n"), (".", "..\r\n.\r\n"), (".\r\n", "..\r\n.\r\n"),
        ("a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"), ("..\r\n..", "...\r\n...\r\n.\r\n"), ("a.b.\r\n", "a.b.\r\n.\r\n"),
        ("\r\n\r\n.x", "\r\n\r\n..x\r\n.\r\n"),
    ];
    for (content, expected) in table {
        for size in 1..=content.len().max(1) {
            let mut client = in_content();
            for chunk in content.as_bytes().chunks(size) {
                client.body(chunk).unwrap();
            }
            client.end_body().unwrap();
            assert_eq!(sent(&mut client), expected, "{content:?} by {size}");
        }
    }
}

#[test]
fn content_that_could_end_early_is_not_sent() {
    for content in ["a\nb", "a\rb", "a\n.\nb", "a\n.\r\nb", "a\r\n.\nb", "a\r.\rb", "\r\r\n", "\n", "a\r", "\r\n\r"] {
        for size in 1..=content.len() {
            let mut client = in_content();
            let written = content.as_bytes().chunks(size).try_for_each(|chunk| client.body(chunk));
            let ended = written.and_then(|()| client.end_body());
            assert_eq!(ended, Err(ClientError::BareNewline), "{content:?} by {size}");
            assert_eq!(without_pairs(&sent(&mut client)).find(['\r', '\n']), None, "{content:?} by {size}");
        }
    }
    assert_eq!(in_content().body(b"a\0"), Err(ClientError::Nul));
}

fn without_pairs(text: &str) -> String {
    text.replace("\r\n", "")
}

/// What a peer may say, and cuts of it.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    const LINES: [&str; 14] = [
        "250 ok\r\n",
        "250-more\r\n",
        "550 5.1.1 no\r\n",
        "354 go\r\n",
        "421 bye\r\n",
        "220 hi\r\n",
        "\r\n",
        "\n",
        "250\r\n",
        "2",
        "\r",
        "250-PIPELINING\r\n",
        "250 2.0.0 fine\r\n",
        "251-other\r\n",
    ];
    prop_oneof![
        10 => proptest::sample::select(&LINES[..]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => (500_usize..540).prop_map(|n| [b"250 ".to_vec(), vec![b'x'; n], b"\r\n".to_vec()].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cuts_of_replies_do_not_matter(
        fragments in proptest::collection::vec(fragment(), 0..12),
        at in any::<proptest::sample::Index>(),
        size in 1_usize..30,
    ) {
        let input = fragments.concat();
        let whole = listen([&input[..]]);
        prop_assert_eq!(&whole, &listen(input.chunks(1)));
        prop_assert_eq!(&whole, &listen(input.chunks(size)));
        let (front, back) = input.split_at(at.index(input.len() + 1));
        prop_assert_eq!(&whole, &listen([front, back]));
    }

    #[test]
    fn cuts_of_content_do_not_matter_and_nothing_bare_goes_out(
        content in proptest::collection::vec(prop_oneof![Just("\r\n"), Just("."), Just("a"), Just("\n"), Just("\r"), Just("\r\n.\r\n")], 0..20),
        size in 1_usize..9,
        clean: bool,
    ) {
        let content = content.concat();
        let content = if clean { content.replace("\r\n", "\u{1}").replace(['\r', '\n'], "").replace('\u{1}', "\r\n") } else { content };
        let send = |size: usize| {
            let mut client = in_content();
            let written = content.as_bytes().chunks(size).try_for_each(|chunk| client.body(chunk));
            let ended = written.and_then(|()| client.end_body());
            (ended, sent(&mut client))
        };
        let (whole, whole_sent) = send(content.len().max(1));
        let (cut, cut_sent) = send(size);
        prop_assert_eq!(&whole, &cut);
        prop_assert_eq!(without_pairs(&cut_sent).find(['\r', '\n']), None);
        prop_assert!(!clean || whole.is_ok());
        if whole.is_ok() {
            prop_assert_eq!(&whole_sent, &cut_sent);
            // The only end is at the end.
            prop_assert_eq!(format!("\r\n{whole_sent}").find("\r\n.\r\n"), Some(whole_sent.len() - 3));
        }
    }
}
