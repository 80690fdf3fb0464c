"""The header scan from Python: agrees with the standard library on good mail, survives the rest."""

from __future__ import annotations

import email.parser
import email.policy

import pytest
from angarium.message import scan_header
from hypothesis import given
from hypothesis import strategies as st

MAIL = (
    b"Received: from a by b;\r\n\tWed, 25 Nov 2026 08:00:00 +0000\r\n"
    b"received: from c by a\r\n"
    b"From: J\xc3\xb6rg <j@example.org>\r\n"
    b"Subject : folded\r\n more\r\n"
    b"Empty:\r\n"
    b"\r\n"
    b"Received: this is body\r\n"
)


def test_reads_names_values_and_counts():
    scan = scan_header(MAIL)
    assert len(scan) == 5
    assert (scan.received_count, scan.malformed_count, scan.overflow) == (2, 0, None)
    assert scan.value("FROM") == b" J\xc3\xb6rg <j@example.org>"
    assert scan.value("subject") == b" folded\r\n more"
    assert scan.value("empty") == b""
    assert scan.value("absent") is None
    assert scan.values("Received") == [b" from a by b;\r\n\tWed, 25 Nov 2026 08:00:00 +0000", b" from c by a"]
    assert "from" in scan
    assert "To" not in scan
    assert MAIL[scan.body_start :] == b"Received: this is body\r\n"


def test_ranges_point_into_the_bytes():
    scan = scan_header(MAIL)
    assert [(MAIL[a:b], MAIL[c:d]) for (a, b), (c, d) in scan.ranges] == scan.items()


@pytest.mark.parametrize(
    ("data", "names", "malformed"),
    [
        (b"", [], 0),
        (b"\r\nFrom: body", [], 0),
        (b"no colon\r\nA: b\r\n\r\n", [b"", b"A"], 1),
        (b" leading fold\r\nA: b\r\n\r\n", [b"", b"A"], 1),
        (b"Fr om: x\nB: y\n\n", [b"", b"B"], 1),
        (b"A\xff: x\r\n", [b""], 1),
        (b"A: cut off", [b"A"], 0),
    ],
)
def test_malformed_lines_stay_in_place(data: bytes, names: list[bytes], malformed: int):
    scan = scan_header(data)
    assert [name for name, _ in scan.items()] == names
    assert scan.malformed_count == malformed


def test_one_huge_field_stops_at_the_bound():
    scan = scan_header(b"A: " + b"x" * (1 << 20) + b"\r\nReceived: hidden\r\n\r\n")
    assert scan.overflow == "the header is longer than 1 MiB"
    assert scan.received_count == 0


def test_takes_bytes_only():
    with pytest.raises(TypeError):
        scan_header("text")  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_any_bytes_survive(data: bytes):
    scan = scan_header(data)
    assert scan.header_end <= scan.body_start <= len(data)
    assert len(scan.ranges) == len(scan) == len(scan.items())


NAMES = st.from_regex(rb"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
WORDS = st.from_regex(rb"[!-~]{1,10}( [!-~]{1,10}){0,5}(\r\n [!-~]{1,10}){0,2}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, WORDS), min_size=1, max_size=8))
def test_agrees_with_the_standard_library_on_good_mail(fields: list[tuple[bytes, bytes]]):
    data = b"".join(b"%s: %s\r\n" % field for field in fields) + b"\r\nbody\r\n"
    parsed = email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(data)
    ours = [(name.decode(), value.lstrip().decode()) for name, value in scan_header(data).items()]
    assert ours == parsed.items()
