"""Followers over a running engine: facts in order, the place kept over a restart, failures that repeat a batch."""

from __future__ import annotations

from pathlib import Path

import structlog
import trio
from angarium import journal
from angarium.journal import Follower, Journal, Received, Settled
from angarium.settings import Delivery

from tests.house import running, send, settings


async def read(follower: Journal, name: str, count: int, *, kinds: tuple[journal.Kind, ...] = ()) -> list[journal.Fact]:
    """Facts until there are `count`, in one life of the follower; the last batch counts as read only if more come."""
    facts: list[journal.Fact] = []
    with trio.fail_after(20):
        async for batch in follower.follow(name, kinds=kinds):
            facts += batch
            if len(facts) >= count:
                break
    return facts


async def test_what_happened_is_told_in_order(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        for number in range(3):
            await send(server, text=f"number {number}", to=f"b{number}@example.net")
        facts = await read(server.journal, "all", 6, kinds=("received", "settled"))
        received = [fact for fact in facts if isinstance(fact, Received)]
        settled = [fact for fact in facts if isinstance(fact, Settled)]
        assert [fact.recipients for fact in received] == [(f"b{number}@example.net",) for number in range(3)]
        assert {(fact.state, fact.outcome, fact.host) for fact in settled} == {("delivered", "delivered", "maildir")}
        assert [fact.lsn for fact in facts] == sorted(fact.lsn for fact in facts)
        assert {fact.id for fact in settled} == {fact.id for fact in received}


async def test_the_place_is_kept_over_a_restart(tmp_path: Path) -> None:
    given = settings(tmp_path, delivery=Delivery(suspended=True))
    async with running(given) as server:
        for number in range(2):
            await send(server, to=f"b{number}@example.net")
        with trio.move_on_after(1):
            # Both batches are taken, and the follower waits for more: then its place is written down.
            async for _ in server.journal.follow("place", kinds=("received",)):
                pass
        assert (await server.bridge.followers())["place"]
    async with running(given) as server:
        await send(server, to="b2@example.net")
        (fact,) = await read(server.journal, "place", 1, kinds=("received",))
        assert isinstance(fact, Received)
        assert fact.recipients == ("b2@example.net",)


async def test_a_follower_that_fails_gets_its_batch_again_and_disturbs_nobody(tmp_path: Path) -> None:
    taken: list[journal.Fact] = []
    others: list[journal.Fact] = []
    done = trio.Event()
    failures = iter([True])

    async def take(facts: list[journal.Fact]) -> None:
        if next(failures, False):
            raise RuntimeError("not this time")
        taken.extend(facts)
        if taken and others:
            done.set()

    async def take_other(facts: list[journal.Fact]) -> None:
        others.extend(facts)
        if taken and others:
            done.set()

    followers = [
        Follower("fails", take, kinds=("received",)),
        Follower("holds", take_other, kinds=("received",)),
    ]
    async with running(settings(tmp_path, delivery=Delivery(suspended=True))) as server:
        with structlog.testing.capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(journal.serve, server.journal, followers)
                await send(server)
                with trio.fail_after(20):
                    await done.wait()
                nursery.cancel_scope.cancel()
    assert [entry["room"] for entry in logs if entry["event"] == "a room failed and starts again"] == ["follower fails"]
    assert len(taken) == len(others) == 1


async def test_a_page_ends_and_goes_on(tmp_path: Path) -> None:
    async with running(settings(tmp_path, delivery=Delivery(suspended=True))) as server:
        for number in range(5):
            await send(server, to=f"b{number}@example.net")
        lsns: list[int] = []
        at = b""
        with trio.fail_after(20):
            while len(lsns) < 5:
                # Facts of one frame stay together, so a page may hold a few more than asked for.
                page = await server.journal.read(at, kinds=("received",), limit=2)
                lsns += [lsn for lsn, _, _ in page.records]
                at = page.next
        assert len(lsns) == 5
        assert lsns == sorted(lsns)
