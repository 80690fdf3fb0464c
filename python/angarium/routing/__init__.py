"""Routing: from (domain, route tag, TLS demand) to a route, or to the reason why there is none.

`Router.route` decides one; `serve` answers what the engine wants, urgent first, many domains at once. A domain whose
DNS fails keeps its last good route for an hour. A route fixes hosts by name; their addresses come with the plan.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import trio

from .. import _core
from .. import settings as site
from ..dns import Lookups
from ..engine import BATCH, TLS_DEMANDS, Bridge, Route, Wake, answer_wanted
from . import mx, verdicts
from .identity import identity_of
from .own import Own
from .transport import Transport
from .verdicts import Routed

__all__ = ["Routed", "Router", "serve"]

# A route out of the settings holds so long; a changed file then reaches what a checkpoint remembers.
SETTINGS_VALID = 600_000
# A good route may be used so long after its end while DNS does not answer.
STALE = 3_600_000
# Destinations whose last good route is remembered for that.
REMEMBERED = 50_000
# Destinations being looked up at once.
AT_ONCE = 512


class Router:
    """Decides routes. `lookups` answers DNS; everything else is in the settings."""

    def __init__(self, settings: site.Settings, lookups: Lookups) -> None:
        self._lookups = lookups
        self.use(settings)

    def use(self, settings: site.Settings) -> None:
        """Other settings from the next route on (reload); what was learned under the old ones is forgotten."""
        self._transport = Transport(settings)
        self._own = Own(settings)
        self._port = settings.delivery.port
        self._good: OrderedDict[tuple[str, str, int], tuple[Routed, float]] = OrderedDict()

    def route_nowait(self, domain: str, tag: str, tls: int) -> Routed | None:
        """What the settings alone decide; None: DNS must be asked."""
        row = self._transport.row(domain, tag)
        match row.to:
            case "maildir":
                return Routed(Route(kind="maildir", site=row.mailbox), SETTINGS_VALID)
            case "fail":
                return Routed(verdicts.by_order(row.text), SETTINGS_VALID)
            case "lmtp" if row.socket:
                return Routed(socket_route(row, tls), SETTINGS_VALID, ((row.socket,),))
            case "smarthost" | "lmtp" if row.host is not None and (row.host.is_bracketed or not row.mx):
                host = row.host.bare
                return Routed(smtp_route(row, ((host,),), row.port, tls), SETTINGS_VALID, ((host,),))
            case _:
                return None

    async def route(self, domain: str, tag: str = "", tls: int = 0) -> Routed:
        """Where mail for a domain goes. Never raises for what DNS says."""
        decided = self.route_nowait(domain, tag, tls)
        if decided is not None:
            return decided
        row = self._transport.row(domain, tag)
        host, port = (row.host.bare, row.port) if row.host else (domain, self._port)
        try:
            way = await mx.find_way(self._lookups, self._own, host, port)
        except mx.NoWay as none:
            return self._fall_back((domain, tag, tls), Routed(none.verdict, milliseconds_until(none.expires)))
        routed = Routed(smtp_route(row, way.groups, port, tls), milliseconds_until(way.expires), way.groups)
        self._remember((domain, tag, tls), routed)
        return routed

    def _remember(self, key: tuple[str, str, int], routed: Routed) -> None:
        self._good[key] = (routed, trio.current_time() + (routed.valid + STALE) / 1_000)
        self._good.move_to_end(key)
        while len(self._good) > REMEMBERED:
            self._good.popitem(last=False)

    def _fall_back(self, key: tuple[str, str, int], answer: Routed) -> Routed:
        """The last good route instead of a deferral, while it is not too old."""
        if not answer.is_deferral or key not in self._good:
            return answer
        good, usable_until = self._good[key]
        if usable_until <= trio.current_time():
            del self._good[key]
            return answer
        return Routed(good.route, answer.valid, good.groups)


def smtp_route(row: site.Route, groups: mx.Groups, port: int, tls: int) -> Route:
    """The stricter of the row's and the message's TLS demand stands in the lane's key."""
    return Route(
        kind="lmtp" if row.to == "lmtp" else "smtp",
        site=mx.site_of(groups),
        port=port,
        identity=identity_of(row),
        tls=max(tls, TLS_DEMANDS[row.tls]),
        hosts=tuple(host for group in groups for host in group),
    )


def socket_route(row: site.Route, tls: int) -> Route:
    """To a unix socket; its path is the site and the only host."""
    return Route(kind="lmtp", site=row.socket, identity=identity_of(row), tls=tls, hosts=(row.socket,))


def milliseconds_until(expires: float) -> int:
    return max(1_000, round((expires - trio.current_time()) * 1_000))


def unix_now() -> int:
    return time.time_ns() // 1_000_000


async def serve(
    bridge: Bridge,
    router: Router,
    *,
    now: Callable[[], int] = unix_now,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers the engine's wanted routes until cancelled."""
    woken = Wake()
    bridge.on_flag("route_wanted", woken.set)

    def give(want: _core.RouteWanted, routed: Routed) -> None:
        valid = now() + routed.valid
        stale = valid + (STALE if routed.groups else 0)
        bridge.set_route(want.key, routed.route, valid=valid, stale=stale)

    def decide(want: _core.RouteWanted) -> bool:
        decided = router.route_nowait(want.domain, want.tag, want.tls)
        if decided is not None:
            give(want, decided)
        return decided is not None

    async def look_up(want: _core.RouteWanted) -> None:
        give(want, await router.route(want.domain, want.tag, want.tls))

    await answer_wanted(
        lambda: bridge.engine.wanted_routes(BATCH),
        look_up,
        woken=woken,
        at_once=AT_ONCE,
        answer_nowait=decide,
        task_status=task_status,
    )
