"""The way by MX records (RFC 5321 5.1): which hosts take mail for a domain, in which order, and which are ourselves.

Null MX and what does not exist fail, what DNS does not answer now is put off. Hosts that are ourselves cut off all of
their preference and above. Equal preferences are shuffled by whoever makes the plan; here they form groups. A CNAME
behind an MX is against RFC 2181 10.3 and tolerated, as every large sender does.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence

import trio

from ..dns import AddressAnswer, Lookups, Mx, MxAnswer
from ..engine import NoRoute
from . import verdicts
from .own import Own

# More are not looked up: Postfix tries 5 addresses, the largest providers publish 8 hosts.
MOST_HOSTS = 20
# A site's name is kept short by a digest of what does not fit.
LONGEST_SITE = 200

Groups = tuple[tuple[str, ...], ...]


class Way:
    """Hosts by preference, and until when (Trio clock) that holds."""

    __slots__ = ("expires", "groups")

    def __init__(self, groups: Groups, expires: float) -> None:
        self.groups = groups
        self.expires = expires


class NoWay(Exception):  # noqa: N818
    """There is no way; `verdict` says what becomes of the mail, until `expires` (Trio clock)."""

    def __init__(self, verdict: NoRoute, expires: float) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict
        self.expires = expires


async def find_way(lookups: Lookups, own: Own, domain: str, port: int) -> Way:
    """The hosts for a domain. Raises `NoWay`."""
    if domain.startswith("["):
        return to_literal(own, domain, port)
    answer = await lookups.mx(domain)
    records = offered(answer, domain)
    known = await addresses(lookups, [record.host for record in records])
    expires = min([answer.expires, *(known[host].expires for host in known)])
    left = without_us(records, known, own, port)
    if not left:
        raise NoWay(verdicts.loop(domain), expires)
    return Way(usable(left, known, domain, implicit=not answer.is_found, expires=expires), expires)


def to_literal(own: Own, domain: str, port: int) -> Way:
    """`[192.0.2.1]` and `[IPv6:2001:db8::1]` (RFC 5321 4.1.3)."""
    address = str(ipaddress.ip_address(domain[1:-1].removeprefix("IPv6:")))
    forever = trio.current_time() + 86_400
    if own.is_our_address(address, port):
        raise NoWay(verdicts.loop(domain), forever)
    return Way(((address,),), forever)


def offered(answer: MxAnswer, domain: str) -> list[Mx]:
    """The records to try, best first. Without any the domain's own address is one (RFC 5321 5.1)."""
    if answer.status == "failed":
        raise NoWay(verdicts.try_later(answer.why), answer.expires)
    if answer.status == "nxdomain":
        raise NoWay(verdicts.no_such_domain(domain), answer.expires)
    if answer.status == "none":
        return [Mx(0, domain)]
    records = [record for record in answer.records if record.host != "."]
    if not records:
        raise NoWay(verdicts.null_mx(domain), answer.expires)
    best: dict[str, int] = {}
    for record in records:
        best[record.host] = min(record.preference, best.get(record.host, record.preference))
    ordered = sorted(best.items(), key=lambda item: (item[1], item[0]))
    return [Mx(preference, host) for host, preference in ordered[:MOST_HOSTS]]


async def addresses(lookups: Lookups, hosts: Sequence[str]) -> dict[str, AddressAnswer]:
    """The addresses of all hosts, asked for at once."""
    found: dict[str, AddressAnswer] = {}

    async def one(host: str) -> None:
        found[host] = await lookups.addresses(host)

    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(one, host)
    return found


def without_us(records: Sequence[Mx], known: dict[str, AddressAnswer], own: Own, port: int) -> list[Mx]:
    """RFC 5321 5.1: what has our preference or a worse one is left out."""

    def is_ours(host: str) -> bool:
        return own.is_our_name(host) or any(own.is_our_address(ip, port) for ip in known[host].records)

    ours = min((record.preference for record in records if is_ours(record.host)), default=None)
    return [record for record in records if ours is None or record.preference < ours]


def usable(
    records: Iterable[Mx], known: dict[str, AddressAnswer], domain: str, *, implicit: bool, expires: float
) -> Groups:
    """Grouped by preference, without hosts that cannot be reached; what DNS does not answer now may come later."""
    tried = list(records)
    left = [record for record in tried if known[record.host].status in ("found", "failed")]
    if not any(known[record.host].is_found for record in left):
        failed = next((known[record.host] for record in left), None)
        if failed is not None:
            raise NoWay(verdicts.try_later(failed.why), expires)
        raise NoWay(verdicts.no_address(domain) if implicit else verdicts.no_usable_host(domain), expires)
    groups: dict[int, list[str]] = {}
    for record in left:
        groups.setdefault(record.preference, []).append(record.host)
    return tuple(tuple(groups[preference]) for preference in sorted(groups))


def site_of(groups: Groups) -> str:
    """A name for a set of hosts: equal ones joined by commas, worse ones behind a semicolon."""
    whole = ";".join(",".join(hosts) for hosts in groups)
    if len(whole) <= LONGEST_SITE:
        return whole
    return f"{groups[0][0]};#{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def groups_of(site: str, hosts: Sequence[str]) -> Groups:
    """The groups that a site's name tells; one host each when it was too long to tell."""
    told = tuple(tuple(group.split(",")) for group in site.split(";"))
    return (
        told if sorted(host for group in told for host in group) == sorted(hosts) else tuple((host,) for host in hosts)
    )
