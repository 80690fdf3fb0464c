"""What judging the sender costs: accept with *authenticate* on and a warm memory of DNS beside accept without it.

Every message is the same and passes SPF, DKIM (one RSA signature of 2048 bits) and DMARC; a name server on loopback
answers the first one's questions, memory those of all others.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from angarium.auth import DkimKey, DkimSigner, sign

from .mail import Flood, run
from .rows import Figures, Row, Scale
from .servers import Angarium

DOMAIN = "load.example"
SIZE = 4096
PASSED = 'angarium_verdicts_total{method="dmarc",result="pass"}'
# Rounds in which both servers take their turn.
TURNS = 3


def judged(scale: Scale) -> Iterable[Row]:
    """Accept rate with *authenticate* on as a share of that with it off, and the CPU that it adds to a message."""
    key = DkimKey(DkimKey.generate("rsa-2048").encode())
    records = {
        (f"{DOMAIN}.", "TXT"): '"v=spf1 ip4:127.0.0.0/8 -all"',
        (f"_dmarc.{DOMAIN}.", "TXT"): '"v=DMARC1; p=reject"',
        (f"s._domainkey.{DOMAIN}.", "TXT"): " ".join(f'"{part}"' for part in (key.record[:250], key.record[250:])),
    }
    signer = DkimSigner(key, domain=DOMAIN, selector="s")
    with name_server(records) as port, tempfile.TemporaryDirectory(prefix="angarium-bench-") as folder:
        file = Path(folder, "signed.eml")
        file.write_bytes(sign(message(), signer))
        content = ("content", str(file))
        # Strangers bring one message each; with reuse what is added stands out more.
        loads = (
            ("one per connection", 0.5, Flood(scale.messages(15_000), size=SIZE, options=(*content, "messages", "1"))),
            ("reuse", None, Flood(scale.messages(40_000), size=SIZE, options=content)),
        )
        tables = f'[dns]\nservers = ["127.0.0.1:{port}"]\n'
        with (
            Angarium(relay_to=None, listen='authenticate = "all"', tables=tables) as one,
            Angarium(relay_to=None, listen='authenticate = "off"', tables=tables, port=2534) as other,
        ):
            for how, wanted, load in loads:
                yield from beside(one, other, load, how, wanted, turns=1 + TURNS * scale.repeats)


def beside(one: Angarium, other: Angarium, load: Flood, how: str, wanted: float | None, *, turns: int) -> Iterable[Row]:
    """Both servers under one load, in turn."""
    on, off = Figures(), Figures()
    before = one.metrics()[PASSED]
    for _ in range(turns):
        for server, figures in ((one, on), (other, off)):
            figures.runs.append(run(load, server.port, server.account))
    passed = one.metrics()[PASSED] - before
    case = f"sender judged (SPF, DKIM rsa-2048, DMARC, iprev), warm DNS, 20 sessions, 4 KiB, {how}"
    detail = f"{on}; off {off}" + ("" if passed == turns * load.messages else f"; NOT OK: {passed:.0f} passed")
    yield Row(case, "share of the accept rate without", on.rate / off.rate, wanted, noise=on.noise, detail=detail)
    added = 1000 * (on.cpu - off.cpu)
    yield Row(case, "µs of server CPU added to a message", added, 150, at_most=True, noise=on.noise, detail=detail)


def message() -> bytes:
    head = f"From: sender@{DOMAIN}\r\nTo: recipient@sink.example\r\nSubject: load\r\n"
    line = "x" * 70 + "\r\n"
    return (
        head + f"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@{DOMAIN}>\r\n\r\n" + line * (SIZE // len(line))
    ).encode()


@contextmanager
def name_server(records: dict[tuple[str, str], str]) -> Iterator[int]:
    """Answers over UDP on loopback, in a thread; gives its port. What has no record does not exist."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        ends = threading.Event()
        thread = threading.Thread(target=serve, args=(sock, records, ends))
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            ends.set()
            thread.join()


def serve(sock: socket.socket, records: dict[tuple[str, str], str], ends: threading.Event) -> None:
    sock.settimeout(0.2)
    while not ends.is_set():
        try:
            wire, peer = sock.recvfrom(4096)
        except TimeoutError:
            continue
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        found = records.get((name, kind))
        if found is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            response.answer.append(dns.rrset.from_text(name, 3600, "IN", kind, found))
        sock.sendto(response.to_wire(), peer)
