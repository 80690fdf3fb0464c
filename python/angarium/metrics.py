"""Figures for Prometheus: one collector over the engine's counters, the Trio loop and the hooks.

The engine counts in atomics; nothing is counted per message in Python. Names that the table below knows get a proper
name and a help text, others come out as `angarium_` and their own name, so that a new counter in Rust is seen at once.
Times are seconds in Prometheus, microseconds in the engine.
"""

from __future__ import annotations

import bisect
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import prometheus_client
import trio
from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .engine import CLASSES, Bridge, Figures, Histogram

# Seconds. The alarm stands at 10 ms: steps above it delay every socket of the loop.
STEP_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
ALARM = 0.01
# Over how long "messages per second" is taken.
WINDOW = 60.0


class Name(Struct, frozen=True):
    """How a figure is called outside, and what it means."""

    name: str
    help: str


COUNTS = {
    "received": Name("angarium_received", "Messages acknowledged"),
    "received_bytes": Name("angarium_received_bytes", "Bytes of acknowledged messages"),
    "received_recipients": Name("angarium_received_recipients", "Recipients of acknowledged messages"),
    "delivered": Name("angarium_delivered", "Recipients delivered or relayed"),
    "deferred": Name("angarium_deferred", "Attempts that put a recipient off"),
    "failed": Name("angarium_failed", "Recipients given up"),
    "refused": Name("angarium_refused", "Messages refused for good"),
    "refused_for_now": Name("angarium_refused_for_now", "Messages refused for now"),
    "recipients_refused": Name("angarium_recipients_refused", "Recipients refused at RCPT"),
    "repeated": Name("angarium_repeated", "Deliveries that may be repeats"),
    "connections": Name("angarium_connections", "Connections taken"),
    "connections_refused": Name("angarium_connections_refused", "Connections turned away"),
    "timeouts": Name("angarium_timeouts", "Sessions that were too slow"),
    "early_talkers": Name("angarium_early_talkers", "Clients that spoke before the greeting"),
    "proxy_failed": Name("angarium_proxy_failed", "PROXY headers that were missing or bad"),
    "tls": Name("angarium_tls", "TLS handshakes of clients"),
    "tls_failed": Name("angarium_tls_failed", "TLS handshakes of clients that failed"),
    "logins": Name("angarium_logins", "Logins"),
    "logins_failed": Name("angarium_logins_failed", "Logins that failed"),
    "logins_banned": Name("angarium_logins_banned", "Logins from banned addresses"),
    "limited_by_address": Name("angarium_limited_by_address", "Refusals by a limit of an address"),
    "limited_by_network": Name("angarium_limited_by_network", "Refusals by a limit of a network"),
    "limited_by_login": Name("angarium_limited_by_login", "Refusals by a limit of a login"),
    "limited_by_tenant": Name("angarium_limited_by_tenant", "Refusals by a limit of a tenant"),
    "groups": Name("angarium_commit_groups", "Commit groups of the content log"),
    "judged": Name("angarium_judged", "Messages whose senders were judged"),
    "dns_questions": Name("angarium_dns_questions", "Questions of the engine to name servers"),
    "dns_failures": Name("angarium_dns_failures", "Questions of the engine that no server answered"),
    "dns_remembered": Name("angarium_dns_remembered", "Questions of the engine answered from memory"),
    "journal_groups": Name("angarium_journal_groups", "Commit groups of the journal"),
}
GAUGES = {
    "sessions": Name("angarium_sessions", "Sessions now"),
    "deliveries": Name("angarium_deliveries", "Outgoing connections now"),
    "transactions": Name("angarium_transactions", "Messages between MAIL and their answer"),
    "bytes_in_flight": Name("angarium_bytes_in_flight", "Bytes of bodies in memory"),
    "entries": Name("angarium_queue_entries", "Recipients that wait, in all"),
    "spool_bytes": Name("angarium_spool_bytes", "Bytes that the spool takes on disk"),
    "events": Name("angarium_events", "Events that wait for Python"),
}
HISTOGRAMS = {
    "accept_time": Name("angarium_accept_seconds", "From DATA to the answer"),
    "commit_time": Name("angarium_commit_seconds", "From the committer's queue to durable"),
    "sync_time": Name("angarium_sync_seconds", "One write of the log with its sync"),
    "group_size": Name("angarium_group_size", "Messages of one commit group"),
    "judge_time": Name("angarium_judge_seconds", "Judging the sender of a message, waiting for DNS included"),
    "ask_time": Name("angarium_ask_seconds", "Waiting for hooks"),
    "accept_to_delivered": Name("angarium_accept_to_delivered_seconds", "From the answer to the delivery"),
}
# Histograms that count things instead of microseconds.
COUNTED = frozenset({"group_size"})
DEPTH = "depth_"
STATE = "state_"
OLDEST = "oldest"


