"""Delivery: from a lane to its plan: hosts with addresses, windows, the retry table, or the folder of a mailbox.

Windows are fixed ones out of the settings (adaptive ones come later). Addresses hold for their TTL, then the engine
asks again; a host whose addresses DNS does not give now is left out of this plan, and a plan without any address says
so by being short-lived. Hosts of equal preference are shuffled with the chance that the caller brings.
"""

from __future__ import annotations

import ipaddress
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio
from msgspec import Struct

from . import _core
from . import settings as site
from .dns import AddressAnswer, Lookups
from .engine import BATCH, Bridge, ClientCertificate, Plan, PlanHost, PlanLimiter, PlanLogin, Rate, Wake, answer_wanted
from .errors import StartError
from .routing.identity import identity_of
from .routing.mx import Groups, groups_of
from .routing.mx import addresses as addresses_of

# Plans that need no DNS hold so long.
SETTINGS_VALID = 600_000
# Without one address the next look is soon, but not at once.
NOTHING_VALID = 30_000
# `suspended`: longer than any process lives.
FOR_EVER = 1 << 52
# Lanes being looked up at once.
AT_ONCE = 256
# Lanes that get a new plan at once when the settings change; the others within the validity of theirs.
REMEMBERED = 50_000

__all__ = ["Planned", "Planner", "serve"]


class Planned(Struct, frozen=True):
    """A plan and for how many milliseconds it holds."""

    plan: Plan
    valid: int


class Lane(Struct, frozen=True, kw_only=True):
    """What a plan is made from; the fields of `_core.LaneWanted` that matter here."""

    kind: str
    site: str
    port: int = 0
    identity: str = ""
    hosts: tuple[str, ...] = ()


class Planner:
    """Makes plans. `chance` shuffles hosts of equal preference."""

    def __init__(self, settings: site.Settings, lookups: Lookups, *, chance: random.Random) -> None:
        self._lookups = lookups
        self._chance = chance
        self.on_change: Callable[[], None] = lambda: None
        self.generation = 0
        self.use(settings)

    def use(self, settings: site.Settings) -> None:
        """Other settings from the next plan on (reload); whoever serves plans makes all of them anew.

        Raises `StartError` when a file of a next hop cannot be read.
        """
        self.generation += 1
        self._settings = settings
        rows = [row for row in settings.route if row.host is not None or row.socket]
        self._own_windows = {(row.host.bare, row.port) if row.host else (row.socket, 0): row for row in rows}
        self._hops = hops_of(settings)
        self.on_change()

    @staticmethod
    def check(settings: site.Settings) -> None:
        """Raises `StartError` for settings that `use` would refuse."""
        hops_of(settings)

    async def plan(self, lane: Lane) -> Planned:
        """Never raises for what DNS says."""
        if lane.kind == "maildir":
            return self._mailbox(lane.site)
        if lane.site.startswith("/"):
            return Planned(self._windows(lane, ()), SETTINGS_VALID)
        groups = self._shuffled(groups_of(lane.site, lane.hosts))
        names = [host for group in groups for host in group]
        known = await self._addresses(names)
        hosts = tuple(PlanHost(name=name, addresses=known[name].records) for name in names if known[name].records)
        valid = NOTHING_VALID if not hosts else min(milliseconds_until(known[name]) for name in names)
        return Planned(self._windows(lane, hosts), valid)

    async def _addresses(self, names: Sequence[str]) -> dict[str, AddressAnswer]:
        """Hosts that are addresses are their own answer."""
        later = trio.current_time() + SETTINGS_VALID / 1_000
        known = {name: AddressAnswer("found", (name,), later) for name in names if is_address(name)}
        return known | await addresses_of(self._lookups, [name for name in names if name not in known])

    def _shuffled(self, groups: Groups) -> Groups:
        """RFC 5321 5.1: equal preferences are tried in an order of chance."""
        return tuple(tuple(self._chance.sample(group, len(group))) for group in groups)

    def _windows(self, lane: Lane, hosts: tuple[PlanHost, ...]) -> Plan:
        given = self._settings.delivery
        own = self._own_windows.get((lane.site, lane.port), site.Route())
        source = given.source or None
        return Plan(
            **self._hops.get(lane.identity, {}),
            hosts=hosts,
            port=lane.port,
            unix_path=lane.site if lane.site.startswith("/") else "",
            signed_eight_bit=given.signed_eight_bit,
            source=source,
            hello=given.hello or self._settings.server.hostname,
            connections=own.connections or given.connections,
            messages_per_connection=own.messages_per_connection or given.messages_per_connection,
            recipients_per_transaction=given.recipients_per_transaction,
            rate=bucket_of(own.rate or given.rate),
            limiters=self._shared(source or "", [host.name for host in hosts]),
            suspended_until=self._suspended,
        )

    def _shared(self, source: str, hosts: Sequence[str]) -> tuple[PlanLimiter, ...]:
        """The limiter of (source, provider): every lane to this provider meets it."""
        provider = next((one for one in self._settings.provider if one.takes(hosts)), None)
        if provider is None:
            return ()
        rate, key = bucket_of(provider.rate), f"{source}/{provider.name}"
        return (PlanLimiter(key=key, rate=rate, connections=provider.connections),)

    def _mailbox(self, name: str) -> Planned:
        folder = self._settings.mail_folder / name
        return Planned(Plan(folder=str(folder), connections=1, suspended_until=self._suspended), SETTINGS_VALID)

    @property
    def _suspended(self) -> int:
        return FOR_EVER if self._settings.delivery.suspended else 0


