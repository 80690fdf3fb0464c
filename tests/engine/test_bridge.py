"""The bridge over a running engine: tables mirrored field for field, tickets, listings, orders, mail from code."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio
from angarium import engine, intake
from angarium.engine import Accepted, Control, NoRoute, Plan, PlanHost, Predicate, Rate, Refused, Route, compile_policy
from angarium.errors import EngineError, PolicyError
from angarium.settings import Delivery, Duration, Local, Mailbox, Settings
from angarium.settings import Route as Row

from tests.house import running, send, settings, until

HELD = Delivery(suspended=True)


async def test_every_table_that_rust_reads_is_known_there(tmp_path: Path) -> None:
    """An unknown field would be refused, a missing one would have another default."""
    async with running(settings(tmp_path, delivery=HELD)) as server:
        bridge = server.bridge
        assert bridge.set_policy(compile_policy(server.settings, hooks=("connect", "mail", "rcpt", "message"))) > 1
        bridge.set_policy(compile_policy(server.settings))
        route = Route(kind="smtp", site="x.example", port=25, pool="p", identity="i", tls=1, hosts=("x.example",))
        nothing = NoRoute(failed=True, code=550, enhanced="5.1.2", text="no", reason=24)
        for answer in (route, nothing):
            assert bridge.set_route(4_000_000, answer, valid=1, stale=2) is False
        plan = Plan(
            hosts=(PlanHost(name="x.example", addresses=("192.0.2.1", "2001:db8::1"), port=26),),
            source="192.0.2.2",
            rate=Rate(messages=5, per=1_000),
        )
        assert bridge.set_plan(4_000_000, plan, valid=1) is False
        whole = {
            "domain": "x.example", "tenant": "t", "campaign": "c", "sender": "s@example.org", "class_": "bulk",
            "state": "held", "reason": "policy", "site": "x.example", "before": 5, "after": 1,
        }  # fmt: skip
        assert (await bridge.find(Predicate(**whole))).entries == ()


async def test_wrong_tables_say_where(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        wrong = msgspec.structs.replace(compile_policy(server.settings), hostname="")
        with pytest.raises(PolicyError) as raised:
            server.bridge.set_policy(wrong)
        assert raised.value.path == "hostname"
        with pytest.raises(EngineError) as invalid:
            await server.bridge.find(Predicate(state="nowhere"))
        assert invalid.value.word == "invalid"


async def test_mail_from_code_is_durable_when_it_is_answered(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        content = "Subject: from code\nFrom: a@example.org\n\nh\u00e9llo\n".encode()
        taken = await intake.submit(server.bridge, content, sender="a@example.org", recipients=["b@example.net"])
        assert isinstance(taken, Accepted)
        folder = server.settings.mail_folder / "catch-all" / "new"
        await until(lambda: folder.is_dir() and len(list(folder.iterdir())) == 1)
        (file,) = folder.iterdir()
        assert file.name == f"{taken.id}.0"
        text = file.read_bytes()
        assert text.endswith("\n\nh\u00e9llo\n".encode())
        assert b"Message-ID:" in text
        refused = await intake.submit(server.bridge, content, sender="no address", recipients=["b@example.net"])
        assert isinstance(refused, Refused)
        assert not refused.is_transient


async def test_a_cancelled_wait_leaves_the_work_alone(tmp_path: Path) -> None:
    async with running(settings(tmp_path, delivery=HELD)) as server:
        with trio.CancelScope() as scope:
            scope.cancel()
            await intake.submit(server.bridge, b"Subject: x\r\n\r\nx\r\n", sender="", recipients=["b@example.net"])
        assert scope.cancelled_caught
        await until(lambda: server.bridge.figures().counts["received"] == 1)


async def test_listings_page_and_orders_change_what_they_name(tmp_path: Path) -> None:
    async with running(settings(tmp_path, delivery=HELD)) as server:
        bridge = server.bridge
        tickets = bridge.submit_nowait(
            [
                (
                    engine.Submission(sender="a@example.org", recipients=(engine.SubmittedRecipient(address=address),)),
                    b"S: x\r\n\r\n",
                )
                for address in (f"user{n}@{domain}.example" for n in range(50) for domain in ("one", "two"))
            ]
        )
        for ticket in tickets:
            assert isinstance(await engine.accepted(ticket), Accepted)
        seen, after = [], b""
        while True:
            page = await bridge.find(Predicate(all=True), after=after, limit=30)
            assert len(page.entries) <= 30
            seen += [entry.id for entry in page.entries]
            after = page.after
            if not after:
                break
        assert len(seen) == len(set(seen)) == 100
        held = await bridge.control(
            Control(kind="hold", where=Predicate(domain="one.example"), by="test", why="to see")
        )
        assert held.rule > 0
        await until(lambda: bridge.figures().now["state_held"] == 50, seconds=10)
        cancelled = await bridge.control(Control(kind="cancel", where=Predicate(ids=(seen[0],)), by="test"))
        assert (cancelled.changed, cancelled.too_late) == (1, 0)
        with pytest.raises(EngineError):
            await bridge.control(Control(kind="cancel"))


async def test_content_is_read_back_without_a_copy(tmp_path: Path) -> None:
    async with running(settings(tmp_path, delivery=HELD)) as server:
        await send(server, text="look at me")
        (entry,) = (await server.bridge.find(Predicate(all=True))).entries
        content = await server.bridge.content(entry.message)
        view = memoryview(content.body)
        assert view.readonly
        assert bytes(view).endswith(b"\r\n\r\nlook at me\r\n")
        with pytest.raises(EngineError) as missing:
            await server.bridge.content("0" * 26)
        assert missing.value.word == "not-found"


def test_no_flag_of_another_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no flag"):
        engine.Bridge(None).on_flag("nothing", lambda: None)  # type: ignore[arg-type]


def test_settings_reach_the_tables() -> None:
    given = Settings(
        local=Local(domains={}, catch_all=Mailbox("x")),
        delivery=Delivery(expire=Duration.parse("1d")),
        route=(Row(to="mx"),),
    )
    policy = compile_policy(given, hooks=["rcpt"])
    assert policy.accept_any
    assert policy.expiry.message == 86_400_000
    assert policy.hooks.rcpt is not None
    assert policy.hooks.message is None
