"""Asks a Dovecot auth socket (its auth protocol, version 1: doc/wiki/Design.AuthProtocol in its sources).

One question at a time on a connection; idle connections wait in a small pool. A connection that is lost before the
answer came is replaced once, because a restarted Dovecot leaves dead ones behind. What does not answer, or answers that
it cannot tell now, is `SourceDown`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from contextlib import suppress

import trio
from msgspec import Struct

from ..engine import Identity
from .attempt import Attempt, SourceDown

# Questions at once; Dovecot holds back the answer to a wrong password for 2 s.
MOST_AT_ONCE = 64
MOST_IDLE = 4
# AUTH_CLIENT_MAX_LINE_LENGTH of Dovecot.
LONGEST_LINE = 8_192
# Its greeting lists mechanisms, one a line.
MOST_GREETING_LINES = 64
OUR_VERSION = "VERSION\t1\t1"
# What stands for the characters that separate (its str_tabescape).
ESCAPES = {"\x01": "\x011", "\t": "\x01t", "\n": "\x01n", "\r": "\x01r", "\0": "\x010"}


class Answer(Struct, frozen=True):
    """OK, FAIL or CONT with its fields; `user` is the login as Dovecot writes it."""

    is_ok: bool
    fields: dict[str, str]


class Talk:
    """One connection, greeted."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._unread = bytearray()
        self._number = 0
        self.mechanisms: set[str] = set()

    async def greet(self) -> None:
        """Raises `SourceDown` for another protocol."""
        await self._stream.send_all(f"{OUR_VERSION}\nCPID\t{os.getpid()}\n".encode())
        for _ in range(MOST_GREETING_LINES):
            word, *values = await self.line()
            if word == "VERSION" and values[:1] != ["1"]:
                raise SourceDown(f"Dovecot speaks version {'.'.join(values)} of its protocol, not 1")
            if word == "MECH" and values:
                self.mechanisms.add(values[0].upper())
            if word == "DONE":
                return
        raise SourceDown("what answers on the socket is no Dovecot auth service")

    async def ask(self, attempt: Attempt) -> Answer:
        mechanism = mechanism_of(attempt)
        if mechanism not in self.mechanisms:
            raise SourceDown(f"Dovecot does not offer {mechanism}; it offers {', '.join(sorted(self.mechanisms))}")
        self._number += 1
        parts = ["AUTH", str(self._number), mechanism, "service=smtp", f"rip={escape(attempt.address)}", "nologin"]
        parts += ["secured"] if attempt.tls else []
        # It must come last.
        parts.append("resp=" + base64.b64encode(response_of(attempt)).decode())
        await self._stream.send_all(("\t".join(parts) + "\n").encode())
        while True:
            word, *values = await self.line()
            if word in ("OK", "FAIL", "CONT") and values[:1] == [str(self._number)]:
                break
        fields = dict(value.partition("=")[::2] for value in values[1:])
        if word == "CONT":
            # The error of a token as JSON (RFC 7628 3.2.2); an empty answer ends the exchange.
            await self._stream.send_all(f"CONT\t{self._number}\t\n".encode())
            return Answer(False, {})
        return Answer(word == "OK", {name: unescape(value) for name, value in fields.items()})

    async def line(self) -> list[str]:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > LONGEST_LINE:
                raise SourceDown("what answers on the socket is no Dovecot auth service")
            received = await self._stream.receive_some(4_096)
            if not received:
                raise trio.BrokenResourceError("Dovecot closed the connection")
            self._unread += received
        line = self._unread[:end].decode("utf-8", "replace")
        del self._unread[: end + 1]
        return line.split("\t")

    async def close(self) -> None:
        await trio.aclose_forcefully(self._stream)


class Dovecot:
    """The source `dovecot`."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self._idle: list[Talk] = []
        self._room = trio.CapacityLimiter(MOST_AT_ONCE)

    async def judge(self, attempt: Attempt) -> Identity | None:
        """The login's name as Dovecot writes it; it knows nothing else. Raises `SourceDown`."""
        if attempt.kind not in ("password", "token"):
            return None
        async with self._room:
            answer = await self._ask(attempt)
        if answer.is_ok:
            return Identity(login=answer.fields.get("user", ""))
        if "temp" in answer.fields or answer.fields.get("code") == "temp_fail":
            raise SourceDown("Dovecot cannot tell now: " + answer.fields.get("reason", "it gives no reason"))
        return None

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _ask(self, attempt: Attempt) -> Answer:
        try:
            while self._idle:
                talk = self._idle.pop()
                with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                    return await self._on(talk, attempt)
            return await self._on(await self._connect(), attempt)
        except (OSError, trio.BrokenResourceError) as error:
            raise SourceDown(f"{self.socket}: {error}") from None

    async def _connect(self) -> Talk:
        talk = Talk(trio.SocketStream(await unix_socket(self.socket)))
        try:
            await talk.greet()
        except BaseException:
            await talk.close()
            raise
        return talk

    async def _on(self, talk: Talk, attempt: Attempt) -> Answer:
        """A connection on which something went wrong, or was cut short, is not used again."""
        try:
            answer = await talk.ask(attempt)
        except BaseException:
            await talk.close()
            raise
        if len(self._idle) < MOST_IDLE:
            self._idle.append(talk)
        else:
            await talk.close()
        return answer


async def unix_socket(path: str) -> trio.socket.SocketType:
    connected = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        await connected.connect(path)
    except BaseException:
        connected.close()
        raise
    return connected


def mechanism_of(attempt: Attempt) -> str:
    """Passwords go as PLAIN, however they came."""
    return "PLAIN" if attempt.kind == "password" else attempt.mechanism.upper()


def response_of(attempt: Attempt) -> bytes:
    """The initial response of the mechanism."""
    build: dict[str, Callable[[Attempt], bytes]] = {
        # RFC 4616 2
        "PLAIN": lambda a: b"\0".join((a.authzid.encode(), a.name.encode(), a.secret)),
        # RFC 7628 3.1
        "OAUTHBEARER": lambda a: b"n,a=%s,\x01auth=Bearer %s\x01\x01" % (saslname(a.name), a.secret),
        "XOAUTH2": lambda a: b"user=%s\x01auth=Bearer %s\x01\x01" % (a.name.encode(), a.secret),
    }
    return build[mechanism_of(attempt)](attempt)


def saslname(name: str) -> bytes:
    # RFC 5801 4
    return name.replace("=", "=3D").replace(",", "=2C").encode()


def escape(text: str) -> str:
    return "".join(ESCAPES.get(one, one) for one in text)


def unescape(text: str) -> str:
    for plain, escaped in reversed(ESCAPES.items()):
        text = text.replace(escaped, plain)
    return text
