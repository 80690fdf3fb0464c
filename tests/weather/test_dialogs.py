"""The dialogs of `tests/dialogs` against the installed server: its listeners show their settings, a policy file of the
site says their refusals. Left out is what only the library can be told: which extensions it offers, that a client is
refused who speaks first, DATA refused before the content, bounds below what the settings take."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import trio

from tests.dialog import Dialog, Player
from tests.harness import ServerProcess, free_port
from tests.site import Site
from tests.test_dialogs import DIALOGS

# Options of `angarium.smtp.Server` that a [[listen]] block has too.
LISTEN_KEYS = {"max_size", "max_recipients", "max_line", "max_errors", "bare_newline"}

POLICY = """
from angarium.policy import defer, reject

REFUSALS = {refusals}


def answer(listener, whom):
    code, text = REFUSALS[listener].get(whom, (250, ""))
    enhanced, _, words = text.partition(" ")
    if code == 250:
        return None
    return (reject if code >= 500 else defer)(code, words, enhanced=enhanced)


async def mail(envelope):
    return answer(envelope.listener, envelope.sender)


async def rcpt(envelope, recipient):
    return answer(envelope.listener, recipient)


async def message(message):
    return answer(message.listener, ".")
"""


def is_for_servers(dialog: Dialog) -> bool:
    # RFC 5321 4.5.3.1.7: the settings take no bound below 64 KiB.
    in_bounds = dialog.settings.get("max_size", 65_536) >= 65_536  # type: ignore[operator]
    hooked = all(whom != "DATA" and code != 250 for whom, (code, _) in dialog.refusals.items())
    return not dialog.early and dialog.settings.keys() <= LISTEN_KEYS and in_bounds and hooked


PLAYED = [dialog for dialog in DIALOGS if is_for_servers(dialog)]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """One listener for each dialog, in their order."""
    folder = tmp_path_factory.mktemp("dialogs")
    ports = [free_port() for _ in PLAYED]
    blocks = [
        f'[[listen]]\naddress = "127.0.0.1:{port}"\ntrusted = true\n'
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in dialog.settings.items())
        for port, dialog in zip(ports, PLAYED, strict=True)
    ]
    (folder / "policy.py").write_text(POLICY.replace("{refusals}", repr([dialog.refusals for dialog in PLAYED])))
    control = free_port()
    text = f"""
[server]
hostname = "mx.example"
data = "data"
[local]
catch_all = "all"
[hooks]
file = "policy.py"
[control]
address = "127.0.0.1:{control}"
"""
    server = ServerProcess(folder, text + "".join(blocks))
    site = Site(folder, ports[0], control, server)
    site.start()
    yield ports
    server.stop()


@pytest.mark.parametrize("number", range(len(PLAYED)), ids=[dialog.name for dialog in PLAYED])
async def test_server(ports: list[int], number: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", ports[number]) as stream:
        await Player(stream).play(PLAYED[number])


def test_most_are_played() -> None:
    assert len(PLAYED) >= len(DIALOGS) - 12, [dialog.name for dialog in DIALOGS if not is_for_servers(dialog)]
