"""A whole server inside the test's own Trio loop: real engine, real sockets on loopback, a folder that goes away."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

import trio
from angarium.server import Running, serve
from angarium.settings import (
    Control,
    Listen,
    ListenAddress,
    Local,
    Mailbox,
    OptionalEndpoint,
    Relay,
    Server,
    Settings,
    Size,
    Spool,
)
from angarium.settings.reading import complete


def settings(folder: Path, **tables: object) -> Settings:
    """The first run on ports that the system chooses; `tables` replace whole sections."""
    given: dict[str, object] = {
        "server": Server(hostname="mx.house.example", data=str(folder / "data")),
        "listen": (Listen(address=ListenAddress("127.0.0.1:0"), profile="relay"),),
        "relay": Relay(),
        "local": Local(catch_all=Mailbox("catch-all")),
        "control": Control(address=OptionalEndpoint("")),
        "spool": Spool(segment=Size.parse("1MiB")),
        **tables,
    }
    return complete(Settings(**given), folder)  # type: ignore[arg-type]


@asynccontextmanager
async def running(given: Settings) -> AsyncIterator[Running]:
    """A started server; behind the block it is stopped gracefully."""
    async with trio.open_nursery() as nursery:
        server: Running = await nursery.start(serve, given)
        try:
            yield server
        finally:
            server.stop()


async def send(
    server: Running, *, to: str = "b@example.net", sender: str = "a@example.org", text: str = "hello"
) -> None:
    """One message by smtplib, in a thread."""
    host, _, port = server.addresses[0].rpartition(":")

    def talk() -> None:
        with smtplib.SMTP(host, int(port), timeout=20) as client:
            client.sendmail(sender, [to], f"Subject: {text}\r\n\r\n{text}\r\n".encode())

    await trio.to_thread.run_sync(talk)


async def until(seen: Callable[[], bool], *, seconds: float = 20) -> None:
    """What happens on the engine's threads shows in folders and figures; looked at again and again, bounded."""
    with trio.fail_after(seconds):
        while not seen():  # noqa: ASYNC110  the engine has threads of its own
            await trio.sleep(0.01)


async def talk_unix(path: Path, hello: str, recipient: str) -> str:
    """One message over a unix socket, in a thread; the reply to its final dot."""

    def talk() -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            replies = client.makefile("r")
            content = f"Subject: x\r\n\r\nhello from {hello}\r\n."
            said = (f"{hello} client.example", "MAIL FROM:<a@far.example>", f"RCPT TO:<{recipient}>", "DATA", content)
            read_reply(replies)
            for line in said:
                client.sendall(line.encode() + b"\r\n")
                reply = read_reply(replies)
            return reply

    return await trio.to_thread.run_sync(talk)


def read_reply(replies: TextIO) -> str:
    """The last line of a reply."""
    while (line := replies.readline())[3:4] == "-":
        pass
    return line
