//! The client's extensions: what goes out, what may come back, what is refused before it is sent.
#![allow(clippy::unwrap_used)]

mod play;

use std::sync::Arc;

use angarium_nouns::{BodyType, DsnNotify, DsnReturn};
use angarium_smtp::sasl::{Mechanism, Mechanisms};
use angarium_smtp::{
    ByMode, Client, ClientError, Command, CommandKind, DeliverBy, Event, Extensions, Hold, Limits, MailParameters,
    RcptParameters, Server, ServerSettings,
};
use play::{GREETING, NOON, extended, lmtp};
use proptest::prelude::*;

const EHLO: &[u8] = b"250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-STARTTLS\r\n\
    250-AUTH PLAIN LOGIN\r\n250-AUTH=SCRAM-SHA-256 FROB\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-DSN\r\n250-DELIVERBY 240\r\n\
    250-FUTURERELEASE 3600 2026-11-26T12:00:00Z\r\n250-MT-PRIORITY MIXER\r\n250-REQUIRETLS\r\n\
    250-LIMITS RCPTMAX=20 FROB=1 mailmax=5 RCPTDOMAINMAX=x\r\n250-ETRN\r\n250-PRDR\r\n250-XCLIENT NAME ADDR\r\n250 XFORWARD NAME\r\n";

fn ready_with(ehlo: &[u8]) -> Client {
    let mut client = Client::new();
    client.receive(GREETING).unwrap();
    client.send(Command::Ehlo("c.example")).unwrap();
    client.receive(ehlo).unwrap();
    codes(&mut client);
    client.output().clear();
    client
}

fn ready() -> Client {
    ready_with(EHLO)
}

fn codes(client: &mut Client) -> Vec<(CommandKind, u16)> {
    std::iter::from_fn(|| client.next_reply()).map(|(kind, reply)| (kind, reply.code)).collect()
}

fn sent(client: &mut Client) -> String {
    String::from_utf8(std::mem::take(client.output())).unwrap()
}

fn mail(client: &mut Client, parameters: MailParameters<'_>) -> Result<String, ClientError> {
    client.send(Command::Mail("a@b.example", parameters))?;
    Ok(sent(client))
}

#[test]
fn capabilities() {
    let client = ready();
    let peer = client.capabilities();
    let known: Mechanisms = [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256].into_iter().collect();
    assert_eq!(peer.mechanisms, known);
    assert_eq!(peer.limits, Limits { mails: 5, recipients: 20, domains: 0 });
    assert_eq!((peer.deliver_by_minimum, peer.hold_maximum), (Some(240), Some(3_600)));
    let all = Extensions::ALL.without(Extensions::EXPN).without(Extensions::ENHANCED_STATUS_CODES);
    assert_eq!(peer.extensions, all);
}

#[test]
fn parameters_go_out_as_the_standards_write_them() {
    let all = MailParameters {
        size: Some(9),
        body: BodyType::BinaryMime,
        smtputf8: true,
        ret: DsnReturn::Full,
        envid: Some("a b+c"),
        by: Some(DeliverBy { seconds: -5, mode: ByMode::Notify, trace: true }),
        hold: Some(Hold::For(60)),
        priority: Some(-4),
        require_tls: true,
        auth: Some("x=y@z.example"),
        prdr: true,
    };
    let mut client = ready();
    assert_eq!(
        mail(&mut client, all).unwrap(),
        "MAIL FROM:<a@b.example> SIZE=9 BODY=BINARYMIME SMTPUTF8 RET=FULL ENVID=a+20b+2Bc AUTH=x+3Dy@z.example BY=-5;NT \
         HOLDFOR=60 MT-PRIORITY=-4 REQUIRETLS PRDR\r\n"
    );
    let orcpt = |text| RcptParameters { notify: DsnNotify(DsnNotify::SUCCESS | DsnNotify::DELAY), orcpt: Some(text) };
    client.send(Command::Rcpt("c@d.example", orcpt("rfc822;x=y@z.example"))).unwrap();
    client.send(Command::Rcpt("c@d.example", orcpt("utf-8;j\u{f6}rg+@z.example"))).unwrap();
    assert_eq!(
        sent(&mut client),
        "RCPT TO:<c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+3Dy@z.example\r\n\
         RCPT TO:<c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;j\u{f6}rg\\x{2B}@z.example\r\n"
    );
    let mut client = ready();
    let until = MailParameters { hold: Some(Hold::Until(NOON)), auth: Some(""), ..MailParameters::default() };
    assert_eq!(mail(&mut client, until).unwrap(), "MAIL FROM:<a@b.example> AUTH=<> HOLDUNTIL=2026-11-25T12:00:00Z\r\n");
    client.send(Command::Rcpt("c@d.example", orcpt("utf-8;j\u{f6}rg@z.example"))).unwrap();
    assert!(sent(&mut client).ends_with("ORCPT=utf-8;j\\x{F6}rg@z.example\r\n"), "no UTF-8 without SMTPUTF8");
}

