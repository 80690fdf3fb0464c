"""The queue for Python: its stories, and random work against a list."""

from __future__ import annotations

import random

import pytest
from angarium.queue import Later, Queue, Taken
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1_790_000_000_000
MINUTE = 60_000


def taken(queue: Queue, lane: str, now: int = NOW, limit: int = 100) -> Taken:
    answer = queue.take(lane, now=now, limit=limit)
    assert isinstance(answer, Taken)
    return answer


def test_pushed_taken_settled():
    queue = Queue()
    queue.push(1, ["example.org", "example.net", "example.org"], now=NOW, tenant="shop")
    assert len(queue) == 1
    assert {run.lane: run.connections for run in queue.runs(now=NOW)} == {"example.org": 2, "example.net": 1}
    first = taken(queue, "example.org")
    assert (first.message, [entry.number for entry in first.entries]) == (1, [0, 2])
    assert queue.stats().entries["normal"] == {"waiting": 1, "held": 0, "leased": 2, "owing": 0}
    for entry in first.entries:
        assert queue.settle(entry.entry, "delivered", now=NOW) is None
    with pytest.raises(KeyError):
        queue.settle(first.entries[0].entry, "delivered", now=NOW)
    last = taken(queue, "example.net")
    assert queue.settle(last.entries[0].entry, "failed", now=NOW) == 1
    stats = queue.stats()
    assert (len(queue), stats.total, stats.nodes, stats.lanes) == (0, 0, 0, 0)


def test_deferred_and_due_again():
    queue = Queue()
    queue.push(1, ["a.example"], now=NOW)
    entry = taken(queue, "a.example").entries[0].entry
    with pytest.raises(ValueError, match="due"):
        queue.settle(entry, "deferred", now=NOW)
    queue.settle(entry, "deferred", now=NOW, due=NOW + 5 * MINUTE)
    assert queue.take("a.example", now=NOW) is None
    queue.advance(now=NOW)
    due = queue.next_due()
    assert due is not None
    assert NOW < due <= NOW + 5 * MINUTE
    assert not queue.advance(now=NOW + 5 * MINUTE)
    again = taken(queue, "a.example", NOW + 5 * MINUTE).entries[0]
    assert (again.attempts, again.step) == (1, 1)


def test_held_released_cancelled():
    queue = Queue()
    queue.push(1, ["a.example", "a.example"], now=NOW)
    first = queue.entry(1, 0)
    second = queue.entry(1, 1)
    assert first is not None
    assert second is not None
    assert queue.hold(first.entry)
    assert queue.cancel(second.entry)
    assert queue.entry(1, 1) is None
    assert queue.take("a.example", now=NOW) is None
    assert [entry.state for entry in queue.find(message=1).entries] == ["held"]
    assert queue.release(first.entry, now=NOW)
    assert not queue.release(first.entry, now=NOW)
    leased = taken(queue, "a.example").entries[0]
    assert not queue.cancel(leased.entry)
    assert queue.is_stopped(leased.entry)
    queue.give_back(leased.entry)
    assert queue.cancelled() == [leased.entry]
    assert queue.settle_many([leased.entry, leased.entry], "failed", now=NOW) == [1]


def test_classes_and_tenants_take_turns():
    queue = Queue(lane_of=lambda _: "lane")
    for n in range(200):
        queue.push(n, ["a.example"], now=NOW, tenant="list", priority="bulk")
    queue.push(1000, ["b.example"], now=NOW, tenant="person", priority="bulk")
    queue.push(1001, ["b.example"], now=NOW, tenant="person", priority="urgent")
    order = [taken(queue, "lane").message for _ in range(202)]
    assert order[0] == 1001
    assert order.index(1000) <= 21


def test_limits_and_sleep():
    queue = Queue()
    queue.set_limiter("provider", tokens=1, period=1000, now=NOW)
    queue.set_lane("a.example", connections=5, limiters=["provider"], now=NOW)
    for n in range(3):
        queue.push(n, ["a.example"], now=NOW)
    assert [run.connections for run in queue.runs(now=NOW)] == [1]
    taken(queue, "a.example")
    assert queue.take("a.example", now=NOW) == Later(NOW + 1000)
    assert queue.runs(now=NOW) == []
    queue.advance(now=NOW + 1000)
    assert [run.lane for run in queue.runs(now=NOW + 1000)] == ["a.example"]
    until = queue.lane_failed("a.example", now=NOW + 1000)
    assert 51_000 <= until - NOW - 1000 <= 69_000
    assert queue.take("a.example", now=NOW + 1000) == Later(until)
    queue.advance(now=until)
    assert [(run.connections, run.probe) for run in queue.runs(now=until)] == [(1, True)]
    assert queue.connection_opened("a.example")
    assert not queue.connection_opened("a.example")
    queue.lane_worked("a.example")
    queue.connection_closed("a.example", now=until)
    with pytest.raises(KeyError):
        queue.set_lane("b.example", limiters=["nobody"], now=NOW)
    with pytest.raises(KeyError):
        queue.connection_opened("never.example")


