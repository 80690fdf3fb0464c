"""Domains that DNS does not know, does not tell now, or has no mail for: deferred or returned, never lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import RecordingSink
from tests.routing.zone import Zone
from tests.site import Site, running, wait_until
from tests.weather.dns import serve_zone
from tests.weather.test_hosts import RELAY, one_report, send

ZONE = """
good.test 600 MX 10 mx.good.test.
mx.good.test 600 A 127.0.0.1
null.test 600 MX 0 .
shaky.test ! SERVFAIL
silent.test ! SILENT
loop.test 600 MX 10 mx.site.test.
mx.site.test 600 A 127.0.0.1
hostless.test 600 MX 10 missing.test.
"""
DNS = """
[dns]
servers = ["127.0.0.1:{port}"]
timeout = "300ms"
lifetime = "600ms"
min_ttl = "1s"
hold_down = "1s"

[delivery]
port = {sink}

[delivery.retry]
dns = ["1s"]

[reports]
collect = "100ms"
"""


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    served = RecordingSink()
    yield served
    served.close()


@pytest.fixture
def zone() -> Iterator[Zone]:
    with serve_zone(ZONE) as served:
        yield served


@pytest.fixture
def site(tmp_path: Path, zone: Zone, sink: RecordingSink) -> Iterator[Site]:
    with running(tmp_path, RELAY + DNS.format(port=zone.port, sink=sink.port)) as started:
        yield started


def test_a_name_that_resolves(site: Site, sink: RecordingSink) -> None:
    send(site, 1, "b@good.test")
    assert sink.wait_for(lambda: sink.numbers[1] == 1, seconds=20), site.queue()


@pytest.mark.parametrize("domain", ["shaky.test", "silent.test"])
def test_a_domain_that_does_not_resolve_now_is_put_off(
    site: Site, zone: Zone, sink: RecordingSink, domain: str
) -> None:
    send(site, 1, f"b@{domain}")
    wait_until(lambda: any(row["reason"] in ("dns", "no-route") for row in site.queue()), lambda: site.queue())
    (entry,) = site.queue()
    assert entry["state"] == "waiting"
    assert not sink.numbers
    del zone.faults[f"{domain}."]
    zone.add(f"{domain} 600 MX 10 mx.good.test.")
    assert sink.wait_for(lambda: sink.numbers[1] == 1, seconds=30), site.queue()


@pytest.mark.parametrize(
    ("domain", "status"),
    [("missing.test", "5.1.2"), ("null.test", "5.1.10"), ("loop.test", "5.4.6"), ("hostless.test", "5.4.4")],
)
def test_a_domain_that_never_will_is_returned(site: Site, domain: str, status: str) -> None:
    send(site, 1, f"b@{domain}", sender="sender@here.test")
    report = one_report(site)
    assert f"Status: {status}" in report, report
    assert "Action: failed" in report
    assert f"b@{domain}" in report
    assert site.queue() == []
