"""Reads the journal for the API: from a cursor, from a time, the last facts, or what concerns one message.

The journal is read forward in pages of the engine's; a page is decoded in one loop step, then the loop goes on, so that
a long search never holds others up. An answer ends at `limit` facts or after `MOST_PAGES` pages; `next` goes on there.
"""

from __future__ import annotations

from collections import deque

import msgspec

from .. import journal
from ..engine import Bridge, JournalPage
from ..errors import EngineError
from .shapes import Fact, Facts

# Facts that the engine gives in one page: about a millisecond of decoding.
PAGE = 256
# Pages searched for one answer: 100,000 facts or so, well under the client's patience.
MOST_PAGES = 400


async def read_history(
    bridge: Bridge, *, at: bytes, since: int | None, last: int | None, message: str, limit: int
) -> Facts:
    """`since`: Unix milliseconds. `last`: only the newest so many; then the whole journal is read."""
    found: deque[Fact] = deque(maxlen=last)
    gap = False
    pages = 0
    while True:
        try:
            page = await bridge.read_journal(at, limit=PAGE if last else min(PAGE, limit))
        except EngineError as error:
            if error.word != "gap":
                raise
            gap = True
            at = msgspec.msgpack.decode(error.result, type=dict[str, bytes])["next"]
            continue
        found.extend(fact for fact in facts_of(page) if wanted(fact, since, message))
        at = page.next
        pages += 1
        full = last is None and (len(found) >= limit or pages >= MOST_PAGES)
        if page.end or full:
            return Facts(list(found), cursor_text(at), page.end, gap)


def cursor_text(at: bytes) -> str:
    """A cursor as clients give it back."""
    return at.hex()


def facts_of(page: JournalPage) -> list[Fact]:
    return [shown(fact) for fact in journal.facts_of(page)]


def shown(fact: journal.Fact) -> Fact:
    """A fact of the journal as the API shows it."""
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
