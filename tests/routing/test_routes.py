"""From a domain to its route: map, smarthost, MX, and every way in which there is none."""

from __future__ import annotations

import pytest
import trio
from angarium.dns import Lookups
from angarium.engine import NoRoute, Route
from angarium.routing import Routed, Router
from angarium.settings import (
    DomainName,
    DomainPattern,
    HostName,
    Local,
    Mailbox,
    Network,
    Server,
    Settings,
    Smarthost,
)
from angarium.settings import Route as Row

from .zone import Zone

SERVER = Server(hostname="mx.self.test", names=(DomainName("alt.self.test"),), addresses=(Network("198.51.100.0/24"),))


async def route(lookups: Lookups, domain: str, *, tag: str = "", tls: int = 0, **tables: object) -> Routed:
    settings = Settings(server=SERVER, **tables)  # type: ignore[arg-type]
    return await Router(settings, lookups).route(domain, tag, tls)


@pytest.mark.parametrize(
    ("domain", "site"),
    [
        ("good.test", "mx1.good.test,mx2.good.test;backup.good.test"),
        ("mixed.test", "mx1.good.test"),
        ("plain.test", "plain.test"),
        ("half.test", "mx1.good.test"),
        ("shaky.test", "broken.test;mx1.good.test"),
        ("long.test", "mx1.good.test"),
        ("alias.test", "mx1.good.test,mx2.good.test;backup.good.test"),
        ("mx-alias.test", "name.alias.test"),
        ("ours-second.test", "mx1.good.test"),
        ("[192.0.2.99]", "192.0.2.99"),
        ("[IPv6:2001:db8::99]", "2001:db8::99"),
    ],
)
async def test_hosts_by_mx(lookups: Lookups, domain: str, site: str) -> None:
    routed = await route(lookups, domain)
    assert isinstance(routed.route, Route), routed
    assert (routed.route.kind, routed.route.site, routed.route.port) == ("smtp", site, 25)
    assert list(routed.route.hosts) == [host for group in routed.groups for host in group]


@pytest.mark.parametrize(
    ("domain", "failed", "enhanced"),
    [
        ("missing.test", True, "5.1.2"),
        ("bare.test", True, "5.1.2"),
        ("null.test", True, "5.1.10"),
        ("gone-hosts.test", True, "5.4.4"),
        ("dark.test", False, "4.4.3"),
        ("broken.test", False, "4.4.3"),
        ("silent.test", False, "4.4.3"),
        ("ours-best.test", True, "5.4.6"),
        ("by-address.test", True, "5.4.6"),
        ("[198.51.100.7]", True, "5.4.6"),
    ],
)
async def test_no_way(lookups: Lookups, domain: str, failed: bool, enhanced: str) -> None:
    routed = await route(lookups, domain)
    assert isinstance(routed.route, NoRoute), routed
    assert (routed.route.failed, routed.route.enhanced) == (failed, enhanced)
    assert domain.strip("[]") in routed.route.text or not failed
    assert routed.route.code // 100 == (5 if failed else 4)


async def test_validity_is_the_least_ttl_within_bounds(lookups: Lookups) -> None:
    assert 290_000 < (await route(lookups, "good.test")).valid <= 300_000
    # One second is below [dns] min_ttl.
    assert 20_000 < (await route(lookups, "brief.test")).valid <= 30_000


async def test_askers_of_one_name_share_one_query(zone: Zone, lookups: Lookups) -> None:
    router = Router(Settings(server=SERVER), lookups)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(router.route, "good.test")
    assert zone.queries["good.test.", "MX"] == 1
    assert zone.queries["mx2.good.test.", "AAAA"] == 1


async def test_a_cancelled_asker_leaves_the_query_to_the_others(zone: Zone, lookups: Lookups) -> None:
    answers = []

    async def ask() -> None:
        answers.append(await lookups.mx("good.test"))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            first.cancel()
            await lookups.mx("good.test")
        nursery.start_soon(ask)
    assert answers[0].is_found


async def test_a_failure_is_held_down(zone: Zone, lookups: Lookups) -> None:
    router = Router(Settings(server=SERVER), lookups)
    for _ in range(5):
        await router.route("broken.test")
    asked = zone.queries["broken.test.", "MX"]
    await router.route("broken.test")
    assert zone.queries["broken.test.", "MX"] == asked


