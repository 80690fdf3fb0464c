"""Opens the control sockets and serves the API on them: a unix socket and, unless turned off, TCP on loopback.

The sockets (the unix one of mode 0600) are opened before the server says that it runs, so that a port in use is one
clear sentence at the start. The token of the TCP side lies in a file of mode 0600 in the data folder and stays the
same over restarts.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anycorn
import trio
from litestar import Litestar

from ..errors import StartError
from ..settings import Settings
from .guard import App, Guard

# Bytes of chance in a token; 32 is what nobody guesses.
TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class ControlSockets:
    """Listening sockets of the control API; `tcp` is None when it is turned off."""

    unix: socket.socket
    tcp: socket.socket | None
    token: str


def open_control(settings: Settings) -> ControlSockets:
    """Binds the sockets and reads or makes the token. Raises `StartError` with one sentence."""
    token = read_token(settings.token_file)
    unix = open_unix(settings.control_socket)
    try:
        tcp = open_tcp(settings) if settings.control.address else None
    except StartError:
        unix.close()
        raise
    return ControlSockets(unix, tcp, token)


def read_token(path: Path) -> str:
    """The token of the file, made with mode 0600 when there is none."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES))
    except FileExistsError:
        pass
    except OSError as error:
        raise StartError(f"{path}: the control token cannot be written: {error.strerror}") from None
    token = path.read_text().strip()
    if len(token) < TOKEN_BYTES:
        raise StartError(f"{path}: this is no control token; remove the file and a new one is made")
    if path.stat().st_mode & 0o077:
        raise StartError(f"{path}: others may read the control token; run: chmod 600 {path}")
    return token


def open_unix(path: Path) -> socket.socket:
    """A listening unix socket of mode 0600; one that nobody serves any more is replaced."""
    if is_served(path):
        raise StartError(f"{path}: another server answers on this control socket; stop it, or set control.socket")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise StartError(f"{path}: the control socket cannot be opened: {error.strerror}") from None
    finally:
        os.umask(mask)
    sock.listen(128)
    return sock


def is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def open_tcp(settings: Settings) -> socket.socket:
    endpoint = settings.control.address
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((endpoint.host, endpoint.port))
    except OSError as error:
        sock.close()
        raise StartError(
            f'control.address: {endpoint} cannot be listened on: {error.strerror}; set another, or "" for none'
        ) from None
    sock.listen(128)
    return sock


async def serve_control(app: Litestar, sockets: ControlSockets, *, stop: Callable[[], Awaitable[None]]) -> None:
    """Serves until `stop` returns. The TCP side is behind the guard, the unix socket is not."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_one, app, sockets.unix, stop)
        if sockets.tcp is not None:
            nursery.start_soon(serve_one, Guard(cast(App, app), token=sockets.token), sockets.tcp, stop)


async def serve_one(app: Litestar | Guard, sock: socket.socket, stop: Callable[[], Awaitable[None]]) -> None:
    config = anycorn.Config()
    # anycorn takes the descriptor over and closes it; ours stays, so that this can be started again.
    config.bind = [f"fd://{os.dup(sock.fileno())}"]
    config.graceful_timeout = 2
    config.shutdown_timeout = 2
    config.include_server_header = False
    config.errorlog = None
    config.accesslog = None
    await anycorn.serve(app, config, shutdown_trigger=stop, mode="asgi")  # type: ignore[arg-type]
