"""From a lane to its plan: addresses for their TTL, equal preferences shuffled, fixed windows, mailboxes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from angarium.delivery import Lane, Planned, Planner
from angarium.dns import Lookups
from angarium.engine import ClientCertificate, Plan, PlanLimiter, PlanLogin, Rate, Route
from angarium.errors import StartError
from angarium.routing import Router
from angarium.routing.mx import groups_of, site_of
from angarium.settings import (
    Delivery,
    DomainPattern,
    HopCertificate,
    HopLogin,
    HostName,
    Local,
    Provider,
    Server,
    Settings,
    Smarthost,
)
from angarium.settings import Rate as RateText
from angarium.settings import Route as Row

GOOD = Lane(
    kind="smtp",
    site="mx1.good.test,mx2.good.test;backup.good.test",
    port=25,
    hosts=("mx1.good.test", "mx2.good.test", "backup.good.test"),
)


async def plan(lookups: Lookups, lane: Lane, seed: int = 1, **tables: object) -> Planned:
    settings = Settings(server=Server(hostname="mx.self.test"), **tables)  # type: ignore[arg-type]
    return await Planner(settings, lookups, chance=random.Random(seed)).plan(lane)


async def test_hosts_come_with_their_addresses(lookups: Lookups) -> None:
    planned = await plan(lookups, GOOD)
    assert {host.name: host.addresses for host in planned.plan.hosts} == {
        "mx1.good.test": ("192.0.2.1",),
        "mx2.good.test": ("2001:db8::2", "192.0.2.2"),
        "backup.good.test": ("192.0.2.3",),
    }
    assert planned.plan.hosts[-1].name == "backup.good.test"
    assert 290_000 < planned.valid <= 300_000
    assert (planned.plan.port, planned.plan.hello) == (25, "mx.self.test")


async def test_equal_preferences_are_shuffled_and_worse_ones_never_come_first(lookups: Lookups) -> None:
    orders = {tuple(host.name for host in (await plan(lookups, GOOD, seed)).plan.hosts) for seed in range(20)}
    assert orders == {
        ("mx1.good.test", "mx2.good.test", "backup.good.test"),
        ("mx2.good.test", "mx1.good.test", "backup.good.test"),
    }


async def test_the_same_chance_gives_the_same_plan(lookups: Lookups) -> None:
    assert (await plan(lookups, GOOD, 7)).plan == (await plan(lookups, GOOD, 7)).plan


async def test_a_host_without_addresses_is_left_out(lookups: Lookups) -> None:
    lane = Lane(kind="smtp", site="broken.test;mx1.good.test", port=25, hosts=("broken.test", "mx1.good.test"))
    assert [host.name for host in (await plan(lookups, lane)).plan.hosts] == ["mx1.good.test"]


async def test_without_any_address_the_plan_is_empty_and_short(lookups: Lookups) -> None:
    lane = Lane(kind="smtp", site="broken.test", port=25, hosts=("broken.test",))
    planned = await plan(lookups, lane)
    assert planned.plan.hosts == ()
    assert planned.valid == 30_000


async def test_an_address_needs_no_dns(lookups: Lookups) -> None:
    planned = await plan(lookups, Lane(kind="smtp", site="127.0.0.1", port=2600, hosts=("127.0.0.1",)))
    assert [(host.name, host.addresses) for host in planned.plan.hosts] == [("127.0.0.1", ("127.0.0.1",))]
    assert planned.plan.port == 2600
    assert lookups.queries == 0


async def test_localhost_is_never_asked_for(lookups: Lookups) -> None:
    planned = await plan(lookups, Lane(kind="smtp", site="localhost", port=25, hosts=("localhost",)))
    assert planned.plan.hosts[0].addresses == ("127.0.0.1", "::1")
    assert lookups.queries == 0


async def test_windows_are_those_of_the_row_then_of_the_settings(lookups: Lookups) -> None:
    row = Row(domain=DomainPattern("*"), host=HostName("slow.test"), port=25, connections=1, rate=RateText("5/min"))
    given = Delivery(connections=7, messages_per_connection=9, rate=RateText("10/s"), source="192.0.2.200")
    own = (await plan(lookups, Lane(kind="smtp", site="slow.test", port=25), route=(row,), delivery=given)).plan
    assert (own.connections, own.messages_per_connection, own.rate) == (1, 9, Rate(messages=5, per=60_000))
    other = (await plan(lookups, GOOD, route=(row,), delivery=given)).plan
    assert (other.connections, other.rate, other.source) == (7, Rate(messages=10, per=1_000), "192.0.2.200")


async def test_destinations_of_one_provider_share_its_limiter(lookups: Lookups) -> None:
    house = Provider(name="house", mx=(DomainPattern(".good.test"),), connections=5, rate=RateText("100/min"))
    given = Delivery(source="192.0.2.200")
    planned = await plan(lookups, GOOD, provider=(house,), delivery=given)
    rate = Rate(messages=100, per=60_000)
    assert planned.plan.limiters == (PlanLimiter(key="192.0.2.200/house", rate=rate, connections=5),)
    other = Lane(kind="smtp", site="127.0.0.1", port=25, hosts=("127.0.0.1",))
    assert (await plan(lookups, other, provider=(house,))).plan.limiters == ()


async def test_a_mailbox_is_a_folder(lookups: Lookups) -> None:
    planned = await plan(lookups, Lane(kind="maildir", site="box"), local=Local(folder="/mail"))
    assert planned.plan.folder == "/mail/box"


async def test_suspended_delivery_suspends_every_lane(lookups: Lookups) -> None:
    for lane in (GOOD, Lane(kind="maildir", site="box")):
        planned = await plan(lookups, lane, delivery=Delivery(suspended=True), local=Local(folder="/mail"))
        assert planned.plan.suspended_until > 1 << 50


def test_a_sites_name_tells_its_groups_or_stays_short() -> None:
    groups = (("a.test", "b.test"), ("c.test",))
    assert groups_of(site_of(groups), ["b.test", "a.test", "c.test"]) == groups
    many = tuple((f"host-{number}.example.test",) for number in range(20))
    assert len(site_of(many)) < 80
    hosts = [host for group in many for host in group]
    assert groups_of(site_of(many), hosts) == many


# --- how a connection is secured ----------------------------------------------------------------------------------

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


def secured(folder: Path) -> Smarthost:
    (folder / "secret").write_text("pass word\n")
    (folder / "us.pem").write_text(PEM)
    return Smarthost(
        host=HostName("smart.test"),
        port=465,
        tls="verify",
        implicit_tls=True,
        server_name="other.test",
        roots=str(folder / "us.pem"),
        login=HopLogin(user="us", password_file=str(folder / "secret"), mechanisms=("PLAIN",)),
        certificate=HopCertificate(chain=str(folder / "us.pem")),
    )


async def by(lookups: Lookups, settings: Settings, domain: str) -> Plan:
    """The plan of the lane that a domain's mail goes by."""
    routed = await Router(settings, lookups).route(domain)
    route = routed.route
    assert isinstance(route, Route)
    planner = Planner(settings, lookups, chance=random.Random(1))
    lane = Lane(kind=route.kind, site=route.site, port=route.port, identity=route.identity, hosts=route.hosts)
    return (await planner.plan(lane)).plan


