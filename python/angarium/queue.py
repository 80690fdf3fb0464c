"""A queue for anything that is sent to many places: due times, fair order, limits, holds; a million entries in 100 MB.

`Queue` keeps numbers and names, never the things themselves: a message is an id of the caller's (up to 128 bits), an
entry is one recipient of it. Entries of one domain, tenant, campaign and priority form a node; nodes belong to lanes
(by default the domain is the lane), and a lane hands out its entries by the shares of the priorities, then in turn
between tenants and campaigns, then by age. All times are Unix milliseconds and arguments: nothing here has a clock.

    >>> queue = Queue()
    >>> queue.push(1, ["example.org"], now=1000)
    >>> [run.lane for run in queue.runs(now=1000)]
    ['example.org']
    >>> taken = queue.take("example.org", now=1000)
    >>> queue.settle(taken.entries[0].entry, "delivered", now=1000)
    1

Where there is much to do, `push_many`, `take_many` and `settle_many` release the interpreter and cost a fraction.
Safe to use from several threads. A handle (`entry`) of something that is closed is a KeyError, never something else's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from angarium._core import Later, Leased, QueueIndex, Taken

__all__ = ["Entry", "LaneRun", "Later", "Leased", "Page", "Priority", "Queue", "State", "Stats", "Taken"]

Priority = Literal["urgent", "high", "normal", "bulk"]
State = Literal["waiting", "held", "leased", "owing"]

PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "bulk")
STATES: tuple[State, ...] = ("waiting", "held", "leased", "owing")


class LaneRun(msgspec.Struct, frozen=True):
    """A lane with work: so many further connections would find some, so many idle ones of its own too."""

    lane: str
    connections: int
    wake: int
    # The one connection that finds out whether the lane works again after a failure.
    probe: bool


class Entry(msgspec.Struct, frozen=True):
    """All about one entry. Times in milliseconds, 0 for none; `due` of a held entry is when it waits again."""

    entry: int
    message: int
    number: int
    domain: str
    tenant: str
    campaign: str
    lane: str | None
    priority: Priority
    state: State
    due: int
    expires: int
    attempts: int


class Page(msgspec.Struct, frozen=True):
    """Part of a listing; `after` asks for the next part, None: this was the last."""

    entries: tuple[Entry, ...]
    after: int | None


class Stats(msgspec.Struct, frozen=True):
    """Figures of a queue, kept while it works: asking costs nothing."""

    messages: int
    nodes: int
    lanes: int
    # Entries, by priority and state.
    entries: dict[Priority, dict[State, int]]
    # Entries that are due, by priority.
    due: dict[Priority, int]

    @property
    def total(self) -> int:
        """Entries in all."""
        return sum(sum(states.values()) for states in self.entries.values())


class Queue(QueueIndex):
    """Entries that wait to be sent. `Queue(lane_of=...)` takes a function that gives a domain's lane; without one the
    domain is its lane. What pushes, takes and settles is `angarium._core.QueueIndex`; here is what people look at."""

    __slots__ = ()

    def runs(self, *, now: int, limit: int = 100) -> list[LaneRun]:
        """Lanes with work, urgent first; each is given again when more connections would be useful."""
        return [LaneRun(*run) for run in self.lanes_to_run(now=now, limit=limit)]

    def entry(self, message: int, number: int) -> Entry | None:
        """One recipient of a message; None if it is closed."""
        handle = self.handle(message, number)
        view = None if handle is None else self.view(handle)
        return None if view is None else Entry(*view)

    def find(
        self,
        *,
        message: int | None = None,
        tenant: str | None = None,
        campaign: str | None = None,
        domain: str | None = None,
        lane: str | None = None,
        priority: Priority | None = None,
        state: State | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page:
        """Entries that agree with all that is given, a page at a time."""
        views, following = self.find_views(
            message=message,
            tenant=tenant,
            campaign=campaign,
            domain=domain,
            lane=lane,
            priority=priority,
            state=state,
            after=after,
            limit=limit,
        )
        return Page(tuple([Entry(*view) for view in views]), following)

    def expired(self, *, now: int, steps: int = 100_000) -> Iterator[int]:
        """Waiting and held entries past their deadline. They stay until they are settled."""
        after: int | None = 0
        while after is not None:
            entries, after = self.expired_after(now=now, after=after, steps=steps)
            yield from entries

    def stats(self) -> Stats:
        messages, nodes, lanes, entries, ready, _ = self.counts()
        rows = zip(PRIORITIES, entries, strict=True)
        by_state = {priority: dict(zip(STATES, row, strict=True)) for priority, row in rows}
        return Stats(messages, nodes, lanes, by_state, dict(zip(PRIORITIES, ready, strict=True)))

    def oldest(self) -> dict[Priority, int | None]:
        """When the oldest message with an entry of each priority was received: the time in ids made by the server.
        Of no use with ids that are plain numbers."""
        return dict(zip(PRIORITIES, self.counts()[5], strict=True))

    def __len__(self) -> int:
        """Messages in the queue."""
        return self.counts()[0]
