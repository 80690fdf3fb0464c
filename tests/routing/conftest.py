"""What tests of routing share: a zone and look-ups that ask it alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from angarium.dns import Lookups
from angarium.settings import Dns, Duration, NameServer

from .zone import Zone

ZONE = """
good.test 600 MX 10 mx1.good.test.
good.test 600 MX 10 mx2.good.test.
good.test 600 MX 20 backup.good.test.
mx1.good.test 600 A 192.0.2.1
mx2.good.test 300 A 192.0.2.2
mx2.good.test 300 AAAA 2001:db8::2
backup.good.test 600 A 192.0.2.3
plain.test 600 A 192.0.2.10
bare.test 600 TXT "nothing to send to"
null.test 600 MX 0 .
gone-hosts.test 600 MX 10 missing.test.
half.test 600 MX 10 missing.test.
half.test 600 MX 20 mx1.good.test.
shaky.test 600 MX 10 broken.test.
shaky.test 600 MX 20 mx1.good.test.
dark.test 600 MX 10 broken.test.
broken.test ! SERVFAIL
silent.test ! SILENT
long.test ! TRUNCATED
long.test 600 MX 10 mx1.good.test.
alias.test 600 CNAME good.test.
mx-alias.test 600 MX 10 name.alias.test.
name.alias.test 600 CNAME mx1.good.test.
ours-best.test 600 MX 10 mx.self.test.
ours-best.test 600 MX 20 mx1.good.test.
ours-second.test 600 MX 10 mx1.good.test.
ours-second.test 600 MX 20 mx.self.test.
ours-second.test 600 MX 20 mx2.good.test.
ours-second.test 600 MX 30 backup.good.test.
by-address.test 600 MX 10 hidden.self.test.
hidden.self.test 600 A 198.51.100.7
mx.self.test 600 A 198.51.100.7
brief.test 1 MX 10 mx1.good.test.
mixed.test 600 MX 10 MX1.Good.Test.
relay.test 600 MX 5 mx1.good.test.
relay.test 600 A 192.0.2.40
"""


def dns_settings(zone: Zone) -> Dns:
    return Dns(
        servers=(NameServer(f"127.0.0.1:{zone.port}"),),
        timeout=Duration.parse("300ms"),
        lifetime=Duration.parse("600ms"),
    )


@pytest.fixture
async def zone(nursery: trio.Nursery) -> AsyncIterator[Zone]:
    served: Zone = await nursery.start(Zone(ZONE).serve)
    yield served


@pytest.fixture
def make_lookups(zone: Zone) -> Callable[[], Lookups]:
    return lambda: Lookups(dns_settings(zone))


@pytest.fixture
def lookups(make_lookups: Callable[[], Lookups]) -> Lookups:
    return make_lookups()
