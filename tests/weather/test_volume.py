"""Much of everything: a header of a mebibyte, ten thousand recipients, a crowd of large messages in little memory."""

from __future__ import annotations

import concurrent.futures
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.harness import RecordingSink
from tests.site import Site, running, wait_until
from tests.talk import Talk, content

MANY = 10_000
RELAY = """
[relay]
networks = ["127.0.0.0/8"]

[smarthost]
host = "[127.0.0.1]"
port = {port}
"""


def long_field(octets: int) -> bytes:
    """One header field of so many octets, folded as RFC 5322 2.2.3 has it."""
    line = b" " + b"x" * 900 + b"\r\n"
    field = b"X-Long: begin\r\n" + line * (octets // len(line))
    return field + b" " + b"y" * (octets - len(field) - 3) + b"\r\n"


def test_as_many_wait_as_may(tmp_path: Path) -> None:
    """At `limits.entries` new mail is put off at MAIL until room is made; what was taken stays."""
    rest = RELAY.format(port=9) + "\n[limits]\nentries = 3\n\n[delivery]\nsuspended = true\n"
    with running(tmp_path, rest) as site, Talk(site.port) as talk:
        for number in range(3):
            assert talk.mail("a@client.test", ["b@far.test"], content(f"{number}")).startswith("250")
        put_off = lambda: talk.say("RSET") and talk.say("MAIL FROM:<a@client.test>").startswith("452 4.3.1")  # noqa: E731
        wait_until(put_off, "452 4.3.1 at MAIL")
        assert len(site.queue()) == 3


def test_a_mebibyte_of_one_header_field(tmp_path: Path) -> None:
    """A mebibyte of header is where it ends; what is just below is stamped and delivered whole."""
    sink = RecordingSink()
    sink.keep_bodies = True
    with running(tmp_path, RELAY.format(port=sink.port)) as site, Talk(site.port) as talk:
        answer = talk.mail("a@client.test", ["b@far.test"], long_field(1 << 20) + content("too long"))
        assert answer.startswith("552 5.3.4"), answer
        octets = long_field(1_000_000) + content("long header")
        assert talk.mail("a@client.test", ["b@far.test"], octets).startswith("250 2.0.0")
        assert sink.wait_for(lambda: len(sink.messages) == 1, seconds=20), site.queue()
    assert sink.messages[0].endswith(octets)
    sink.close()


def test_a_mebibyte_of_one_header_line(tmp_path: Path) -> None:
    """One line without a fold is a line too long, and the session goes on."""
    with running(tmp_path) as site, Talk(site.port) as talk:
        octets = b"X-Long: " + b"x" * (1 << 20) + b"\r\n" + content()
        assert talk.mail("a@client.test", ["b@here.test"], octets).startswith("500 5.5.2")
        assert talk.mail("a@client.test", ["b@here.test"], content()).startswith("250 2.0.0")


def test_ten_thousand_recipients(tmp_path: Path) -> None:
    """Taken in one transaction, each delivered exactly once."""
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def note(command: str) -> None:
        if command.startswith("RCPT TO:"):
            with lock:
                seen[command.partition("<")[2].partition(">")[0]] += 1

    sink = RecordingSink(refuse=note)
    listen = f"max_recipients = {MANY}"
    with running(tmp_path, RELAY.format(port=sink.port), listen=listen) as site, Talk(site.port) as talk:
        assert talk.say("MAIL FROM:<a@client.test>").startswith("250")
        wanted = [f"r{number}@d{number % 100}.far.test" for number in range(MANY)]
        for begin in range(0, MANY, 100):
            # PIPELINING: a hundred at a time, so that neither side waits with full buffers.
            talk.send(b"".join(f"RCPT TO:<{one}>\r\n".encode() for one in wanted[begin : begin + 100]))
            assert all(talk.read().startswith("250 2.1.5") for _ in range(100))
        assert talk.say("RCPT TO:<one@too-many.test>").startswith("452 4.5.3")
        talk.data()
        talk.send(content("to many") + b".\r\n")
        assert talk.read().startswith("250 2.0.0")
        assert sink.wait_for(lambda: len(seen) == MANY, seconds=90), (len(seen), site.status())
        wait_until(lambda: site.queue() == [], lambda: site.status())
    sink.close()
    assert seen.keys() == set(wanted)
    assert set(seen.values()) == {1}


CROWD = """
[local]
catch_all = "all"

[delivery]
suspended = true

[limits]
sessions_per_address = 1000
memory = "{memory}"
"""
MIB = 1 << 20
BLOCK = (b"x" * 78 + b"\r\n") * 800


def crowd(site: Site, *, sessions: int, size: int) -> None:
    """All of them have sent half before any may send its end: every message is under way at once."""
    halfway = threading.Barrier(sessions, timeout=600)

    def hand_in(number: int) -> str:
        with Talk(site.port, seconds=600) as talk:
            talk.envelope("a@client.test", f"b{number}@here.test")
            talk.data()
            talk.send(content(f"number {number}"))
            blocks = size // len(BLOCK)
            for sent in range(blocks):
                talk.send(BLOCK)
                if sent == blocks // 2:
                    halfway.wait()
            talk.send(b".\r\n")
            return talk.read()

    with concurrent.futures.ThreadPoolExecutor(sessions) as pool:
        answers = list(pool.map(hand_in, range(sessions)))
    assert all(answer.startswith("250 2.0.0") for answer in answers), Counter(answers)


def test_a_crowd_of_large_messages(tmp_path: Path) -> None:
    with running(tmp_path, CROWD.format(memory="32MiB")) as site:
        empty = site.peak_memory()
        crowd(site, sessions=40, size=20 * MIB)
        assert site.peak_memory() < empty + 128 * MIB, f"{empty >> 20} → {site.peak_memory() >> 20} MiB"
        assert site.status()["counters"]["received"] == 40


@pytest.mark.stress
def test_two_hundred_sessions_of_fifty_megabytes(tmp_path: Path) -> None:
    """10 GB on the way at once, in under 600 MB of process memory."""
    with running(tmp_path, CROWD.format(memory="128MiB"), listen='max_size = "64MiB"') as site:
        crowd(site, sessions=200, size=50_000_000)
        print(f"peak memory {site.peak_memory() / 1e6:.0f} MB")
        assert site.peak_memory() < 600_000_000
        assert site.status()["counters"]["received"] == 200
