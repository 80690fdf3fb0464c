//! The server: bad input, smuggling, and every way of cutting the input.
#![allow(clippy::unwrap_used)]

mod play;

use angarium_smtp::{Cut, Event, Extensions, Server, ServerSettings, State};
use play::{TO_CONTENT, normalising, play, play_bytewise, play_whole, settings, small};
use proptest::prelude::*;
use std::sync::Arc;

/// The last reply that `lines` get, played whole and byte by byte.
fn last_reply(settings: &ServerSettings, lines: &str) -> String {
    let whole = play_whole(settings, lines.as_bytes());
    assert_eq!(whole, play_bytewise(settings, lines.as_bytes()), "{lines:?}");
    whole.output.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn bad_commands() {
    let long = "x".repeat(600);
    let ehlo = "EHLO c.example\r\n";
    let mail = "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n";
    #[rustfmt::skip]
    let table: &[(&str, &str, &str)] = &[
        ("",   &format!("NOOP {long}\r\n"), "500 5.5.2"),
        ("",   &format!("NOOP {}\r\n", &long[..505]), "250 2.0.0"),
        ("",   &format!("NOOP {}\r\n", &long[..506]), "500 5.5.2"),
        ("",   "FROB x\r\n", "500 5.5.1"),
        ("",   "\r\n", "500 5.5.1"),
        ("",   " NOOP\r\n", "500 5.5.1"),
        ("",   "NOOP\n", "500 5.5.2"),
        ("",   "NOOP\nNOOP\r\n", "500 5.5.2"),
        ("",   "NOOP\nNOOP\r\nNOOP\r\n", "250 2.0.0"),
        ("",   "\n\r\nNOOP\r\n", "250 2.0.0"),
        ("",   &format!("NOOP {long}{long}{long}\nNOOP\r\n"), "500 5.5.2"),
        ("",   &format!("NOOP {long}{long}{long}\nNOOP\r\nNOOP\r\n"), "250 2.0.0"),
        ("",   &format!("NOOP {long}{long}{long}\r\nNOOP\r\n"), "250 2.0.0"),
        ("",   "NO\rOP\r\n", "500 5.5.2"),
        ("",   "NOOP a\0b\r\n", "500 5.5.2"),
        ("",   "EXPN list\r\n", "502 5.5.1"),
        ("",   "STARTTLS\r\n", "502 5.5.1"),
        ("",   "GET / HTTP/1.1\r\n", "421 4.7.0"),
        ("",   "MAIL FROM:<a@b.example>\r\n", "503 5.5.1"),
        ("",   "RCPT TO:<a@b.example>\r\n", "503 5.5.1"),
        ("",   "DATA\r\n", "503 5.5.1"),
        ("",   "EHLO\r\n", "501 5.5.4"),
        ("",   "EHLO a b\r\n", "501 5.5.4"),
        ("",   "HELO a(b)\r\n", "501 5.5.4"),
        (ehlo, "RSET now\r\n", "501 5.5.4"),
        (ehlo, "VRFY\r\n", "501 5.5.4"),
        (ehlo, "RCPT TO:<a@b.example>\r\n", "503 5.5.1"),
        (ehlo, "MAIL\r\n", "501 5.5.4"),
        (ehlo, "MAIL FROM <a@b.example>\r\n", "501 5.5.4"),
        (ehlo, "MAIL FROM:a@b.example\r\n", "501 5.1.7"),
        (ehlo, "MAIL FROM:<a@b.example\r\n", "501 5.1.7"),
        (ehlo, "MAIL FROM:<a@b@c.example>\r\n", "501 5.1.7"),
        (ehlo, "MAIL FROM:<a>\r\n", "501 5.1.7"),
        (ehlo, "MAIL FROM:<a@b.example>SIZE=1\r\n", "501 5.1.7"),
        (ehlo, "MAIL FROM:<@a.example>\r\n", "501 5.1.7"),
        (ehlo, "MAIL FROM:<a@b.example> FROB=1\r\n", "555 5.5.4"),
        (ehlo, "MAIL FROM:<a@b.example> AUTH=<>\r\n", "555 5.5.4"),
        (ehlo, "MAIL FROM:<a@b.example> BODY=9BIT\r\n", "501 5.5.4"),
        (ehlo, "MAIL FROM:<a@b.example> BODY\r\n", "501 5.5.4"),
        (ehlo, "MAIL FROM:<a@b.example> SIZE=x\r\n", "501 5.5.4"),
        (ehlo, "MAIL FROM:<a@b.example> SIZE=1 SIZE=1\r\n", "501 5.5.4"),
        (ehlo, "MAIL FROM:<a@b.example> SMTPUTF8=1\r\n", "501 5.5.4"),
        (ehlo, "MAIL FROM:<a@b.example> SIZE=3001\r\n", "552 5.3.4"),
        (ehlo, "MAIL FROM:<a@b.example> SIZE=99999999999999999999\r\n", "552 5.3.4"),
        (ehlo, "MAIL FROM:<a@b.example> SIZE=3000\r\n", "250 2.1.0"),
        (ehlo, "MAIL FROM:<jörg@b.example>\r\n", "553 5.6.7"),
        (ehlo, "MAIL FROM:<jörg@b.example> SMTPUTF8\r\n", "250 2.1.0"),
        (ehlo, "mail from: <a@b.example> size=10 body=8bitmime  \r\n", "250 2.1.0"),
        (ehlo, "MAIL FROM:<@x.example,@[IPv6:::1]:a@b.example>\r\n", "250 2.1.0"),
        (ehlo, "MAIL FROM:<\"a> b\"@b.example>\r\n", "250 2.1.0"),
        (ehlo, "MAIL FROM:<>\r\n", "250 2.1.0"),
        ("HELO c.example\r\n", "MAIL FROM:<a@b.example> SIZE=1\r\n", "555 5.5.4"),
        (mail, "MAIL FROM:<a@b.example>\r\n", "503 5.5.1"),
        (mail, "DATA\r\n", "503 5.5.1"),
        (mail, "RCPT TO:<>\r\n", "501 5.1.3"),
        (mail, "RCPT TO:<a@>\r\n", "501 5.1.3"),
        (mail, "RCPT TO:<a@b.example> SIZE=1\r\n", "555 5.5.4"),
        (mail, "RCPT TO:<Postmaster>\r\n", "250 2.1.5"),
        (mail, "RCPT TO:<j\u{f6}rg@b.example>\r\n", "553 5.6.7"),
        (mail, &format!("RCPT TO:<{}@b.example>\r\n", &long[..65]), "501 5.1.3"),
    ];
    for (before, line, expected) in table {
        let reply = last_reply(&small(), &format!("{before}{line}"));
        assert!(reply.starts_with(expected), "{line:?} got {reply:?}, not {expected}");
    }
}

#[test]
fn a_line_that_is_too_long_is_one_mistake_and_the_next_is_read() {
    let input = format!("NOOP {}\r\r\nNOOP\r\n", "y".repeat(100_000));
    let transcript = play_whole(&settings(), input.as_bytes());
    assert_eq!(transcript.codes(), ["220", "500", "250"]);
    assert_eq!(transcript, play_bytewise(&settings(), input.as_bytes()));
}

/// Every line gets its answer; a command that stands behind a bare LF, where an address was, is not obeyed.
#[test]
fn every_bare_lf_is_answered_and_nothing_behind_it_obeyed() {
    #[rustfmt::skip]
    let table: &[(&str, &[&str])] = &[
        ("NOOP\nNOOP\nNOOP\n", &["500", "500", "500"]),
        ("NOOP\nQUIT\r\nNOOP\r\n", &["500", "500", "250"]),
        ("EHLO c\r\nMAIL FROM:<a\nMAIL FROM:<b@c.example>\r\nRSET\r\n", &["250", "500", "500", "250"]),
        ("EHLO c\r\nMAIL FROM:<a\n>\r\nMAIL FROM:<b@c.example>\r\n", &["250", "500", "500", "250"]),
        ("NOOP\n\rNOOP\r\nNOOP\r\n", &["500", "500", "250"]),
    ];
    for (input, expected) in table {
        let transcript = play_whole(&settings(), input.as_bytes());
        assert_eq!(transcript.codes()[1..], **expected, "{input:?}");
        assert_eq!(transcript, play_bytewise(&settings(), input.as_bytes()));
    }
}

#[test]
fn the_mail_line_grows_by_its_extensions() {
    let fill = |length: usize| format!("EHLO c.example\r\nMAIL FROM:<a@b.example>{}\r\n", " ".repeat(length - 25));
    assert!(last_reply(&settings(), &fill(512 + 26 + 16 + 10)).starts_with("250"));
    assert!(last_reply(&settings(), &fill(512 + 26 + 16 + 10 + 1)).starts_with("500 5.5.2"));
    let without = ServerSettings { extensions: Extensions::STANDARD.without(Extensions::SIZE), ..settings() };
    assert!(last_reply(&without, &fill(512 + 16 + 10)).starts_with("250"));
    assert!(last_reply(&without, &fill(512 + 16 + 10 + 1)).starts_with("500 5.5.2"));
}

#[test]
fn too_many_errors_end_the_session() {
    let settings = ServerSettings { max_errors: 3, ..settings() };
    let transcript = play_whole(&settings, b"A\r\nB\r\nC\r\nD\r\nNOOP\r\n");
    assert_eq!(transcript.codes(), ["220", "500", "500", "421"]);
    assert_eq!(transcript.state, Some(State::Closed));
    assert!(transcript.events.last().unwrap().starts_with("Hangup"));
}

#[test]
fn too_many_recipients() {
    let rcpt = "RCPT TO:<c@d.example>\r\n".repeat(5);
    let input = format!("EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n{rcpt}DATA\r\nx\r\n.\r\n");
    let transcript = play_whole(&small(), input.as_bytes());
    assert_eq!(transcript.codes(), ["220", "250", "250", "250", "250", "250", "452", "452", "354", "250"]);
}

/// RFC 2920: a client that pipelines behind a refusal is answered, not punished.
#[test]
fn pipelined_behind_a_refusal() {
    let settings = ServerSettings { max_errors: 2, ..settings() };
    let rcpt = "RCPT TO:<c@d.example>\r\n".repeat(4);
    let refused = format!("EHLO c\r\nMAIL FROM:<refuse@b.example>\r\n{rcpt}DATA\r\nMAIL FROM:<a@b.example>\r\n");
    let transcript = play_whole(&settings, refused.as_bytes());
    assert_eq!(transcript.codes(), ["220", "250", "550", "503", "503", "503", "503", "503", "250"]);
    let nobody = "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<refuse@d.example>\r\nDATA\r\nRSET\r\n";
    let transcript = play_whole(&settings, nobody.as_bytes());
    assert_eq!(transcript.codes(), ["220", "250", "250", "550", "554", "250"]);
}

/// Only CRLF.CRLF ends a message: whatever else looks like an end gets 550 at the real one, and what stands behind it
/// is content, never a second message.
#[test]
fn smuggling_endings() {
    #[rustfmt::skip]
    let endings = [
        "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\r\n.\r\r\n", "\n\n.\n\n", "\r\n.\0\r\n",
        "\0\r\n.\n", "\n.\0\n", "\r\n\0.\r\n", "\r\n.\r\0\n", "\n\r.\r\n", "\r\r.\r\r", "\r\n.\r\r\n", "\r.\n", "\n.\r",
    ];
    for ending in endings {
        let smuggled = "MAIL FROM:<evil@b.example>\r\nRCPT TO:<victim@d.example>\r\nDATA\r\nSubject: evil\r\n";
        let input = format!("{TO_CONTENT}first{ending}{smuggled}\r\n.\r\nQUIT\r\n");
        for split in 0..input.len() {
            let (front, back) = input.as_bytes().split_at(split);
            let transcript = play(&settings(), [front, back]);
            assert_eq!(transcript.codes(), ["220", "250", "250", "250", "354", "550", "221"], "{ending:?} at {split}");
            assert!(transcript.bodies.is_empty());
        }
    }
}

/// Where CR and LF may be normalised, an ending that is none becomes text, and goes out so that it stays text.
#[test]
fn smuggling_endings_normalised() {
    #[rustfmt::skip]
    let table = [
        ("a\n.\nb", "a\r\n.\r\nb\r\n"),
        ("a\n.\r\nb", "a\r\n.\r\nb\r\n"),
        ("a\r\n.\nb", "a\r\n\r\nb\r\n"),
        ("a\r.\rb", "a\r\n.\r\nb\r\n"),
        ("a\r.\r\nb", "a\r\n.\r\nb\r\n"),
        ("a\r\n.\rb", "a\r\n\r\nb\r\n"),
        ("a\r\n..\r\nb", "a\r\n.\r\nb\r\n"),
        ("a\r\rb\n\nc\r\r\n", "a\r\n\r\nb\r\n\r\nc\r\n\r\n\r\n"),
    ];
    for (sent, kept) in table {
        let input = format!("{TO_CONTENT}{sent}\r\n.\r\nQUIT\r\n");
        let transcript = play_whole(&normalising(), input.as_bytes());
        assert_eq!(transcript.bodies, [kept.as_bytes()], "{sent:?}");
        assert_eq!(transcript, play_bytewise(&normalising(), input.as_bytes()));
    }
    let nul = format!("{TO_CONTENT}a\0b\r\n.\r\n");
    assert!(last_reply(&normalising(), &nul).starts_with("550 5.6.0"));
}

#[test]
fn content_limits() {
    #[rustfmt::skip]
    let table = [
        ("x".repeat(998), "250"), ("x".repeat(999), "500 5.5.2"), (format!(".{}", "x".repeat(998)), "250"),
        ("xxxxxxxx\r\n".repeat(300)[..2998].into(), "250"), ("xxxxxxxx\r\n".repeat(300)[..2995].to_owned() + "wxyz", "552 5.3.4"),
        (String::new(), "250"), ("\u{fc}".repeat(400), "250"),
    ];
    for (content, expected) in table {
        let reply = last_reply(&small(), &format!("{TO_CONTENT}{content}\r\n.\r\n"));
        assert!(reply.starts_with(expected), "{} octets: {reply:?}, not {expected}", content.len());
    }
}

#[test]
fn eight_bit_content_is_taken_as_what_it_is() {
    let transcript = play_whole(&settings(), format!("{TO_CONTENT}gr\u{fc}n\r\n.\r\n").as_bytes());
    assert_eq!(transcript.events.last().unwrap(), "End { size: 7, body: EightBitMime }");
}

#[test]
fn talk_before_the_greeting() {
    let mut server = Server::new(Arc::new(settings()));
    assert_eq!(server.receive(b"EHLO c.example\r\n"), (0, Event::Early));
    assert!(server.output().is_empty());
    server.refuse(&angarium_nouns::Reply::new(554, (5, 7, 1), "You spoke first"));
    assert_eq!(server.receive(b"EHLO c.example\r\nQUIT\r\n"), (22, Event::Quit));
    let said = String::from_utf8(std::mem::take(server.output())).unwrap();
    assert_eq!(said.lines().map(|line| &line[..3]).collect::<Vec<_>>(), ["554", "503", "221"]);
}

/// RFC 5321 4.1.1.4: what comes behind DATA is content if 354 is given and commands if not.
#[test]
fn content_sent_before_354() {
    let input = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nNOOP\r\n.\r\n";
    let mut server = Server::new(Arc::new(settings()));
    server.greet();
    let mut at = 0;
    while server.awaits() != Some(angarium_smtp::Verb::Data) {
        let (used, _) = server.receive(&input[at..]);
        at += used;
        if server.awaits() != Some(angarium_smtp::Verb::Data) {
            server.accept();
        }
    }
    assert_eq!(server.receive(&input[at..]), (0, Event::Need));
    server.reply(&angarium_nouns::Reply::new(451, (4, 3, 0), "Not now"));
    server.output().clear();
    let (used, event) = server.receive(&input[at..]);
    assert_eq!((used, event), (input.len() - at, Event::Need));
    let said = String::from_utf8(std::mem::take(server.output())).unwrap();
    assert!(said.starts_with("250 2.0.0") && said.contains("\r\n500 5.5.1"), "{said}");
}

#[test]
fn the_end_of_input_says_what_it_cut() {
    let cut = |input: &str| {
        let mut server = Server::new(Arc::new(settings()));
        server.greet();
        let mut at = 0;
        while at < input.len() {
            at += server.receive(&input.as_bytes()[at..]).0;
            if server.awaits().is_some() {
                server.accept();
            }
        }
        server.eof()
    };
    assert_eq!(cut("EHLO c\r\n"), Cut::Nothing);
    assert_eq!(cut("EHLO c\r\nMA"), Cut::Command);
    assert_eq!(cut("EHLO c\r\nMAIL FROM:<>\r\n"), Cut::Transaction);
    assert_eq!(cut(&format!("{TO_CONTENT}text\r\n.")), Cut::Content);
    assert_eq!(cut("QUIT\r\n"), Cut::Nothing);
}

#[test]
fn extensions_can_be_left_out() {
    let settings = ServerSettings { extensions: Extensions::NONE, ..settings() };
    let transcript = play_whole(&settings, b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nFROB\r\n");
    assert!(transcript.output.ends_with("250 mx.example\r\n250 Sender OK\r\n500 Unknown command\r\n"));
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Server>() < 300, "{}", size_of::<Server>());
}

/// The content of a message, by the letter: up to the first CRLF.CRLF, dots at line starts taken out.
fn by_the_letter(sent: &[u8]) -> Option<Vec<u8>> {
    let with_newline = [b"\r\n", sent].concat();
    let end = memchr::memmem::find(&with_newline, b"\r\n.\r\n")?;
    let mut kept = Vec::new();
    for (at, &octet) in with_newline[..end + 2].iter().enumerate().skip(2) {
        let stuffed = octet == b'.' && with_newline[..at].ends_with(b"\r\n");
        kept.extend((!stuffed).then_some(octet));
    }
    Some(kept)
}

fn normalise(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(content.to_vec()).unwrap();
    text.replace("\r\n", "\u{1}").replace(['\r', '\n'], "\u{1}").replace('\u{1}', "\r\n").into_bytes()
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    const LINES: [&str; 25] = [
        "EHLO c.example\r\n",
        "HELO c.example\r\n",
        "MAIL FROM:<a@b.example> SIZE=100\r\n",
        "MAIL FROM:<>\r\n",
        "MAIL FROM:<refuse@b.example>\r\n",
        "RCPT TO:<c@d.example>\r\n",
        "RCPT TO:<refuse@d.example>\r\n",
        "DATA\r\n",
        "RCPT TO:<later@d.example>\r\n",
        "DATA\r\n",
        "\r\n.\r\n",
        ".\r\n",
        "text\r\n",
        "..text\r\n",
        ".",
        "\r",
        "\n",
        "\0",
        "\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "QUIT\r\n",
        "VRFY x\r\n",
        "FROB\r\n",
        "MAIL FROM:<\r\n",
    ];
    prop_oneof![
        12 => proptest::sample::select(&LINES[..]).prop_map(|line| line.as_bytes().to_vec()),
        1 => (400_usize..1_400).prop_map(|length| vec![b'x'; length]),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
        2 => Just(TO_CONTENT.as_bytes().to_vec()),
    ]
}

fn cut<'a>(input: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let (mut parts, mut rest) = (Vec::new(), input);
    for &length in lengths.iter().cycle() {
        let (part, behind) = rest.split_at(length.min(rest.len()));
        parts.push(part);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cuts_do_not_matter(
        fragments in proptest::collection::vec(fragment(), 0..30),
        lengths in proptest::collection::vec(1_usize..40, 1..20),
        lenient: bool,
        max_errors in prop_oneof![Just(4_u32), Just(1_000)],
    ) {
        let settings = if lenient { normalising() } else { small() };
        let settings = ServerSettings { max_errors, ..settings };
        let input = fragments.concat();
        let whole = play_whole(&settings, &input);
        prop_assert_eq!(&whole, &play_bytewise(&settings, &input));
        prop_assert_eq!(&whole, &play(&settings, cut(&input, &lengths)));
        prop_assert!(whole.output.ends_with("\r\n"));
    }

    #[test]
    fn content_is_read_by_the_letter(sent in "[a.\r\n\0]{0,40}(\r\n)?\\.\r\n", lenient: bool) {
        let settings = if lenient { normalising() } else { small() };
        let transcript = play_whole(&settings, format!("{TO_CONTENT}{sent}").as_bytes());
        let expected = by_the_letter(sent.as_bytes());
        let refused = expected.as_ref().is_some_and(|kept| {
            kept.contains(&0) || (!lenient && normalise(kept) != *kept)
        });
        match (transcript.bodies.first(), expected) {
            (Some(body), Some(kept)) => prop_assert_eq!(body, &normalise(&kept)),
            (None, kept) => prop_assert!(kept.is_none() || refused),
            (Some(_), None) => prop_assert!(false, "a message without an end"),
        }
    }

    /// Which breach comes first is a matter of octets, not of reads.
    #[test]
    fn limits_do_not_depend_on_cuts(
        sent in "([a.\r\n\0]|a{9}){0,60}(\r\n)?\\.\r\n",
        max_size in 1_u64..60,
        size in 1_usize..9,
        lenient: bool,
    ) {
        let settings = ServerSettings { max_size, ..if lenient { normalising() } else { small() } };
        let input = format!("{TO_CONTENT}{sent}");
        let whole = play_whole(&settings, input.as_bytes());
        prop_assert_eq!(&whole, &play_bytewise(&settings, input.as_bytes()));
        prop_assert_eq!(&whole, &play(&settings, input.as_bytes().chunks(size)));
    }
}
