"""Settings become the engine's tables: nothing that a site may say of a listener or of logins is forgotten."""

from __future__ import annotations

from pathlib import Path

from angarium.engine import Allowance, Listener, Logins, compile_policy
from angarium.settings import Allowance as AllowanceRow
from angarium.settings import (
    Listen,
    ListenAddress,
    ListenLimits,
    Settings,
    Size,
)
from angarium.settings import Logins as LoginsTable
from angarium.settings.kinds import Duration, Network

from tests import house

ALLOWED = AllowanceRow(
    per=Duration(1),
    sessions=2,
    new_sessions=3,
    messages=4,
    recipients=5,
    bytes=Size(6),
    errors=7,
    failed_logins=8,
)
NETWORKS = (Network("192.0.2.0/24"),)
EVERYTHING = Listen(
    address=ListenAddress("127.0.0.1:0"),
    name="all",
    profile="relay",
    banner="hello",
    max_size=Size(100_000),
    max_recipients=7,
    max_line=2_000,
    bare_newline="normalise",
    max_errors=3,
    trusted=True,
    tls="offered",
    tls_version="1.3",
    client_certificates="ask",
    onward_tls="verify",
    clear_networks=NETWORKS,
    login="offered",
    auth=("PLAIN",),
    senders="header",
    complete=True,
    proxy_networks=NETWORKS,
    xclient_networks=NETWORKS,
    greet_delay=Duration(5),
    tarpit=Duration(6),
    without=("DSN",),
    with_=("ETRN",),
    hold_at_most=Duration(7_000),
    deliver_by_least=Duration(8_000),
    priority="bulk",
    tenant="acme",
    limits=ListenLimits(address=ALLOWED, network=ALLOWED, login=ALLOWED, tenant=ALLOWED),
    replies={"550": "No"},
)


def test_every_field_of_a_listener_comes_from_the_settings() -> None:
    (table,) = compile_policy(Settings(listen=(EVERYTHING,))).listeners
    untouched = [name for name in Listener.__struct_fields__ if getattr(table, name) == getattr(Listener(), name)]
    assert untouched == []
    assert table.limits.login == Allowance(
        per=1, sessions=2, new_sessions=3, messages=4, recipients=5, bytes=6, errors=7, failed_logins=8
    )
    assert (table.tls_demand, table.class_, table.with_, table.clear_networks) == (2, 3, ("ETRN",), ("192.0.2.0/24",))


def test_every_field_of_logins_comes_from_the_settings() -> None:
    names = Logins.__struct_fields__
    given = {name: Duration(number + 1) for number, name in enumerate(names)}
    table = compile_policy(Settings(logins=LoginsTable(**given))).logins  # type: ignore[arg-type]
    assert [getattr(table, name) for name in names] == list(range(1, len(names) + 1))


def test_logins_are_asked_for_with_their_own_patience_and_never_waved_through() -> None:
    table = compile_policy(Settings(logins=LoginsTable(deadline=Duration(1_234))), hooks={"auth"}).hooks.auth
    assert table is not None
    assert (table.deadline, table.otherwise) == (1_234, "defer")
    assert compile_policy(Settings()).hooks.auth is None


async def test_the_engine_takes_all_of_it(tmp_path: Path) -> None:
    async with house.running(house.settings(tmp_path, listen=(EVERYTHING,))) as server:
        assert server.addresses[0].startswith("127.0.0.1:")