#[test]
fn what_the_peer_lacks() {
    let plain = MailParameters::default();
    #[rustfmt::skip]
    let table = [
        (MailParameters { body: BodyType::BinaryMime, ..plain }, Some("BINARYMIME")),
        (MailParameters { by: Some(DeliverBy { seconds: 9, mode: ByMode::Return, trace: false }), ..plain }, Some("DELIVERBY")),
        (MailParameters { hold: Some(Hold::For(1)), ..plain }, Some("FUTURERELEASE")),
        (MailParameters { priority: Some(0), ..plain }, Some("MT-PRIORITY")),
        (MailParameters { require_tls: true, ..plain }, Some("REQUIRETLS")),
        (MailParameters { ret: DsnReturn::Headers, envid: Some("x"), auth: Some("a@b"), prdr: true, size: Some(1), ..plain }, None),
    ];
    for (parameters, lacks) in table {
        let mut client = ready_with(b"250 mx.example\r\n");
        match lacks {
            Some(name) => assert_eq!(mail(&mut client, parameters), Err(ClientError::NotOffered(name))),
            None => assert_eq!(mail(&mut client, parameters).unwrap(), "MAIL FROM:<a@b.example>\r\n"),
        }
    }
    let mut client = ready_with(b"250-mx.example\r\n250 PIPELINING\r\n");
    for (command, name) in [
        (Command::StartTls, "STARTTLS"),
        (Command::Auth { mechanism: "PLAIN", initial: None }, "AUTH"),
        (Command::Bdat { size: 1, last: true }, "CHUNKING"),
        (Command::Etrn("x.example"), "ETRN"),
        (Command::Xclient(&[("ADDR", "x")]), "XCLIENT"),
        (Command::Xforward(&[("NAME", "x")]), "XFORWARD"),
    ] {
        assert_eq!(client.send(command), Err(ClientError::NotOffered(name)));
    }
    let with_orcpt = RcptParameters { notify: DsnNotify(DsnNotify::NEVER), orcpt: Some("rfc822;x") };
    client.send(Command::Rcpt("a@b.example", with_orcpt)).unwrap();
    assert_eq!(sent(&mut client), "RCPT TO:<a@b.example>\r\n");
}

