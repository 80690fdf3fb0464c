//! What happens before the banner: the PROXY header, the handshake of implicit TLS, the delay in which nobody may talk.
//!
//! A PROXY header is required from the listener's proxies and from nobody else; it is never guessed. A proxy's own
//! connections (LOCAL) and those that it closes without a word are health checks and make no noise. Everything here is
//! bounded by the time of a command.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use angarium_nouns::Reply;
use angarium_smtp::Server;
use angarium_smtp::proxy::{self, Endpoint, Header, Parsed};
use tokio::io::AsyncReadExt;

use super::stream::Stream;
use super::{Session, Step};
use crate::policy::TlsUse;
use crate::policy::compiled::Face;

/// As Postfix: who cannot wait for the banner does not read it (RFC 5321 4.3.1).
const EARLY: Reply = Reply::new(554, (5, 5, 1), "You spoke before the greeting; wait for it");
/// A proxy sends its header at once (`HAProxy` waits 3 s for it at most).
const PROXY_TIME: Duration = Duration::from_secs(10);

/// What a client did before the greeting.
enum Early {
    Nothing,
    Words,
    /// It, or a stop, ended the connection.
    Left,
}

impl Session {
    /// From the connection to the banner.
    pub(super) async fn begin(&mut self) -> Step {
        if self.greeted_at_once {
            return Step::Read;
        }
        let policy = self.policy.clone();
        let face = self.face(&policy).clone();
        if face.is_proxy(self.peer.ip()) {
            match self.proxy_header().await {
                Some(header) => {
                    if let Err(reply) = self.come_from(*header, &face) {
                        return self.refuse(&reply);
                    }
                }
                None => return Step::Close,
            }
        }
        // Before a handshake, which costs more than all the rest.
        if let Err(reply) = self.has_room() {
            return self.refuse(&reply);
        }
        if face.tls == TlsUse::Implicit {
            if !self.shake_hands().await {
                return Step::Close;
            }
            self.server.secured();
        }
        self.offer_now();
        let delay = face.listener.greet_delay;
        if delay > 0 && !self.trusted && face.tls != TlsUse::Implicit {
            match self.talks_within(delay).await {
                Early::Nothing => {}
                Early::Words => {
                    self.intake.counters.early_talkers.one_more();
                    return self.refuse(&EARLY);
                }
                Early::Left => return self.ended(),
            }
        }
        self.entry.mark().set_deadline(self.deadline());
        if policy.table.hooks.connect.is_some() {
            return Box::pin(self.ask_connect()).await;
        }
        self.server.greet();
        Step::Read
    }

    /// Where TLS comes first, clear words would be none: the connection just ends.
    fn refuse(&mut self, reply: &Reply) -> Step {
        self.intake.counters.connections_refused.one_more();
        if self.face(&self.policy).tls == TlsUse::Implicit && self.secured().is_none() {
            return Step::Close;
        }
        let reply = self.reworded(reply);
        self.server.refuse(&reply);
        self.server.close(&reply);
        Step::Close
    }

    /// The header in front; `None`: close without a word.
    async fn proxy_header(&mut self) -> Option<Box<Header>> {
        let Stream::Clear(stream) = &mut self.stream else { return None };
        let reading = read_header(stream);
        match tokio::time::timeout(PROXY_TIME, reading).await {
            Ok(Ok(Some(header))) => Some(header),
            Ok(Ok(None)) => None,
            Ok(Err(_)) | Err(_) => {
                self.intake.counters.proxy_failed.one_more();
                None
            }
        }
    }

    /// The client behind the proxy takes the proxy's place: its trust, its limits, its settings.
    fn come_from(&mut self, header: Header, face: &Face) -> Result<(), Reply> {
        self.entry.mark().set_deadline(self.deadline());
        let Some(Endpoint::Ip(source)) = header.source.filter(|_| !header.local) else { return Ok(()) };
        if let Some(tls) = header.tls.filter(|tls| tls.over_tls) {
            let words = [tls.version.unwrap_or_default(), tls.cipher.unwrap_or_default()];
            self.more().proxy_tls = format!("proxy {} {}", words[0], words[1]).trim_end().into();
        }
        self.take_peer(source, face)
    }

    /// From now on the client is this one.
    fn take_peer(&mut self, source: SocketAddr, face: &Face) -> Result<(), Reply> {
        self.peer = source;
        self.trusted = self.policy.is_trusted(&face.listener, source.ip());
        self.is_clear = face.is_clear(source.ip());
        let limits = &self.policy.table.limits;
        let each = limits.sessions_per_address;
        self.seat = self.intake.admission.admit(source.ip(), self.trusted, limits.sessions, each)?;
        self.server = Server::new(face.settings(self.trusted, self.is_clear).clone());
        self.server.set_session(self.number);
        Ok(())
    }

    /// Waits, and says what the client did meanwhile.
    async fn talks_within(&mut self, delay: u64) -> Early {
        let Some(stream) = self.stream.clear() else { return Early::Nothing };
        let mut one = [0; 1];
        match tokio::time::timeout(Duration::from_millis(delay), stream.peek(&mut one)).await {
            Err(_) => Early::Nothing,
            Ok(Ok(1..)) => Early::Words,
            Ok(_) => Early::Left,
        }
    }
}

/// Reads no octet behind the header. `None`: nothing came at all.
async fn read_header(stream: &mut tokio::net::TcpStream) -> io::Result<Option<Box<Header>>> {
    let mut seen = Vec::new();
    let mut window = [0; proxy::MAX_LENGTH];
    loop {
        let there = stream.peek(&mut window[..proxy::MAX_LENGTH]).await?;
        if there == 0 {
            return if seen.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let before = seen.len();
        seen.extend_from_slice(&window[..there]);
        let (take, header) = match proxy::parse(&seen) {
            Parsed::Incomplete => (there, None),
            Parsed::Header(header) => (header.used - before, Some(header)),
            Parsed::Bad(_) => return Err(io::ErrorKind::InvalidData.into()),
        };
        stream.read_exact(&mut window[..take]).await?;
        if header.is_some() {
            return Ok(header);
        }
    }
}
