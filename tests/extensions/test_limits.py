"""Limits by address, network, login and tenant, and what slow or erring clients meet, over real sockets.

Each limit says its name in the reply and in one line of the log. Times here are short so that they pass; nothing says
how fast anything is.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.site import Site, running, wait_until
from tests.talk import Talk, content

LOCAL = """
[local]
domains = { "here.test" = "here" }
recipients = ["b@here.test", "c@here.test"]
"""
LOGIN = 'login = "offered"\nclear_networks = ["127.0.0.0/8"]\nauth = ["PLAIN"]'
PASSWORD = "correct horse battery"


def limited(whose: str, *rows: str, more: str = "") -> str:
    """Keys of a listener with limits for one kind of client."""
    return "\n".join((more, f"[listen.limits.{whose}]", 'per = "1h"', *rows))


def lines(site: Site, limit: str) -> list[dict[str, object]]:
    """The log's lines about a limit."""
    rows = [json.loads(line) for line in site.log().splitlines() if line.startswith("{")]
    return [row for row in rows if row.get("limit") == limit]


def is_logged(site: Site, limit: str, who: str) -> None:
    wait_until(lambda: bool(lines(site, limit)), site.log)
    assert {row["who"] for row in lines(site, limit)} == {who}
    assert {row["listener"] for row in lines(site, limit)} == {"mx"}


@contextmanager
def strangers(folder: Path, listen: str, rest: str = "") -> Iterator[Site]:
    """A public listener; nobody has connected before the test does."""
    with running(folder, LOCAL + rest, listen=listen, start=False, greets=False) as site:
        if "login" in listen:
            made = site.run("user", "add", "a@here.test", "--tenant", "shop", text=PASSWORD)
            assert made.returncode == 0, made.stderr
        site.start()
        yield site


def message(talk: Talk, to: str = "b@here.test", body: str = "text\r\n") -> str:
    """The reply to the final dot, or the first refusal."""
    for line in ("MAIL FROM:<a@here.test>", f"RCPT TO:<{to}>", "DATA"):
        reply = talk.say(line)
        if reply[0] not in "23":
            return reply
    talk.send(content(body=body) + b".\r\n")
    return talk.read()


WHO = {"address": "127.0.0.1", "network": "127.0.0.0/24"}


@pytest.mark.parametrize("whose", ["address", "network"])
def test_messages(tmp_path: Path, whose: str) -> None:
    with strangers(tmp_path, limited(whose, "messages = 2")) as site:
        with Talk(site.port) as talk:
            assert [message(talk)[:3] for _ in range(2)] == ["250", "250"]
            assert f"Too many messages of your {whose}" in message(talk)
        is_logged(site, f"messages of an {whose}".replace("an network", "a network"), WHO[whose])
        # Another address of the network has the network's count and none of its own.
        with Talk(site.port, source="127.0.0.77") as talk:
            assert message(talk)[:3] == ("250" if whose == "address" else "451")


@pytest.mark.parametrize("whose", ["address", "network"])
def test_recipients(tmp_path: Path, whose: str) -> None:
    with strangers(tmp_path, limited(whose, "recipients = 1")) as site, Talk(site.port) as talk:
        talk.envelope("a@far.test", "b@here.test")
        reply = talk.say("RCPT TO:<c@here.test>")
        assert reply.startswith(f"451 4.7.0 Too many recipients of your {whose}"), reply
        is_logged(site, f"recipients of {'an' if whose == 'address' else 'a'} {whose}", WHO[whose])


def test_octets(tmp_path: Path) -> None:
    with strangers(tmp_path, limited("address", 'bytes = "4KiB"')) as site, Talk(site.port) as talk:
        assert talk.say("MAIL FROM:<a@far.test> SIZE=5000").startswith("451 4.7.0 Too many octets of your address")
        assert message(talk, body="x" * 900 + "\r\n").startswith("250")
        assert message(talk, body=("x" * 900 + "\r\n") * 5).startswith("250")
        # What came in is known behind it: the next one waits.
        assert message(talk).startswith("451 4.7.0 Too many octets of your address")


def test_sessions_at_once(tmp_path: Path) -> None:
    with strangers(tmp_path, limited("address", "sessions = 1")) as site, Talk(site.port):
        with Talk(site.port, hello=False) as second:
            assert second.greeting.startswith("421 4.7.0 Too many sessions at once of your address")
            assert second.is_closed()
        with Talk(site.port, source="127.0.0.9") as other:
            assert other.greeting.startswith("220")
        is_logged(site, "sessions at once of an address", "127.0.0.1")


