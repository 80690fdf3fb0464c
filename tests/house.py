"""A whole server inside the test's own Trio loop: real engine, real sockets on loopback, a folder that goes away."""

from __future__ import annotations

import smtplib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

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
