"""The stage *authenticate* in a running server: each result, forged fields, DNS that fails."""

from __future__ import annotations

from email import message_from_bytes
from pathlib import Path

import pytest
import trio
from angarium.auth import DkimSigner, parse_results, sign
from angarium.engine import Control, Predicate
from angarium.journal import Received, facts_of
from angarium.settings import Authentication, Dns, Duration, Forwarders, Hooks, NameServer, Relay

from .world import BAD, KEY, MAIL, OTHERS, World, sealed, signed, world


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


async def received(site: World) -> list[Received]:
    """What the journal says of messages that came in."""
    page = await site.server.journal.read(kinds=("received",))
    return [fact for fact in facts_of(page) if isinstance(fact, Received)]


def rows(**given: object) -> Authentication:
    return Authentication(id="mx.here.test", **given)  # type: ignore[arg-type]


SOFT = MAIL.replace(b"example.org", b"soft.test")
EVIL = {"ip": BAD, "helo": "mx.evil.test"}
LIST = {**EVIL, "sender": "l@list.test"}
TWICE = MAIL.replace(b"Subject", b"From: x@example.org\r\nSubject", 1)


@pytest.mark.parametrize(
    ("table", "message", "session", "reply"),
    [
        ({"actions": {"spf=fail": "reject"}}, signed(), EVIL, "550 5.7.23"),
        ({"actions": {"dkim=fail": "reject"}}, signed().replace(b"Good", b"Evil"), {}, "550 5.7.20"),
        ({"actions": {"spf=fail": "reject", "dkim=none": "reject"}}, MAIL, EVIL, "550 5.7.26"),
        ({"actions": {"iprev=permerror": "reject"}}, MAIL, {"ip": "192.0.2.77"}, "550 5.7.25"),
        ({"actions": {"spf=permerror": "reject"}}, MAIL, {"sender": "a@twice.test"}, "550 5.7.24"),
        ({"actions": {"spf=softfail": "defer"}}, SOFT, {**EVIL, "sender": "a@soft.test"}, "451 4.7.23"),
        ({"actions": {"dmarc=fail": "reject"}}, MAIL, EVIL, "550 5.7.1"),
        ({"honour_dmarc": True}, MAIL, EVIL, "550 5.7.1"),
        ({"honour_dmarc": True}, signed(), EVIL, "250"),
        ({"actions": {"finding=repeated-from": "reject"}}, TWICE, {}, "550 5.6.0"),
        ({"actions": {"finding=any": "reject"}}, TWICE, {}, "550 5.6.0"),
        ({"actions": {"finding=nul": "reject"}}, TWICE, {}, "250"),
        # DNS that fails puts off where it decides, and nowhere else.
        ({}, MAIL, {"sender": "a@broken.test"}, "451 4.7.24"),
        ({}, signed(), {"sender": "a@broken.test"}, "250"),
        ({"actions": {"spf=fail": "tag"}}, signed(), {"sender": "a@broken.test"}, "451 4.7.24"),
        ({"actions": {"spf=temperror": "none"}}, MAIL, {"sender": "a@broken.test"}, "250"),
        ({}, MAIL.replace(b"example.org", b"x.broken.test"), {"sender": ""}, "451 4.4.3"),
        # Known forwarders, by their address, their name, their own SPF, and sealers are excused.
        ({"honour_dmarc": True, "forwarders": Forwarders(networks=(BAD + "/32",))}, MAIL, EVIL, "250"),
        ({"honour_dmarc": True, "forwarders": Forwarders(domains=(".forwarder.test",))}, MAIL, EVIL, "250"),
        ({"honour_dmarc": True, "forwarders": Forwarders(domains=("list.test",))}, MAIL, LIST, "250"),
        ({"honour_dmarc": True, "forwarders": Forwarders(domains=("evil.test",))}, MAIL, EVIL, "550 5.7.1"),
        ({"honour_dmarc": True, "sealers": ("sealer.test",)}, sealed("pass"), EVIL, "250"),
        ({"honour_dmarc": True, "sealers": ("sealer.test",)}, sealed("fail"), EVIL, "550 5.7.1"),
        ({"honour_dmarc": True, "sealers": ("other.test",)}, sealed("pass"), EVIL, "550 5.7.1"),
    ],
)  # fmt: skip
async def test_the_table(
    tmp_path: Path, table: dict[str, object], message: bytes, session: dict[str, str], reply: str
) -> None:
    async with world(tmp_path, records=OTHERS, authentication=rows(**table)) as site:
        said = await site.send(message, **session)
    assert said.startswith(reply), said


