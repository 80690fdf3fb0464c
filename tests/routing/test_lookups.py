"""What is remembered of DNS and for how long, with a clock that the test turns and a network that it is itself."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing
from angarium.dns import Lookups, Raw
from angarium.routing.transport import Transport
from angarium.settings import Dns, DomainPattern, Duration, HostName, Route, Settings
from hypothesis import given
from hypothesis import strategies as st


class Net:
    """Answers from a table of (status, records, TTL); counts."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.answer: Raw = ("found", ("192.0.2.1",), 100.0, True, "")
        self.gate = trio.Event()
        self.gate.set()

    async def __call__(self, name: str, kind: str) -> Raw:
        self.asked[name, kind] += 1
        await self.gate.wait()
        return self.answer


DNS = Dns(min_ttl=Duration.parse("30s"), max_ttl=Duration.parse("200s"), hold_down=Duration.parse("10s"), cache=16)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (("found", ("192.0.2.1",), 100.0, False, ""), 100),
        (("found", ("192.0.2.1",), 1.0, False, ""), 30),
        (("found", ("192.0.2.1",), 9_999.0, False, ""), 200),
        (("nxdomain", (), 0.0, False, ""), 30),
        (("none", (), 60.0, False, ""), 60),
        (("failed", (), 0.0, False, "SERVFAIL"), 10),
    ],
)
async def test_answers_are_kept_for_their_time(autojump_clock: object, answer: Raw, kept: float) -> None:
    net = Net()
    net.answer = answer
    lookups = Lookups(DNS, ask=net)
    for wait, asked in ((0, 1), (kept - 1, 1), (2, 2)):
        await trio.sleep(wait)
        assert (await lookups.records("a.test", "A")).status == answer[0]
        assert net.asked["a.test", "A"] == asked


async def test_the_cache_is_bounded_and_drops_the_longest_unused() -> None:
    net = Net()
    lookups = Lookups(DNS, ask=net)
    for number in range(16):
        await lookups.records(f"{number}.test", "A")
    await lookups.records("0.test", "A")
    await lookups.records("new.test", "A")
    assert len(lookups) == 16
    await lookups.records("0.test", "A")
    await lookups.records("1.test", "A")
    assert (net.asked["0.test", "A"], net.asked["1.test", "A"]) == (1, 2)


async def test_look_ups_at_once_are_bounded() -> None:
    net = Net()
    net.gate = trio.Event()
    lookups = Lookups(Dns(queries=3), ask=net)
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(lookups.records, f"{number}.test", "A")
        await trio.testing.wait_all_tasks_blocked()
        assert sum(net.asked.values()) == 3
        net.gate.set()
    assert sum(net.asked.values()) == 10


async def test_who_flew_and_was_cancelled_is_replaced() -> None:
    net = Net()
    net.gate = trio.Event()
    lookups = Lookups(DNS, ask=net)
    answers = []

    async def follow() -> None:
        answers.append(await lookups.records("a.test", "A"))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as leader:
            async with trio.open_nursery() as inner:
                inner.start_soon(lookups.records, "a.test", "A")
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(follow)
                await trio.testing.wait_all_tasks_blocked()
                leader.cancel()
        net.gate.set()
    assert answers[0].is_found
    assert net.asked["a.test", "A"] == 2


LABELS = st.sampled_from(["a", "b", "c"])
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(DOMAINS, DOMAINS.map(lambda domain: "." + domain), st.just("*"))


def matches(row: Route, domain: str, tag: str) -> bool:
    """The rule as the settings tell it."""
    pattern = row.domain
    known = pattern in ("*", domain) or (pattern.startswith(".") and domain.endswith(pattern))
    return known and row.tag in ("", tag)


@given(st.lists(st.tuples(PATTERNS, st.sampled_from(["", "x"]))), DOMAINS, st.sampled_from(["", "x", "y"]))
def test_the_map_finds_what_a_walk_through_its_rows_finds(rows: list[tuple[str, str]], domain: str, tag: str) -> None:
    table = tuple(
        Route(domain=DomainPattern(pattern), tag=row_tag, host=HostName(f"h{number}.test"))
        for number, (pattern, row_tag) in enumerate(rows)
    )
    wanted = next((row for row in table if matches(row, domain, tag)), None)
    found = Transport(Settings(route=table)).row(domain, tag)
    assert (found if found.to != "mx" else None) == wanted