def test_new_sessions(tmp_path: Path) -> None:
    with strangers(tmp_path, limited("network", "new_sessions = 2")) as site:
        greetings = []
        for last in range(1, 4):
            with Talk(site.port, hello=False, source=f"127.0.0.{last}") as talk:
                greetings.append(talk.greeting[:3])
        assert greetings == ["220", "220", "421"]


def test_errors(tmp_path: Path) -> None:
    with strangers(tmp_path, limited("address", "errors = 2")) as site, Talk(site.port) as talk:
        assert talk.say("MAIL FROM:<a@far.test>").startswith("250")
        assert [talk.say(f"RCPT TO:<{n}@here.test>")[:3] for n in range(2)] == ["550", "550"]
        talk.send(b"RCPT TO:<2@here.test>\r\n")
        assert talk.read().startswith("550")
        assert talk.read().startswith("421 4.7.0 Too many errors of your address")
        assert talk.is_closed()


def test_failed_logins(tmp_path: Path) -> None:
    rest = '\n[logins]\ndelay = "0s"\nslowest = "0s"\n'
    with strangers(tmp_path, limited("address", "failed_logins = 1", more=LOGIN), rest) as site:
        with Talk(site.port) as talk:
            assert talk.log_in("a@here.test", "wrong").startswith("535")
            assert talk.log_in("a@here.test", "wrong").startswith("535")
        with Talk(site.port) as talk:
            assert talk.log_in("a@here.test", "wrong").startswith("421 4.7.0 Too many failed logins of your address")


@pytest.mark.parametrize(("whose", "who"), [("login", "a@here.test"), ("tenant", "shop")])
def test_what_a_login_or_a_tenant_may(tmp_path: Path, whose: str, who: str) -> None:
    with strangers(tmp_path, limited(whose, "messages = 1", "sessions = 1", more=LOGIN)) as site:
        with Talk(site.port) as talk:
            assert talk.log_in("a@here.test", PASSWORD).startswith("235")
            assert message(talk).startswith("250")
            assert message(talk).startswith(f"451 4.7.0 Too many messages of your {whose}")
            # Without a login nobody counts here.
            with Talk(site.port) as stranger:
                assert message(stranger).startswith("250")
            with Talk(site.port) as second:
                assert second.log_in("a@here.test", PASSWORD).startswith(
                    f"421 4.7.0 Too many sessions at once of your {whose}"
                )
        is_logged(site, f"messages of a {whose}", who)


def test_a_flood_of_refusals_is_few_lines(tmp_path: Path) -> None:
    with strangers(tmp_path, limited("address", "messages = 1")) as site, Talk(site.port) as talk:
        assert message(talk).startswith("250")
        for _ in range(200):
            assert talk.say("MAIL FROM:<a@far.test>").startswith("451")
        is_logged(site, "messages of an address", "127.0.0.1")
        assert len(lines(site, "messages of an address")) <= 3


def test_implicit_tls_is_limited_before_its_handshake(tmp_path: Path) -> None:
    listen = limited("address", "new_sessions = 1", more='tls = "implicit"')
    with strangers(tmp_path, listen) as site:
        with Talk(site.port, implicit_tls=True) as talk:
            assert talk.greeting.startswith("220")
        with socket.create_connection(("127.0.0.1", site.port), 20) as plain:
            # Closed without a word, though nothing was said.
            assert plain.recv(100) == b""
        assert (figure(site, "angarium_tls"), figure(site, "angarium_tls_failed")) == (1, 0)
        assert (
            site.metric("angarium_tls_handshakes_total") == 1
            if "angarium_tls_handshakes_total" in site.metrics()
            else True
        )


def test_a_tarpit_holds_answers_back(tmp_path: Path) -> None:
    with strangers(tmp_path, 'tarpit = "1s"') as site, Talk(site.port) as talk:
        assert talk.say("MAIL FROM:<a@far.test>").startswith("250")
        for n in range(3):
            assert talk.say(f"RCPT TO:<{n}@here.test>").startswith("550")
        begun = time.monotonic()
        assert talk.say("RCPT TO:<4@here.test>").startswith("550")
        assert time.monotonic() - begun >= 0.9
        assert talk.say("RCPT TO:<b@here.test>").startswith("250")


