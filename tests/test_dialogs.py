"""Plays every `tests/dialogs/*.dialog` over a socket: in the pieces it is written in, and byte by byte.

The server is `angarium.smtp.Server` with the small driver below. The dialogs that need no settings of their own are
also played to the bundled server, or with ANGARIUM_DIALOGS=host:port to whatever listens there.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
from angarium.settings import Listen, ListenAddress
from angarium.smtp import Auth, AuthResponse, Body, Broken, Chunk, Data, Early, End, Mail, Rcpt, Reset, Server

from tests.dialog import Dialog, DialogError, Player, read_dialog
from tests.house import running
from tests.house import settings as house

NOON = 1_795_608_000  # of 25 November 2026, for FUTURERELEASE
FOLDER = Path(__file__).parent / "dialogs"
DIALOGS = [read_dialog(path) for path in sorted(FOLDER.glob("*.dialog"))]


@dataclass(slots=True)
class Driver:
    """Serves one connection as a dialog's header says, and keeps the content of what was accepted."""

    dialog: Dialog
    kept: list[bytes] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)

    async def serve(self, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await self.session(stream, Server("mx.example", **self.dialog.settings))  # type: ignore[arg-type]
        await stream.aclose()

    async def session(self, stream: trio.SocketStream, server: Server) -> None:
        server.set_now(NOON)
        if not self.dialog.early:
            server.greet()
        while True:
            await stream.send_all(server.data_to_send())
            data = b"" if server.is_closed else await stream.receive_some(65_536)
            if not data:
                return
            server.receive_data(data)
            while (event := server.next_event()) is not None:
                self.take(server, event)

    def take(self, server: Server, event: object) -> None:
        """The site's judgement of one event."""
        match event:
            case Early():
                server.refuse(554, "You spoke before the greeting", enhanced="5.7.1")
            case Body(piece):
                self.content += piece
            case Broken() | Reset():
                self.content.clear()
        if not server.awaits:
            return
        match event:
            case Mail(sender) if sender in self.dialog.refusals:
                self.refuse(server, sender)
            case Rcpt(recipient) if recipient in self.dialog.refusals:
                self.refuse(server, recipient)
            case Data() if "DATA" in self.dialog.refusals:
                self.refuse(server, "DATA")
            case Chunk() if "BDAT" in self.dialog.refusals:
                self.content.clear()
                self.refuse(server, "BDAT")
            case Auth(initial=None):
                server.challenge(b"")
            case Auth() | AuthResponse() if "AUTH" in self.dialog.refusals:
                self.refuse(server, "AUTH")
            case End() if "." in self.dialog.refusals:
                self.content.clear()
                self.refuse(server, ".")
            case End():
                self.kept.append(bytes(self.content))
                self.content.clear()
                server.accept()
            case _:
                server.accept()

    def refuse(self, server: Server, what: str) -> None:
        code, text = self.dialog.refusals[what]
        enhanced, _, words = text.partition(" ")
        server.reply(code, words, enhanced=enhanced)


@pytest.mark.parametrize("bytewise", [False, True], ids=["pieces", "bytes"])
@pytest.mark.parametrize("dialog", DIALOGS, ids=lambda dialog: dialog.name)
async def test_library(dialog: Dialog, bytewise: bool) -> None:
    driver = Driver(dialog)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, driver.serve, 0, host="127.0.0.1"))
        async with await trio.open_tcp_stream(*listeners[0].socket.getsockname()) as stream:
            await Player(stream, kept=lambda: driver.kept).play(dialog, bytewise=bytewise)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def bundled(folder: Path) -> AsyncIterator[str]:
    """The address of the bundled server, or of the one that ANGARIUM_DIALOGS names."""
    if address := os.environ.get("ANGARIUM_DIALOGS", ""):
        yield address
        return
    listen = (Listen(address=ListenAddress("127.0.0.1:0"), profile="mx"),)
    async with running(house(folder, listen=listen)) as server:
        yield server.addresses[0]


async def test_server(tmp_path: Path) -> None:
    """All that need no settings of their own, on one server one after another."""
    failures = []
    async with bundled(tmp_path) as address:
        host, _, port = address.rpartition(":")
        for dialog in (dialog for dialog in DIALOGS if dialog.fits_any_server):
            try:
                async with await trio.open_tcp_stream(host, int(port)) as stream:
                    await Player(stream).play(dialog)
            except DialogError as error:
                failures.append(str(error))
    assert not failures, "\n".join(failures)


def test_there_are_enough() -> None:
    assert len(DIALOGS) >= 60
    assert all(dialog.about for dialog in DIALOGS), "each says what it shows"
