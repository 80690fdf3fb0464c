//! A peer on loopback that follows a script, so that every way of misbehaving is a few words.
//!
//! A script is a list of sessions, one for each connection that comes; the last serves all further ones. A session
//! is words apart by spaces: `220` says that reply, `ehlo` reads until a command of that verb has come, `dot` reads
//! a body to its end, `close`, `reset`, `hang`, `pause` (until told), `drip` (one octet of a reply every 20 ms, for ever), `junk`, and
//! `sink`: a good server from here on. `!` in front of the verb says that its answer `250` is to be sent at once.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A message that the peer has taken (its dot was answered with 250).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub sender: String,
    pub recipients: Vec<String>,
    pub body: String,
}

#[derive(Default)]
pub struct Seen {
    pub taken: Mutex<Vec<Taken>>,
    pub connections: Mutex<usize>,
    /// Every command line, in order.
    pub lines: Mutex<Vec<String>>,
    /// Ends a `pause`.
    pub go_on: Notify,
    /// A script has come to its `hang`: all that stands before it was read.
    pub hanging: Notify,
}

/// What the good server offers in EHLO.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    Everything,
    NoPipelining,
    OnlyPipelining,
    Small,
    /// EHLO is not known.
    Old,
}

pub struct Peer {
    pub port: u16,
    pub seen: Arc<Seen>,
}

/// Starts a peer on 127.0.0.1; it ends with the runtime.
pub async fn start(sessions: &[&str], offers: Offers) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Seen::default());
    let sessions: Vec<String> = sessions.iter().map(ToString::to_string).collect();
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = std::mem::replace(&mut *shared.connections.lock(), 0);
            *shared.connections.lock() = number + 1;
            let script = sessions[number.min(sessions.len() - 1)].clone();
            let seen = Arc::clone(&shared);
            tokio::spawn(async move { Talk::new(stream, seen, offers).play(&script).await });
        }
    });
    Peer { port, seen }
}

struct Talk {
    stream: BufReader<TcpStream>,
    seen: Arc<Seen>,
    offers: Offers,
    sender: String,
    recipients: Vec<String>,
    body: String,
}

impl Talk {
    fn new(stream: TcpStream, seen: Arc<Seen>, offers: Offers) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
            seen,
            offers,
            sender: String::new(),
            recipients: Vec::new(),
            body: String::new(),
        }
    }

    async fn play(mut self, script: &str) -> Option<()> {
        for word in script.split_whitespace() {
            match word {
                "close" => return self.stream.shutdown().await.ok(),
                "reset" => return self.reset(),
                "pause" => self.seen.go_on.notified().await,
                "hang" => {
                    self.seen.hanging.notify_one();
                    std::future::pending::<()>().await;
                }
                "drip" => self.drip().await?,
                "junk" => self.say("hello there\r\nwhat\r\n").await?,
                "dot" => self.read_body().await?,
                "sink" => return self.serve().await,
                code if code.starts_with(|c: char| c.is_ascii_digit()) => {
                    let code = code.replace('_', " ");
                    self.say(&format!("{code} said by the script\r\n")).await?;
                    if code == "250" && !self.body.is_empty() {
                        self.take();
                    }
                }
                verb => match verb.strip_prefix('!') {
                    Some(verb) => {
                        self.read_verb(verb).await?;
                        let answer = self.answer(verb);
                        self.say(&answer).await?;
                    }
                    None => drop(self.read_verb(verb).await?),
                },
            }
        }
        // A session that ends in words goes on listening, so that only `close` closes.
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.ok().map(drop)
    }

    fn answer(&self, verb: &str) -> String {
        match (verb, self.offers) {
            ("ehlo", Offers::Everything) => {
                "250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE\r\n"
            }
            ("ehlo", Offers::NoPipelining) => "250-peer\r\n250 8BITMIME\r\n",
            ("ehlo", Offers::OnlyPipelining) => "250-peer\r\n250 PIPELINING\r\n",
            ("ehlo", Offers::Small) => "250-peer\r\n250-PIPELINING\r\n250 SIZE 100\r\n",
            ("ehlo", Offers::Old) => "502 5.5.1 what\r\n",
            ("data", _) => "354 go on\r\n",
            _ => "250 fine\r\n",
        }
        .to_owned()
    }

    /// A server that takes everything.
    async fn serve(&mut self) -> Option<()> {
        loop {
            let line = self.read_line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_lowercase();
            if verb == "quit" {
                return self.say("221 bye\r\n").await;
            }
            let answer = self.answer(&verb);
            self.say(&answer).await?;
            if verb == "data" {
                self.read_body().await?;
                self.take();
                self.say("250 kept\r\n").await?;
            }
        }
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        self.stream.write_all(text.as_bytes()).await.ok()
    }

    async fn drip(&mut self) -> Option<()> {
        self.say("250").await?;
        loop {
            self.say("-").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn read_verb(&mut self, verb: &str) -> Option<String> {
        loop {
            let line = self.read_line().await?;
            if line.to_ascii_lowercase().starts_with(verb) {
                return Some(line);
            }
        }
    }

    async fn read_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).await.ok()?;
        let line = line.strip_suffix("\r\n")?.to_owned();
        let path = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        if line.starts_with("MAIL") {
            (self.sender, self.recipients, self.body) = (path(), Vec::new(), String::new());
        } else if line.starts_with("RCPT") {
            self.recipients.push(path());
        }
        self.seen.lines.lock().push(line.clone());
        (count > 0).then_some(line)
    }

    async fn read_body(&mut self) -> Option<()> {
        loop {
            let mut line = Vec::new();
            self.stream.read_until(b'\n', &mut line).await.ok().filter(|count| *count > 0)?;
            if line == b".\r\n" {
                return Some(());
            }
            let text = line.strip_prefix(b".").unwrap_or(&line);
            self.body.push_str(&String::from_utf8_lossy(text));
        }
    }

    fn take(&mut self) {
        let (sender, recipients) = (self.sender.clone(), std::mem::take(&mut self.recipients));
        let body = std::mem::take(&mut self.body);
        self.seen.taken.lock().push(Taken { sender, recipients, body });
    }

    fn reset(self) -> Option<()> {
        let stream = self.stream.into_inner().into_std().ok()?;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()
    }
}