async def test_the_last_good_route_serves_while_dns_fails(zone: Zone, lookups: Lookups) -> None:
    router = Router(Settings(server=SERVER), lookups)
    good = await router.route("good.test")
    zone.faults["good.test."] = "SERVFAIL"
    lookups.forget()
    assert (await router.route("good.test")).route == good.route
    del zone.records["good.test.", "MX"]
    del zone.faults["good.test."]
    lookups.forget()
    assert isinstance((await router.route("good.test")).route, NoRoute)


LOCAL = Local(domains={DomainPattern("here.test"): Mailbox("here"), DomainPattern(".here.test"): Mailbox("below")})
ROWS = (
    Row(
        domain=DomainPattern("partner.test"),
        to="smarthost",
        host=HostName("mail.partner.test"),
        port=2525,
        tls="encrypt",
    ),
    Row(domain=DomainPattern(".partner.test"), to="lmtp", host=HostName("[192.0.2.50]"), port=24),
    Row(domain=DomainPattern("box.test"), to="maildir", mailbox=Mailbox("box")),
    Row(domain=DomainPattern("closed.test"), to="fail", text="Closed for good"),
    Row(domain=DomainPattern("*"), tag="bulk", to="smarthost", host=HostName("bulk.example.test")),
    Row(domain=DomainPattern("good.test"), to="mx"),
    Row(domain=DomainPattern("relay.test"), to="smarthost", host=HostName("relay.test"), mx=True),
)
SMARTHOST = Smarthost(host=HostName("[127.0.0.1]"), port=2600)


@pytest.mark.parametrize(
    ("domain", "tag", "kind", "site", "port"),
    [
        ("here.test", "", "maildir", "here", 0),
        ("a.b.here.test", "", "maildir", "below", 0),
        ("partner.test", "", "smtp", "mail.partner.test", 2525),
        ("x.partner.test", "", "lmtp", "192.0.2.50", 24),
        ("box.test", "", "maildir", "box", 0),
        ("other.test", "", "smtp", "127.0.0.1", 2600),
        ("other.test", "bulk", "smtp", "bulk.example.test", 25),
        ("partner.test", "bulk", "smtp", "mail.partner.test", 2525),
        ("other.test", "unknown-tag", "smtp", "127.0.0.1", 2600),
        ("[192.0.2.9]", "", "smtp", "127.0.0.1", 2600),
        ("good.test", "", "smtp", "mx1.good.test,mx2.good.test;backup.good.test", 25),
        ("relay.test", "", "smtp", "mx1.good.test", 25),
    ],
)
async def test_transport_map(lookups: Lookups, domain: str, tag: str, kind: str, site: str, port: int) -> None:
    routed = await route(lookups, domain, tag=tag, local=LOCAL, route=ROWS, smarthost=SMARTHOST)
    assert isinstance(routed.route, Route)
    assert (routed.route.kind, routed.route.site, routed.route.port) == (kind, site, port)


async def test_what_is_closed_fails_in_the_rows_words(lookups: Lookups) -> None:
    routed = await route(lookups, "closed.test", route=ROWS)
    assert isinstance(routed.route, NoRoute)
    assert (routed.route.failed, routed.route.text) == (True, "Closed for good")


async def test_the_stricter_tls_demand_holds(lookups: Lookups) -> None:
    def demand(routed: Routed) -> int:
        assert isinstance(routed.route, Route)
        return routed.route.tls

    assert demand(await route(lookups, "partner.test", route=ROWS)) == 1
    assert demand(await route(lookups, "partner.test", tls=2, route=ROWS)) == 2
    assert demand(await route(lookups, "good.test", tls=2)) == 2


async def test_the_first_run_sends_nothing_out(lookups: Lookups, zone: Zone) -> None:
    for domain in ("good.test", "missing.test", "[192.0.2.1]"):
        routed = await route(lookups, domain, local=Local(catch_all=Mailbox("catch-all")))
        assert isinstance(routed.route, Route)
        assert (routed.route.kind, routed.route.site) == ("maildir", "catch-all")
    assert not zone.queries
