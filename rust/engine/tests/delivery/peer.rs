//! A peer on loopback that follows a script, so that every way of misbehaving is a few words.
//!
//! A script is a list of sessions, one for each connection that comes; the last serves all further ones. A session
//! is words apart by spaces: `220` says that reply, `ehlo` reads until a command of that verb has come, `dot` reads
//! a body to its end, `close`, `reset`, `hang`, `pause` (until told), `drip` (one octet of a reply every 20 ms, for ever), `junk`, and
//! `sink`: a good server from here on. `!` in front of the verb says that its answer `250` is to be sent at once.
//! `tls` is the server's side of a handshake, `inject` the answer to STARTTLS with a second reply right behind it,
//! `no-tls` bytes that are no handshake.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

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
    /// Handshakes done: the name asked for, resumed or not, a client certificate shown.
    pub handshakes: Mutex<Vec<Handshake>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handshake {
    pub name: String,
    pub resumed: bool,
    pub certificate: bool,
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
    /// Everything, and STARTTLS as long as the connection is in the clear.
    StartTls,
    /// The same without REQUIRETLS.
    PlainTls,
    /// All that a careful relay offers.
    Careful,
    Lmtp,
    Chunks,
    Login,
}

pub struct Peer {
    pub port: u16,
    pub seen: Arc<Seen>,
}

/// Starts a peer on 127.0.0.1; it ends with the runtime.
pub async fn start(sessions: &[&str], offers: Offers) -> Peer {
    start_with(sessions, offers, None).await
}

/// The same with TLS of its own.
pub async fn start_with(sessions: &[&str], offers: Offers, tls: Option<Arc<ServerConfig>>) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plays = Plays::new(sessions, offers, tls);
    let seen = Arc::clone(&plays.seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            plays.play_next(Box::new(stream));
        }
    });
    Peer { port, seen }
}

/// A peer behind a unix socket.
pub fn start_at(path: &std::path::Path, sessions: &[&str], offers: Offers) -> Arc<Seen> {
    let listener = UnixListener::bind(path).unwrap();
    let plays = Plays::new(sessions, offers, None);
    let seen = Arc::clone(&plays.seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            plays.play_next(Box::new(stream));
        }
    });
    seen
}

struct Plays {
    sessions: Vec<String>,
    offers: Offers,
    tls: Option<Arc<ServerConfig>>,
    seen: Arc<Seen>,
}

impl Plays {
    fn new(sessions: &[&str], offers: Offers, tls: Option<Arc<ServerConfig>>) -> Self {
        let sessions = sessions.iter().map(ToString::to_string).collect();
        Self { sessions, offers, tls, seen: Arc::default() }
    }

    fn play_next(&self, stream: Box<dyn Socket>) {
        let number = std::mem::replace(&mut *self.seen.connections.lock(), 0);
        *self.seen.connections.lock() = number + 1;
        let script = self.sessions[number.min(self.sessions.len() - 1)].clone();
        let talk = Talk::new(stream, Arc::clone(&self.seen), self.offers, self.tls.clone());
        tokio::spawn(async move { talk.play(&script).await });
    }
}

/// Anything that a peer speaks over.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    /// Closes with a reset where there is one.
    fn reset(&self) {}
}

