"""/metrics after some mail: every figure that the issue names is there, and its value is what happened."""

from __future__ import annotations

from pathlib import Path

from tests.harness import RecordingSink
from tests.site import Site, running, wait_until
from tests.talk import Talk, content

REST = """
[relay]
networks = ["127.0.0.0/8"]

[delivery.retry]
other = ["1h"]
greylist = ["1h"]

[reports]
collect = "100ms"

[[route]]
domain = "gone.test"
to = "fail"

[[route]]
domain = "*"
host = "[127.0.0.1]"
port = {port}
"""
GOOD = 7
HISTOGRAMS = [
    "angarium_accept_seconds",
    "angarium_commit_seconds",
    "angarium_group_size",
    "angarium_accept_to_delivered_seconds",
    "angarium_loop_step_seconds",
]
# Sample to its value after the mail of `traffic`.
EXACT = {
    "angarium_received_total": GOOD + 2,
    "angarium_delivered_total": GOOD,
    "angarium_deferred_total": 1,
    "angarium_failed_total": 1,
    "angarium_refused_total": 1,
    "angarium_repeated_total": 0,
    "angarium_sessions": 0,
    'angarium_queue_depth{class="normal"}': 1,
    'angarium_queue_depth{class="urgent"}': 0,
    'angarium_queue_depth{class="bulk"}': 0,
}


def traffic(site: Site) -> None:
    with Talk(site.port) as talk:
        for number in range(GOOD):
            assert talk.mail("", [f"b{number}@far.test"], content()).startswith("250")
        assert talk.mail("", ["later@far.test"], content()).startswith("250")
        assert talk.mail("", ["b@gone.test"], content()).startswith("250")
        assert talk.mail("", ["b@far.test"], content(body="a\0b\r\n")).startswith("550")
        assert talk.say("QUIT").startswith("221")


def test_every_figure(tmp_path: Path) -> None:
    sink = RecordingSink(refuse=lambda line: "450 4.2.0 come again" if line.startswith("RCPT TO:<later") else None)
    with running(tmp_path, REST.format(port=sink.port)) as site:
        empty = site.metrics()
        assert empty["angarium_received_total"] == 0
        assert empty["angarium_queue_oldest_seconds"] == 0
        traffic(site)
        wait_until(
            lambda: all(site.metrics().get(name) == value for name, value in EXACT.items()),
            lambda: {name: (site.metrics().get(name), value) for name, value in EXACT.items()},
        )
        figures = site.metrics()
        for name in HISTOGRAMS:
            check_histogram(figures, name)
        assert figures["angarium_accept_seconds_count"] >= GOOD + 2
        assert figures["angarium_accept_to_delivered_seconds_count"] == GOOD
        assert figures["angarium_group_size_sum"] >= GOOD + 2
        assert 0 < figures["angarium_messages_per_second"] < 10_000
        assert figures["angarium_delivered_share"] == GOOD / (GOOD + 2)
        assert figures["angarium_spool_bytes"] > 0
        assert figures["angarium_events"] >= 0
        assert 0 <= figures["angarium_deliveries"] <= 10
        assert 0 < figures["angarium_queue_oldest_seconds"] < 120
    sink.close()


def check_histogram(figures: dict[str, float], name: str) -> None:
    """Buckets only rise, the last one is the count, and the sum is above nothing."""
    buckets = [value for sample, value in figures.items() if sample.startswith(f"{name}_bucket")]
    assert buckets, name
    assert buckets == sorted(buckets), name
    assert buckets[-1] == figures[f"{name}_count"] > 0, name
    assert figures[f"{name}_sum"] > 0, name
