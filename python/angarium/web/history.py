"""Reads the journal for the API: from a cursor, from a time, the last facts, or what concerns one message.

The engine gives pages forward from a cursor. A time or the end is found by halving the range of LSNs, so that a short
question costs little however long the journal is. Facts are shown in small lots with the loop going on between, so that
a long search never holds others up. An answer ends at `limit` facts or after `MOST_PAGES` pages; `next` goes on there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import trio
from msgspec import Struct

from .. import journal
from ..engine import Bridge, JournalPage
from ..errors import EngineError
from .shapes import Fact, Facts

# Facts that the engine gives in one page; a frame is never split, so there may be more.
PAGE = 256
# Facts shown in one step of the loop: about a millisecond.
LOT = 64
# Pages searched for one answer: 100,000 facts or so, well under the client's patience.
MOST_PAGES = 400
# Facts stand in the order of their commit; their times are at most so far out of it (milliseconds).
DISORDER = 10_000
OLDEST = b""


class Place(Struct, frozen=True):
    """A cursor, opened: rust/ledger/src/reader.rs."""

    spool: int
    epoch: int
    lsn: int

    def at(self, lsn: int) -> bytes:
        return msgspec.msgpack.encode(msgspec.structs.replace(self, lsn=lsn))


async def read_history(
    bridge: Bridge, *, at: bytes, since: int | None, last: int | None, message: str, limit: int
) -> Facts:
    """`since`: Unix milliseconds. `last`: only the newest so many."""
    if last is not None:
        return await read_newest(bridge, last, lambda fact: wanted(fact, since, message))

    def is_wanted(fact: Fact) -> bool:
        return wanted(fact, since, message)

    begin = max(since or 0, time_of(message))
    if at != OLDEST or not begin:
        return await read_forward(bridge, at, limit, is_wanted)
    facts = await read_forward(bridge, await find_time(bridge, begin), limit, is_wanted)
    # Where the clock was set back a message may stand before its time.
    is_strange = bool(message) and not facts.facts and facts.end
    return await read_forward(bridge, OLDEST, limit, is_wanted) if is_strange else facts


def time_of(message: str) -> int:
    """When the id was reserved (Unix milliseconds), 0 for what is no id: node 16 bits, time 48, counter 64."""
    digits = message.upper().partition(".")[0]
    if len(digits) != journal.PRINTED or not set(digits) <= set(journal.ALPHABET):
        return 0
    number = 0
    for digit in digits:
        number = number << 5 | journal.ALPHABET.index(digit)
    return number >> 64 & (1 << 48) - 1


async def read_forward(bridge: Bridge, at: bytes, limit: int, is_wanted: Callable[[Fact], bool]) -> Facts:
    found: list[Fact] = []
    gap = False
    for _ in range(MOST_PAGES):
        page, gapped = await read_page(bridge, at, min(PAGE, limit))
        gap |= gapped
        found += [fact async for fact in facts_of(page) if is_wanted(fact)]
        at = page.next
        if page.end or len(found) >= limit:
            break
    return Facts(found, at.hex(), page.end, gap)


async def read_newest(bridge: Bridge, last: int, is_wanted: Callable[[Fact], bool]) -> Facts:
    """Goes back from the end twice as far each time until there are enough."""
    page, _ = await read_page(bridge, OLDEST, 1)
    oldest = place_of(page)
    end = await halve(oldest, lambda lsn: is_end(bridge, oldest.at(lsn)))
    back = 1
    while True:
        is_whole = end - back <= oldest.lsn
        at = OLDEST if is_whole else oldest.at(end - back)
        found: deque[Fact] = deque(maxlen=last)
        while True:
            page, _ = await read_page(bridge, at, PAGE)
            found.extend([fact async for fact in facts_of(page) if is_wanted(fact)])
            at = page.next
            if page.end:
                break
        if is_whole or len(found) >= last:
            return Facts(list(found), at.hex(), True, False)
        back *= 2


async def find_time(bridge: Bridge, since: int) -> bytes:
    """A cursor with everything since then behind it, and not much else."""
    page, _ = await read_page(bridge, OLDEST, 1)
    oldest = place_of(page)
    if await is_late(bridge, OLDEST, since):
        return OLDEST
    found = await halve(oldest, lambda lsn: is_late(bridge, oldest.at(lsn), since))
    return oldest.at(found - 1)


async def is_late(bridge: Bridge, at: bytes, since: int) -> bool:
    """Whether what stands behind the cursor happened since then, or nothing stands there."""
    while True:
        page, _ = await read_page(bridge, at, 1)
        # What a recovery found again is told with its old time.
        times = [fact.at async for fact in facts_of(page) if not fact.about.get("recovered")]
        if times or not page.records:
            return not times or times[0] >= since - DISORDER
        at = page.next


async def halve(oldest: Place, is_beyond: Callable[[int], Awaitable[bool]]) -> int:
    """The least LSN that is beyond; the range is found by doubling."""
    step = 1
    while not await is_beyond(oldest.lsn + step):
        step *= 2
    low, high = oldest.lsn + step // 2, oldest.lsn + step
    while high - low > 1:
        middle = (low + high) // 2
        if await is_beyond(middle):
            high = middle
        else:
            low = middle
    return high


async def is_end(bridge: Bridge, at: bytes) -> bool:
    page, _ = await read_page(bridge, at, 1)
    return not page.records


def place_of(page: JournalPage) -> Place:
    return msgspec.msgpack.decode(page.next, type=Place)


async def read_page(bridge: Bridge, at: bytes, limit: int) -> tuple[JournalPage, bool]:
    """A page, and whether what stood before it is gone."""
    gap = False
    while True:
        try:
            return await bridge.read_journal(at, limit=limit), gap
        except EngineError as error:
            if error.word != "gap":
                raise
            gap = True
            at = msgspec.msgpack.decode(error.result, type=dict[str, bytes])["next"]


async def facts_of(page: JournalPage) -> AsyncIterator[Fact]:
    """The facts of a page as the API shows them; the loop goes on between lots."""
    for begin in range(0, len(page.records), LOT):
        lot = JournalPage(page.records[begin : begin + LOT], page.next, page.end)
        for fact in journal.facts_of(lot):
            yield shown(fact)
        await trio.lowlevel.checkpoint()


def shown(fact: journal.Fact) -> Fact:
    about = msgspec.structs.asdict(fact)
    lsn, at = about.pop("lsn"), about.pop("at", 0)
    return Fact(lsn, at, type(fact).__name__.lower(), {name.rstrip("_"): value for name, value in about.items()})


def wanted(fact: Fact, since: int | None, about: str) -> bool:
    """`about`: a message, or one recipient (MESSAGE.NUMBER) with what concerns the whole message."""
    if since is not None and fact.at < since:
        return False
    message, _, number = about.upper().partition(".")
    if not message:
        return True
    return fact.about.get("id") == message and number in ("", str(fact.about.get("number", number)))
