"""Senders that stop, vanish, drip or will not listen: each is ended in time, and nobody else notices."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.site import Site, running, wait_until
from tests.talk import Talk, content

# Short enough to wait for, long enough for a machine with much else to do.
REST = """
[local]
domains = { "here.test" = "here" }

[timeouts]
command = "1s"
data_block = "1s"
data_total = "5s"
data_rate = 100
write = "1s"

[limits]
sessions_per_address = 8
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("senders"), REST) as started:
        yield started


def open_content(site: Site, subject: str) -> Talk:
    """A session in the middle of its content."""
    talk = Talk(site.port)
    talk.envelope("a@client.test", "b@here.test")
    talk.data()
    talk.send(content(subject))
    return talk


def arrived(site: Site) -> list[str]:
    return [str(mail["Subject"]) for mail in site.mails("here")]


def still_serves(site: Site, subject: str) -> None:
    with Talk(site.port) as talk:
        assert talk.mail("a@client.test", ["b@here.test"], content(subject)).startswith("250 2.0.0")
    wait_until(lambda: subject in arrived(site), lambda: arrived(site))


def assert_ended(talk: Talk) -> None:
    assert talk.read().startswith("421 4.4.2")
    assert talk.is_closed()


def sessions(site: Site) -> int:
    """Sessions that the server counts now; every one that ended must be counted out."""
    return int(site.metric("angarium_sessions"))


def test_silence_instead_of_a_command(site: Site) -> None:
    with Talk(site.port) as talk:
        assert_ended(talk)
    still_serves(site, "after silence")


def test_silence_before_the_first_command(site: Site) -> None:
    with Talk(site.port, hello=False) as talk:
        assert_ended(talk)


def test_a_stop_in_the_middle_of_content(site: Site) -> None:
    with open_content(site, "stopped") as talk:
        assert_ended(talk)
    still_serves(site, "after a stop")
    assert "stopped" not in arrived(site)


@pytest.mark.parametrize("ending", ["closed", "reset", "half closed"])
def test_a_sender_that_vanishes_in_the_middle_of_content(site: Site, ending: str) -> None:
    talk = open_content(site, ending)
    if ending == "closed":
        talk.close()
    elif ending == "reset":
        talk.reset()
    else:
        talk.socket.shutdown(socket.SHUT_WR)
        assert talk.is_closed()
        talk.close()
    wait_until(lambda: sessions(site) == 0, lambda: sessions(site))
    still_serves(site, f"after {ending}")
    assert ending not in arrived(site)


def test_a_complete_message_counts_although_its_sender_did_not_wait(site: Site) -> None:
    """spool.md S8: end of stream after a complete message commits."""
    talk = open_content(site, "in a hurry")
    talk.send(b".\r\n")
    talk.socket.shutdown(socket.SHUT_WR)
    assert talk.read().startswith("250 2.0.0")
    talk.close()
    wait_until(lambda: "in a hurry" in arrived(site), lambda: arrived(site))


def test_a_byte_now_and_then(site: Site) -> None:
    """Each byte comes in time, all of them together too slowly (RFC 5321 4.5.3.2.5 is a time for one block only)."""
    with open_content(site, "dripping") as talk:
        assert drip(talk, seconds=15) < 12
        assert_ended(talk)
    still_serves(site, "after a drip")
    assert "dripping" not in arrived(site)


def test_commands_that_drip(site: Site) -> None:
    """A command must be whole within its time, however busily its bytes come."""
    with Talk(site.port) as talk:
        talk.send(b"NOOP ")
        assert drip(talk, seconds=15) < 12
        assert_ended(talk)


def drip(talk: Talk, *, seconds: float) -> float:
    """Sends a byte ten times a second until the server has had enough; gives how long that took."""
    began = time.monotonic()
    talk.socket.settimeout(0.1)
    while time.monotonic() - began < seconds:
        try:
            talk.send(b"x")
            if talk.socket.recv(1, socket.MSG_PEEK):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    talk.socket.settimeout(20)
    return time.monotonic() - began


def test_a_sender_that_does_not_read_its_replies(site: Site) -> None:
    """What it asks for is bounded by the socket's buffers, then it is let go (time-out of writing)."""
    talk = Talk(site.port)
    talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    talk.socket.settimeout(0.5)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            talk.send(b"HELP\r\n" * 1_000)
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        pytest.fail("the server went on listening to somebody who does not read")
    talk.close()
    still_serves(site, "after deafness")


def test_too_many_sessions_from_one_address(site: Site) -> None:
    wait_until(lambda: sessions(site) == 0, lambda: sessions(site))
    talks = [Talk(site.port) for _ in range(8)]
    try:
        with socket.create_connection(("127.0.0.1", site.port), 10) as ninth:
            assert ninth.recv(512).startswith(b"421 4.7.0")
    finally:
        for talk in talks:
            talk.close()
    wait_until(lambda: sessions(site) == 0, lambda: sessions(site))
    still_serves(site, "after a crowd")
