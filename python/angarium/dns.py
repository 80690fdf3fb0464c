"""Cached answers from DNS: hosts that take mail for a domain, addresses of hosts.

Answers are values, also the bad ones: `found`, `none` (the name is there, not this), `nxdomain`, `failed` (no server
said anything useful; asked again after a hold-down). TTLs are kept within bounds, askers of one name share one query
(single flight), the cache is bounded and drops what was used longest ago. DNSSEC's word is believed only from a
resolver on loopback unless the settings say otherwise. Times are those of the Trio clock, in seconds.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Literal, TypeVar

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.resolver
import msgspec
import trio

from . import settings as site

# RFC 9715: no fragments on any path that is met in practice.
EDNS_PAYLOAD = 1_232
# RFC 6761 6.3: these are never asked for.
LOCALHOST = ("127.0.0.1", "::1")

Status = Literal["found", "none", "nxdomain", "failed"]
Record = TypeVar("Record")


class Answer(msgspec.Struct, Generic[Record], frozen=True):
    """What DNS says about a name now. `expires` in seconds of the Trio clock; `why` for people, when it failed."""

    status: Status
    records: tuple[Record, ...]
    expires: float
    authentic: bool = False
    why: str = ""

    @property
    def is_found(self) -> bool:
        return self.status == "found"


class Mx(msgspec.Struct, frozen=True):
    """One MX record; the host in lower case, `.` for the null MX (RFC 7505)."""

    preference: int
    host: str


MxAnswer = Answer[Mx]
AddressAnswer = Answer[str]
Key = tuple[str, str]
# What a resolver gives for (name, type): the records as text, and for how many seconds.
Raw = tuple[Status, tuple[str, ...], float, bool, str]
Ask = Callable[[str, str], Awaitable[Raw]]


class Lookups:
    """Asks and remembers. `ask` stands in for the network in other drivers; by default it is dnspython on Trio."""

    def __init__(self, settings: site.Dns, *, ask: Ask | None = None) -> None:
        self._settings = settings
        self._ask = ask or Network(settings)
        self._limiter = trio.CapacityLimiter(settings.queries)
        self._cache: OrderedDict[Key, Answer[str]] = OrderedDict()
        self._flights: dict[Key, trio.Event] = {}
        self.hits = 0
        self.queries = 0
        self.failures = 0

    async def mx(self, domain: str) -> MxAnswer:
        """The MX records of a domain, as they came; sorting and shuffling is routing's."""
        answer = await self.records(domain, "MX")
        records = tuple(mx_of(text) for text in answer.records)
        return MxAnswer(answer.status, records, answer.expires, answer.authentic, answer.why)

    async def addresses(self, host: str) -> AddressAnswer:
        """All addresses of a host, IPv6 and IPv4 in turn; found if either kind is."""
        if host == "localhost" or host.endswith(".localhost"):
            return AddressAnswer("found", LOCALHOST, trio.current_time() + self._settings.max_ttl.seconds)
        both: dict[str, Answer[str]] = {}

        async def one(kind: str) -> None:
            both[kind] = await self.records(host, kind)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "AAAA")
            await one("A")
        return merge(both["AAAA"], both["A"])

    async def records(self, name: str, kind: str) -> Answer[str]:
        """The records of one type as text, from memory or from one query that all askers share."""
        key = (name.rstrip(".").lower(), kind)
        while True:
            known = self._remembered(key)
            if known is not None:
                self.hits += 1
                return known
            flight = self._flights.get(key)
            if flight is None:
                return await self._fly(key)
            # Whoever flew may have been cancelled: then nothing is remembered and the next one flies.
            await flight.wait()

    def _remembered(self, key: Key) -> Answer[str] | None:
        known = self._cache.get(key)
        if known is None or known.expires <= trio.current_time():
            return None
        self._cache.move_to_end(key)
        return known

    async def _fly(self, key: Key) -> Answer[str]:
        landed = self._flights[key] = trio.Event()
        try:
            async with self._limiter:
                self.queries += 1
                raw = await self._ask(*key)
            return self._remember(key, raw)
        finally:
            del self._flights[key]
            landed.set()

    def _remember(self, key: Key, raw: Raw) -> Answer[str]:
        status, records, ttl, authentic, why = raw
        if status == "failed":
            self.failures += 1
            seconds = self._settings.hold_down.seconds
        else:
            seconds = min(max(ttl, self._settings.min_ttl.seconds), self._settings.max_ttl.seconds)
        answer = Answer[str](status, records, trio.current_time() + seconds, authentic, why)
        self._cache[key] = answer
        self._cache.move_to_end(key)
        while len(self._cache) > self._settings.cache:
            self._cache.popitem(last=False)
        return answer

    def forget(self) -> None:
        """Drops all answers; the next askers ask anew."""
        self._cache.clear()

    def __len__(self) -> int:
        return len(self._cache)


