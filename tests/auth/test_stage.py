"""The stage *authenticate* in a running server: each result, forged fields, DNS that fails."""

from __future__ import annotations

from email import message_from_bytes
from pathlib import Path

from angarium.auth import parse_results

from .world import BAD, MAIL, signed, world


def results(message: bytes, id: str = "mx.here.test") -> dict[str, str]:
    """Method to result of the topmost field, which must be ours."""
    fields = message_from_bytes(message).get_all("Authentication-Results") or []
    read = parse_results(" ".join(fields[0].split()).encode())
    assert read.authserv_id == id
    return {result.method: result.result for result in read.results}


async def test_what_is_right_passes_and_our_field_stands_on_top(tmp_path: Path) -> None:
    async with world(tmp_path) as site:
        reply = await site.send(signed())
        assert reply.startswith("250"), reply
        message = await site.arrived()
    assert results(message) == {"iprev": "pass", "spf": "pass", "dkim": "pass", "arc": "none", "dmarc": "pass"}
    names = [name for name, _ in message_from_bytes(message).items() if name in ("Received", "Authentication-Results")]
    assert names == ["Authentication-Results", "Received"]


async def test_what_is_wrong_fails_and_is_taken_all_the_same(tmp_path: Path) -> None:
    async with world(tmp_path) as site:
        reply = await site.send(signed().replace(b"Good", b"Evil"), ip=BAD, helo="mx.evil.test")
        assert reply.startswith("250"), reply
        message = await site.arrived()
    assert results(message) == {"iprev": "pass", "spf": "fail", "dkim": "fail", "arc": "none", "dmarc": "fail"}


async def test_fields_in_our_name_are_taken_out(tmp_path: Path) -> None:
    forged = b"Authentication-Results: MX.here.test (x); dmarc=pass\r\n"
    theirs = b"Authentication-Results: mx.example.org; dmarc=pass\r\n"
    async with world(tmp_path) as site:
        for padding in (b"", b"x" * 70 + b"\r\n"):
            large = padding * 20_000
            await site.send(theirs + signed(MAIL + large).replace(b"DKIM-Signature", forged + b"DKIM-Signature", 1))
            message = await site.arrived()
            fields = message_from_bytes(message).get_all("Authentication-Results") or []
            # From a body in a file all fields of the name go.
            assert len(fields) == (1 if large else 2), fields
            assert results(message)["dkim"] == "pass" and "dmarc=fail" not in fields[0]