#[test]
fn nothing_breaks_a_line() {
    for bad in ["a\r\nQUIT", "a\nb", "a\0", "\u{fc}"] {
        let mut client = ready();
        let plain = MailParameters::default();
        assert_eq!(mail(&mut client, MailParameters { envid: Some(bad), ..plain }), Err(ClientError::Argument));
        assert_eq!(mail(&mut client, MailParameters { auth: Some(bad), ..plain }), Err(ClientError::Argument));
        let orcpt = format!("rfc822;{bad}");
        assert!(
            client
                .send(Command::Rcpt("a@b.example", RcptParameters { orcpt: Some(&orcpt), ..RcptParameters::default() }))
                .is_err()
        );
        assert_eq!(client.send(Command::Auth { mechanism: bad, initial: None }), Err(ClientError::Argument));
        client.send(Command::Xclient(&[("NAME", bad)])).unwrap();
        let line = sent(&mut client);
        assert!(line.is_ascii() && line.strip_suffix("\r\n").is_some_and(|line| !line.contains(['\r', '\n', '\0'])));
        assert_eq!(ready().send(Command::Xclient(&[(bad, "x")])), Err(ClientError::Argument));
        if !bad.is_ascii() {
            continue;
        }
        assert_eq!(ready().send(Command::Etrn(bad)), Err(ClientError::Argument));
        assert_eq!(ready().send(Command::Lhlo(bad)), Err(ClientError::Argument));
    }
    let mut client = ready();
    assert_eq!(
        mail(&mut client, MailParameters { priority: Some(10), ..MailParameters::default() }),
        Err(ClientError::Argument)
    );
    for bad in ["x", ";a", "a b;c", "rfc822;"] {
        let parameters = RcptParameters { orcpt: Some(bad), ..RcptParameters::default() };
        assert_eq!(client.send(Command::Rcpt("a@b.example", parameters)), Err(ClientError::Argument), "{bad:?}");
    }
    assert_eq!(sent(&mut client), "", "nothing of it was written");
}

#[test]
fn chunks_go_out() {
    let mut client = ready();
    mail(&mut client, MailParameters::default()).unwrap();
    client.send(Command::Rcpt("c@d.example", RcptParameters::default())).unwrap();
    client.send(Command::Bdat { size: 4, last: false }).unwrap();
    assert!(!client.may_send(), "octets are owed");
    assert_eq!(client.send(Command::Rset), Err(ClientError::OutOfTurn));
    assert_eq!(client.chunk(b"12345"), Err(ClientError::OutOfTurn), "more than was said");
    client.chunk(b".\r").unwrap();
    assert_eq!(client.chunk_left(), 2);
    client.chunk(b"\n\r").unwrap();
    client.send(Command::Bdat { size: 1, last: true }).unwrap();
    client.chunk(b"\n").unwrap();
    client.send(Command::Mail("", MailParameters::default())).unwrap();
    assert_eq!(sent(&mut client), "RCPT TO:<c@d.example>\r\nBDAT 4\r\n.\r\n\rBDAT 1 LAST\r\n\nMAIL FROM:<>\r\n");
    client.receive(b"250 one\r\n250 two\r\n250 three\r\n250 four\r\n250 five\r\n").unwrap();
    assert_eq!(
        codes(&mut client),
        [
            (CommandKind::Mail, 250),
            (CommandKind::Rcpt, 250),
            (CommandKind::Bdat, 250),
            (CommandKind::Content, 250),
            (CommandKind::Mail, 250)
        ]
    );
    let mut client = ready();
    client.send(Command::Bdat { size: 0, last: true }).unwrap();
    assert!(client.may_send(), "nothing is owed");
    assert_eq!(client.chunk(b""), Err(ClientError::OutOfTurn));
}

#[test]
fn chunks_of_lines_hold_nothing_bare() {
    for content in ["a\nb", "a\rb", "\r\r\n", "a\r", "\n", "a\r\n\r"] {
        for size in 1..=content.len() {
            let mut client = ready();
            mail(&mut client, MailParameters::default()).unwrap();
            let chunks: Vec<_> = content.as_bytes().chunks(size).collect();
            let written = chunks.iter().enumerate().try_for_each(|(at, chunk)| {
                client.send(Command::Bdat { size: chunk.len() as u64, last: at + 1 == chunks.len() })?;
                client.chunk(chunk)
            });
            assert_eq!(written, Err(ClientError::BareNewline), "{content:?} by {size}");
            assert!(client.send(Command::Quit).is_err(), "the connection is of no more use");
        }
    }
    let mut client = ready();
    mail(&mut client, MailParameters::default()).unwrap();
    client.send(Command::Bdat { size: 1, last: true }).unwrap();
    assert_eq!(client.chunk(b"\0"), Err(ClientError::Nul));
    let mut client = ready();
    mail(&mut client, MailParameters { body: BodyType::BinaryMime, ..MailParameters::default() }).unwrap();
    assert_eq!(client.send(Command::Data), Err(ClientError::BinaryNeedsChunks));
    client.send(Command::Bdat { size: 3, last: true }).unwrap();
    client.chunk(b"\n\0\r").unwrap();
    let mut client = ready();
    client.send(Command::Bdat { size: 2, last: false }).unwrap();
    client.chunk(b"a\r").unwrap();
    assert_eq!(client.send(Command::Bdat { size: 0, last: true }), Err(ClientError::BareNewline));
}

