"""Resolvers: how the checks ask DNS. The found one is dnspython; anything callable does.

Text records come as bytes, the strings of each joined (RFC 7208 3.3); addresses and names as text in bytes. MX records
come as the names of their hosts, the most preferred first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdata
import dns.resolver

from ..errors import AuthError

Status = Literal["found", "none", "nxdomain", "failed"]
Answer = tuple[Status, Sequence[bytes]]
SyncResolver = Callable[[str, str], Answer]
Resolver = Callable[[str, str], Answer | Awaitable[Answer]]

# Seconds for one question with all its retries; a whole message asks in a few rounds.
LIFETIME = 10.0


class Found:
    """dnspython with the system's name servers, or with those given as addresses; sync and, as `on_trio`, on Trio."""

    def __init__(self, servers: Sequence[str] = (), *, port: int = 53, lifetime: float = LIFETIME) -> None:
        self._lifetime = lifetime
        try:
            self._sync = dns.resolver.Resolver(configure=not servers)
            self._async = dns.asyncresolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration as error:
            raise AuthError("no name server is configured on this machine; give a resolver") from error
        for resolver in (self._sync, self._async):
            if servers:
                resolver.nameservers = list(servers)
                resolver.port = port
            resolver.cache = dns.resolver.LRUCache()

    def __call__(self, name: str, kind: str) -> Answer:
        try:
            return answer_of(self._sync.resolve(name, kind, lifetime=self._lifetime, search=False))
        except (dns.exception.DNSException, OSError, ValueError) as error:
            return fault_of(error)

    async def on_trio(self, name: str, kind: str) -> Answer:
        try:
            return answer_of(await self._async.resolve(name, kind, lifetime=self._lifetime, search=False))
        except (dns.exception.DNSException, OSError, ValueError) as error:
            return fault_of(error)


def find_resolver(servers: Sequence[str] = (), *, port: int = 53, lifetime: float = LIFETIME) -> Found:
    """A resolver for the system's name servers, or for `servers` (IP addresses). `lifetime` in seconds a question.

    Raises `AuthError` where none is given and none configured.
    """
    return Found(servers, port=port, lifetime=lifetime)


def fault_of(error: Exception) -> Answer:
    if isinstance(error, dns.resolver.NXDOMAIN):
        return "nxdomain", []
    if isinstance(error, dns.resolver.NoAnswer):
        return "none", []
    # A name that DNS cannot hold does not exist.
    unaskable = isinstance(error, ValueError | dns.name.LabelTooLong | dns.name.NameTooLong | dns.name.EmptyLabel)
    return ("nxdomain" if unaskable else "failed"), []


def answer_of(answer: dns.resolver.Answer) -> Answer:
    records = sorted(answer, key=lambda record: getattr(record, "preference", 0))
    return "found", [record_of(record) for record in records]


def record_of(record: dns.rdata.Rdata) -> bytes:
    strings = getattr(record, "strings", None)
    if strings is not None:
        return b"".join(strings)
    exchange = getattr(record, "exchange", None)
    return str(record if exchange is None else exchange).encode()