def bucket_of(rate: site.Rate) -> Rate | None:
    bucket = rate.bucket
    return Rate(messages=bucket[0], per=bucket[1]) if bucket else None


def hops_of(settings: site.Settings) -> dict[str, dict[str, Any]]:
    """Identity to those fields of a plan that say how a connection is secured."""
    world = site.Route(to="mx", tls=settings.delivery.tls)
    rows: list[site.Hop] = [world, *settings.route, *([settings.smarthost] if settings.smarthost else [])]
    return {identity_of(row): secured(row) for row in reversed(rows)}


def secured(hop: site.Hop) -> dict[str, Any]:
    """A hop's row as fields of a `Plan`, its files read. Raises `StartError` for one that cannot be read."""
    try:
        return {
            "tls": hop.tls,
            "implicit_tls": hop.implicit_tls,
            "server_name": hop.server_name,
            "roots": text_of(hop.roots),
            "login": None if hop.login is None else login_of(hop.login),
            "certificate": None if hop.certificate is None else certificate_of(hop.certificate),
        }
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"a file of a next hop cannot be read: {error}") from None


def login_of(given: site.HopLogin) -> PlanLogin:
    secret, token = given.secret()
    return PlanLogin(
        user=given.user,
        secret=secret,
        token=token,
        mechanisms=tuple(given.mechanisms),
        in_the_clear=given.without_tls,
    )


def certificate_of(given: site.HopCertificate) -> ClientCertificate:
    return ClientCertificate(chain=text_of(given.chain), key=text_of(given.key or given.chain))


def text_of(path: str) -> str:
    return Path(path).read_text(encoding="ascii") if path else ""


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def milliseconds_until(answer: AddressAnswer) -> int:
    return max(1_000, round((answer.expires - trio.current_time()) * 1_000))


def lane_of(want: _core.LaneWanted) -> Lane:
    return Lane(kind=want.kind, site=want.site, port=want.port, identity=want.identity, hosts=tuple(want.hosts))


def unix_now() -> int:
    return time.time_ns() // 1_000_000


async def serve(
    bridge: Bridge,
    planner: Planner,
    *,
    now: Callable[[], int] = unix_now,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Gives the engine the plans that it wants until cancelled."""
    woken = Wake()
    known: OrderedDict[int, Lane] = OrderedDict()
    generation = planner.generation
    bridge.on_flag("plan_wanted", woken.set)
    planner.on_change = woken.set

    def pull() -> list[tuple[int, Lane]]:
        """Lanes that want a plan; behind a change of the settings all that are known."""
        nonlocal generation
        if generation != planner.generation:
            generation = planner.generation
            return list(known.items())
        batch = [(want.lane, lane_of(want)) for want in bridge.engine.wanted_plans(BATCH)]
        known.update(batch)
        while len(known) > REMEMBERED:
            known.popitem(last=False)
        return batch

    async def make(want: tuple[int, Lane]) -> None:
        number, lane = want
        planned = await planner.plan(lane)
        if not bridge.set_plan(number, planned.plan, valid=now() + planned.valid):
            known.pop(number, None)

    await answer_wanted(pull, make, woken=woken, at_once=AT_ONCE, task_status=task_status)
