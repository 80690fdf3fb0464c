"""A whole server that finds its way by DNS: MX to a sink, null MX and no such domain come back as reports."""

from __future__ import annotations

from pathlib import Path

import trio
from angarium.settings import Delivery, Duration, Local, Network, Relay, Reports

from tests.harness import RecordingSink
from tests.house import running, send, settings, until

from .conftest import dns_settings
from .zone import Zone

ZONE = """
far.test 600 MX 10 dead.far.test.
far.test 600 MX 20 mx.far.test.
dead.far.test 600 A 127.0.0.9
mx.far.test 600 A 127.0.0.1
null.test 600 MX 0 .
sender.test 600 MX 10 mx.far.test.
"""


async def test_mail_goes_where_dns_says(tmp_path: Path, nursery: trio.Nursery) -> None:
    zone: Zone = await nursery.start(Zone(ZONE).serve)
    sink = RecordingSink()
    sink.keep_bodies = True
    given = settings(
        tmp_path,
        relay=Relay(networks=(Network("127.0.0.0/8"),)),
        local=Local(),
        dns=dns_settings(zone),
        delivery=Delivery(port=sink.port),
        reports=Reports(collect=Duration.parse("100ms")),
    )
    try:
        async with running(given) as server:
            await send(server, to="b@far.test", text="by mx")
            await until(lambda: len(sink.messages) == 1)
            assert b"by mx" in sink.messages[0]
            for domain in ("null.test", "missing.test"):
                await send(server, to=f"b@{domain}", sender="a@sender.test", text="no way")
            await until(lambda: len(sink.messages) == 3)
            reports = b"".join(sink.messages[1:])
            assert b"5.1.10" in reports
            assert b"5.1.2" in reports
            assert zone.queries["far.test.", "MX"] == 1
    finally:
        sink.close()
