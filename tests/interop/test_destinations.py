"""The server as a client of others: the same messages to every destination, in the clear and under TLS.

Each cell of the table of destinations in docs/interop.md is a message here, and a test holds the table. What arrives is
compared octet by octet (lines end LF in a Maildir), and the journal must tell the TLS that the row asks for.
"""

from __future__ import annotations

import smtplib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import outside
from tests.harness import free_port
from tests.interop.pages import hold_table
from tests.site import Site, running, wait_until

DOTS = "one\r\n.\r\n..\r\n.leading\r\n\r\nend\r\n"
LARGE = ("x" * 76 + "\r\n") * 40_000
EIGHT = "Grüße an alle, die das noch lesen\r\n"


@dataclass(frozen=True)
class Destination:
    """`way`: the route's `to`; `mail`: the Maildirs below its folder; `levels`: what its TLS allows."""

    title: str
    service: str
    way: str
    mail: str
    levels: tuple[str, ...] = ("none", "encrypt", "verify")
    utf8_address: bool = True
    # What it lacks of the table's columns.
    cannot: str = ""


DESTINATIONS = {
    "postfix": Destination("Postfix", "postfix", "smarthost", "mail/all"),
    "exim": Destination("Exim", "exim", "smarthost", "mail"),
    "opensmtpd": Destination(
        "OpenSMTPD",
        "opensmtpd",
        "smarthost",
        "mail",
        levels=("none", "opportunistic"),
        utf8_address=False,
        cannot="it has no SMTPUTF8, and the tested build fails every handshake "
        "(mail goes on in the clear where that may be)",
    ),
    "dovecot": Destination(
        "Dovecot (LMTP)", "dovecot", "lmtp", "mail", utf8_address=False, cannot="its LMTP has no SMTPUTF8"
    ),
}


def rendered() -> str:
    """The table as it must stand in docs/interop.md."""
    heads = ["destination", "clear", "STARTTLS", "certificate verified"]
    heads += ["8-bit", "UTF-8 address", "large (3 MB)", "50 recipients"]
    lines = ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads))]
    for one in DESTINATIONS.values():
        cells = [level in one.levels for level in ("none", "encrypt", "verify")] + [True, one.utf8_address, True, True]
        lines.append("| " + " | ".join([one.title, *("yes" if cell else "no" for cell in cells)]) + " |")
    lines += ["", "What stands as no:", ""]
    lines += [f"- {one.title}: {one.cannot}." for one in DESTINATIONS.values() if one.cannot]
    return "\n".join(lines) + "\n"


def test_the_table_is_what_runs() -> None:
    hold_table("destinations", rendered())


def route(destination: Destination, level: str, port: int, folder: Path) -> str:
    """The row for `LEVEL.example`."""
    rows = {"domain": f"{level}.example", "to": destination.way, "host": "[127.0.0.1]", "tls": level}
    if level == "verify":
        rows |= {"server_name": "localhost", "roots": str(folder / "tls.crt")}
    return "\n[[route]]\n" + "".join(f'{key} = "{value}"\n' for key, value in rows.items()) + f"port = {port}\n"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the users of other mail servers may enter."""
    with tempfile.TemporaryDirectory(prefix="angarium-interop-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def send(site: Site, domain: str, subject: str, body: str, *, to: tuple[str, ...] = (), utf8: bool = False) -> None:
    """One message; `to` are local parts."""
    options = ["BODY=8BITMIME"] + (["SMTPUTF8"] if utf8 else [])
    text = (
        f"From: a@here.example\r\nTo: b@{domain}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}"
    )
    with smtplib.SMTP("127.0.0.1", site.port, timeout=60) as client:
        recipients = [f"{local}@{domain}" for local in to or ("b",)]
        client.sendmail("a@here.example", recipients, text.encode(), mail_options=options)


def arrived(folder: Path) -> dict[str, list[bytes]]:
    """Subject to bodies of everything in Maildirs below `folder`."""
    found: dict[str, list[bytes]] = {}
    for file in folder.rglob("new/*"):
        head, _, body = file.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
        lines = [line for line in head.split(b"\n") if line.startswith(b"Subject: ")]
        if lines:
            found.setdefault(lines[0].removeprefix(b"Subject: ").decode(), []).append(body)
    return found


def settled(site: Site) -> list[dict[str, Any]]:
    return [fact["about"] for fact in site.facts() if fact["kind"] == "settled"]


@pytest.mark.parametrize("name", DESTINATIONS)
def test_destination(name: str, tmp_path: Path, open_folder: Path) -> None:
    destination = DESTINATIONS[name]
    folder = open_folder / name
    with outside.service(destination.service, free_port(), folder) as (_, port):
        port += destination.way == "lmtp"
        rest = '[relay]\nnetworks = ["127.0.0.0/8"]\n'
        rest += "".join(route(destination, level, port, folder) for level in destination.levels)
        with running(tmp_path, rest, listen='profile = "relay"') as site:
            wanted = 0
            for level in destination.levels:
                domain = f"{level}.example"
                for subject, body in {"dots": DOTS, "eight": EIGHT, "large": LARGE}.items():
                    send(site, domain, f"{level}-{subject}", body)
                send(site, domain, f"{level}-many", "to many\r\n", to=tuple(f"r{number}" for number in range(50)))
                wanted += 53
                if destination.utf8_address:
                    send(site, domain, f"{level}-utf8", "to an address\r\n", to=("grüße",), utf8=True)
                    wanted += 1
            wait_until(lambda: len(settled(site)) >= wanted, "everything is settled", seconds=120)
            facts = settled(site)
        mails = arrived(folder / destination.mail)
    failed = [fact for fact in facts if fact["outcome"] != "delivered"]
    assert not failed, failed[:3]
    for level in destination.levels:
        words = {fact["tls"].rpartition(" ")[2] for fact in facts if fact["domain"] == f"{level}.example"}
        assert words == {{"encrypt": "unverified", "verify": "verified"}.get(level, "")}, level
        for subject, body in {"dots": DOTS, "eight": EIGHT, "large": LARGE}.items():
            assert mails[f"{level}-{subject}"] == [body.replace("\r\n", "\n").encode()], subject
        assert mails[f"{level}-many"], "to many"
        if destination.utf8_address:
            assert mails[f"{level}-utf8"]
