"""A client that speaks SMTP by hand: any bytes, in any pieces, and hang-ups of every kind.

`say` sends one line and gives the whole reply as text, lines joined by a line feed, so that a test compares what an
administrator would see: `assert talk.say("NOOP").startswith("250 2.0.0")`.
"""

from __future__ import annotations

import base64
import socket
import ssl
import struct
from collections.abc import Iterable
from types import TracebackType

SECONDS = 20.0


class Talk:
    """One connection. Reading more than `seconds` without an answer is an error (`TimeoutError`)."""

    def __init__(
        self,
        port: int,
        *,
        hello: bool = True,
        seconds: float = SECONDS,
        first: bytes = b"",
        source: str = "127.0.0.1",
        implicit_tls: bool = False,
    ) -> None:
        """`first` goes out before the greeting is read, from the address `source` of loopback."""
        self.socket = socket.create_connection(("127.0.0.1", port), seconds, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if first:
            self.socket.sendall(first)
        if implicit_tls:
            self.socket = unverified().wrap_socket(self.socket)
        self.stream = self.socket.makefile("rb")
        self.greeting = self.read()
        self.capabilities = self.say("EHLO client.test") if hello else ""

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def read(self) -> str:
        """One reply; empty when the connection has ended."""
        lines = []
        while line := self.stream.readline():
            lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
            if line[3:4] != b"-":
                break
        return "\n".join(lines)

    def say(self, line: str | bytes) -> str:
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.read()

    def starttls(self) -> None:
        """STARTTLS, and EHLO under it."""
        reply = self.say("STARTTLS")
        assert reply.startswith("220"), reply
        self.socket = unverified().wrap_socket(self.socket)
        self.stream = self.socket.makefile("rb")
        self.capabilities = self.say("EHLO client.test")

    def log_in(self, login: str, password: str) -> str:
        """AUTH PLAIN; the reply."""
        response = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
        return self.say(f"AUTH PLAIN {response}")

    def envelope(self, sender: str, *recipients: str) -> None:
        """MAIL and RCPT, all of which must be taken."""
        for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients)):
            reply = self.say(line)
            assert reply.startswith("250"), f"{line}: {reply}"

    def data(self) -> None:
        reply = self.say("DATA")
        assert reply.startswith("354"), reply

    def mail(self, sender: str, recipients: Iterable[str], content: bytes) -> str:
        """A whole transaction; `content` has its dots doubled already. Gives the answer to the final dot."""
        self.envelope(sender, *recipients)
        self.data()
        self.send(content + b".\r\n")
        return self.read()

    def is_closed(self) -> bool:
        """Waits for the server to hang up; false when it says something instead."""
        try:
            return self.stream.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.stream.close()
        self.socket.close()

    def reset(self) -> None:
        """Breaks the connection off with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def unverified() -> ssl.SSLContext:
    """Of a client that takes any certificate, as most mail servers do."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def content(subject: str = "weather", body: str = "text\r\n") -> bytes:
    """A small message with the fields that mail has."""
    return f"From: a@client.test\r\nTo: b@here.test\r\nSubject: {subject}\r\n\r\n{body}".encode()