/// CVE-2021-33515 and kin: what a peer says in clear behind its 220 is not heard under TLS.
#[test]
fn starttls_injection() {
    let injected = b"220 go\r\n250 2.1.0 injected\r\n";
    for cut in 0..injected.len() {
        let mut client = ready();
        client.send(Command::StartTls).unwrap();
        assert!(!client.may_send());
        let (front, back) = injected.split_at(cut);
        let heard = client.receive(front).and_then(|_| client.receive(back));
        assert_eq!(heard, Err(ClientError::Injected), "cut at {cut}");
        assert_eq!(client.send(Command::Quit), Err(ClientError::Injected));
    }
    let mut client = ready();
    client.send(Command::StartTls).unwrap();
    client.receive(b"220 go\r\n").unwrap();
    assert!(client.is_securing());
    assert_eq!(client.send(Command::Rset), Err(ClientError::OutOfTurn));
    client.secured();
    assert!(client.is_secure() && client.capabilities().lines.is_empty(), "what was said in clear is forgotten");
    let early = Command::Mail("a@b.example", MailParameters::default());
    assert_eq!(client.send(early), Err(ClientError::OutOfTurn), "EHLO comes first");
    client.send(Command::Ehlo("c.example")).unwrap();
    client.receive(b"250 mx.example\r\n").unwrap();
    client.send(early).unwrap();
    let mut client = ready();
    client.send(Command::StartTls).unwrap();
    client.receive(b"454 4.7.0 not now\r\n").unwrap();
    assert!(!client.is_securing() && client.may_send());
}

#[test]
fn logins() {
    let mut client = ready();
    client.send(Command::Auth { mechanism: "LOGIN", initial: None }).unwrap();
    client.receive(b"334 VXNlcm5hbWU6\r\n").unwrap();
    assert!(client.is_in_exchange());
    assert_eq!(client.send(Command::Rset), Err(ClientError::OutOfTurn));
    client.send(Command::AuthResponse(b"tim")).unwrap();
    client.receive(b"334 UGFzc3dvcmQ6\r\n").unwrap();
    client.send(Command::AuthCancel).unwrap();
    client.receive(b"501 5.7.0 cancelled\r\n").unwrap();
    assert!(!client.is_in_exchange());
    client.send(Command::Auth { mechanism: "PLAIN", initial: Some(b"") }).unwrap();
    client.receive(b"535 no\r\n").unwrap();
    client.send(Command::Auth { mechanism: "PLAIN", initial: Some(b"\0a\0b") }).unwrap();
    client.receive(b"235 yes\r\n").unwrap();
    assert_eq!(sent(&mut client), "AUTH LOGIN\r\ndGlt\r\n*\r\nAUTH PLAIN =\r\nAUTH PLAIN AGEAYg==\r\n");
    assert_eq!(
        codes(&mut client),
        [
            (CommandKind::Auth, 334),
            (CommandKind::Auth, 334),
            (CommandKind::Auth, 501),
            (CommandKind::Auth, 535),
            (CommandKind::Auth, 235)
        ]
    );
    assert_eq!(client.send(Command::AuthResponse(b"x")), Err(ClientError::OutOfTurn));
}

