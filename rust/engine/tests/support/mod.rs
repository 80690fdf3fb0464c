//! A house for the tests of the engine: an engine on a temporary folder, a listener, and a client that speaks lines.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod disk;
pub mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use angarium_engine::engine::{Engine, Settings};
use angarium_engine::event::{Done, Event};
use angarium_engine::policy::Policy;
use parking_lot::Mutex;

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);
static LAST: AtomicU32 = AtomicU32::new(0);

/// A folder that goes away with its value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!("angarium-engine-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running engine with one listener.
pub struct House {
    pub engine: Arc<Engine>,
    pub address: SocketAddr,
    pub disk: Arc<disk::Weather>,
    pub folder: Folder,
    events: Mutex<Vec<Event>>,
    /// How the recovery ended.
    pub recovered: Mutex<Option<Done>>,
}

impl House {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// `change`: the policy, which takes mail for anybody until told otherwise.
    pub fn with(change: impl FnOnce(&mut Policy)) -> Self {
        Self::at(Folder::new(), change)
    }

    pub fn at(folder: Folder, change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy { accept_any: true, hostname: "mx.example".into(), ..Policy::default() };
        change(&mut policy);
        let settings = Settings { spool: folder.0.display().to_string(), node: 1, segment_bytes: 1 << 20, workers: 2 };
        let disk = Arc::new(disk::Weather::new(&folder.0));
        let engine = Arc::new(Engine::open_on(disk.clone(), settings).unwrap());
        let address = listen(&engine);
        let house = Self { engine, address, disk, folder, events: Mutex::default(), recovered: Mutex::default() };
        let ticket = house.engine.recover(&table(&policy)).unwrap();
        let done = house.done(ticket);
        assert!(done.result.is_ok(), "{:?}", done.result);
        *house.recovered.lock() = Some(done);
        house
    }

    /// On a folder that was used before.
    pub fn recovering(folder: Folder) -> Self {
        Self::at(folder, |_| {})
    }

    pub fn set_policy(&self, change: impl FnOnce(&mut Policy)) -> u64 {
        let mut policy = Policy { accept_any: true, hostname: "mx.example".into(), ..Policy::default() };
        change(&mut policy);
        self.engine.set_policy(&table(&policy)).unwrap().unwrap()
    }

    /// A connected client that has read the greeting.
    pub fn client(&self) -> Client {
        let mut client = self.silent_client();
        assert_eq!(client.reply().0, 220);
        client
    }

    pub fn silent_client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    /// Waits for the end of a ticket.
    pub fn done(&self, ticket: u64) -> Done {
        let found = self.event(|event| matches!(event, Event::Done(done) if done.ticket == ticket));
        match found {
            Event::Done(done) => *done,
            _ => unreachable!("only that was looked for"),
        }
    }

    /// Waits for an event; others stay for later.
    pub fn event(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let mut events = self.events.lock();
            events.extend(self.engine.drain(256));
            if let Some(at) = events.iter().position(&wanted) {
                return events.remove(at);
            }
            drop(events);
            wait_readable(self.engine.events().fd(), Duration::from_millis(50));
        }
        panic!("no such event came")
    }

    pub fn figure(&self, name: &str) -> u64 {
        let figures = self.engine.figures().unwrap();
        figures.counts.get(name).or_else(|| figures.now.get(name)).copied().unwrap_or(0)
    }

    /// Waits until a figure has this value.
    pub fn until(&self, name: &str, value: u64) {
        wait_for(|| self.figure(name) == value, name);
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.disk.clear_up();
        self.engine.close();
    }
}

/// Waits until something holds. The steps are of a poll, not of a hope: the end is bounded and then it fails.
pub fn wait_for(condition: impl Fn() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "in vain waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn table<T: serde::Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap()
}

fn wait_readable(fd: i32, patience: Duration) {
    let mut asked = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&raw mut asked, 1, patience.as_millis() as i32) };
}

/// What Python's accept loop does.
fn listen(engine: &Arc<Engine>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let engine = Arc::downgrade(engine);
    std::thread::spawn(move || {
        while let Ok((socket, peer)) = listener.accept() {
            let Some(engine) = engine.upgrade() else { return };
            let Ok(refused) = engine.adopt(0, &[(socket.into_raw_fd(), peer)]) else { return };
            for (fd, reply) in refused {
                // SAFETY: a refused descriptor is ours again.
                let mut socket = unsafe { TcpStream::from_raw_fd(fd) };
                let mut bytes = Vec::new();
                if let Some(reply) = reply {
                    reply.write_to(&mut bytes);
                }
                let _ = socket.write_all(&bytes);
            }
        }
    });
    address
}

/// How a connection that was closed looks: a reset, or TLS without its last word.
fn is_an_end(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof)
}

/// The client's side of one connection.
pub struct Client<S = TcpStream>(pub BufReader<S>);

impl<S: Read + Write> Client<S> {
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// One reply: the code, and the lines' texts joined by `\n`. Code 0: the connection has ended.
    pub fn reply(&mut self) -> (u16, String) {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            match self.0.read_line(&mut line) {
                Ok(0) => return (0, text),
                Ok(_) => {}
                Err(error) if is_an_end(error.kind()) => return (0, text),
                Err(error) => panic!("no reply: {error}"),
            }
            text.push_str(line[4..].trim_end());
            if line.as_bytes()[3] == b' ' {
                return (line[..3].parse().unwrap(), text);
            }
            text.push('\n');
        }
    }

    pub fn say(&mut self, line: &str) -> (u16, String) {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    pub fn expect(&mut self, line: &str, code: u16) -> String {
        let (got, text) = self.say(line);
        assert_eq!(got, code, "{line}: {got} {text}");
        text
    }

    /// EHLO, MAIL, RCPT, DATA.
    pub fn open(&mut self, recipient: &str) {
        self.expect("EHLO client.example", 250);
        self.expect("MAIL FROM:<sender@client.example>", 250);
        self.expect(&format!("RCPT TO:<{recipient}>"), 250);
        self.expect("DATA", 354);
    }

    /// A whole transaction; the reply to its dot.
    pub fn deliver(&mut self, recipient: &str, content: &str) -> (u16, String) {
        self.open(recipient);
        self.send(content.as_bytes());
        self.say("\r\n.")
    }

    /// A transaction after EHLO, to its end or its first refusal.
    pub fn try_deliver(&mut self, recipient: &str, content: &str) -> (u16, String) {
        let rcpt = format!("RCPT TO:<{recipient}>");
        for line in ["MAIL FROM:<sender@client.example>", &rcpt, "DATA"] {
            let (code, text) = self.say(line);
            if code >= 400 {
                return (code, text);
            }
        }
        self.send(content.as_bytes());
        self.say("\r\n.")
    }

    /// Reads to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.0.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }
}

impl Client {
    /// Ends with a reset instead of a FIN.
    pub fn reset(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the option is a live struct of its size.
        unsafe {
            libc::setsockopt(
                self.0.get_ref().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            );
        }
    }
}

/// Do these bytes stand in any content segment?
pub fn find_in_spool(house: &House, needle: &[u8]) -> bool {
    fn search(folder: &std::path::Path, needle: &[u8]) -> bool {
        let entries = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
        entries.into_iter().any(|entry| {
            let path = entry.path();
            if path.is_dir() { search(&path, needle) } else { holds(&path, needle) }
        })
    }
    fn holds(path: &std::path::Path, needle: &[u8]) -> bool {
        std::fs::read(path).is_ok_and(|bytes| memchr::memmem::find(&bytes, needle).is_some())
    }
    search(&house.folder.0, needle)
}