def mx_of(text: str) -> Mx:
    preference, _, host = text.partition(" ")
    return Mx(int(preference), host if host == "." else host.rstrip(".").lower())


def merge(six: AddressAnswer, four: AddressAnswer) -> AddressAnswer:
    """Two families as one answer: interleaved, valid as long as both are."""
    expires = min(six.expires, four.expires)
    if six.is_found or four.is_found:
        longest = max(len(six.records), len(four.records))
        turns = (records[n : n + 1] for n in range(longest) for records in (six.records, four.records))
        records = tuple(address for turn in turns for address in turn)
        authentic = all(answer.authentic for answer in (six, four) if answer.is_found)
        return AddressAnswer("found", records, expires, authentic)
    for status in ("failed", "nxdomain"):
        for answer in (four, six):
            if answer.status == status:
                return AddressAnswer(answer.status, (), expires, answer.authentic, answer.why)
    return AddressAnswer("none", (), expires, six.authentic and four.authentic)


class Network:
    """dnspython on Trio: one question to the configured servers (else the system's), CNAMEs followed."""

    def __init__(self, settings: site.Dns) -> None:
        self._backend = dns.asyncbackend.get_backend("trio")
        self._lifetime = settings.lifetime.seconds
        self._resolver = resolver_of(settings)
        self._believes_ad = settings.trust_ad or all(
            is_loopback(server) for server in self._resolver.nameservers if isinstance(server, str | NameServer)
        )

    async def __call__(self, name: str, kind: str) -> Raw:
        try:
            question = dns.name.from_text(name)
        except dns.exception.DNSException as error:
            return "nxdomain", (), self._lifetime, False, str(error)
        try:
            answer = await self._resolver.resolve(
                question, kind, raise_on_no_answer=False, lifetime=self._lifetime, search=False, backend=self._backend
            )
        except dns.resolver.NXDOMAIN as missing:
            response = missing.response(missing.qnames()[0])  # type: ignore[no-untyped-call]
            return "nxdomain", (), ttl_of(response), self._is_authentic(response), f"{name} does not exist"
        except (dns.exception.DNSException, OSError) as error:
            return "failed", (), 0.0, False, f"{name} {kind}: {reason_of(error)}"
        authentic = self._is_authentic(answer.response)
        ttl = ttl_of(answer.response)
        if answer.rrset is None:
            return "none", (), ttl, authentic, ""
        return "found", tuple(record.to_text() for record in answer.rrset), ttl, authentic, ""

    def _is_authentic(self, response: dns.message.Message) -> bool:
        return self._believes_ad and bool(response.flags & dns.flags.AD)


NameServer = dns.nameserver.Do53Nameserver


def resolver_of(settings: site.Dns) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not settings.servers)
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
    if settings.servers:
        resolver.nameservers = [NameServer(*server.endpoint) for server in settings.servers]
    resolver.timeout = settings.timeout.seconds
    resolver.cache = None
    resolver.flags = dns.flags.RD | dns.flags.AD
    resolver.use_edns(0, dns.flags.DO, EDNS_PAYLOAD)
    return resolver


def is_loopback(server: str | NameServer) -> bool:
    address = server if isinstance(server, str) else server.address
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def ttl_of(response: dns.message.Message) -> float:
    """The least TTL of the chain that answers, or of what denies it (RFC 2308 5)."""
    if isinstance(response, dns.message.QueryMessage):
        try:
            return float(response.resolve_chaining().minimum_ttl)
        except dns.exception.DNSException:
            pass
    return 0.0


def reason_of(error: Exception) -> str:
    """Why no server gave an answer, in a few words."""
    if isinstance(error, dns.resolver.LifetimeTimeout):
        return "no server answered in time"
    if isinstance(error, dns.resolver.NoNameservers):
        return "every server failed (SERVFAIL, REFUSED or no sense)"
    return str(error) or type(error).__name__
