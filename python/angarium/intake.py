"""Intake: listening sockets, and the loop that accepts and hands connections to the engine.

Sockets are bound before anything is promised; a port in use is one clear sentence. Each loop accepts in batches until
there is nothing more (64 at most), hands the batch over in one call, writes the reply of those that were refused and
yields. Out of descriptors it pauses instead of spinning. The engine counts sessions and answers over limits itself.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import resource
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

import structlog
import trio

from . import settings as site
from .engine import Accepted, Bridge, Refused, Submission, SubmittedRecipient
from .errors import StartError

# Connections that the kernel keeps while we are busy; needs net.core.somaxconn at least as large.
# Beside sessions: segments, connections that go out, mailboxes, the API.
OTHER_DESCRIPTORS = 512
BACKLOG = 4_096
# Accepted in one step: 64 take about 2 ms.
BATCH = 64
# Pause when descriptors or memory have run out, and how often that is told.
PAUSE = 0.1
TELL_AGAIN = 60.0
# Who comes over a unix socket is on this machine.
UNIX_PEER = ("127.0.0.1", 0)
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
# Out of descriptors or buffers: try again later (accept(2)).
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# The connection was gone before it was taken, or its network had an error (accept(2)).
GONE = frozenset({
    errno.ECONNABORTED, errno.EINTR, errno.ENETDOWN, errno.EPROTO, errno.ENOPROTOOPT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EPERM,
})  # fmt: skip

Peer = tuple[int, str, int]
log = structlog.get_logger("angarium.intake")


class Listening:
    """One listening socket; `number` is its place in the settings."""

    __slots__ = ("number", "row", "socket")

    def __init__(self, number: int, row: site.Listen, bound: socket.socket) -> None:
        self.number = number
        self.row = row
        self.socket = bound

    @property
    def address(self) -> str:
        """Where it listens in fact, also when the port was left to the system."""
        if self.row.address.path:
            return self.row.address
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(settings: site.Settings) -> list[Listening]:
    """Opens all sockets of the settings, or none. Raises `StartError` with the address and the reason."""
    opened: list[Listening] = []
    try:
        for number, row in enumerate(settings.listen):
            bound = bind_unix(row.address.path, row.mode) if row.address.path else bind(row.address)
            opened.append(Listening(number, row, bound))
    except StartError:
        close(opened)
        raise
    return opened


def close(listening: Sequence[Listening]) -> None:
    """In a Trio loop whoever accepts on them returns."""
    for one in listening:
        if in_trio():
            trio.lowlevel.notify_closing(one.socket)
        one.socket.close()
        if one.row.address.path:
            # Nobody shall find a socket on which nobody answers.
            Path(one.row.address.path).unlink(missing_ok=True)


def in_trio() -> bool:
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True


def bind(address: site.Endpoint) -> socket.socket:
    """A listening, non-blocking, close-on-exec socket."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Each family has its own [[listen]] row; a shared one would show IPv4 peers as mapped addresses.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address.host, address.port))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise StartError(f"Cannot listen on {address}: {why_not(error, address)}") from None
    return bound


def bind_unix(path: str, mode: str) -> socket.socket:
    """The same on a unix socket; one that nobody serves any more is replaced."""
    if is_served(path):
        raise StartError(f"Cannot listen on unix:{path}: another server answers there; stop it, or name another path")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        if stat.S_ISSOCK(mode_of(path)):
            Path(path).unlink()
        bound.bind(path)
        Path(path).chmod(int(mode, 8))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise StartError(f"Cannot listen on unix:{path}: {error.strerror}") from None
    finally:
        os.umask(mask)
    return bound