impl Socket for TcpStream {
    fn reset(&self) {
        socket2::SockRef::from(self).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl Socket for tokio::net::UnixStream {}

impl Socket for tokio::io::DuplexStream {}

impl Socket for tokio_rustls::server::TlsStream<Box<dyn Socket>> {
    fn reset(&self) {
        self.get_ref().0.reset();
    }
}

struct Talk {
    stream: BufReader<Box<dyn Socket>>,
    tls: Option<Arc<ServerConfig>>,
    secure: bool,
    seen: Arc<Seen>,
    offers: Offers,
    sender: String,
    recipients: Vec<String>,
    body: String,
}

impl Talk {
    fn new(stream: Box<dyn Socket>, seen: Arc<Seen>, offers: Offers, tls: Option<Arc<ServerConfig>>) -> Self {
        Self {
            stream: BufReader::new(stream),
            tls,
            secure: false,
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
                "reset" => {
                    self.reset();
                    return Some(());
                }
                "pause" => self.seen.go_on.notified().await,
                "hang" => {
                    self.seen.hanging.notify_one();
                    std::future::pending::<()>().await;
                }
                "drip" => self.drip().await?,
                "junk" => self.say("hello there\r\nwhat\r\n").await?,
                "dot" => self.read_body().await?,
                "tls" => self.handshake().await?,
                "inject" => self.say("220 go on\r\n250 injected\r\n").await?,
                "no-tls" => {
                    // Only behind the client's hello, or it would be an injection.
                    self.stream.read_u8().await.ok()?;
                    self.say("this is no handshake, and never will be one\r\n").await?;
                }
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
            ("ehlo", Offers::OnlyPipelining) => "250-peer\r\n250 PIPELINING\r\n",
            ("ehlo", Offers::Small) => "250-peer\r\n250-PIPELINING\r\n250 SIZE 100\r\n",
            ("ehlo", Offers::Old) => "502 5.5.1 what\r\n",
            ("ehlo", Offers::StartTls | Offers::PlainTls) if !self.secure => {
                "250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 STARTTLS\r\n"
            }
            ("ehlo", Offers::NoPipelining | Offers::PlainTls) => "250-peer\r\n250 8BITMIME\r\n",
            ("ehlo", Offers::StartTls) => "250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 REQUIRETLS\r\n",
            ("ehlo", Offers::Careful) => {
                "250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250-MT-PRIORITY MIXER\r\n250-DELIVERBY 60\r\n\
                 250-LIMITS RCPTMAX=2 MAILMAX=2\r\n250 SIZE 1000000\r\n"
            }
            ("ehlo", Offers::Chunks) => {
                "250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 BINARYMIME\r\n"
            }
            ("lhlo", Offers::Lmtp) => "250-peer\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
            ("ehlo" | "helo", Offers::Lmtp) | ("lhlo", _) => "500 5.5.1 what\r\n",
            ("ehlo", Offers::Login) => "250-peer\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN SCRAM-SHA-256\r\n",
            ("starttls", _) => "220 go on\r\n",
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
            if verb == "bdat" {
                self.read_chunk(&line).await?;
                continue;
            }
            let answer = self.answer(&verb);
            self.say(&answer).await?;
            if verb == "starttls" {
                self.handshake().await?;
            }
            if verb == "data" {
                self.read_body().await?;
                let each = if self.offers == Offers::Lmtp { self.recipients.len() } else { 1 };
                self.take();
                self.say(&"250 kept\r\n".repeat(each)).await?;
            }
        }
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        self.stream.write_all(text.as_bytes()).await.ok()?;
        self.stream.flush().await.ok()
    }

    async fn handshake(&mut self) -> Option<()> {
        let acceptor = TlsAcceptor::from(self.tls.clone().expect("a peer with TLS"));
        let nobody: Box<dyn Socket> = Box::new(tokio::io::duplex(1).0);
        let stream = std::mem::replace(&mut self.stream, BufReader::new(nobody)).into_inner();
        let secured = acceptor.accept(stream).await.ok()?;
        let connection = secured.get_ref().1;
        self.seen.handshakes.lock().push(Handshake {
            name: connection.server_name().unwrap_or_default().to_owned(),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            certificate: connection.peer_certificates().is_some(),
        });
        self.stream = BufReader::new(Box::new(secured));
        self.secure = true;
        Some(())
    }

    /// The octets of a chunk, and the answer to them.
    async fn read_chunk(&mut self, line: &str) -> Option<()> {
        let size = line.split(' ').nth(1)?.parse().ok()?;
        let mut octets = vec![0; size];
        self.stream.read_exact(&mut octets).await.ok()?;
        self.body.push_str(&String::from_utf8_lossy(&octets));
        if line.ends_with(" LAST") {
            self.take();
        }
        self.say("250 kept\r\n").await
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

    fn reset(self) {
        self.stream.into_inner().reset();
    }
}
