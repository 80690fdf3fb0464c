"""The metrics page: what the engine counts, under the names that docs and dashboards use."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from angarium.engine import Figures, Histogram
from angarium.metrics import LoopSteps, Metrics
from prometheus_client.parser import text_string_to_metric_families


class Source:
    """Figures as the bridge gives them."""

    def __init__(self, **figures: Any) -> None:
        self.given = Figures(**figures)
        self.depth = 3
        self.drained = 40

    def figures(self) -> Figures:
        return self.given


def page(metrics: Metrics) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_figure_is_shown() -> None:
    source = Source(
        counts={"received": 10, "received_recipients": 20, "delivered": 15, "something_new": 1},
        now={"sessions": 2, "depth_normal": 5, "depth_bulk": 7, "state_held": 1, "spool_bytes": 4096},
        histograms={
            "accept_time": Histogram((100, 1_000_000), (1, 2, 3), 5_000_000),
            "group_size": Histogram((1, 2), (4, 0, 1), 9),
        },
    )
    shown = page(Metrics(source, hooks=lambda: (1, 2)))  # type: ignore[arg-type]
    expected = {
        ("angarium_received_total", ""): 10,
        ("angarium_something_new_total", ""): 1,
        ("angarium_sessions", ""): 2,
        ("angarium_queue_depth", "normal"): 5,
        ("angarium_queue_depth", "urgent"): 0,
        ("angarium_queue_state", "held"): 1,
        ("angarium_spool_bytes", ""): 4096,
        ("angarium_delivered_share", ""): 0.75,
        ("angarium_accept_seconds_bucket", "0.0001"): 1,
        ("angarium_accept_seconds_bucket", "1"): 3,
        ("angarium_accept_seconds_bucket", "+Inf"): 6,
        ("angarium_accept_seconds_sum", ""): 5.0,
        ("angarium_group_size_bucket", "2"): 4,
        ("angarium_hook_failures_total", ""): 1,
        ("angarium_hooks_late_total", ""): 2,
        ("angarium_event_batch", ""): 3,
    }
    assert {key: shown.get(key) for key in expected} == expected


def test_an_engine_that_counts_nothing_yet() -> None:
    assert ("angarium_queue_depth", "bulk") in page(Metrics(Source()))  # type: ignore[arg-type]


def test_messages_per_second_is_that_of_the_last_minute() -> None:
    now = 0.0
    source = Source(counts={"received": 0})
    metrics = Metrics(source, now=lambda: now)  # type: ignore[arg-type]
    rates = []
    for second in range(1, 181):
        now = float(second)
        # 100 a second in the first minute, then none.
        source.given = Figures(counts={"received": 100 * min(second, 60)})
        rates.append(page(metrics)["angarium_messages_per_second", ""])
    assert rates[30] == pytest.approx(100)
    assert rates[90] == pytest.approx(50, abs=2)
    assert rates[179] == 0


async def test_the_loops_steps_are_timed() -> None:
    clock = 0.0
    steps = LoopSteps(lambda: clock)
    trio.lowlevel.add_instrument(steps)
    try:
        await trio.sleep(0.001)
        clock += 0.02
        await trio.sleep(0.001)
        await trio.sleep(0.001)
    finally:
        trio.lowlevel.remove_instrument(steps)
    assert steps.alarms == 1
    assert steps.longest == pytest.approx(0.02)
    assert sum(steps.counts) >= 3