async def test_a_smarthosts_row_comes_into_its_plan(lookups: Lookups, tmp_path: Path) -> None:
    plan = await by(lookups, Settings(smarthost=secured(tmp_path)), "far.test")
    assert (plan.tls, plan.implicit_tls, plan.server_name, plan.roots) == ("verify", True, "other.test", PEM)
    assert plan.login == PlanLogin(user="us", secret="pass word", mechanisms=("PLAIN",))
    assert plan.certificate == ClientCertificate(chain=PEM, key=PEM)
    assert "pass word" not in repr(plan)


async def test_the_worlds_hosts_get_the_level_of_delivery(lookups: Lookups) -> None:
    assert (await by(lookups, Settings(), "good.test")).tls == "opportunistic"
    given = Settings(delivery=Delivery(tls="encrypt", signed_eight_bit="send"))
    plan = await by(lookups, given, "good.test")
    assert (plan.tls, plan.signed_eight_bit, plan.login) == ("encrypt", "send", None)


async def test_rows_to_one_host_with_other_logins_never_share_a_lane(lookups: Lookups) -> None:
    rows = tuple(
        Row(
            domain=DomainPattern(f"{user}.test"), host=HostName("[192.0.2.9]"), login=HopLogin(user=user, password=user)
        )
        for user in ("one", "two")
    )
    settings = Settings(route=rows)
    plans = [await by(lookups, settings, f"{user}.test") for user in ("one", "two")]
    assert [plan.login.user for plan in plans if plan.login] == ["one", "two"]


async def test_a_unix_socket_is_a_hop(lookups: Lookups) -> None:
    row = Row(domain=DomainPattern("boxes.test"), to="lmtp", socket="/run/lmtp", connections=3)
    plan = await by(lookups, Settings(route=(row,)), "boxes.test")
    assert (plan.unix_path, plan.hosts, plan.connections) == ("/run/lmtp", (), 3)


async def test_a_secret_that_cannot_be_read_is_said(lookups: Lookups, tmp_path: Path) -> None:
    given = Settings(smarthost=secured(tmp_path))
    (tmp_path / "secret").unlink()
    with pytest.raises(StartError, match="secret"):
        Planner(given, lookups, chance=random.Random(1))
