"""Bad input from a client, one row each: the exact code, and that the session goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import Site, running
from tests.talk import Talk, content

LISTEN = """
max_size = "64KiB"
max_recipients = 5
max_errors = 4
max_line = 2000
"""
REST = """
[local]
domains = { "here.test" = "here", "few.test" = "few" }
recipients = ["@here.test", "known@few.test"]

[relay]
domains = ["partner.test"]

[limits]
max_received = 100
max_header = "16KiB"

[delivery]
suspended = true
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("commands"), REST, listen=LISTEN) as started:
        yield started


@pytest.fixture
def talk(site: Site) -> Iterator[Talk]:
    with Talk(site.port) as speaking:
        yield speaking


MAIL = "MAIL FROM:<a@client.test>"
RCPT = "RCPT TO:<b@here.test>"

# what · lines before it, each answered 250 · the line · the reply's beginning
COMMANDS = [
    ("a line of 513 octets", [], "NOOP " + "x" * 506, "500 5.5.2"),
    ("a line without an end in sight", [], "NOOP " + "x" * 100_000, "500 5.5.2"),
    ("a bare CR in a command", [], "NOOP a\rb", "500 5.5.2"),
    ("a NUL in a command", [], "NOOP a\0b", "500 5.5.2"),
    ("an unknown verb", [], "BREW coffee", "500 5.5.1"),
    ("an empty line", [], "", "500 5.5.1"),
    ("RCPT before MAIL", [], RCPT, "503 5.5.1"),
    ("DATA before MAIL", [], "DATA", "503 5.5.1"),
    ("DATA before RCPT", [MAIL], "DATA", "503 5.5.1"),
    ("MAIL twice", [MAIL], MAIL, "503 5.5.1"),
    ("a sender without brackets closed", [], "MAIL FROM:<a@client.test", "501 5.1.7"),
    ("a sender with two ats", [], "MAIL FROM:<a@b@client.test>", "501 5.1.7"),
    ("a sender with a space", [], "MAIL FROM:<a b@client.test>", "501 5.1.7"),
    ("an empty recipient", [MAIL], "RCPT TO:<>", "501 5.1.3"),
    ("a recipient without a local part", [MAIL], "RCPT TO:<@here.test>", "501 5.1.3"),
    ("a recipient with an empty label", [MAIL], "RCPT TO:<b@here..test>", "501 5.1.3"),
    ("a recipient with a control", [MAIL], "RCPT TO:<b\x01@here.test>", "501 5.1.3"),
    ("MAIL without FROM", [], "MAIL <a@client.test>", "501 5.5.4"),
    ("an unknown parameter", [], MAIL + " SPEED=9", "555 5.5.4"),
    ("a SIZE that is no number", [], MAIL + " SIZE=big", "501 5.5.4"),
    ("SIZE beyond the limit", [], MAIL + " SIZE=65537", "552 5.3.4"),
    ("SIZE beyond all numbers", [], MAIL + " SIZE=99999999999999999999", "5"),
    ("UTF-8 without SMTPUTF8", [], "MAIL FROM:<ä@client.test>", "553 5.6.7"),
    ("relaying", [MAIL], "RCPT TO:<b@elsewhere.test>", "550 5.7.1"),
    ("relaying by a source route", [MAIL], "RCPT TO:<@here.test:b@elsewhere.test>", "550 5.7.1"),
    ("relaying by percent", [MAIL], "RCPT TO:<b%elsewhere.test@far.test>", "550 5.7.1"),
    ("relaying to an address literal", [MAIL], "RCPT TO:<b@[192.0.2.1]>", "550 5.7.1"),
    ("a recipient that does not exist", [MAIL], "RCPT TO:<nobody@few.test>", "550 5.1.1"),
    ("one recipient too many", [MAIL, *[f"RCPT TO:<b{n}@here.test>" for n in range(5)]], RCPT, "452 4.5.3"),
]


@pytest.mark.parametrize(("what", "before", "line", "reply"), COMMANDS, ids=[row[0] for row in COMMANDS])
def test_wrong_command(talk: Talk, what: str, before: list[str], line: str, reply: str) -> None:
    for known in before:
        assert talk.say(known).startswith("250"), known
    assert talk.say(line).startswith(reply), what
    assert talk.say("RSET").startswith("250")
    assert talk.mail("a@client.test", ["b@here.test"], content()).startswith("250 2.0.0")