#[test]
fn xclient_begins_anew() {
    let mut client = ready();
    client.send(Command::Xclient(&[("ADDR", "192.0.2.1"), ("NAME", ""), ("LOGIN", "a b")])).unwrap();
    assert_eq!(sent(&mut client), "XCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE] LOGIN=a+20b\r\n");
    client.receive(b"220 mx.example\r\n").unwrap();
    assert!(client.capabilities().lines.is_empty());
    assert_eq!(client.send(Command::Mail("", MailParameters::default())), Err(ClientError::OutOfTurn));
}

/// Lets the server read what the client wrote; content is answered for each recipient.
fn serve(server: &mut Server, client: &mut Client) -> Vec<Vec<u8>> {
    let input = std::mem::take(client.output());
    let (mut at, mut bodies, mut body) = (0, Vec::new(), Vec::new());
    loop {
        let (used, event) = server.receive(&input[at..]);
        at += used;
        match event {
            Event::Need => break,
            Event::Body(text) => body.extend_from_slice(text),
            Event::End { .. } => {
                bodies.push(std::mem::take(&mut body));
                let replies: Vec<_> =
                    (0..server.recipients()).map(|_| angarium_nouns::Reply::plain(250, "kept")).collect();
                server.reply_each(&replies);
            }
            Event::Rcpt(rcpt) if rcpt.path.local() == "refuse" => {
                server.reply(&angarium_nouns::Reply::new(550, (5, 1, 1), "no"));
            }
            _ if server.awaits().is_some() => server.accept(),
            _ => {}
        }
    }
    let answers = std::mem::take(server.output());
    client.receive(&answers).unwrap();
    bodies
}

/// Two transactions in one breath, their recipients answered one by one; what is refused is not counted.
#[test]
fn per_recipient_replies_of_lmtp_and_prdr() {
    for (settings, prdr) in [(lmtp(), false), (extended(), true)] {
        let speaks_lmtp = settings.lmtp;
        let mut server = Server::new(Arc::new(ServerSettings { max_recipients: 10, ..settings }));
        let mut client = Client::new();
        server.greet();
        serve(&mut server, &mut client);
        client.send(if speaks_lmtp { Command::Lhlo("c.example") } else { Command::Ehlo("c.example") }).unwrap();
        serve(&mut server, &mut client);
        codes(&mut client);
        for recipients in [&["a", "refuse", "b"][..], &["c"]] {
            client.send(Command::Mail("a@b.example", MailParameters { prdr, ..MailParameters::default() })).unwrap();
            for local in recipients {
                client.send(Command::Rcpt(&format!("{local}@d.example"), RcptParameters::default())).unwrap();
            }
            client.send(Command::Bdat { size: 3, last: true }).unwrap();
            client.chunk(b"x\r\n").unwrap();
        }
        assert_eq!(serve(&mut server, &mut client), [b"x\r\n", b"x\r\n"]);
        let heard = codes(&mut client);
        let each = heard.iter().filter(|(kind, _)| *kind == CommandKind::ContentFor).count();
        let whole = heard.iter().filter(|(kind, _)| *kind == CommandKind::Content).count();
        assert_eq!((each, whole), if prdr { (3, 2) } else { (3, 0) });
        assert_eq!(client.outstanding(), 0);
        client.send(Command::Quit).unwrap();
        serve(&mut server, &mut client);
        assert_eq!(codes(&mut client), [(CommandKind::Quit, 221)]);
    }
}

#[test]
fn per_recipient_replies_out_of_step() {
    let mut client = ready();
    mail(&mut client, MailParameters { prdr: true, ..MailParameters::default() }).unwrap();
    client.send(Command::Rcpt("a@d.example", RcptParameters::default())).unwrap();
    client.send(Command::Bdat { size: 0, last: true }).unwrap();
    client.receive(b"250 ok\r\n250 ok\r\n353 go\r\n250 a\r\n550 whole\r\n").unwrap();
    assert_eq!(
        codes(&mut client),
        [
            (CommandKind::Mail, 250),
            (CommandKind::Rcpt, 250),
            (CommandKind::ContentFor, 250),
            (CommandKind::Content, 550)
        ]
    );
    assert_eq!(client.receive(b"250 one too many\r\n"), Err(ClientError::Unasked(250)));
    let mut client = ready();
    client.send(Command::Bdat { size: 0, last: true }).unwrap();
    assert_eq!(client.receive(b"353 go\r\n353 go\r\n"), Err(ClientError::OutOfStep(CommandKind::Content, 353)));
}

