"""A queue for anything that is sent to many places: due times, fair order, limits, holds; a million entries in 100 MB.

`Queue` keeps numbers and names, never the things themselves: a message is an id of the caller's (up to 128 bits), an
entry is one recipient of it. Entries of one domain, tenant, campaign and priority form a node; nodes belong to lanes
(by default the domain is the lane), and a lane hands out its entries by the shares of the priorities, then in turn
between tenants and campaigns, then by age. All times are Unix milliseconds and arguments: nothing here has a clock.

    >>> queue = Queue()
    >>> queue.push(1, ["example.org"], now=1000)
    >>> [run.lane for run in queue.lanes_to_run(now=1000)]
    ['example.org']
    >>> taken = queue.take("example.org", now=1000)
    >>> queue.settle(taken.entries[0].entry, "delivered", now=1000)
    1

Safe to use from several threads. A handle (`entry`) of something that is closed is a KeyError, never something else's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from angarium._core import QueueIndex

__all__ = ["Entry", "LaneRun", "Later", "Leased", "Page", "Priority", "Queue", "State", "Stats", "Taken"]

Priority = Literal["urgent", "high", "normal", "bulk"]
State = Literal["waiting", "held", "leased", "owing"]

PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "bulk")
STATES: tuple[State, ...] = ("waiting", "held", "leased", "owing")
# Entries that become due in one call: bounds how long the index is locked to some milliseconds.
DUE_PER_CALL = 10_000
# An envelope of 100 recipients is what every SMTP server takes (RFC 5321 4.5.3.1.8).
ENVELOPE = 100


class Leased(msgspec.Struct, frozen=True):
    """One entry that a delivery has got. It comes back by `settle` or `give_back`."""

    entry: int
    number: int
    domain: str
    attempts: int
    step: int
    # Milliseconds; 0 for none.
    expires: int


class Taken(msgspec.Struct, frozen=True):
    """One message and those of its entries that go out together."""

    message: int
    entries: tuple[Leased, ...]


class Later(msgspec.Struct, frozen=True):
    """The lane sleeps or waits for a limiter until about `at` (milliseconds); then `lanes_to_run` gives it again."""

    at: int


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


class Queue:
    """Entries that wait to be sent. `lane_of` gives a domain's lane when its first entry comes; default: the domain."""

    def __init__(self, *, lane_of: Callable[[str], str] | None = None) -> None:
        self._index = QueueIndex()
        self._lane_of = lane_of or str

    def push(
        self,
        message: int,
        domains: Sequence[str],
        *,
        now: int,
        tenant: str = "",
        campaign: str = "",
        priority: Priority = "normal",
        due: int | None = None,
        expires: int | None = None,
    ) -> None:
        """Adds a message with one entry for each domain; its number is its place. Due at once unless `due` says when.

        ValueError for an id that is in the queue already, no domains, or an unknown priority.
        """
        self._index.push(
            message,
            [(domain, self._lane_of(domain)) for domain in domains],
            now=now,
            tenant=tenant,
            campaign=campaign,
            priority=priority,
            due=now if due is None else due,
            expires=expires or 0,
        )

    def set_limiter(
        self,
        name: str,
        *,
        now: int,
        tokens: int = 0,
        period: int = 1000,
        burst: int = 1,
        connections: int | None = None,
    ) -> None:
        """A limit that lanes share: `tokens` messages per `period` milliseconds, at most `burst` saved up, and so many
        connections at once. 0 tokens: no rate. Lanes behind one that is exhausted are served in fair order."""
        self._index.set_limiter(name, tokens=tokens, period=period, burst=burst, connections=connections, now=now)

    def set_lane(self, lane: str, *, now: int, connections: int = 20, limiters: Sequence[str] = ()) -> None:
        """Bounds a lane; it then stays when it is empty. At most 4 limiters; an unknown one is a KeyError."""
        self._index.set_lane(lane, connections=connections, limiters=list(limiters), now=now)

    def advance(self, *, now: int, limit: int = DUE_PER_CALL) -> bool:
        """Brings what has become due into turn, at most `limit` things; True: there is more, call again."""
        return self._index.advance(now=now, limit=limit)

    def next_due(self) -> int | None:
        """No later than the next time at which `advance` has something to do; None: never."""
        return self._index.next_due()

    def lanes_to_run(self, *, now: int, limit: int = 100) -> list[LaneRun]:
        """Lanes with work, urgent first; each is given again when more connections would be useful."""
        return [LaneRun(*run) for run in self._index.lanes_to_run(now=now, limit=limit)]

    def connection_opened(self, lane: str) -> bool:
        """Counts a connection that is about to be made; False: there is no room for it, do not make it."""
        return self._index.connection_opened(lane)

    def connection_closed(self, lane: str, *, now: int) -> None:
        self._index.connection_closed(lane, now=now)

    def lane_failed(self, lane: str, *, now: int) -> int:
        """The lane as a whole does not work: it sleeps, a minute at first and up to an hour, and wakes with one probe.
        Gives until when."""
        return self._index.lane_failed(lane, now=now)

    def lane_worked(self, lane: str) -> None:
        """A connection got through: the next failure is a first one again."""
        self._index.lane_worked(lane)

    def take(self, lane: str, *, now: int, limit: int = ENVELOPE) -> Taken | Later | None:
        """The lane's next message with up to `limit` of its entries, leased; None when nothing is due."""
        answer = self._index.take(lane, now=now, limit=limit)
        if answer is None:
            return None
        if isinstance(answer, int):
            return Later(answer)
        message, entries = answer
        return Taken(message, tuple([Leased(*entry) for entry in entries]))

    def settle(
        self,
        entry: int,
        outcome: Literal["delivered", "failed", "deferred"],
        *,
        now: int,
        due: int | None = None,
    ) -> int | None:
        """What became of an entry. Delivered and failed close it: the message's id if it was its last, else None.
        Deferred needs `due`, and counts an attempt."""
        if outcome != "deferred":
            return self._index.close(entry)
        if due is None:
            raise ValueError("a deferred entry needs a due time")
        self._index.defer(entry, due=due, attempted=True, now=now)
        return None

    def close_many(self, entries: Iterable[int]) -> list[int]:
        """Closes all of these that are open; gives the messages that are done with."""
        return self._index.close_many(list(entries))

    def give_back(self, entry: int) -> None:
        """A leased entry waits again in front, with no attempt counted."""
        self._index.give_back(entry)

    def hold(self, entry: int, *, until: int | None = None) -> bool:
        """Held until then, or until released. False: it is in flight, and held when it comes back."""
        return self._index.hold(entry, until=until or 0)

    def release(self, entry: int, *, now: int) -> bool:
        """A held entry is due now, its retry steps begin anew. False: it was not held."""
        return self._index.release(entry, now=now)

    def retry(self, entry: int, *, now: int) -> bool:
        """A waiting entry is due now. False: it does not wait for a time."""
        return self._index.retry(entry, now=now)

    def cancel(self, entry: int) -> bool:
        """Closes an entry. False: it is in flight; `is_stopped` tells its delivery, and when it comes back undelivered
        `cancelled` names it."""
        closed, _ = self._index.cancel(entry)
        return closed

    def is_stopped(self, entry: int) -> bool:
        """Whether a delivery should give this up, since it was cancelled or held in flight."""
        return self._index.is_stopped(entry)

    def cancelled(self) -> list[int]:
        """Entries that were cancelled in flight and came back: they stand still until they are closed. Given once."""
        return self._index.stopped()

    def entry(self, message: int, number: int) -> Entry | None:
        """One recipient of a message; None if it is closed."""
        handle = self._index.entry(message, number)
        view = None if handle is None else self._index.entry_view(handle)
        return None if view is None else _entry(view)

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
        views, following = self._index.find(
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
        return Page(tuple([_entry(view) for view in views]), following)

    def expired(self, *, now: int, steps: int = 100_000) -> Iterator[int]:
        """Waiting and held entries past their deadline. They stay until they are closed."""
        after: int | None = 0
        while after is not None:
            entries, after = self._index.expired(now=now, after=after, steps=steps)
            yield from entries

    def stats(self) -> Stats:
        messages, nodes, lanes, entries, ready, _ = self._index.counts()
        by_state = {
            priority: dict(zip(STATES, counts, strict=True))
            for priority, counts in zip(PRIORITIES, entries, strict=True)
        }
        return Stats(messages, nodes, lanes, by_state, dict(zip(PRIORITIES, ready, strict=True)))

    def oldest(self) -> dict[Priority, int | None]:
        """When the oldest message with an entry of each priority was received: the time in ids made by the server.
        Of no use with ids that are plain numbers."""
        return dict(zip(PRIORITIES, self._index.counts()[5], strict=True))

    @property
    def nbytes(self) -> int:
        """Memory of the index, without its names."""
        return self._index.nbytes()

    def __len__(self) -> int:
        """Messages in the queue."""
        return self._index.counts()[0]


def _entry(view: tuple[int, int, int, str, str, str, str | None, Priority, State, int, int, int]) -> Entry:
    return Entry(*view)
