"""The queue, insert, take and settle, against heapq and dataclasses as a person would write it.

The plain one knows due times and one order for each domain; ours does that and classes, flows, limits and search.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass

import pytest
from angarium.queue import Queue, Taken

MESSAGES = 10_000
DOMAINS = [f"site{n}.example" for n in range(100)]
NOW = 1_790_000_000_000
LATER = NOW + 300_000


@dataclass(slots=True)
class PlainEntry:
    message: int
    domain: str
    tenant: str
    due: int
    attempts: int = 0
    state: str = "waiting"


class PlainQueue:
    """A heap of due times, a deque for each domain, a dict of what is out."""

    def __init__(self) -> None:
        self.entries: dict[int, PlainEntry] = {}
        self.heap: list[tuple[int, int]] = []
        self.ready: defaultdict[str, deque[int]] = defaultdict(deque)

    def push(self, message: int, domain: str, *, tenant: str, due: int) -> None:
        if message in self.entries:
            raise ValueError("a message with this id waits already")
        self.entries[message] = PlainEntry(message, domain, tenant, due)
        heapq.heappush(self.heap, (due, message))

    def advance(self, now: int) -> None:
        while self.heap and self.heap[0][0] <= now:
            _, message = heapq.heappop(self.heap)
            entry = self.entries.get(message)
            if entry is not None and entry.state == "waiting" and entry.due <= now:
                self.ready[entry.domain].append(message)

    def take(self, domain: str) -> PlainEntry | None:
        line = self.ready[domain]
        if not line:
            return None
        entry = self.entries[line.popleft()]
        entry.state = "leased"
        return entry

    def settle(self, entry: PlainEntry, *, due: int | None = None) -> None:
        if due is None:
            del self.entries[entry.message]
            return
        entry.state, entry.due, entry.attempts = "waiting", due, entry.attempts + 1
        heapq.heappush(self.heap, (due, entry.message))


def ours() -> int:
    """Everything in, taken, one of ten deferred, taken again when it is due. Gives what was sent."""
    queue, sent = Queue(), 0
    for n in range(MESSAGES):
        queue.push(n, [DOMAINS[n % 100]], now=NOW, tenant="shop")
    for now in (NOW, LATER):
        while queue.advance(now=now):
            pass
        for domain in DOMAINS:
            while isinstance(taken := queue.take(domain, now=now), Taken):
                for entry in taken.entries:
                    if now == NOW and taken.message % 10 == 0:
                        queue.settle(entry.entry, "deferred", due=LATER, now=now)
                    else:
                        queue.settle(entry.entry, "delivered", now=now)
                        sent += 1
    return sent


def ours_many() -> int:
    """The same with the calls for many."""
    queue, sent = Queue(), 0
    queue.push_many([(n, DOMAINS[n % 100]) for n in range(MESSAGES)], now=NOW, tenant="shop")
    for now in (NOW, LATER):
        while queue.advance(now=now):
            pass
        for domain in DOMAINS:
            while some := queue.take_many(domain, now=now, messages=100):
                late = {taken.message for taken in some if taken.message % 10 == 0} if now == NOW else set()
                deferred = [taken.entries[0].entry for taken in some if taken.message in late]
                delivered = [taken.entries[0].entry for taken in some if taken.message not in late]
                queue.settle_many(deferred, "deferred", due=LATER, now=now)
                sent += len(queue.settle_many(delivered, "delivered", now=now))
    return sent


def plain() -> int:
    queue, sent = PlainQueue(), 0
    for n in range(MESSAGES):
        queue.push(n, DOMAINS[n % 100], tenant="shop", due=NOW)
    for now in (NOW, LATER):
        queue.advance(now)
        for domain in DOMAINS:
            while (entry := queue.take(domain)) is not None:
                if now == NOW and entry.message % 10 == 0:
                    queue.settle(entry, due=LATER)
                else:
                    queue.settle(entry)
                    sent += 1
    return sent


@pytest.mark.benchmark(group="queue, 10,000 messages in, out, a tenth of them twice")
class TestThrough:
    def test_ours(self, benchmark):
        assert benchmark(ours_many) == MESSAGES

    def test_singly(self, benchmark):
        assert benchmark(ours) == MESSAGES

    def test_heapq(self, benchmark):
        assert benchmark(plain) == MESSAGES


@pytest.mark.benchmark(group="queue, 1,000 messages found and cancelled among 10,000")
class TestCancel:
    def test_ours(self, benchmark):
        def setup() -> tuple[tuple[Queue], dict[str, object]]:
            queue = Queue()
            for n in range(MESSAGES):
                queue.push(n, [DOMAINS[n % 100]], now=NOW, tenant=f"t{n % 10}")
            return (queue,), {}

        def cancel(queue: Queue) -> int:
            return queue.cancel_all(tenant="t3")

        assert benchmark.pedantic(cancel, setup=setup, rounds=10) == 1000

    def test_heapq(self, benchmark):
        def setup() -> tuple[tuple[PlainQueue], dict[str, object]]:
            queue = PlainQueue()
            for n in range(MESSAGES):
                queue.push(n, DOMAINS[n % 100], tenant=f"t{n % 10}", due=NOW)
            return (queue,), {}

        def cancel(queue: PlainQueue) -> int:
            found = [message for message, entry in queue.entries.items() if entry.tenant == "t3"]
            for message in found:
                del queue.entries[message]
            return len(found)

        assert benchmark.pedantic(cancel, setup=setup, rounds=10) == 1000
