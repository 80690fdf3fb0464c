"""A little world of senders for tests of the server that judges: a zone on loopback, keys, clients at any address.

`example.org` sends from 192.0.2.0/24 and signs as `s1`, DMARC p=reject; `soft.test` asks for quarantine; `none.test`
has SPF only; names below `broken.test` make the name server fail.
"""

from __future__ import annotations

import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from angarium.auth import DkimKey, DkimSigner, seal, sign
from angarium.engine import compile_policy
from angarium.server import Running
from angarium.settings import Authentication, Dns, Duration, Listen, ListenAddress, Local, Mailbox, NameServer
from msgspec.structs import replace

from tests.house import running, settings
from tests.routing.zone import Zone

SEAL = DkimKey(DkimKey.generate("ed25519").encode())
KEY = DkimKey(DkimKey.generate("rsa-2048").encode())
SIGNER = DkimSigner(KEY, domain="example.org", selector="s1")
GOOD, BAD = "192.0.2.1", "198.51.100.9"
RECORDS = f"""
example.org 60 TXT "v=spf1 ip4:192.0.2.0/24 -all"
soft.test 60 TXT "v=spf1 ip4:192.0.2.0/24 ~all"
none.test 60 TXT "v=spf1 -all"
_dmarc.example.org 60 TXT "v=DMARC1\\; p=reject"
_dmarc.soft.test 60 TXT "v=DMARC1\\; p=quarantine"
s1._domainkey.example.org 60 TXT "{KEY.record[:200].replace(";", chr(92) + ";")}" "{KEY.record[200:]}"
1.2.0.192.in-addr.arpa 60 PTR mx.example.org.
mx.example.org 60 A 192.0.2.1
9.100.51.198.in-addr.arpa 60 PTR mx.forwarder.test.
mx.forwarder.test 60 A 198.51.100.9
broken.test ! SERVFAIL
_dmarc.broken.test ! SERVFAIL
"""
MAIL = b"From: Alice <alice@example.org>\r\nTo: bob@here.test\r\nSubject: hello\r\n\r\nGood morning.\r\n"


# Those who hand on mail of others, and one whose records are wrong.
OTHERS = f"""
list.test 60 TXT "v=spf1 ip4:198.51.100.0/24 -all"
twice.test 60 TXT "v=spf1 -all"
twice.test 60 TXT "v=spf1 +all"
s1._domainkey.sealer.test 60 TXT "{SEAL.record.replace(";", chr(92) + ";")}"
"""


def sealed(dmarc: str) -> bytes:
    """A message that was changed on its way by sealer.test, which says what DMARC had been before."""
    seen = f"sealer.test; spf=pass; dmarc={dmarc} header.from=example.org"
    message = seal(MAIL, SEAL, domain="sealer.test", selector="s1", results=seen, resolver=lambda *_: ("nxdomain", []))
    assert message is not None
    return message


def signed(message: bytes = MAIL) -> bytes:
    return sign(message, SIGNER)


class World:
    """The server, its folder of mail, and the zone it asks."""

    def __init__(self, server: Running, zone: Zone, folder: Path) -> None:
        self.server = server
        self.zone = zone
        self.mail = folder / "data" / "mail" / "box" / "new"

    async def send(
        self,
        message: bytes,
        *,
        ip: str = GOOD,
        helo: str = "mx.example.org",
        sender: str = "alice@example.org",
        to: str = "bob@here.test",
    ) -> str:
        """The reply to the final dot of a message that a client at `ip` brings."""
        return await trio.to_thread.run_sync(self._talk, message, ip, helo, sender, to)

    def _talk(self, message: bytes, ip: str, helo: str, sender: str, to: str) -> str:
        host, _, port = self.server.addresses[0].rpartition(":")
        with smtplib.SMTP(host, int(port), timeout=30) as client:
            client.ehlo()
            code, text = client.docmd("XCLIENT", f"ADDR={ip}")
            assert code == 220, text
            client.ehlo(helo)
            client.mail(sender)
            client.rcpt(to)
            code, text = client.data(message)
            return f"{code} {text.decode()}"

    def policy(self, **tables: object) -> None:
        """Other tables from now on, as a reload has them."""
        given = replace(self.server.settings, **tables)
        self.server.bridge.set_policy(compile_policy(given))

    async def arrived(self) -> bytes:
        """A message from the mailbox, as it lay there, with CRLF."""
        with trio.fail_after(30):
            while not (found := list(self.mail.glob("*"))):  # noqa: ASYNC110  the engine has threads of its own
                await trio.sleep(0.01)
        file = found[0]
        octets = file.read_bytes()
        file.unlink()
        return octets.replace(b"\n", b"\r\n")


@asynccontextmanager
async def world(folder: Path, *, records: str = "", **tables: object) -> AsyncIterator[World]:
    """A server that takes mail for here.test on an mx listener, and asks a zone of the test's own."""
    zone = Zone(RECORDS + records)
    async with trio.open_nursery() as nursery:
        await nursery.start(zone.serve)
        dns = Dns(
            servers=(NameServer.parse(f"127.0.0.1:{zone.port}"),),
            timeout=Duration.parse("2s"),
            lifetime=Duration.parse("5s"),
        )
        listen = Listen(address=ListenAddress("127.0.0.1:0"), profile="mx", xclient_networks=("127.0.0.0/8",))
        given = {
            "listen": (listen,),
            "local": Local(domains={"here.test": Mailbox("box")}),
            "dns": dns,
            "authentication": Authentication(id="mx.here.test"),
            **tables,
        }
        async with running(settings(folder, **given)) as server:
            yield World(server, zone, folder)
        nursery.cancel_scope.cancel()
