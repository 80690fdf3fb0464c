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


def host(number: int) -> str:
    """Each dialog has an address of its own: so many ports would meet those of clients."""
    return f"127.0.1.{number}" if number else "127.0.0.1"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with one listener for each dialog, in their order, all at this port."""
    folder = tmp_path_factory.mktemp("dialogs")
    port, control = free_port(), free_port()
    blocks = [
        f'[[listen]]\naddress = "{host(number)}:{port}"\ntrusted = true\n'
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in dialog.settings.items())
        for number, dialog in enumerate(PLAYED)
    ]
    (folder / "policy.py").write_text(POLICY.replace("{refusals}", repr([dialog.refusals for dialog in PLAYED])))
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
    server.start(port)
    yield port
    server.stop()


@pytest.mark.parametrize("number", range(len(PLAYED)), ids=[dialog.name for dialog in PLAYED])
async def test_server(port: int, number: int) -> None:
    async with await trio.open_tcp_stream(host(number), port) as stream:
        await Player(stream, names_session=True).play(PLAYED[number])


def test_most_are_played() -> None:
    common = [dialog for dialog in DIALOGS if "extensions" not in dialog.settings]
    assert len(PLAYED) >= len(common) - 12, [dialog.name for dialog in common if not is_for_servers(dialog)]
