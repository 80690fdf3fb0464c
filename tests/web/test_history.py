"""Reading a long journal: what was asked for, all of it, and with few reads."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from angarium.engine import Bridge, JournalPage
from angarium.web.history import DISORDER, read_history, time_of

MANY = 50_000
# LSNs jump when the server starts anew.
JUMP = 1 << 20
STEP = 100
FOLLOWED = 6


class Log:
    """A journal as the engine shows it: one fact every 100 ms, three to a frame, a restart in the middle."""

    def __init__(self) -> None:
        self.facts = [(1_000 + n // 3 + (n > MANY // 2) * JUMP, n * STEP) for n in range(MANY)]
        self.reads = 0

    async def read_journal(self, at: bytes, *, limit: int) -> JournalPage:
        self.reads += 1
        after = msgspec.msgpack.decode(at)["lsn"] if at else 0
        begin = next_behind(self.facts, after)
        end = min(begin + limit, MANY)
        while end < MANY and self.facts[end][0] == self.facts[end - 1][0]:
            end += 1
        rows = self.facts[begin:end]
        records = tuple((lsn, msgspec.msgpack.encode([FOLLOWED, time, 1, 0, 0, False]), ("f",)) for lsn, time in rows)
        place = msgspec.msgpack.encode({"spool": 7, "epoch": 1, "lsn": rows[-1][0] if rows else after})
        return JournalPage(records, place, end == MANY)


def next_behind(facts: list[tuple[int, int]], lsn: int) -> int:
    low, high = 0, len(facts)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if facts[middle][0] > lsn else (middle + 1, high)
    return low


async def ask(log: Log, **asked: Any) -> tuple[list[int], bool]:
    given = {"at": b"", "since": None, "last": None, "message": "", "limit": 1_000, **asked}
    facts = await read_history(cast(Bridge, log), **given)
    return [fact.at for fact in facts.facts], facts.end


@pytest.mark.parametrize("last", [1, 2, 3, 100, 10_000])
async def test_the_last_ones(last: int) -> None:
    log = Log()
    assert await ask(log, last=last) == ([n * STEP for n in range(MANY - last, MANY)], True)
    assert log.reads < 100 + last // 20


async def test_more_than_there_are() -> None:
    assert len((await ask(Log(), last=MANY + 5))[0]) == MANY


@pytest.mark.parametrize("since", [0, 1, 77_777, MANY * STEP // 2, MANY * STEP - 200, MANY * STEP, 10 * MANY * STEP])
async def test_since(since: int) -> None:
    log = Log()
    first = min(-(-since // STEP), MANY)
    times, end = await ask(log, since=since, limit=500)
    assert times[:500] == [n * STEP for n in range(first, min(first + 500, MANY))]
    assert end or len(times) >= 500
    assert log.reads < 100 + DISORDER // STEP


def test_an_id_tells_its_time() -> None:
    assert time_of("00000T44GCA3EG000004000000") == time_of("00000t44gca3eg000004000000.12") == 1_795_599_126_749
    assert time_of("nonsense") == time_of("") == 0