def test_a_bare_line_feed_in_a_command(talk: Talk) -> None:
    """Both halves are answered, neither is obeyed."""
    assert talk.say("MAIL FROM:<a@client.test>\nMAIL FROM:<b@client.test>").startswith("500 5.5.2")
    assert talk.read().startswith("500 5.5.2")
    assert talk.say(RCPT).startswith("503 5.5.1")
    assert talk.mail("a@client.test", ["b@here.test"], content()).startswith("250 2.0.0")


@pytest.mark.parametrize("domain", ["here.test", "HERE.TEST", "partner.test"])
def test_what_is_allowed(talk: Talk, domain: str) -> None:
    assert talk.say(MAIL).startswith("250")
    assert talk.say(f"RCPT TO:<b@{domain}>").startswith("250 2.1.5")


def test_a_session_that_makes_too_many_errors_is_ended(talk: Talk) -> None:
    replies = [talk.say("BREW coffee") for _ in range(4)]
    assert all(reply.startswith("500 5.5.1") for reply in replies[:3]), replies
    ending = replies[3] if replies[3].startswith("421") else talk.read()
    assert ending.startswith("421 4.7.0")
    assert talk.is_closed()


def test_a_browser_is_sent_away(site: Site) -> None:
    with Talk(site.port, hello=False) as talk:
        talk.send(b"POST / HTTP/1.1\r\nHost: mx.site.test\r\nContent-Length: 400\r\n\r\nMAIL FROM:<a@client.test>\r\n")
        assert talk.read().startswith("421 4.7.0")
        assert talk.is_closed()


HOPS = b"Received: from x by y; Wed, 25 Nov 2026 08:00:00 +0000\r\n"
# what · content before its dot · the reply's beginning
CONTENTS = [
    ("content beyond the limit", content(body="x" * 70 + "\r\n") + (b"x" * 70 + b"\r\n") * 1_000, "552 5.3.4"),
    ("a bare LF", content(body="a\nb\r\n"), "550 5.6.0"),
    ("a bare CR", content(body="a\rb\r\n"), "550 5.6.0"),
    ("a NUL", content(body="a\0b\r\n"), "550 5.6.0"),
    ("a smuggled end by LF", content(body="a\n.\nMAIL FROM:<x@client.test>\r\n"), "550 5.6.0"),
    ("a smuggled end by CR", content(body="a\r.\rMAIL FROM:<x@client.test>\r\n"), "550 5.6.0"),
    ("a smuggled end by LF and CRLF", content(body="a\n.\r\nMAIL FROM:<x@client.test>\r\n"), "550 5.6.0"),
    ("a text line too long", content(body="x" * 2_000 + "\r\n"), "5"),
    ("101 hops", HOPS * 101 + content(), "554 5.4.6"),
    ("a header section too long", b"".join(b"X-%d: x\r\n" % n for n in range(3_000)) + content(), "552 5.3.4"),
]
GOOD_CONTENTS = [
    ("exactly as long as the longest line", content(body="x" * 1_998 + "\r\n")),
    ("99 hops", HOPS * 99 + content()),
    ("no header at all", b"\r\ntext\r\n"),
    ("nothing at all", b""),
    ("eight bits", content(body="\xe4\r\n")),
    ("dots", content(body="..\r\n...\r\n..x\r\n")),
]


@pytest.mark.parametrize(("what", "octets", "reply"), CONTENTS, ids=[row[0] for row in CONTENTS])
def test_wrong_content(talk: Talk, what: str, octets: bytes, reply: str) -> None:
    assert talk.mail("a@client.test", ["b@here.test"], octets).startswith(reply), what
    assert talk.mail("a@client.test", ["b@here.test"], content()).startswith("250 2.0.0")


@pytest.mark.parametrize(("what", "octets"), GOOD_CONTENTS, ids=[row[0] for row in GOOD_CONTENTS])
def test_unusual_content_is_taken(talk: Talk, what: str, octets: bytes) -> None:
    assert talk.mail("a@client.test", ["b@here.test"], octets).startswith("250 2.0.0"), what


def test_trusted_clients_may_have_bare_newlines_mended(tmp_path: Path) -> None:
    listen = 'bare_newline = "normalise"\ntrusted = true\n'
    with running(tmp_path, '[local]\ncatch_all = "all"\n', listen=listen) as site, Talk(site.port) as talk:
        assert talk.mail("a@client.test", ["b@here.test"], content(body="a\nb\rc\r\n")).startswith("250 2.0.0")
        assert talk.mail("a@client.test", ["b@here.test"], content(body="a\0b\r\n")).startswith("550 5.6.0")
