"""Logins judged by a real Dovecot over its auth socket: right, wrong, with odd characters, many at once, and gone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from angarium.engine import Verdict
from angarium.identity import Identities
from angarium.settings import Duration, Logins, Server, Settings

from tests import outside
from tests.harness import free_port
from tests.identity.test_judging import is_down, is_refused, login

# Every name is a user; the password is "test" (services/dovecot.sh).
MORE = """
auth_mechanisms = plain login
auth_failure_delay = 0
service auth {
  unix_listener angarium-auth {
    mode = 0666
  }
}
"""


@pytest.fixture(scope="module")
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="angarium-dovecot-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "more.conf").write_text(MORE)
        with outside.service("dovecot", free_port(), folder / "data", DOVECOT_CONF=str(folder / "more.conf")):
            yield folder / "data" / "run" / "angarium-auth"


def identities(socket: Path) -> Identities:
    table = Logins(source="dovecot", socket=str(socket), domain="here.example", deadline=Duration(20_000))
    return Identities(Settings(server=Server(hostname="mx.here.example"), logins=table), None)


async def test_dovecot_knows_its_users(socket: Path) -> None:
    asked = identities(socket)
    verdict = await asked.judge(login(login="Alice", secret=b"test"))
    assert verdict.identity is not None, verdict
    assert (verdict.identity.login, verdict.identity.addresses) == ("alice", ("alice@here.example",))
    assert is_refused(await asked.judge(login(login="alice", secret=b"wrong\ttab\nline\0nul\x01")))
    assert is_refused(await asked.judge(login(login="alice", secret=b"")))
    assert (await asked.judge(login(login="alice", secret=b"test"))).identity is not None
    await asked.close()


async def test_a_mechanism_that_dovecot_lacks_is_down(socket: Path) -> None:
    asked = identities(socket)
    assert is_down(await asked.judge(login(kind="token", mechanism="XOAUTH2", secret=b"token")))
    await asked.close()


async def test_many_logins_at_once(socket: Path) -> None:
    asked = identities(socket)
    verdicts: dict[int, Verdict] = {}

    async def one(number: int) -> None:
        verdicts[number] = await asked.judge(login(login=f"user{number}", secret=b"test" if number % 2 else b"no"))

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(one, number)
    for number, verdict in verdicts.items():
        assert (verdict.identity is not None) == bool(number % 2), (number, verdict)
    await asked.close()