proptest! {
    /// Whatever replies come to whatever was sent, cuts of the reads change nothing.
    #[test]
    fn cuts_of_replies_do_not_matter(
        replies in proptest::collection::vec(proptest::sample::select(&[
            "250 ok\r\n", "550 no\r\n", "334 VA==\r\n", "235 yes\r\n", "220 go\r\n", "353 go\r\n", "421 bye\r\n", "250-a\r\n", "\r\n",
        ][..]), 0..14),
        last in 0_usize..4,
        size in 1_usize..20,
    ) {
        let listen = |size: usize| {
            let mut client = ready();
            client.send(Command::Mail("a@b.example", MailParameters { prdr: true, ..MailParameters::default() })).unwrap();
            client.send(Command::Rcpt("a@d.example", RcptParameters::default())).unwrap();
            client.send(Command::Rcpt("b@d.example", RcptParameters::default())).unwrap();
            client.send(Command::Bdat { size: 0, last: true }).unwrap();
            let command = [Command::StartTls, Command::Auth { mechanism: "PLAIN", initial: None }, Command::Rset, Command::Quit][last];
            client.send(command).unwrap();
            let input = replies.concat();
            let result = input.as_bytes().chunks(size).try_for_each(|part| client.receive(part).map(|_| ()));
            (codes(&mut client), result, client.is_securing(), client.is_in_exchange(), client.outstanding())
        };
        prop_assert_eq!(listen(1_000), listen(1));
        prop_assert_eq!(listen(1_000), listen(size));
    }

    /// What a client writes, a server reads as it was meant.
    #[test]
    fn what_is_written_is_read(
        envid in "[ -~]{1,30}",
        orcpt in "[ -~\u{e4}\u{20ac}]{1,30}",
        seconds in -9_999_i32..9_999,
        priority in -9_i8..=9,
        bits in 0_u8..16,
    ) {
        let mut server = Server::new(Arc::new(extended()));
        server.set_now(NOON);
        server.greet();
        let mut client = Client::new();
        serve(&mut server, &mut client);
        client.send(Command::Ehlo("c.example")).unwrap();
        serve(&mut server, &mut client);
        let by = DeliverBy { seconds, mode: ByMode::Notify, trace: seconds % 2 == 0 };
        let parameters = MailParameters { envid: Some(&envid), by: Some(by), priority: Some(priority), ..MailParameters::default() };
        client.send(Command::Mail("a@b.example", parameters)).unwrap();
        let input = std::mem::take(client.output());
        let (_, event) = server.receive(&input);
        let Event::Mail(mail) = event else { panic!("{event:?}") };
        prop_assert_eq!((mail.envid.as_deref(), mail.by, mail.priority), (Some(&*envid), Some(by), Some(priority)));
        server.accept();
        let notify = DsnNotify(if bits & DsnNotify::NEVER != 0 { DsnNotify::NEVER } else { bits });
        let orcpt = format!("utf-8;{orcpt}");
        client.receive(b"250 ok\r\n").unwrap();
        client.send(Command::Rcpt("c@d.example", RcptParameters { notify, orcpt: Some(&orcpt) })).unwrap();
        let input = std::mem::take(client.output());
        let (_, event) = server.receive(&input);
        let Event::Rcpt(rcpt) = event else { panic!("{event:?}") };
        prop_assert_eq!((rcpt.notify, rcpt.orcpt.as_deref()), (notify, Some(&*orcpt)));
    }
}
