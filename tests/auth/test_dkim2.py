"""Signing with DKIM2 against the messages that the draft's suite has signed: the same tags, bit for bit."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from angarium.auth import Answer, DkimKey, sign_dkim2, verify_dkim2
from angarium.errors import AuthError

from tests.outside import suite

FIRST = 1_740_000_000.0
SECOND = 1_740_001_000.0
# The envelopes that the suite signed for; the file says them in mf= and rt=.
NAMES = ("simple", "dupheaders", "emptybody", "multiheader", "multirecipient", "trailingblank")


def crlf(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def added(message: bytes, original: bytes) -> list[str]:
    """The DKIM2 fields in front of a message, without white space."""
    assert message.endswith(original)
    text = message[: len(message) - len(original)].decode()
    return [re.sub(r"\s", "", field) for field in re.split(r"\r\n(?![\t ])", text) if field]


def key(folder: Path, name: str) -> DkimKey:
    return DkimKey((folder / "keys" / f"{name}.pem").read_bytes())


def tags_of(field: str) -> dict[str, str]:
    return dict(item.split("=", 1) for item in field.split(":", 1)[1].rstrip(";").split(";"))


def decoded(value: str) -> str:
    return base64.b64decode(value).decode()


@pytest.mark.parametrize("name", NAMES)
def test_first_hops(name: str) -> None:
    folder = suite("dkim2")
    original = crlf(folder / "emails" / f"{name}.eml")
    wanted = added(crlf(folder / "expected" / f"{name}-ed25519.eml"), original)
    tags = tags_of(wanted[0])
    signed = sign_dkim2(
        original,
        key(folder, f"ed25519._domainkey.{tags['d']}"),
        domain=tags["d"],
        selector="ed25519",
        sender=decoded(tags["mf"]),
        recipients=[decoded(one) for one in tags["rt"].split(",")],
        now=FIRST,
    )
    assert added(signed, original) == wanted


@pytest.mark.parametrize("name", ["body-footer", "header-add", "header-replace"])
def test_hops_that_change_something_say_what_it_was(name: str) -> None:
    """The suite's addresses have no brackets, which the draft asks for by now; the recipe and the hashes must agree."""
    folder = suite("dkim2")
    expected = crlf(folder / "expected" / f"multihop-{name}.eml")
    fields = re.split(rb"\r\n(?![\t ])", expected.split(b"\r\n\r\n")[0])
    ours = b"DKIM2-Signature: i=2", b"Message-Instance: m=2"
    incoming = b"\r\n".join(field for field in fields if not field.startswith(ours))
    changed = incoming + b"\r\n\r\n" + expected.split(b"\r\n\r\n", 1)[1]
    trail = [field for field in fields if b"=1; " in field[:24]]
    before = b"\r\n".join(trail) + b"\r\n" + crlf(folder / "emails" / "simple.eml")
    domain = "test3.dkim2.com" if name == "header-replace" else "test2.dkim2.com"
    hop = {
        "domain": domain,
        "selector": "ed25519",
        "sender": f"relay@{domain}",
        "recipients": ["recipient@example.com"],
        "now": SECOND,
    }
    private = key(folder, f"ed25519._domainkey.{domain}")
    signed = sign_dkim2(changed, private, before=before, **hop)
    front, instance = added(signed, changed)
    wanted = next(field for field in fields if field.startswith(b"Message-Instance: m=2"))
    assert instance == re.sub(r"\s", "", wanted.decode())
    assert front.startswith("DKIM2-Signature:i=2;m=2;t=1740001000;")

    def ask(name: str, _: str) -> Answer:
        assert name == f"ed25519._domainkey.{domain}"
        return "found", [private.record.encode()]

    verdict = verify_dkim2(
        signed, sender=f"<relay@{domain}>", recipients=["<recipient@example.com>"], resolver=ask, now=SECOND
    )
    assert (verdict.outcome, verdict.hops) == ("pass", 2)
    with pytest.raises(AuthError, match="what it was before"):
        sign_dkim2(changed, private, **hop)
    with pytest.raises(AuthError, match="not what the last hop signed"):
        sign_dkim2(changed, private, before=before + b"x", **hop)
