"""The words of values: what is read, what is refused, and that nothing else comes out of any text."""

from __future__ import annotations

import pytest
from angarium.settings.kinds import (
    KINDS,
    AddressPattern,
    DomainPattern,
    Duration,
    Endpoint,
    HostName,
    ListenAddress,
    NameServer,
    Rate,
    Size,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Duration, "250ms", 250),
        (Duration, "30s", 30_000),
        (Duration, "5m", 300_000),
        (Duration, "5 min", 300_000),
        (Duration, "1h30m", 5_400_000),
        (Duration, "1.5h", 5_400_000),
        (Duration, 2, 2_000),
        (Size, "64KiB", 65_536),
        (Size, "50 MB", 50_000_000),
        (Size, "1.5GiB", 1_610_612_736),
        (Size, 10, 10),
        (Endpoint, "127.0.0.1:25", "127.0.0.1:25"),
        (Endpoint, "localhost:25", "127.0.0.1:25"),
        (Endpoint, "[::0:1]:25", "[::1]:25"),
        (ListenAddress, "[::1]:25", "[::1]:25"),
        (ListenAddress, "unix:/run/a.sock", "unix:/run/a.sock"),
        (NameServer, "127.0.0.1", "127.0.0.1:53"),
        (NameServer, "::1", "[::1]:53"),
        (NameServer, "127.0.0.1:5353", "127.0.0.1:5353"),
        (DomainPattern, "EXAMPLE.org.", "example.org"),
        (DomainPattern, ".bücher.example", ".xn--bcher-kva.example"),
        (DomainPattern, "*", "*"),
        (AddressPattern, "User@Example.ORG", "User@example.org"),
        (AddressPattern, "@.example.org", "@.example.org"),
        (HostName, "192.0.2.1", "[192.0.2.1]"),
        (HostName, "[IPv6:2001:DB8::1]", "[2001:db8::1]"),
        (HostName, "Mail.Example.org", "mail.example.org"),
        (HostName, "[mail.example.org]", "[mail.example.org]"),
    ],
)
def test_reads(kind: type, text: object, value: object) -> None:
    assert kind.parse(text) == value  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Duration, ""), (Duration, "5"), (Duration, "-5s"), (Duration, True), (Duration, -1),
        (Size, "x"), (Size, "-1"), (Size, 1.5),
        (Endpoint, "127.0.0.1"), (Endpoint, "::1:25"), (Endpoint, "127.0.0.1:99999"), (Endpoint, "127.0.0.1:x"),
        (DomainPattern, ""), (DomainPattern, "a..b"), (DomainPattern, "a b"), (DomainPattern, "-a.example"),
        (AddressPattern, "user"), (AddressPattern, "a b@example.org"),
        (HostName, "1.2.3"), (HostName, ""), (Rate, "0/s"), (Rate, "5"), (Rate, 5),
        (ListenAddress, "unix:x"), (ListenAddress, "unix:/a\0b"),
    ],
)  # fmt: skip
def test_refuses(kind: type, text: object) -> None:
    with pytest.raises(ValueError):
        kind.parse(text)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "bucket"), [("10/s", (10, 1_000)), ("100 / min", (100, 60_000)), ("5/2h", (5, 7_200_000)), ("", None)]
)
def test_rates(text: str, bucket: tuple[int, int] | None) -> None:
    assert Rate.parse(text).bucket == bucket


@given(st.sampled_from(KINDS), st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_any_text_is_read_or_refused_and_what_is_read_reads_back(kind: type, text: object) -> None:
    try:
        value = kind.parse(text)  # type: ignore[attr-defined]
    except ValueError:
        return
    assert type(value) is kind
    if isinstance(value, str):
        assert kind.parse(str(value)) == value  # type: ignore[attr-defined]
