"""Scan and parse from Python: any buffer, lazily, without a copy; trees that print, errors that say where."""

from __future__ import annotations

import mmap
import tempfile
from datetime import UTC, datetime, timedelta

import pytest
from angarium.message import Address, AddressError, Group, Mailbox, parse, parse_addresses, readings, scan, seven_bit
from hypothesis import given
from hypothesis import strategies as st

MAIL = (
    b"From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\r\nTo: a@b.example, G: c@d.example;\r\n"
    b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\nDate: Wed, 25 Nov 2026 08:16:40 +0100\r\nMessage-ID: <1@example.org>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
    b"--c\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=FC=DFe\r\n--c\r\nContent-Type: text/html\r\n\r\n<p>x\r\n--c--\r\n"
    b"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''%C3%BC.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n"
)


def test_parses():
    message = parse(MAIL)
    assert (message.subject, message.message_id) == ("Grüße", "1@example.org")
    assert message.from_ == (Mailbox("Jörg", "j@example.org"),)
    assert [one.address for one in message.to] == ["a@b.example", "c@d.example"]
    assert message.date == datetime(2026, 11, 25, 7, 16, 40, tzinfo=UTC)
    assert message.date.utcoffset() == timedelta(hours=1)
    assert (message.text, message.html) == ("Grüße", "<p>x")
    assert [(part.file_name, part.decode()) for part in message.attachments] == [("ü.pdf", b"hello")]


def test_takes_any_buffer_without_a_copy():
    with tempfile.TemporaryFile() as file:
        file.write(MAIL)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for data in (MAIL, bytearray(MAIL), memoryview(MAIL), mapped):
            part = scan(data).parts[-1]
            assert part.body.obj is (data if not isinstance(data, memoryview) else MAIL)
            assert bytes(part.body) == b"aGVsbG8="
            assert part.body.readonly == memoryview(data).readonly
            del part


def test_a_bytearray_keeps_its_size_while_it_is_scanned():
    data = bytearray(MAIL)
    found = scan(data)
    with pytest.raises(BufferError):
        data.clear()
    del found
    data.clear()


def test_prints_its_tree():
    found = scan(MAIL)
    lines = [line.split(" bytes at ")[0].rsplit(" ", 1)[0] for line in str(found).splitlines()]
    assert lines == [
        "0 multipart/mixed, 7bit,",
        "  1 multipart/alternative, 7bit,",
        "    2 text/plain; iso-8859-1, quoted-printable,",
        "    3 text/html, 7bit,",
        '  4 application/pdf, base64, "ü.pdf"',
    ]
    assert str(found.parts[3]).endswith(f"4 bytes at {MAIL.index(b'<p>')}")


def test_addresses_say_where_they_break():
    assert Address.parse("jörg@bücher.example") == Address("jörg", "bücher.example")
    with pytest.raises(AddressError) as caught:
        Address.parse("a b@c.example")
    assert (caught.value.offset, caught.value.diagnosis) == (2, "ERR_ATEXT_AFTER_CFWS")
    assert Address.diagnose("a@b (c)")[1] == "folded"


def test_the_union_of_readings_holds_what_any_reader_sees():
    evil = b"Content-Type: application/x-evil; name=a.txt\r\nContent-Disposition: x; filename=b.exe\r\n\r\nEVIL"
    data = b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\nx\r\n--a--\r\n--b\r\n" + evil
    found = scan(data)
    assert [kind for kind, _, _ in found.findings][:1] == ["repeated-boundary"]
    assert all(b"EVIL" not in part.decode() for part in found.parts[1:])
    seen = readings(memoryview(data))
    assert b"EVIL" in seen.contents and {"a.txt", "b.exe"} <= set(seen.file_names)
    assert "application/x-evil" in seen.types and not seen.cut
    assert readings(MAIL).contents == (b"Gr\xfc\xdfe", b"<p>x", b"hello")


def test_a_part_gives_each_name_and_each_content():
    part = scan(
        b"Content-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment; filename*=utf-8''b.exe\r\n"
        b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\nRVZJTA=="
    ).root
    assert part.file_names == ["a.txt", "b.exe"] or part.file_names == ["b.exe", "a.txt"]
    assert part.readings() == [b"RVZJTA==", b"EVIL"]


def test_attributes_are_read_when_they_are_asked_for():
    data = bytearray(MAIL)
    message = parse(data)
    at = data.index(b"a@b.example")
    data[at : at + 1] = b"z"
    assert message.to[0].address == "z@b.example"
    data[at : at + 1] = b"y"
    assert message.to[0].address == "z@b.example", "once read it is kept"


def test_reads_lists():
    assert parse_addresses("A <a@b>, G: c@d, e;") == [
        Mailbox("A", "a@b"),
        Group("G", (Mailbox("", "c@d"), Mailbox("e", ""))),
    ]


def test_converts_to_seven_bit():
    assert seven_bit(MAIL) is None
    converted = seven_bit(b"MIME-Version: 1.0\r\nA: b\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n")
    assert converted is not None
    assert converted.isascii()
    assert scan(converted).root.text() == "Grüße\r\n"
    with pytest.raises(ValueError, match="header"):
        seven_bit(b"A: \xc3\xbc\r\n\r\n")


@given(st.binary(max_size=300))
def test_any_bytes_survive(data: bytes):
    message = parse(data)
    assert message.text is not None
    assert str(message)
    assert all(part.range[1] <= len(data) for part in message.scan.parts)
