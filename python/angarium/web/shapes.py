"""The shapes that the control API speaks in; OpenAPI is made from them. Times are Unix milliseconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

Action = Literal[
    "hold",
    "release",
    "cancel",
    "retry",
    "flush",
    "expire",
    "reroute",
    "suspend",
    "resume",
    "lift",
    "confirm-clock",
    "legal-hold",
    "pin",
]
State = Literal["waiting", "held", "leased", "owing"]
ACTIONS: tuple[str, ...] = get_args(Action)
STATES: tuple[str, ...] = get_args(State)
Priority = Literal["urgent", "high", "normal", "bulk"]

# Unix milliseconds, as far as every JSON reader counts exactly (RFC 8259 6).
LAST_MOMENT = (1 << 53) - 1
Moment = Annotated[int, Meta(ge=0, le=LAST_MOMENT)]

# Rows of one page at most: a page stays under a few hundred kilobytes.
MOST_ROWS = 1_000


class Where(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which entries: everything that is given must match; `ids` are `MESSAGE` or `MESSAGE.NUMBER`."""

    ids: tuple[str, ...] = ()
    domain: str | None = None
    tenant: str | None = None
    campaign: str | None = None
    sender: str | None = None
    priority: Priority | None = None
    state: State | None = None
    site: str | None = None
    before: Moment | None = None
    after: Moment | None = None
    # Everything; must be said, so that an empty filter never cancels the whole queue.
    all: bool = False


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """What to do with which entries.

    `until`: end of a hold. `tag`: the new route tag of a reroute; without one the routes are asked for anew. `rule`:
    which standing rule to lift or resume, 0: the one of this filter.
    """

    where: Where = Where()
    why: Annotated[str, Meta(max_length=500)] = ""
    until: Moment | None = None
    tag: str | None = None
    rule: Annotated[int, Meta(ge=0, le=LAST_MOMENT)] = 0


class Ordered(Struct, frozen=True):
    """What an order did, once it is durable. `too_late`: entries that a delivery had already; `rule`: the number of the
    rule that now stands for later mail too, 0 for none."""

    changed: int
    too_late: int
    rule: int = 0


class Rule(Struct, frozen=True):
    """An order that stands until it is lifted (or resumed) by its number.

    `kind`: hold and suspend meet later mail too; legal-hold and pin keep the content of `messages` messages, whatever
    becomes of them. `until`: when what a hold holds is released by itself, 0: when the rule is lifted.
    """

    rule: int
    kind: str
    where: Where
    at: int
    by: str = ""
    why: str = ""
    until: int = 0
    messages: int = 0


class Rules(Struct, frozen=True):
    """All orders that stand, by their numbers."""

    rules: list[Rule]


class FollowerShown(Struct, frozen=True):
    """A reader of the journal: how far it is, and what it claims (none, best-effort, required) of the mail behind.

    `skipped`: the content of what was closed up to this LSN was taken from it.
    """

    name: str
    lsn: int
    claims: str
    skipped: int = 0


class Followers(Struct, frozen=True):
    """All readers that keep their place here."""

    followers: list[FollowerShown]


class Entry(Struct, frozen=True):
    """One recipient of one message, as it waits."""

    id: str
    message: str
    number: int
    sender: str
    recipient: str
    state: str
    priority: str
    received: int
    size: int
    due: int
    expires: int
    attempts: int
    reason: str
    code: int = 0
    text: str = ""
    host: str = ""
    site: str = ""
    tenant: str = ""
    campaign: str = ""


class Page(Struct, frozen=True):
    """Entries and where the next page begins (`next` is None at the end)."""

    entries: list[Entry]
    next: str | None


class Fact(Struct, frozen=True):
    """One line of the journal; `about` holds the fields of its kind by name."""

    lsn: int
    at: int
    kind: str
    about: dict[str, Any]


class Facts(Struct, frozen=True):
    """Facts and the cursor behind them. `end`: this was all there is now; `gap`: some before it are gone."""

    facts: list[Fact]
    next: str
    end: bool
    gap: bool = False


class FaultShown(Struct, frozen=True):
    """What an operator must see."""

    kind: str
    since: int
    text: str
    stops_intake: bool


class Status(Struct, frozen=True):
    """The server at a glance. `counters`: figures since the start."""

    version: str
    hostname: str
    started: int
    now: int
    listening: list[str]
    spool: str
    accepting: bool
    counters: dict[str, int]
    depth: dict[str, int]
    states: dict[str, int]
    oldest: int
    faults: list[FaultShown]


class Trouble(Struct, frozen=True):
    """Every error: one sentence."""

    error: str
