//! How a session begins: a descriptor comes from Python, is counted, greeted and becomes a task.
//!
//! The banner is written on the raw descriptor before the reactor knows it: a write right after registration would
//! find it not ready. A connect hook is asked before the banner, inside the task.

use std::io::Write;
use std::net::{SocketAddr, TcpStream as RawStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use angarium_nouns::Reply;
use angarium_smtp::Server;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::Session;
use super::registry::Mark;
use super::stream::Stream;
use crate::admission::{Seat, TOO_MANY};
use crate::intake::{Intake, SHUTTING_DOWN};
use crate::notices::Met;
use crate::policy::compiled::Compiled;
use crate::policy::{LoginUse, TlsUse};

/// What became of a descriptor.
#[derive(Debug)]
pub enum Adopted {
    Taken,
    /// It is the caller's again, to be closed after the reply was written.
    /// Where TLS comes first there is none.
    Refused(RawFd, Option<Reply>),
}

const BANNED: Reply = Reply::new(421, (4, 7, 0), "Too many failed logins from your address, try again later");
const NO_LISTENER: Reply = Reply::new(421, (4, 3, 5), "This listener is not configured");

/// Takes over a connected, detached, close-on-exec descriptor.
pub fn adopt(intake: &Arc<Intake>, runtime: &Handle, listener: u16, fd: RawFd, peer: SocketAddr) -> Adopted {
    match try_adopt(intake, runtime, listener, fd, peer) {
        Ok(()) => {
            intake.counters.connections.one_more();
            Adopted::Taken
        }
        Err(reply) => {
            intake.counters.connections_refused.one_more();
            let policy = intake.policy.load();
            let silent = policy.face(listener).is_some_and(|face| face.tls == TlsUse::Implicit);
            Adopted::Refused(fd, (!silent).then_some(reply))
        }
    }
}

fn try_adopt(intake: &Arc<Intake>, runtime: &Handle, listener: u16, fd: RawFd, peer: SocketAddr) -> Result<(), Reply> {
    if intake.is_stopping() {
        return Err(SHUTTING_DOWN);
    }
    let policy = intake.policy.load_full();
    let face = policy.face(listener).ok_or(NO_LISTENER)?;
    let trusted = policy.is_trusted(&face.listener, peer.ip());
    let is_proxy = face.is_proxy(peer.ip());
    if !is_proxy
        && face.listener.login() == LoginUse::Required
        && intake.logins.is_banned(peer.ip(), intake.clock.now())
    {
        return Err(BANNED);
    }
    let limits = &policy.table.limits;
    // A proxy's connections count for the clients behind it, once they are known.
    let exempt = trusted || is_proxy;
    let seat = intake.admission.admit(peer.ip(), exempt, limits.sessions, limits.sessions_per_address);
    let seat = seat.inspect_err(|reply| {
        let limit = if *reply == TOO_MANY { "sessions at once of all" } else { "sessions at once of an address" };
        let who = if *reply == TOO_MANY { String::new() } else { peer.ip().to_canonical().to_string() };
        intake.notices.note(Met { limit, listener, who }, 0);
    })?;
    let is_clear = face.is_clear(peer.ip());
    let server = Server::new(face.settings(trusted, is_clear).clone());
    // SAFETY: from here on the descriptor is ours: a failure below closes it, as a refusal would.
    let mut socket = RawStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let waits = is_proxy
        || face.is_limited
        || face.tls == TlsUse::Implicit
        || (face.listener.greet_delay > 0 && !trusted)
        || policy.table.hooks.connect.is_some();
    let speaks_for_others = face.may_speak_for_others(peer.ip());
    let mut server = server;
    if !waits {
        greet(&mut server, &mut socket);
    }
    let Ok(stream) = register(socket, runtime) else {
        intake.counters.connections_refused.one_more();
        return Ok(());
    };
    let mut session = Session::new(intake, stream, server, policy.clone(), seat, (listener, trusted, peer));
    session.is_clear = is_clear;
    session.speaks_for_others = speaks_for_others;
    session.greeted_at_once = !waits;
    session.server.set_session(session.number);
    if !waits {
        session.offer_now();
    }
    runtime.spawn(session.run());
    Ok(())
}

/// What does not fit into the socket's buffer (it always does) stays in the output.
fn greet(server: &mut Server, socket: &mut RawStream) {
    server.greet();
    let written = socket.write(server.output()).unwrap_or(0);
    server.output().drain(..written);
}

fn register(socket: RawStream, runtime: &Handle) -> std::io::Result<TcpStream> {
    let _inside = runtime.enter();
    socket.set_nonblocking(true)?;
    // Replies follow each other unacknowledged; Nagle would hold every second one back. A unix socket has no such thing.
    let _ = socket.set_nodelay(true);
    TcpStream::from_std(socket)
}

impl Session {
    fn new(
        intake: &Arc<Intake>,
        stream: TcpStream,
        server: Server,
        policy: Arc<Compiled>,
        seat: Seat,
        (listener, trusted, peer): (u16, bool, SocketAddr),
    ) -> Self {
        let deadline = intake.clock.now() + policy.table.timeouts.command;
        intake.counters.sessions.one_more();
        Self {
            entry: intake.sessions.enter(Mark::new(stream.as_raw_fd(), deadline)),
            intake: intake.clone(),
            stream: Stream::Clear(stream),
            server,
            peer,
            number: intake.next_session(),
            policy,
            hello: Box::default(),
            transaction: None,
            rest: Vec::new(),
            rest_used: 0,
            transactions: 0,
            listener,
            trusted,
            more: None,
            is_clear: false,
            speaks_for_others: false,
            greeted_at_once: false,
            seat,
        }
    }
}
