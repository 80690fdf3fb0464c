"""Orders about waiting mail, and what the engine answers: listings, tickets' results, the journal, figures.

Each struct mirrors one in Rust (named in its docstring), like those of `tables`. Times are Unix milliseconds, ids 26
characters; a listing's `after` is the key of its next page.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field


class Predicate(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """predicate::Predicate: all given fields must match; without any it matches nothing unless `all` is set."""

    # `MESSAGE` or `MESSAGE.NUMBER`.
    ids: tuple[str, ...] = ()
    domain: str | None = None
    tenant: str | None = None
    campaign: str | None = None
    sender: str | None = None
    # A lane by its number, as listings of lanes show it.
    lane: int | None = None
    # urgent, high, normal, bulk
    class_: str | None = field(default=None, name="class")
    # waiting, held, leased, owing
    state: str | None = None
    reason: str | None = None
    # The lane's site.
    site: str | None = None
    # Received before, at or after.
    before: int | None = None
    after: int | None = None
    all: bool = False


class Control(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an operator orders: one of `CONTROLS`, for whom, by whom and why."""

    kind: str
    where: Predicate = Predicate()
    by: str = ""
    why: str = ""
    # Hold: its own deadline.
    until: int | None = None
    # Lift and resume: the standing rule's number; 0: by its predicate.
    rule: int = 0
    # Reroute: the new route tag; None: the routes are asked for anew.
    tag: str | None = None


class Controlled(Struct, frozen=True):
    """What a control did, durable. `rule`: the number of a standing rule, 0 for a one-shot."""

    changed: int
    too_late: int = 0
    rule: int = 0


class Rule(Struct, frozen=True, kw_only=True):
    """rules::RuleView: an order that stands until it is lifted by its number."""

    number: int
    # hold, suspend, legal-hold, pin.
    kind: str
    where: Predicate
    by: str
    why: str
    at: int
    # When what a hold holds is released by itself; 0: when the rule is lifted.
    until: int
    # Messages whose content it keeps (legal holds, pins).
    messages: int


Claims = Literal["none", "best-effort", "required", "gone"]


class FollowerPlace(Struct, frozen=True, kw_only=True):
    """A follower as the engine knows it. `skipped`: content of what was closed up to this LSN was taken from it."""

    name: str
    cursor: bytes
    lsn: int
    claims: Claims
    skipped: int


class Entry(Struct, frozen=True, kw_only=True):
    """predicate::FoundEntry: one recipient in a listing."""

    # Of the recipient: `MESSAGE.NUMBER`.
    id: str
    message: str
    number: int
    address: str
    domain: str
    sender: str
    received: int
    size: int
    state: str
    due: int
    expires: int
    attempts: int
    class_: str = field(name="class")
    reason: str = ""
    code: int = 0
    text: str = ""
    host: str = ""
    site: str = ""
    tenant: str = ""
    campaign: str = ""
    closed: bool = False


class Found(Struct, frozen=True):
    """A page of a listing; an empty `after` was the last one."""

    entries: tuple[Entry, ...]
    after: bytes = b""


class Recovered(Struct, frozen=True, kw_only=True):
    """What a start found in the spool."""

    entries: int = 0
    messages: int = 0
    lost: int = 0
    copied: int = 0
    recovered: int = 0
    damage: tuple[str, ...] = ()
    # Milliseconds.
    took: int = 0


class Accepted(Struct, frozen=True):
    """A submission is durable under this id."""

    id: str


class Refused(Struct, frozen=True, kw_only=True):
    """A submission is not taken, with the reply that says why."""

    code: int
    enhanced: str = ""
    text: str = ""

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code < 500


class Stopped(Struct, frozen=True):
    """What a stop cut off."""

    sessions: int = 0
    deliveries: int = 0


class JournalPage(Struct, frozen=True):
    """Facts as they stand in the journal: (LSN, MessagePack of the fact, the strings that it speaks of)."""

    records: tuple[tuple[int, bytes, tuple[str, ...]], ...]
    next: bytes
    end: bool = True


class Histogram(Struct, frozen=True):
    """Counts by upper bounds (one more than bounds, not cumulated)."""

    bounds: tuple[int, ...]
    counts: tuple[int, ...]
    sum: int


class Figures(Struct, frozen=True):
    """counters::Figures: what `Engine.counters()` writes."""

    counts: dict[str, int] = field(default_factory=dict)
    now: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    # By method, by result: what senders were found to be.
    verdicts: dict[str, dict[str, int]] = field(default_factory=dict)