def test_the_greeting_waits(tmp_path: Path) -> None:
    begun = time.monotonic()
    with strangers(tmp_path, 'greet_delay = "1s"') as site, Talk(site.port) as talk:
        assert time.monotonic() - begun >= 0.9
        assert talk.greeting.startswith("220")


def drip(talk: Talk, octets: bytes, pace: float) -> str:
    """Octets again and again, until the server says something: that. A bound of steps keeps it from going on."""
    for _ in range(int(60 / pace)):
        talk.send(octets)
        readable, _, _ = select.select([talk.socket], [], [], pace)
        if readable:
            return talk.read()
    raise AssertionError("the server let it go on for a minute")


def test_a_drip_below_the_least_rate_ends(tmp_path: Path) -> None:
    with strangers(tmp_path, "", '\n[timeouts]\ndata_block = "1s"\ndata_rate = 256\n') as site, Talk(site.port) as talk:
        talk.envelope("a@far.test", "b@here.test")
        talk.data()
        assert drip(talk, b"x", 0.1).startswith("421 4.4.2")
        assert talk.is_closed()
        assert not site.mails("here")


def test_a_transaction_has_a_time_in_all(tmp_path: Path) -> None:
    rest = '\n[timeouts]\ndata_block = "5s"\ndata_rate = 0\ndata_total = "2s"\n'
    with strangers(tmp_path, "", rest) as site, Talk(site.port) as talk:
        talk.envelope("a@far.test", "b@here.test")
        talk.data()
        assert drip(talk, b"a whole line of text\r\n", 0.1).startswith("421 4.4.2")
        assert talk.is_closed()


def test_a_command_in_drips_gets_no_new_time(tmp_path: Path) -> None:
    with strangers(tmp_path, "", '\n[timeouts]\ncommand = "2s"\n') as site, Talk(site.port) as talk:
        assert drip(talk, b"N", 0.1).startswith("421 4.4.2")
        assert talk.is_closed()


def test_a_handshake_has_its_time(tmp_path: Path) -> None:
    rest = '\n[timeouts]\nhandshake = "1s"\n'
    with strangers(tmp_path, 'tls = "implicit"', rest) as site, connected(site) as silent:
        assert silent.recv(100) == b""


def test_more_connections_than_places(tmp_path: Path) -> None:
    rest = "\n[limits]\nsessions = 40\nsessions_per_address = 1000\n"
    with strangers(tmp_path, "", rest) as site:
        # All at once, beyond the places and in one batch with the backlog: nobody is left without an answer.
        crowd = [socket.create_connection(("127.0.0.1", site.port), 30) for _ in range(300)]
        words = [one.recv(100)[:3] for one in crowd]
        assert words.count(b"220") == 40
        assert words.count(b"421") == 260
        for one in crowd:
            one.close()
        wait_until(lambda: greets(site.port), "a place is free again")
        is_logged(site, "sessions at once of all", "")


def greets(port: int) -> bool:
    with Talk(port, hello=False) as talk:
        return talk.greeting.startswith("220")


@pytest.mark.parametrize("where", ["handshake", "login", "greeting"])
def test_a_stop_does_not_wait_for_who_waits(tmp_path: Path, where: str) -> None:
    """Each would hold the stop up for longer than the test allows a stop."""
    listen = {
        "handshake": 'tls = "implicit"',
        "login": LOGIN,
        "greeting": 'greet_delay = "1m"',
    }[where]
    rest = '\n[timeouts]\nstop = "10m"\nhandshake = "10m"\n[logins]\ndelay = "10m"\nslowest = "10m"\n'
    with strangers(tmp_path, listen, rest) as site, connected(site) as waiting:
        if where == "login":
            waiting.sendall(b"EHLO client.test\r\nAUTH PLAIN AGEAYg==\r\n")
            wait_until(lambda: figure(site, "angarium_logins_failed") == 1, lambda: site.metrics())
        wait_until(lambda: figure(site, "angarium_sessions") == 1, lambda: site.metrics())
        assert site.server.stop() == 0


def connected(site: Site) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), 60)


def figure(site: Site, name: str) -> float:
    return sum(
        value for sample, value in site.metrics().items() if sample.partition("{")[0].removesuffix("_total") == name
    )