class LoopSteps(trio.abc.Instrument):
    """Times the steps of the Trio loop: from the system's answer to the next question to it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._woke = clock()
        self.counts = [0] * (len(STEP_BOUNDS) + 1)
        self.sum = 0.0
        self.longest = 0.0
        self.alarms = 0

    def after_io_wait(self, timeout: float) -> None:
        self._woke = self._clock()

    def before_io_wait(self, timeout: float) -> None:
        took = self._clock() - self._woke
        self.counts[bisect.bisect_left(STEP_BOUNDS, took)] += 1
        self.sum += took
        self.longest = max(self.longest, took)
        self.alarms += took > ALARM


class Metrics(Collector):
    """One collector, and its page as text. `now` in seconds, of any clock that only goes forward."""

    def __init__(
        self,
        bridge: Bridge,
        *,
        steps: LoopSteps | None = None,
        hooks: Callable[[], tuple[int, int]] = lambda: (0, 0),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hooks` gives (failures, answers that came late)."""
        self._bridge = bridge
        self._steps = steps
        self._hooks = hooks
        self._now = now
        self._samples: deque[tuple[float, int]] = deque([(now(), 0)])
        self.registry = prometheus_client.CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def text(self) -> bytes:
        """The page, in the text format 0.0.4."""
        return prometheus_client.generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        figures = self._bridge.figures()
        yield from counts(figures.counts)
        yield from gauges(figures.now)
        yield verdicts(figures.verdicts)
        yield from (histogram(key, figures.histograms[key]) for key in sorted(figures.histograms))
        yield from self._derived(figures)
        yield from self._loop()

    def _derived(self, figures: Figures) -> Iterator[Metric]:
        received = figures.counts.get("received", 0)
        yield gauge("angarium_messages_per_second", "Messages acknowledged, over the last minute", self._rate(received))
        recipients = figures.counts.get("received_recipients", 0)
        if recipients:
            share = figures.counts.get("delivered", 0) / recipients
            yield gauge("angarium_delivered_share", "Delivered recipients of those accepted since the start", share)

    def _rate(self, received: int) -> float:
        now = self._now()
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        if now - self._samples[-1][0] >= 1.0:
            self._samples.append((now, received))
        return (received - before) / (now - since) if now > since else 0.0

    def _loop(self) -> Iterator[Metric]:
        failures, late = self._hooks()
        yield CounterMetricFamily("angarium_hook_failures", "Hooks that raised or said nonsense", failures)
        yield CounterMetricFamily("angarium_hooks_late", "Hooks that were cut off at their deadline", late)
        yield CounterMetricFamily("angarium_events_drained", "Events taken from the engine", self._bridge.drained)
        yield gauge("angarium_event_batch", "Events of the last drain", self._bridge.depth)
        steps = self._steps
        if steps is None:
            return
        buckets = cumulated(STEP_BOUNDS, steps.counts)
        yield HistogramMetricFamily("angarium_loop_step_seconds", "Steps of the Trio loop", buckets, steps.sum)
        yield gauge("angarium_loop_step_longest_seconds", "The longest step since the start", steps.longest)
        yield CounterMetricFamily("angarium_loop_alarms", "Steps of the Trio loop above 10 ms", steps.alarms)


def counts(figures: dict[str, int]) -> Iterator[Metric]:
    for key in sorted(figures):
        name = COUNTS.get(key, Name(f"angarium_{key}", key.replace("_", " ")))
        yield CounterMetricFamily(name.name, name.help, figures[key])


def gauges(figures: dict[str, int]) -> Iterator[Metric]:
    """Depth by class and entries by state have a label; the oldest entry shows as its age."""
    depth = GaugeMetricFamily("angarium_queue_depth", "Recipients that wait, by class", labels=["class"])
    for class_ in CLASSES:
        depth.add_metric([class_], figures.get(DEPTH + class_, 0))
    yield depth
    states = GaugeMetricFamily("angarium_queue_state", "Recipients in the queue, by state", labels=["state"])
    for key in sorted(figures):
        if key.startswith(STATE):
            states.add_metric([key.removeprefix(STATE)], figures[key])
        elif key == OLDEST:
            age = max(0.0, time.time() - figures[key] / 1_000) if figures[key] else 0.0
            yield gauge("angarium_queue_oldest_seconds", "Age of the oldest message that waits", age)
        elif not key.startswith(DEPTH):
            name = GAUGES.get(key, Name(f"angarium_{key}", key.replace("_", " ")))
            yield gauge(name.name, name.help, figures[key])
    yield states


def verdicts(figures: dict[str, dict[str, int]]) -> Metric:
    """What senders were found to be, and what was done about it."""
    family = CounterMetricFamily(
        "angarium_verdicts", "Messages by what was found out about their senders", labels=["method", "result"]
    )
    for method in sorted(figures):
        for result, count in sorted(figures[method].items()):
            family.add_metric([method, result], count)
    return family


def histogram(key: str, figures: Histogram) -> Metric:
    counted = key in COUNTED
    unit = 1 if counted else 1_000_000
    otherwise = Name(f"angarium_{key}" + ("" if counted else "_seconds"), key.replace("_", " "))
    name = HISTOGRAMS.get(key, otherwise)
    bounds = [bound / unit for bound in figures.bounds]
    return HistogramMetricFamily(name.name, name.help, cumulated(bounds, figures.counts), figures.sum / unit)


def cumulated(bounds: Iterable[float], each: Iterable[int]) -> list[tuple[str, float]]:
    """Prometheus counts a bucket with all below it."""
    total, buckets = 0, []
    for bound, count in zip([*bounds, float("inf")], each, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(total)))
    return buckets


def gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value)
