//! Plays bytes to a server or a client and notes what happened; the fuzz targets play the same. What the site says can be
//! read off the addresses.
#![allow(clippy::unwrap_used, dead_code)]

use std::sync::Arc;

use angarium_nouns::Reply;
use angarium_smtp::sasl::Mechanism;
use angarium_smtp::{
    BareNewline, Client, ClientError, Command, CommandKind, Event, Extensions, Limits, Server, ServerSettings, State,
};

/// What a session said and did. Content is joined, since its slices follow the reads; what was dropped is left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    pub events: Vec<String>,
    pub output: String,
    pub bodies: Vec<Vec<u8>>,
    pub state: Option<State>,
}

impl Transcript {
    /// The codes of all replies, each reply once.
    pub fn codes(&self) -> Vec<&str> {
        let last = |line: &&str| line.as_bytes().get(3) != Some(&b'-');
        self.output.lines().filter(last).map(|line| &line[..3]).collect()
    }
}

pub fn settings() -> ServerSettings {
    ServerSettings::new("mx.example")
}

pub fn small() -> ServerSettings {
    ServerSettings { max_size: 3_000, max_line: 1_000, max_recipients: 3, max_errors: 1_000, ..settings() }
}

pub fn normalising() -> ServerSettings {
    ServerSettings { bare_newline: BareNewline::Normalise, ..small() }
}

/// All extensions, at noon of 25 November 2026.
pub fn extended() -> ServerSettings {
    ServerSettings {
        extensions: Extensions::ALL,
        mechanisms: Mechanism::ALL.into_iter().collect(),
        limits: Limits { mails: 20, recipients: 3, domains: 0 },
        deliver_by_minimum: 60,
        hold_maximum: 86_400,
        ..small()
    }
}

pub fn lmtp() -> ServerSettings {
    ServerSettings { lmtp: true, ..extended() }
}

pub const NOON: u64 = 1_795_608_000;

/// Plays `parts`, each as one read, to a greeted server.
pub fn play<'a>(settings: &ServerSettings, parts: impl IntoIterator<Item = &'a [u8]>) -> Transcript {
    let mut server = Server::new(Arc::new(settings.clone()));
    server.set_now(NOON);
    server.greet();
    let mut transcript = Transcript::default();
    let mut body = Vec::new();
    for part in parts {
        feed(&mut server, part, &mut transcript, &mut body);
    }
    transcript.output = String::from_utf8(std::mem::take(server.output())).unwrap();
    transcript.state = Some(server.state());
    transcript
}

pub fn play_whole(settings: &ServerSettings, input: &[u8]) -> Transcript {
    play(settings, [input])
}

pub fn play_bytewise(settings: &ServerSettings, input: &[u8]) -> Transcript {
    play(settings, input.chunks(1))
}

/// An EHLO, a sender, a recipient, DATA: everything up to the content.
pub const TO_CONTENT: &str = "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";

fn feed(server: &mut Server, part: &[u8], transcript: &mut Transcript, body: &mut Vec<u8>) {
    let mut at = 0;
    loop {
        let (used, event) = server.receive(&part[at..]);
        at += used;
        match event {
            Event::Need => break,
            Event::Body(text) => {
                assert!(!text.is_empty());
                body.extend_from_slice(text);
                continue;
            }
            Event::End { size, .. } => {
                assert_eq!(size, body.len() as u64);
                transcript.bodies.push(std::mem::take(body));
            }
            // The transaction is gone.
            Event::Broken(_) | Event::Reset | Event::Hello(_) => body.clear(),
            Event::Chunk(chunk) if chunk.size == REFUSED_CHUNK => body.clear(),
            _ => {}
        }
        transcript.events.push(format!("{event:?}"));
        if server.awaits().is_some() {
            answer(server, &event);
        }
    }
    assert!(at == part.len(), "a read was not used up");
}

fn answer(server: &mut Server, event: &Event<'_>) {
    match event {
        Event::Rcpt(rcpt) if rcpt.path.local() == "refuse" => server.reply(&Reply::new(550, (5, 1, 1), "No such user")),
        Event::Rcpt(rcpt) if rcpt.path.local() == "later" => server.reply(&Reply::new(451, (4, 2, 1), "Later")),
        Event::Mail(mail) if mail.path.as_ref().is_some_and(|path| path.local() == "refuse") => {
            server.reply(&Reply::new(550, (5, 7, 1), "Not you"));
        }
        Event::Chunk(chunk) if chunk.size == REFUSED_CHUNK => {
            server.reply(&Reply::new(452, (4, 3, 1), "No room for this chunk"));
        }
        Event::Auth(auth) => log_in(server, auth.initial.as_deref()),
        Event::AuthResponse(response) => log_in(server, Some(response)),
        Event::End { .. } if server.recipients() > 1 => {
            let each: Vec<_> = (0..server.recipients()).map(for_recipient).collect();
            server.reply_each(&each);
        }
        _ => server.accept(),
    }
}

/// A chunk of this size finds no room.
pub const REFUSED_CHUNK: u64 = 13;

fn log_in(server: &mut Server, response: Option<&[u8]>) {
    match response {
        None | Some(b"more" | b"") => server.challenge(b"go on"),
        Some(b"no") => server.reply(&Reply::new(535, (5, 7, 8), "No")),
        Some(_) => server.accept(),
    }
}

fn for_recipient(number: u32) -> Reply {
    if number.is_multiple_of(2) { Reply::new(250, (2, 0, 0), "Kept") } else { Reply::new(552, (5, 2, 2), "Full") }
}

pub const GREETING: &[u8] = b"220 mx.example ESMTP\r\n";
pub const EHLO: &[u8] = b"250-mx.example at your service\r\n250-PIPELINING\r\n250-size 1000\r\n\
    250-XCLIENT NAME ADDR\r\n250-8BITMIME\r\n250-AUTH=LOGIN\r\n250 SMTPUTF8\r\n";

/// What a client makes of a peer's bytes: replies, the error, whether content may follow.
pub type Heard = (Vec<(CommandKind, Reply)>, Result<(), ClientError>, bool);

/// Plays `parts`, each as one read, to a client that has pipelined three RSET and a DATA.
pub fn listen<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let mut client = Client::new();
    client.receive(GREETING).unwrap();
    client.send(Command::Ehlo("c.example")).unwrap();
    client.receive(EHLO).unwrap();
    for command in [Command::Rset, Command::Rset, Command::Rset, Command::Data] {
        client.send(command).unwrap();
    }
    let result = parts.into_iter().try_for_each(|part| client.receive(part).map(|used| assert_eq!(used, part.len())));
    let replies = std::iter::from_fn(|| client.next_reply()).collect();
    (replies, result, client.is_in_content())
}
