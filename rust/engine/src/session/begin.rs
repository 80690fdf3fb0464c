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

use super::registry::Mark;
use super::{Session, Step};
use crate::admission::Seat;
use crate::intake::{Intake, SHUTTING_DOWN};
use crate::policy::compiled::Compiled;

/// What became of a descriptor.
#[derive(Debug)]
pub enum Adopted {
    Taken,
    /// It is the caller's again, to be closed after the reply was written.
    Refused(RawFd, Reply),
}

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
            Adopted::Refused(fd, reply)
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
    let limits = &policy.table.limits;
    let seat = intake.admission.admit(peer.ip(), trusted, limits.sessions, limits.sessions_per_address)?;
    let settings = if trusted { face.trusted.clone() } else { face.others.clone() };
    let mut server = Server::new(settings);
    // SAFETY: from here on the descriptor is ours: a failure below closes it, as a refusal would.
    let mut socket = RawStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    if policy.table.hooks.connect.is_none() {
        greet(&mut server, &mut socket);
    }
    let Ok(stream) = register(socket, runtime) else {
        intake.counters.connections_refused.one_more();
        return Ok(());
    };
    let session = Session::new(intake, stream, server, policy.clone(), seat, (listener, trusted, peer));
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
            stream,
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
            _seat: seat,
        }
    }

    pub(super) async fn begin(&mut self) -> Step {
        if self.policy.table.hooks.connect.is_some() {
            return Box::pin(self.ask_connect()).await;
        }
        Step::Read
    }
}
