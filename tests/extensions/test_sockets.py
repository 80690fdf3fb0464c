"""PROXY, chunks, delivery options and odd ends of connections against the installed server."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.site import Site, relay, running, wait_until
from tests.talk import Talk, content


def queued(site: Site, count: int = 1) -> list[dict[str, object]]:
    wait_until(lambda: len(site.queue()) == count, lambda: site.queue())
    return site.queue()


def test_a_cut_inside_a_chunk_delivers_nothing(tmp_path: Path) -> None:
    with running(tmp_path, relay(9, suspended=True)) as site:
        with Talk(site.port) as talk:
            talk.envelope("a@client.test", "cut@far.test")
            talk.send(b"BDAT 1000 LAST\r\n" + content())
            talk.reset()
        with Talk(site.port) as talk:
            assert talk.mail("a@client.test", ["whole@far.test"], content()).startswith("250")
        rows = queued(site)
        assert "cut@far.test" not in str(rows)
        assert "whole@far.test" in str(rows)


def test_binarymime_in_chunks_is_taken(tmp_path: Path) -> None:
    with running(tmp_path, relay(9, suspended=True)) as site, Talk(site.port) as talk:
        assert talk.say("MAIL FROM:<a@client.test> BODY=BINARYMIME").startswith("250")
        assert talk.say("RCPT TO:<b@far.test>").startswith("250")
        first, second = content(), b"\0\r\n\xff\n"
        talk.send(b"BDAT %d\r\n" % len(first) + first)
        assert talk.read().startswith("250")
        talk.send(b"BDAT %d LAST\r\n" % len(second) + second)
        assert talk.read().startswith("250")
        assert "b@far.test" in str(queued(site))


def test_a_half_closed_socket_commits_a_whole_message(tmp_path: Path) -> None:
    with running(tmp_path, relay(9, suspended=True)) as site, Talk(site.port) as talk:
        talk.envelope("a@client.test", "half@far.test")
        talk.data()
        talk.send(content() + b".\r\n")
        talk.socket.shutdown(socket.SHUT_WR)
        assert talk.read().startswith("250")
        assert "half@far.test" in str(queued(site))


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x00\x05hello\r\n"], ids=["http", "tls"])
def test_another_protocol_on_a_clear_port_is_turned_away(tmp_path: Path, octets: bytes) -> None:
    with running(tmp_path) as site, Talk(site.port, hello=False) as talk:
        talk.send(octets)
        assert talk.read().startswith("421")
        assert talk.is_closed()


def test_commands_behind_quit_are_ignored(tmp_path: Path) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.send(b"QUIT\r\nNOOP\r\n")
        assert talk.read().startswith("221")
        assert talk.is_closed()