async def test_a_hold_keeps_it_back_and_says_why(tmp_path: Path) -> None:
    async with world(tmp_path, authentication=rows(honour_dmarc=True, actions={"spf=softfail": "tag"})) as site:
        assert (await site.send(SOFT, **EVIL, sender="a@soft.test")).startswith("250")
        found = await site.server.bridge.find(Predicate(all=True))
        (entry,) = found.entries
        assert (entry.state, entry.reason) == ("held", "policy")
        await site.server.bridge.control(Control(kind="release", where=Predicate(all=True), by="test", why="test"))
        message = message_from_bytes(await site.arrived())
        assert message["X-Angarium-Policy"] == "quarantine; dmarc=fail p=quarantine"
        (fact,) = await received(site)
        assert fact.verdicts == "iprev=pass helo=none spf=softfail dkim=none arc=none dmarc=fail action=quarantine"
        figures = site.server.bridge.figures().verdicts
        assert figures["spf"]["softfail"] == figures["action"]["quarantine"] == 1
        assert b'angarium_verdicts_total{method="dmarc",result="fail"} 1.0' in site.server.metrics.text()


async def test_a_hook_sees_the_results(tmp_path: Path) -> None:
    file = tmp_path / "policy.py"
    file.write_text(
        "from angarium.policy import add_header\n"
        "async def message(message):\n"
        "    found = message.verdicts\n"
        "    return add_header('X-Seen', f'{found.spf} {found.dmarc} {found.author}')\n"
    )
    async with world(tmp_path, hooks=Hooks(file=str(file))) as site:
        await site.send(signed())
        message = message_from_bytes(await site.arrived())
    assert message["X-Seen"] == "pass pass example.org" and message["Authentication-Results"]


async def test_who_is_known_is_not_judged(tmp_path: Path) -> None:
    async with world(tmp_path, relay=Relay(networks=(BAD,)), authentication=rows(honour_dmarc=True)) as site:
        assert (await site.send(MAIL, **EVIL)).startswith("250")
        assert message_from_bytes(await site.arrived())["Authentication-Results"] is None
        assert site.zone.queries.total() == 0


async def test_answers_are_asked_once_and_by_tcp_where_they_are_long(tmp_path: Path) -> None:
    async with world(tmp_path, records="s1._domainkey.example.org ! TRUNCATED") as site:
        for _ in range(3):
            await site.send(signed())
            assert results(await site.arrived())["dkim"] == "pass"
        asked = site.zone.queries
        # Once over UDP and once more over TCP.
        assert asked["s1._domainkey.example.org.", "TXT"] == 2
        assert set(asked.values()) == {1, 2}


async def test_the_table_is_read_again(tmp_path: Path) -> None:
    async with world(tmp_path) as site:
        assert (await site.send(MAIL, **EVIL)).startswith("250")
        site.policy(authentication=rows(honour_dmarc=True))
        assert (await site.send(MAIL, **EVIL)).startswith("550")


async def test_aliases_lead_to_keys_and_policies(tmp_path: Path) -> None:
    """As providers have it: the domain only points at what they publish."""
    aliases = """
    hosted.test 60 TXT "v=spf1 include:_spf.provider.test -all"
    _spf.provider.test 60 CNAME spf.elsewhere.test.
    spf.elsewhere.test 60 TXT "v=spf1 ip4:192.0.2.0/24 -all"
    p1._domainkey.hosted.test 60 CNAME s1._domainkey.example.org.
    _dmarc.hosted.test 60 CNAME _dmarc.example.org.
    """
    signer = DkimSigner(KEY, domain="hosted.test", selector="p1")
    async with world(tmp_path, records=aliases, authentication=rows(honour_dmarc=True)) as site:
        message = sign(MAIL.replace(b"example.org", b"hosted.test"), signer)
        assert (await site.send(message, sender="a@hosted.test")).startswith("250")
        found = results(await site.arrived())
        assert (found["spf"], found["dkim"], found["dmarc"]) == ("pass", "pass", "pass")
        # The alias leads to p=reject.
        reply = await site.send(message.replace(b"Good", b"Evil"), ip=BAD, sender="a@hosted.test")
        assert reply.startswith("550 5.7.1"), reply


async def test_who_asks_at_once_shares_the_question(tmp_path: Path) -> None:
    async with world(tmp_path) as site:
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(site.send, signed())
        assert site.server.bridge.figures().verdicts["dmarc"]["pass"] == 12
        assert set(site.zone.queries.values()) == {1}


async def test_a_name_server_that_is_silent_or_gone_puts_mail_off(tmp_path: Path) -> None:
    silent = "silent.test ! SILENT\n_dmarc.silent.test ! SILENT"
    async with world(tmp_path, records=silent) as site:
        reply = await site.send(MAIL.replace(b"example.org", b"silent.test"), sender="a@silent.test")
        assert reply.startswith("451 4."), reply
        asked = site.zone.queries["silent.test.", "TXT"]
        # What failed is not asked for again so soon.
        assert (await site.send(signed(), sender="a@silent.test")).startswith("250")
        assert site.zone.queries["silent.test.", "TXT"] == asked
        gone = (NameServer.parse("127.0.0.1:1"),)
        site.policy(dns=Dns(servers=gone, timeout=Duration.parse("1s"), lifetime=Duration.parse("2s")))
        assert (await site.send(MAIL)).startswith("451 4.")
