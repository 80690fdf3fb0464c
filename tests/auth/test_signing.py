"""The stage *sign* in a running server: who is signed for, with which keys, and that others can verify it."""

from __future__ import annotations

import signal
import smtplib
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import dkim
import pytest
import trio
from angarium.auth import Answer, DkimKey, Report, verify_sync
from angarium.engine import Predicate, Submission, SubmittedRecipient, SubmittedVariant
from angarium.settings import (
    Delivery,
    DomainName,
    DomainPattern,
    Duration,
    Hooks,
    Local,
    Mailbox,
    Relay,
    Reports,
    Route,
    Signing,
    Tls,
)

from tests.site import PATIENCE, running, wait_until

from .world import BAD, GOOD, MAIL, World, signed, world

# Another verifier, where it is installed.
TODAY = datetime.now(UTC).date()
DAY = timedelta(days=1)
OURS = Relay(networks=(GOOD,))
SOON = Reports(collect=Duration.parse("1ms"))
FAST = Tls(watch=Duration.parse("100ms"))


class Keys:
    """Key files of example.org, and a resolver that has their records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, bytes] = {}

    def make(self, selector: str, kind: str = "ed25519", *, domain: str = "example.org") -> str:
        """A new key under a name that may be there already; its file."""
        pem = DkimKey.generate(kind)
        file = self.folder / f"{selector}.pem"
        fresh = file.with_suffix(".new")
        fresh.write_text(pem)
        fresh.chmod(0o600)
        fresh.rename(file)
        self.records[f"{selector}._domainkey.{domain}"] = DkimKey(pem.encode()).record.encode()
        return str(file)

    def row(self, selector: str, kind: str = "ed25519", **given: object) -> Signing:
        domain = str(given.pop("domain", "example.org"))
        key = self.make(selector, kind, domain=domain)
        return Signing(domain=DomainName.parse(domain), selector=selector, key=key, **given)  # type: ignore[arg-type]

    def __call__(self, name: str, kind: str) -> Answer:
        found = self.records.get(name)
        return ("found", [found]) if found else ("nxdomain", [])

    def report(self, message: bytes) -> Report:
        return verify_sync(message, resolver=self)

    def passed(self, message: bytes) -> list[str]:
        """Selectors of good signatures; there must be no other."""
        verdicts = self.report(message).dkim
        assert all(verdict.outcome == "pass" for verdict in verdicts), verdicts
        return [verdict.selector for verdict in verdicts]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


async def test_every_row_that_matches_signs_and_others_verify_it(tmp_path: Path, keys: Keys) -> None:
    rows = (
        keys.row("rsa", "rsa-2048"),
        keys.row("edw", body="simple", header="simple", identity="@example.org", expire=Duration.parse("7d")),
        keys.row("shop", tenant="shop"),
        keys.row("other", domain="example.net"),
        keys.row("old", until=TODAY),
        keys.row("new", since=TODAY),
        keys.row("next", since=TODAY + DAY),
        keys.row("all", domain="esp.test", authors=(DomainPattern.parse("*"),)),
    )
    async with world(tmp_path, relay=OURS, signing=rows) as site:
        assert (await site.send(MAIL)).startswith("250")
        message = await site.arrived()
        assert keys.passed(message) == ["rsa", "edw", "new", "all"]
        names = message_from_bytes(message).keys()
        assert "Authentication-Results" not in names and names.index("Received") > names.index("DKIM-Signature")
        assert site.server.bridge.figures().counts["signed"] == 1
    records = {f"{name}.".encode(): text for name, text in keys.records.items()}
    verify = dkim.DKIM(message).verify
    assert all(verify(idx=at, dnsfunc=lambda name, timeout=5: records[name]) for at in range(4))


@pytest.mark.parametrize("ip", [GOOD, BAD])
async def test_strangers_are_never_signed_for(tmp_path: Path, keys: Keys, ip: str) -> None:
    async with world(tmp_path, relay=OURS, signing=(keys.row("s"),)) as site:
        await site.send(MAIL, ip=ip)
        assert keys.passed(await site.arrived()) == (["s"] if ip == GOOD else [])


async def test_what_is_signed_is_what_is_sent(tmp_path: Path, keys: Keys) -> None:
    """8-bit content, a large one in a file, and one that a hook has edited."""
    file = tmp_path / "policy.py"
    file.write_text(
        "from angarium.policy import accept\n"
        "async def message(message):\n"
        "    if message.header('X-Edit'):\n"
        "        return accept(add={'Subject': 'other'}, remove=['Subject'])\n"
    )
    async with world(tmp_path, relay=OURS, signing=(keys.row("s"),), hooks=Hooks(file=str(file))) as site:
        eight_bit = MAIL.replace(
            b"\r\n\r\n", b"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        )
        await site.send(eight_bit + "schöne Grüße\r\n".encode())
        message = await site.arrived()
        assert keys.passed(message) == ["s"] and message.isascii()
        text = message_from_bytes(message).get_payload(decode=True)
        assert isinstance(text, bytes) and "schöne Grüße".encode() in text

        await site.send(MAIL + (b"x" * 70 + b"\r\n") * 30_000)
        assert keys.passed(await site.arrived()) == ["s"]

        await site.send(b"X-Edit: yes\r\n" + MAIL)
        message = await site.arrived()
        assert keys.passed(message) == ["s"] and message_from_bytes(message)["Subject"] == "other"

        # Somebody else's signature is not broken for it.
        await site.send(signed(eight_bit + "schöne Grüße\r\n".encode()))
        message = await site.arrived()
        assert not message.isascii() and message.count(b"DKIM-Signature:") == 2


async def until_signed_by(site: World, keys: Keys, selectors: list[str]) -> None:
    """Sends until this is what signs."""
    with trio.fail_after(30):
        while True:
            await site.send(MAIL)
            verdicts = keys.report(await site.arrived()).dkim
            if [one.selector for one in verdicts] == selectors and all(one.outcome == "pass" for one in verdicts):
                return


async def test_files_and_given_keys_are_exchanged_while_mail_flows(tmp_path: Path, keys: Keys) -> None:
    file = tmp_path / "policy.py"
    given = keys.make("given")
    file.write_text(
        "async def signing_key(domain, selector):\n"
        "    assert (domain, selector) == ('example.org', 'given')\n"
        f"    return open({given!r}).read()\n"
    )
    rows = (keys.row("s"), Signing(domain=DomainName.parse("example.org"), selector="given", hook=True))
    async with world(tmp_path, relay=OURS, signing=rows, hooks=Hooks(file=str(file)), tls=FAST) as site:
        await until_signed_by(site, keys, ["s", "given"])
        keys.make("s", "rsa-2048")
        await until_signed_by(site, keys, ["s", "given"])
        keys.make("given")
        await until_signed_by(site, keys, ["s", "given"])
        # What cannot be read leaves the old one.
        (tmp_path / "s.pem").write_text("nothing")
        keys.make("given")
        await site.send(MAIL)
        assert [one.selector for one in keys.report(await site.arrived()).dkim] == ["s", "given"]


async def test_reports_of_our_own_and_mail_from_code_are_signed(tmp_path: Path, keys: Keys) -> None:
    rows = (keys.row("s", authors=(DomainPattern.parse("mx.house.example"), DomainPattern.parse("example.org"))),)
    gone = Route(domain=DomainPattern.parse("gone.test"), to="fail", text="no such place")
    local = Local(domains={"here.test": Mailbox("box"), "example.org": Mailbox("box")})
    async with world(tmp_path, relay=OURS, signing=rows, route=(gone,), local=local, reports=SOON) as site:
        content = MAIL.replace(b"bob@here.test", b"x@gone.test")
        recipients = (SubmittedRecipient(address="x@gone.test"), SubmittedRecipient(address="bob@here.test"))
        submission = Submission(sender="alice@example.org", recipients=recipients, may_report=True)
        await site.server.bridge.submit(submission, content)
        for _ in range(2):
            message = await site.arrived()
            assert keys.passed(message) == ["s"]


async def test_mail_that_goes_on_is_sealed(tmp_path: Path, keys: Keys) -> None:
    rows = (keys.row("seal", "rsa-2048", domain="here.test", seal=True),)
    relay = Relay(domains=(DomainPattern.parse("onward.test"),))
    there = "onward.test 60 MX 10 mx.onward.test.\nmx.onward.test 60 A 192.0.2.9"
    async with world(tmp_path, records=there, signing=rows, relay=relay, delivery=Delivery(suspended=True)) as site:
        reply = await site.send(signed(), to="bob@onward.test")
        assert reply.startswith("250"), reply
        (entry,) = (await site.server.bridge.find(Predicate(all=True))).entries
        content = await site.server.bridge.content(entry.message, recipient=0)
        message = bytes(content.body)
    report = keys.report(message)
    assert (report.arc.outcome, report.arc.sealers) == ("pass", ("here.test",))
    assert message.startswith(b"ARC-Seal: ") and b"ARC-Authentication-Results: i=1; mx.here.test; iprev=pass" in message


def test_what_dkim_new_prints_is_read_again_at_sighup(tmp_path: Path) -> None:
    """From no key to two, with the real command and the real signal; a mistake leaves everything as it was."""
    tables = '[relay]\nnetworks = ["127.0.0.0/8"]\n[local]\ncatch_all = "box"\n'
    with running(tmp_path, tables) as site:
        config = tmp_path / "angarium.toml"

        def selectors() -> list[str]:
            with smtplib.SMTP("127.0.0.1", site.port, timeout=PATIENCE) as client:
                client.sendmail("alice@example.org", ["bob@example.net"], MAIL)
            wait_until(lambda: len(site.mails("box")) > 0, "the mail arrives")
            (message,) = site.mails("box")
            for file in (site.data / "mail" / "box").glob("new/*"):
                file.unlink()
            fields = message.get_all("DKIM-Signature") or []
            return [part.strip()[2:] for field in fields for part in field.split(";") if part.strip().startswith("s=")]

        assert selectors() == []
        for number, kind in enumerate(("rsa-2048", "ed25519"), 1):
            made = site.run("dkim", "new", "example.org", "--selector", f"s{number}", "--kind", kind)
            config.write_text(config.read_text() + made.stdout[made.stdout.index("[[signing]]") :])
            assert site.server.process is not None
            site.server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: len(selectors()) == number, "the new key signs")  # noqa: B023  called at once
        assert selectors() == ["s1", "s2"]
        config.write_text(config.read_text() + '[[signing]]\ndomain = "example.org"\nselector = "s3"\n')
        site.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the settings are not used" in site.log(), site.log)
        assert selectors() == ["s1", "s2"]


async def test_copies_that_differ_are_signed_when_they_are_made(tmp_path: Path, keys: Keys) -> None:
    """Fields of the recipient are put in at delivery, and signed then: the same octets however often."""
    variant = SubmittedVariant(substitutions=(("{{name}}", "name"),))
    recipients = tuple(
        SubmittedRecipient(address=f"{name}@here.test", fields=(("name", text),))
        for name, text in (("ada", "Ada"), ("zoe", "Zoë"))
    )
    submission = Submission(sender="alice@example.org", recipients=recipients, variants=(variant,), eight_bit=True)
    content = MAIL.replace(b"Good morning", b"Good morning, {{name}}")
    content = content.replace(
        b"\r\n\r\n", b"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", 1
    )
    async with world(tmp_path, signing=(keys.row("s", "rsa-2048"),), delivery=Delivery(suspended=True)) as site:
        await site.server.bridge.submit(submission, content)
        entries = (await site.server.bridge.find(Predicate(all=True))).entries
        texts = []
        for entry in entries:
            copies = [await site.server.bridge.content(entry.message, recipient=entry.number) for _ in range(2)]
            first, second = (bytes(copy.body) for copy in copies)
            assert first == second and first.isascii() and keys.passed(first) == ["s"]
            octets = message_from_bytes(first).get_payload(decode=True)
            assert isinstance(octets, bytes)
            texts.append(octets.decode().strip())
    assert sorted(texts) == ["Good morning, Ada.", "Good morning, Zoë."]


async def test_copies_arrive_signed(tmp_path: Path, keys: Keys) -> None:
    variant = SubmittedVariant(substitutions=(("{{name}}", "name"),))
    recipient = SubmittedRecipient(address="bob@here.test", fields=(("name", "Bob"),))
    submission = Submission(sender="alice@example.org", recipients=(recipient,), variants=(variant,))
    async with world(tmp_path, signing=(keys.row("s"),)) as site:
        await site.server.bridge.submit(submission, MAIL.replace(b"Good morning", b"Good morning, {{name}}"))
        message = await site.arrived()
    assert keys.passed(message) == ["s"] and b"Good morning, Bob." in message
