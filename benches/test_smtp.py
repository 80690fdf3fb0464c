"""SMTP lines and content: the server's side of a session against what a person would write with the standard library.

Both are fed the same reads of 64 KiB and give every command and the whole content; neither does I/O.
"""

from __future__ import annotations

import re

import pytest
from angarium.smtp import Body, Server

LINE = b"A line of ordinary text, seventy characters long with its line end..\r\n"
CONTENT = b"Subject: benchmark\r\n\r\n" + LINE * (4096 // len(LINE)) + b"..a stuffed one\r\n"
ENVELOPE = (
    b"MAIL FROM:<sender@example.org> SIZE=4096 BODY=8BITMIME\r\nRCPT TO:<one@example.com>\r\n"
    b"RCPT TO:<two@example.com>\r\nDATA\r\n"
)
MESSAGES = 20
SESSION = b"EHLO client.example\r\n" + (ENVELOPE + CONTENT + b".\r\n") * MESSAGES + b"QUIT\r\n"
LARGE = b"EHLO client.example\r\n" + ENVELOPE + LINE * (1_000_000 // len(LINE)) + b".\r\nQUIT\r\n"
READ = 65_536


def ours(session: bytes) -> int:
    """Octets kept."""
    server = Server("mx.example")
    server.greet()
    kept = 0
    for at in range(0, len(session), READ):
        server.receive_data(session[at : at + READ])
        while (event := server.next_event()) is not None:
            if isinstance(event, Body):
                kept += len(event.data)
            elif server.awaits:
                server.accept()
        server.data_to_send()
    return kept


MAIL = re.compile(rb"MAIL FROM:<([^>]*)>(.*)", re.IGNORECASE)
RCPT = re.compile(rb"RCPT TO:<([^>]+)>(.*)", re.IGNORECASE)


class Plain:
    """A server as one writes it in an afternoon: lines in a loop, no limits, no defence."""

    def __init__(self) -> None:
        self.rest = b""
        self.content: list[bytes] | None = None
        self.kept = 0
        self.out: list[bytes] = []

    def feed(self, data: bytes) -> None:
        lines = (self.rest + data).split(b"\r\n")
        self.rest = lines.pop()
        for line in lines:
            if self.content is None:
                self.command(line)
            elif line == b".":
                self.kept += len(b"\r\n".join([*self.content, b""]))
                self.content = None
                self.out.append(b"250 OK\r\n")
            else:
                self.content.append(line[1:] if line.startswith(b".") else line)

    def command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"DATA":
            self.content = []
            self.out.append(b"354 go\r\n")
        elif (verb == b"MAIL" and MAIL.fullmatch(line)) or (verb == b"RCPT" and RCPT.fullmatch(line)):
            self.out.append(b"250 OK\r\n")
        else:
            self.out.append(b"250 OK\r\n")


def plain(session: bytes) -> int:
    server = Plain()
    for at in range(0, len(session), READ):
        server.feed(session[at : at + READ])
        b"".join(server.out)
        server.out.clear()
    return server.kept


def test_both_keep_the_same():
    assert ours(SESSION) == plain(SESSION) == MESSAGES * (len(CONTENT) - 1)


@pytest.mark.benchmark(group=f"SMTP session, {MESSAGES} messages of 4 KiB")
class TestMessages:
    def test_ours(self, benchmark):
        assert benchmark(ours, SESSION) > 0

    def test_plain_python(self, benchmark):
        assert benchmark(plain, SESSION) > 0


@pytest.mark.benchmark(group="SMTP session, one message of 1 MB")
class TestLarge:
    def test_ours(self, benchmark):
        assert benchmark(ours, LARGE) > 0

    def test_plain_python(self, benchmark):
        assert benchmark(plain, LARGE) > 0
