"""Whom the server believes: PROXY headers and XCLIENT from others, talk before the greeting, LMTP over TCP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.site import relay, running
from tests.talk import Talk, content

VERSION_1 = b"PROXY TCP4 198.51.100.7 127.0.0.1 4000 25\r\n"


class Bare(Talk):
    """A connection on which the client speaks first."""

    def __init__(self, port: int, first: bytes) -> None:
        self.first = first
        super().__init__(port, hello=False)

    def read(self) -> str:
        first, self.first = self.first, b""
        if first:
            self.send(first)
        return super().read()


def test_a_proxy_header_from_another_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as site, Talk(site.port, hello=False) as talk:
        assert talk.say(VERSION_1.rstrip()).startswith(("5", "421"))


def test_xclient_from_a_stranger_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        assert "XCLIENT" not in talk.capabilities
        assert talk.say("XCLIENT ADDR=198.51.100.7").startswith("5")
        assert talk.say("XFORWARD ADDR=198.51.100.7").startswith("5")


def test_xclient_from_a_trusted_peer_is_taken(tmp_path: Path) -> None:
    with running(tmp_path, listen='xclient_networks = ["127.0.0.1"]') as site, Talk(site.port) as talk:
        assert "XCLIENT" in talk.capabilities
        assert "XFORWARD" in talk.capabilities
        assert talk.say("XCLIENT ADDR=198.51.100.7").startswith("220")


def test_who_talks_before_the_greeting_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, listen='greet_delay = "2s"') as site, Bare(site.port, b"EHLO early.test\r\n") as talk:
        assert talk.greeting.startswith(("554", "521", "421"))


@pytest.mark.parametrize("name", [b"a\rX-Bad: 1", b"a\nX-Bad: 1", b"a\0b"], ids=["cr", "lf", "nul"])
def test_a_hello_with_a_line_end_is_refused(tmp_path: Path, name: bytes) -> None:
    with running(tmp_path) as site, Talk(site.port, hello=False) as talk:
        assert talk.say(b"EHLO " + name).startswith("5")


def test_lmtp_over_tcp_answers_for_each_recipient(tmp_path: Path) -> None:
    listen = 'profile = "lmtp"\ntrusted = true'
    with running(tmp_path, relay(9, suspended=True), listen=listen) as site, Talk(site.port, hello=False) as talk:
        assert talk.say("EHLO client.test").startswith("5")
        assert talk.say("LHLO client.test").startswith("250")
        talk.envelope("a@client.test", "b@far.test", "c@far.test")
        talk.data()
        talk.send(content() + b".\r\n")
        assert [talk.read()[:3], talk.read()[:3]] == ["250", "250"]
        assert talk.say("NOOP").startswith("250")
