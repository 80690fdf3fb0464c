"""Resolvers: how the checks ask DNS. The found one is `angarium.dns`; anything callable does.

Text records come as bytes, the strings of each joined (RFC 7208 3.3); addresses and names as text in bytes. MX records
come as the names of their hosts, the most preferred first.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import dns.rdata
import dns.resolver
import trio

from .. import settings as site
from ..dns import Lookups, mx_of
from ..errors import AuthError

Status = Literal["found", "none", "nxdomain", "failed"]
Answer = tuple[Status, Sequence[bytes]]
SyncResolver = Callable[[str, str], Answer]
Resolver = Callable[[str, str], Answer | Awaitable[Answer]]

# Seconds for one question with all its retries; a whole message asks in a few rounds.
LIFETIME = 10.0


class Found:
    """The system's name servers, or those given as addresses; a plain callable and, as `on_trio`, one for Trio.

    Answers are kept as long as they hold, and askers of one name share one question. Use one for many messages. The
    two ways remember apart, since Trio's clock counts from another moment in each run.
    """

    def __init__(self, servers: Sequence[str] = (), *, port: int = 53, lifetime: float = LIFETIME) -> None:
        if not servers:
            try:
                dns.resolver.Resolver(configure=True)
            except dns.resolver.NoResolverConfiguration as error:
                raise AuthError("no name server is configured on this machine; give a resolver") from error
        named = (f"[{server}]:{port}" if ":" in server else f"{server}:{port}" for server in servers)
        settings = site.Dns(
            servers=tuple(site.NameServer.parse(text) for text in named),
            lifetime=site.Duration.parse(f"{round(lifetime * 1000)}ms"),
        )
        self._on_trio = Lookups(settings)
        self._plain = Lookups(settings)
        self._clock = Steady()

    def __call__(self, name: str, kind: str) -> Answer:
        """Asks and waits. Raises `AuthError` inside Trio, whose loop it would stop."""
        if trio.lowlevel.in_trio_run():
            raise AuthError("a plain resolver would stop the Trio loop that it is called in; use on_trio, await verify")
        return trio.run(ask, self._plain, name, kind, clock=self._clock)

    async def on_trio(self, name: str, kind: str) -> Answer:
        return await ask(self._on_trio, name, kind)


class Steady(trio.abc.Clock):
    """One count of seconds for all runs of Trio, so that answers live from one to the next."""

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - time.monotonic()


async def ask(lookups: Lookups, name: str, kind: str) -> Answer:
    try:
        answer = await lookups.records(name, kind)
    except ValueError:
        # A name that DNS cannot hold does not exist.
        return "nxdomain", []
    if kind == "MX":
        hosts = sorted((mx_of(text) for text in answer.records), key=lambda record: record.preference)
        return answer.status, [record.host.encode() for record in hosts]
    return answer.status, [record_of(text, kind) for text in answer.records]


def record_of(text: str, kind: str) -> bytes:
    """A record's own bytes: the strings of a TXT record joined, others as they are written."""
    if kind != "TXT":
        return text.encode()
    record = dns.rdata.from_text("IN", "TXT", text)
    return b"".join(getattr(record, "strings", ()))


def find_resolver(servers: Sequence[str] = (), *, port: int = 53, lifetime: float = LIFETIME) -> Found:
    """A resolver for the system's name servers, or for `servers` (IP addresses). `lifetime` in seconds a question.

    Raises `AuthError` where none is given and none configured.
    """
    return Found(servers, port=port, lifetime=lifetime)