def test_refusals():
    queue = Queue()
    queue.push(1, ["a.example"], now=NOW)
    for message, domains, priority in [(1, ["a.example"], "normal"), (2, [], "normal"), (3, ["a.example"], "soon")]:
        with pytest.raises(ValueError):
            queue.push(message, domains, now=NOW, priority=priority)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        queue.push(2**128, ["a.example"], now=NOW)
    with pytest.raises(ValueError, match="state"):
        queue.find(state="gone")  # type: ignore[arg-type]
    # A refused message leaves no names behind.
    queue.push(4, ["b.example"], now=NOW)
    assert queue.stats().nodes == 2


def test_many_at_once():
    queue = Queue(lane_of=lambda domain: domain.rpartition(".")[2])
    queue.push_many([(n, f"site{n % 3}.example") for n in range(100)], now=NOW, tenant="shop", priority="bulk")
    with pytest.raises(ValueError, match="already"):
        queue.push_many([(1000, "a.example"), (7, "a.example"), (1001, "a.example")], now=NOW)
    assert queue.entry(1000, 0) is not None
    assert queue.entry(1001, 0) is None
    some = queue.take_many("example", now=NOW, messages=30)
    assert len(some) == 30
    handles = [entry.entry for taken in some for entry in taken.entries]
    assert queue.settle_many(handles[:10], "deferred", now=NOW, due=NOW + MINUTE) == []
    assert len(queue.settle_many(handles[10:], "delivered", now=NOW)) == 20
    assert len(queue.take_many("example", now=NOW, messages=1000)) == 71
    assert queue.take_many("nowhere", now=NOW, messages=5) == []
    with pytest.raises(ValueError, match="outcome"):
        queue.settle(handles[0], "lost", now=NOW)  # type: ignore[arg-type]


def test_a_function_for_lanes_may_use_the_queue():
    def lane_of(domain: str) -> str:
        return f"lane{len(queue)}"

    queue = Queue(lane_of=lane_of)
    queue.push(1, ["a.example"], now=NOW)
    queue.push(2, ["b.example"], now=NOW)
    assert {run.lane for run in queue.runs(now=NOW)} == {"lane0", "lane1"}

    def fails(domain: str) -> str:
        raise LookupError(domain)

    broken = Queue(lane_of=fails)
    with pytest.raises(LookupError):
        broken.push(1, ["a.example"], now=NOW)
    assert broken.stats().nodes == 0


def test_listing_pages_and_deadlines():
    queue = Queue()
    for n in range(250):
        expires = NOW + 1000 if n % 10 == 0 else None
        queue.push(n, ["a.example"], now=NOW, tenant=f"t{n % 2}", campaign="c" if n % 5 == 0 else "", expires=expires)
    found: list[int] = []
    after: int | None = 0
    while after is not None:
        page = queue.find(tenant="t1", campaign="c", after=after, limit=7)
        assert len(page.entries) <= 7
        found += [entry.message for entry in page.entries]
        after = page.after
    assert sorted(found) == [n for n in range(250) if n % 2 == 1 and n % 5 == 0]
    assert queue.find(tenant="nobody").entries == ()
    assert queue.cancel_all(tenant="nobody") == 0
    assert queue.cancel_all(tenant="t1", campaign="c") == 25
    late = list(queue.expired(now=NOW + 2000, steps=16))
    assert len(late) == 25
    assert len(queue.settle_many(late, "failed", now=NOW)) == 25
    assert (len(queue), queue.cancel_all(), len(queue)) == (200, 200, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120))
def test_random_work_against_a_list(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    queue, now = Queue(), NOW
    waiting: dict[tuple[int, int], tuple[str, int]] = {}
    leased: dict[int, tuple[int, int]] = {}
    for step in range(steps):
        now += rng.choice([0, 1, 50, 5000, 300_000])
        while queue.advance(now=now, limit=3):
            pass
        match rng.randrange(4):
            case 0 | 1:
                domains = [f"d{rng.randrange(4)}.example" for _ in range(rng.randrange(1, 5))]
                due = now + rng.choice([0, 0, 10, 4000, 10**6])
                queue.push(step, domains, now=now, due=due)
                waiting.update({(step, number): (domain, due) for number, domain in enumerate(domains)})
            case 2:
                domain = f"d{rng.randrange(4)}.example"
                due_now = {key for key, (at, due) in waiting.items() if at == domain and due <= now}
                answer = queue.take(domain, now=now, limit=rng.randrange(1, 4))
                assert isinstance(answer, Taken) == bool(due_now)
                if isinstance(answer, Taken):
                    for entry in answer.entries:
                        key = (answer.message, entry.number)
                        assert key in due_now
                        del waiting[key]
                        leased[entry.entry] = key
            case _:
                for handle in rng.sample(sorted(leased), len(leased) // 2):
                    key = leased.pop(handle)
                    view = queue.entry(*key)
                    assert view is not None
                    if rng.random() < 0.5:
                        queue.settle(handle, "deferred", now=now, due=now + 1000)
                        waiting[key] = (view.domain, now + 1000)
                    else:
                        done = queue.settle(handle, "delivered", now=now)
                        left = any(message == key[0] for message, _ in (*waiting, *leased.values()))
                        assert done == (None if left else key[0])
        assert queue.stats().total == len(waiting) + len(leased)
    listed = {(entry.message, entry.number): (entry.domain, entry.due) for entry in queue.find(limit=10**6).entries}
    assert listed.keys() == waiting.keys() | set(leased.values())
    assert {key: listed[key] for key in waiting} == waiting
