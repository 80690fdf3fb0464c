"""The journal as Python reads it: facts with names and texts, and followers that keep their own place.

A fact comes out of the engine as a MessagePack array and the strings that it speaks of (nouns, record/fact.rs);
`fact_of` makes it one of the frozen structs here, by a table of its fields. A follower's whole state is its cursor: it
is written down durably behind each batch that the follower has taken, so a crash repeats a batch and never skips one.
Fields that a later version adds behind the known ones are left out; an unknown kind of fact is a `Strange`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal

import msgspec
import structlog
import trio
from msgspec import Struct

from .engine import Bridge, Claims, JournalPage, supervise
from .errors import EngineError

log = structlog.get_logger("angarium.journal")

# Facts of one batch: a few milliseconds of work at most.
BATCH = 256
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PRINTED = 26

CLASSES = ("urgent", "high", "normal", "bulk")
OUTCOMES = ("delivered", "deferred", "failed")
SCOPES = ("recipient", "transaction", "sender", "source", "host", "lane", "provider")
STATES = ("waiting", "held", "leased", "owing", "delivered", "failed", "cancelled", "lost")
CLAIMS = ("none", "best-effort", "required", "gone")
SUCCESSORS = ("none", "bounce", "delay-notice", "forward", "expansion", "transfer")
REASONS = (
    "other", "done", "greylist", "mailbox-full", "no-such-recipient", "throttle", "policy", "content", "too-large",
    "tls", "dns", "connect", "timeout", "protocol", "uncertain", "conversion", "expired", "cancelled", "loop", "lost",
    "local-disk", "sender", "too-many-recipients", "suspended", "no-route",
)  # fmt: skip


class Received(Struct, frozen=True, kw_only=True):
    """A message was made durable. `at` and all times: Unix milliseconds."""

    lsn: int
    at: int
    id: str
    size: int
    class_: str
    sender: str
    # Number of the first recipient listed: a message with many is told in several facts.
    first: int
    recipients: tuple[str, ...]
    peer: str
    tenant: str
    campaign: str
    successor: str
    recovered: bool
    # What its sender was found to be, as "spf=pass dmarc=fail action=tag"; empty: it was not judged.
    verdicts: str = ""
    # The session that brought it, as its log lines and refusals name it; empty: it did not come over a socket.
    session: str = ""


class Settled(Struct, frozen=True, kw_only=True):
    """One recipient changed its state, by an attempt or without one (expired, cancelled, released)."""

    lsn: int
    at: int
    id: str
    number: int
    state: str
    due: int
    expires: int
    attempts: int
    step: int
    outcome: str
    scope: str
    reason: str
    rule: int
    code: int
    # Enhanced code like "5.1.1", empty for none.
    status: str
    text: str
    host: str
    domain: str
    # The route tag that a reroute gave; None: as it was.
    tag_given: str | None
    took: int
    may_repeat: bool
    # TLS version, cipher suite and how the peer's certificate was judged; empty in the clear.
    tls: str = ""


class Slept(Struct, frozen=True, kw_only=True):
    """An attempt settled nobody: a host, lane, source or provider sleeps. Of a lane `object` is its site."""

    lsn: int
    at: int
    scope: str
    object: str
    until: int
    reason: str
    rule: int
    code: int
    text: str
    # Of a lane; 0 for what is none.
    port: int = 0
    # One after the other, this one too.
    failures: int = 0
    # The lane's key as JSON; empty for what is none.
    lane: str = ""


class Controlled(Struct, frozen=True, kw_only=True):
    """An order was carried out. `predicate` is JSON."""

    lsn: int
    at: int
    control: int
    kind: str
    predicate: str
    by: str
    why: str
    until: int
    changed: int


class Lost(Struct, frozen=True, kw_only=True):
    """Content of a waiting recipient cannot be read any more."""

    lsn: int
    at: int
    id: str
    number: int
    why: str


class Followed(Struct, frozen=True, kw_only=True):
    """A follower has read so far."""

    lsn: int
    at: int
    follower: str
    epoch: int
    until: int
    # none, best-effort, required; gone: it is forgotten.
    claims: str


class Gap(Struct, frozen=True, kw_only=True):
    """Something of this range is missing.

    A follower of best effort or a pin (by its order's number) lost the content of what was closed there; with neither,
    the journal itself is damaged there and its facts are lost.
    """

    lsn: int
    at: int
    follower: str
    begin: int
    end: int
    pin: int = 0


class Claimed(Struct, frozen=True, kw_only=True):
    """An order keeps a message's content: a legal hold ("required") or a pin ("best-effort")."""

    lsn: int
    at: int
    id: str
    control: int
    claim: str


class Strange(Struct, frozen=True, kw_only=True):
    """A kind of fact that this version does not know."""

    lsn: int
    tag: int


Fact = Received | Settled | Slept | Controlled | Lost | Followed | Gap | Claimed | Strange
Strings = Sequence[str]
Reading = Callable[[Any, Strings], Any]


def plain(value: Any, _: Strings) -> Any:
    return value


def text(value: int, strings: Strings) -> str:
    return strings[value - 1] if value else ""


def text_or_none(value: int, strings: Strings) -> str | None:
    return strings[value - 1] if value else None


def enhanced(value: int, _: Strings) -> str:
    return f"{value // 1_000_000}.{value // 1_000 % 1_000}.{value % 1_000}" if value else ""


def texts(value: Sequence[int], strings: Strings) -> tuple[str, ...]:
    return tuple(text(one, strings) for one in value)


def printed(value: bytes, _: Strings) -> str:
    """A message id in its 26 characters."""
    number = int.from_bytes(value, "big")
    return "".join(ALPHABET[number >> 5 * at & 31] for at in range(PRINTED - 1, -1, -1))


def session(value: int, _: Strings) -> str:
    return f"{value:x}" if value else ""


def word(words: tuple[str, ...]) -> Reading:
    def read(value: int, _: Strings) -> str:
        return words[value] if value < len(words) else f"{value}"

    return read


# By tag: the struct, and the fields behind the tag in the order of the record.
FACTS: dict[int, tuple[Callable[..., Fact], tuple[tuple[str, Reading], ...]]] = {
    1: (Received, (
        ("at", plain), ("id", printed), ("size", plain), ("class_", word(CLASSES)), ("sender", text),
        ("first", plain), ("recipients", texts), ("peer", text), ("tenant", text), ("campaign", text),
        ("successor", word(SUCCESSORS)), ("recovered", plain), ("verdicts", text), ("session", session),
    )),
    2: (Settled, (
        ("at", plain), ("id", printed), ("number", plain), ("state", word(STATES)), ("due", plain),
        ("expires", plain), ("attempts", plain), ("step", plain), ("outcome", word(OUTCOMES)),
        ("scope", word(SCOPES)), ("reason", word(REASONS)), ("rule", plain), ("code", plain), ("status", enhanced),
        ("text", text), ("host", text), ("domain", text), ("tag_given", text_or_none), ("took", plain),
        ("may_repeat", plain), ("tls", text),
    )),
    3: (Slept, (
        ("at", plain), ("scope", word(SCOPES)), ("object", text), ("until", plain), ("reason", word(REASONS)),
        ("rule", plain), ("code", plain), ("text", text), ("port", plain), ("failures", plain), ("lane", text),
    )),
    4: (Controlled, (
        ("at", plain), ("control", plain), ("kind", text), ("predicate", text), ("by", text), ("why", text),
        ("until", plain), ("changed", plain),
    )),
    5: (Lost, (("at", plain), ("id", printed), ("number", plain), ("why", text))),
    6: (Followed, (("at", plain), ("follower", text), ("epoch", plain), ("until", plain), ("claims", word(CLAIMS)))),
    7: (Gap, (("at", plain), ("follower", text), ("begin", plain), ("end", plain), ("pin", plain))),
    8: (Claimed, (("at", plain), ("id", printed), ("control", plain), ("claim", word(CLAIMS)))),
}  # fmt: skip

Kind = Literal["received", "settled", "slept", "controlled", "lost", "followed", "gap", "claimed"]
# Fields at the end of a record that those of earlier versions lack.
ADDED: dict[int, int] = {1: 2, 2: 1, 3: 3, 7: 1}
TAGS: dict[str, int] = {
    "received": 1, "settled": 2, "slept": 3, "controlled": 4, "lost": 5, "followed": 6, "gap": 7,
    "claimed": 8,
}  # fmt: skip


def fact_of(lsn: int, record: bytes, strings: Strings) -> Fact:
    """One fact of the journal. Raises `ValueError` for what is not one."""
    tag, *values = msgspec.msgpack.decode(record)
    if tag not in FACTS:
        return Strange(lsn=lsn, tag=tag)
    build, fields = FACTS[tag]
    if len(values) < len(fields) - ADDED.get(tag, 0):
        raise ValueError(f"a fact of kind {tag} has {len(values)} fields instead of {len(fields)}")
    return build(lsn=lsn, **{name: read(value, strings) for (name, read), value in zip(fields, values, strict=False)})


def facts_of(page: JournalPage) -> list[Fact]:
    return [fact_of(lsn, record, strings) for lsn, record, strings in page.records]


def kinds_of(names: Sequence[Kind]) -> int:
    """The bits that the engine filters by; none: everything."""
    return sum(1 << TAGS[name] for name in set(names))


class Journal:
    """Readers of one running engine."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._grown = trio.Event()
        bridge.on_flag("journal_grew", self._grew)

    def _grew(self) -> None:
        self._grown.set()
        self._grown = trio.Event()

    async def read(self, at: bytes = b"", *, kinds: Sequence[Kind] = (), limit: int = BATCH) -> JournalPage:
        """What is there from a cursor on (empty: the oldest), without waiting."""
        return await self._bridge.read_journal(at, kinds=kinds_of(kinds), limit=limit)

    async def pages(self, at: bytes = b"", *, kinds: Sequence[Kind] = ()) -> AsyncIterator[JournalPage]:
        """Pages for ever: what is there, then what comes. A gap is stepped over and logged."""
        while True:
            # Taken before reading, so that what grows meanwhile is not slept through.
            grown = self._grown
            try:
                page = await self.read(at, kinds=kinds)
            except EngineError as error:
                if error.word != "gap":
                    raise
                at = msgspec.msgpack.decode(error.result, type=dict[str, bytes])["next"]
                log.warning("facts are gone before they were read", next=at.hex())
                continue
            at = page.next
            if page.records:
                yield page
            if page.end:
                await grown.wait()

    def follow(self, name: str, *, kinds: Sequence[Kind] = (), claims: Claims = "none") -> Following:
        """The batches of a named follower, from where it stopped the last time.

        `claims` keeps the content of what it has not read: "best-effort" up to a limit, then the oldest goes (a `gap`
        fact says so); "required" whatever it takes: at the limit new mail gets 452.
        """
        return Following(self, self._bridge, name, kinds=kinds, claims=claims)


class Following:
    """`async for facts in following:`; a batch counts as read when the next one is asked for."""

    def __init__(self, journal: Journal, bridge: Bridge, name: str, *, kinds: Sequence[Kind], claims: Claims) -> None:
        self._journal = journal
        self._bridge = bridge
        self._name = name
        self._kinds = kinds
        self._claims = claims
        self._pages: AsyncIterator[JournalPage] | None = None
        self._read: bytes | None = None

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> list[Fact]:
        if self._pages is None:
            place = (await self._bridge.followers()).get(self._name)
            at = b"" if place is None else place.cursor
            if place is None and self._claims != "none":
                # It claims from its beginning on, not from its first batch on.
                await self._bridge.follow(self._name, at, claims=self._claims)
            self._pages = self._journal.pages(at, kinds=self._kinds)
        if self._read is not None:
            await self._bridge.follow(self._name, self._read, claims=self._claims)
        page = await anext(self._pages)
        self._read = page.next
        return facts_of(page)


class Follower(Struct, frozen=True):
    """A room that reads the journal: a name, what it wants, and what it does with each batch."""

    name: str
    take: Callable[[list[Fact]], Any]
    kinds: tuple[Kind, ...] = ()
    claims: Claims = "none"


async def serve(
    journal: Journal,
    followers: Sequence[Follower],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs all followers; one that fails starts again at its cursor with back-off and never disturbs the others."""

    def room(follower: Follower) -> Callable[[], Any]:
        async def run() -> None:
            async for facts in journal.follow(follower.name, kinds=follower.kinds, claims=follower.claims):
                await follower.take(facts)

        return run

    async with trio.open_nursery() as nursery:
        for follower in followers:
            nursery.start_soon(supervise, f"follower {follower.name}", room(follower))
        task_status.started()