def is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def mode_of(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def why_not(error: OSError, address: site.Endpoint) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use; stop what uses it, or set another port in the settings"
        case errno.EACCES:
            return f"port {address.port} needs more rights (CAP_NET_BIND_SERVICE), or choose one above 1023"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
        case _:
            return error.strerror or str(error)


def backlog_warning(limit: int | None = None) -> str:
    """A sentence when the system keeps fewer waiting connections than we ask for; empty when all is well."""
    if limit is None:
        try:
            limit = int(SOMAXCONN.read_text())
        except (OSError, ValueError):
            return ""
    if limit >= BACKLOG:
        return ""
    return (
        f"net.core.somaxconn is {limit}: more than {limit} connections at once may be turned away; set it to {BACKLOG}"
    )


def raise_descriptors(sessions: int) -> str:
    """Takes as many descriptors as this process may have; a sentence when `sessions` do not fit into them."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != most:
        # Where a system refuses, what there is stays.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            limit = most
    wanted = sessions + OTHER_DESCRIPTORS
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return ""
    return (
        f"limits.sessions is {sessions:,}, but only {limit:,} files may be open: about "
        f"{max(limit - OTHER_DESCRIPTORS, 0):,} sessions will fit; raise the hard limit to {wanted:,} "
        f"(LimitNOFILE= of systemd, ulimit -Hn)"
    )


async def serve(
    bridge: Bridge, listening: Listening, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Accepts on one socket until it is closed or this is cancelled."""
    task_status.started()
    tell_again = -math.inf
    while True:
        try:
            await trio.lowlevel.wait_readable(listening.socket)
        except trio.ClosedResourceError:
            return
        exhausted = accept_batch(bridge, listening)
        if exhausted is None:
            return
        if exhausted:
            if trio.current_time() >= tell_again:
                log.warning("no descriptor is free: connections wait", address=listening.address, limit=descriptors())
                tell_again = trio.current_time() + TELL_AGAIN
            await trio.sleep(PAUSE)


def descriptors() -> int:
    """How many this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def accept_batch(bridge: Bridge, listening: Listening) -> bool | None:
    """Takes what waits, 64 at most. True: descriptors have run out; None: the socket is closed."""
    peers: list[Peer] = []
    exhausted: bool | None = False
    for _ in range(BATCH):
        try:
            # The first half of `socket.accept`: no object is made for a descriptor that the engine takes over.
            descriptor, address = listening.socket._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno in GONE:
                continue
            if error.errno in EXHAUSTED:
                exhausted = True
                break
            if error.errno in (errno.EBADF, errno.EINVAL):
                exhausted = None
                break
            raise
        host, port = (address[0].partition("%")[0], address[1]) if address else UNIX_PEER
        peers.append((descriptor, host, port))
    if peers:
        for descriptor, reply in bridge.engine.adopt(listening.number, peers):
            refuse(descriptor, reply)
    return exhausted


def refuse(descriptor: int, reply: bytes) -> None:
    """The engine's last word to a connection that it did not take. A fresh socket has room for it."""
    try:
        os.write(descriptor, reply)
    except OSError:
        pass
    finally:
        os.close(descriptor)


# --- from code ----------------------------------------------------------------------------------------------------

LINE_END = re.compile(rb"\r\n|\r|\n")


async def submit(
    bridge: Bridge,
    content: bytes,
    *,
    sender: str,
    recipients: Sequence[str],
    protocol: str = "LOCAL",
    may_report: bool = True,
    complete: bool = True,
) -> Accepted | Refused:
    """Hands in a message from code; returns when it is durable or refused.

    `content` may have any line ends. `sender` "" is the null path. `may_report`: failures are reported to the sender;
    `complete`: Date and Message-ID are added when missing. Raises `Busy` when the engine has no room for the answer,
    `EngineError` for a fault of ours.
    """
    header = content.partition(b"\r\n\r\n" if b"\r\n" in content else b"\n\n")[0]
    submission = Submission(
        sender=sender,
        recipients=tuple(SubmittedRecipient(address=address) for address in recipients),
        protocol=protocol,
        may_report=may_report,
        complete=complete,
        eight_bit=not content.isascii(),
        smtputf8=not (sender.isascii() and "".join(recipients).isascii() and header.isascii()),
    )
    return await bridge.submit(submission, LINE_END.sub(b"\r\n", content))
