"""`angarium.auth` end to end: verdicts, temporary failures, forged results, several authors, sync and on Trio."""

from __future__ import annotations

import pytest
import trio
from angarium.auth import (
    Answer,
    DkimKey,
    DkimSigner,
    check_sync,
    find_resolver,
    forged_results,
    parse_results,
    sign,
    trusted_results,
    verify,
    verify_sync,
)
from angarium.errors import AuthError

from tests.routing.zone import Zone

MAIL = b"From: Alice <alice@mail.example.org>\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\nGood morning.\r\n"
NOW = 1_700_000_000.0
KEY = DkimKey(DkimKey.generate("ed25519").encode())
SIGNER = DkimSigner(KEY, domain="example.org", selector="s1")
RECORDS: dict[tuple[str, str], list[str]] = {
    ("example.org", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
    ("mail.example.org", "TXT"): ["v=spf1 redirect=example.org"],
    ("_dmarc.example.org", "TXT"): ["v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@example.org"],
    ("s1._domainkey.example.org", "TXT"): [KEY.record],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["mx.example.org."],
    ("mx.example.org", "A"): ["192.0.2.1"],
}


class Dns:
    def __init__(self, records: dict[tuple[str, str], list[str]], *, fails: tuple[str, ...] = ()) -> None:
        self.records = records
        self.fails = fails
        self.asked: list[tuple[str, str]] = []

    def __call__(self, name: str, kind: str) -> Answer:
        self.asked.append((name, kind))
        if name in self.fails:
            return "failed", []
        found = self.records.get((name, kind))
        return ("found", [text.encode() for text in found]) if found else ("nxdomain", [])


SESSION = {"ip": "192.0.2.1", "helo": "mx.example.org", "sender": "alice@mail.example.org", "now": NOW}


def test_everything_passes_and_no_question_is_asked_twice() -> None:
    dns = Dns(RECORDS)
    report = verify_sync(sign(MAIL, SIGNER, now=NOW), resolver=dns, **SESSION)
    assert report.iprev and report.iprev.outcome == "pass"
    assert report.spf and report.spf.outcome == "pass" and report.spf.mechanism == "ip4:192.0.2.0/24"
    assert [verdict.outcome for verdict in report.dkim] == ["pass"]
    (author,) = report.dmarc.authors
    assert report.dmarc.outcome == "pass" and author.dkim_aligned and author.spf_aligned
    assert author.organization == "example.org" and author.policy == "quarantine"
    assert len(dns.asked) == len(set(dns.asked)) == report.questions
    assert any("ip4:192.0.2.0/24 matches" in line for line in report.explain())


def test_what_fails_gets_the_policy_of_its_domain() -> None:
    report = verify_sync(MAIL, resolver=Dns(RECORDS), **{**SESSION, "ip": "198.51.100.9"})
    assert report.spf and report.spf.outcome == "fail"
    assert (report.dmarc.outcome, report.dmarc.disposition) == ("fail", "quarantine")


@pytest.mark.parametrize("name", ["example.org", "_dmarc.example.org", "s1._domainkey.example.org"])
def test_a_temporary_failure_never_passes(name: str) -> None:
    forged = {**SESSION, "sender": "mallory@example.net"}
    session = SESSION if name == "example.org" else forged
    message = MAIL if name == "example.org" else sign(MAIL, SIGNER, now=NOW)
    report = verify_sync(message, resolver=Dns(RECORDS, fails=(name,)), **session)
    assert report.temporary and report.dmarc.outcome == "temperror"


def test_several_authors_need_all_to_pass() -> None:
    two = MAIL.replace(b"From: Alice <alice@mail.example.org>", b"From: alice@mail.example.org, m@other.example")
    records = {**RECORDS, ("_dmarc.other.example", "TXT"): ["v=DMARC1; p=reject"]}
    report = verify_sync(two, resolver=Dns(records), **SESSION)
    assert [author.outcome for author in report.dmarc.authors] == ["pass", "fail"]
    assert (report.dmarc.outcome, report.dmarc.disposition) == ("fail", "reject")
    twice = b"From: alice@mail.example.org\r\n" + MAIL
    report = verify_sync(twice, resolver=Dns(RECORDS), **SESSION)
    assert report.dmarc.outcome == "fail" and "2 From fields" in (report.dmarc.problem or "")


def test_a_body_that_is_partly_unsigned_is_policy() -> None:
    signed = sign(MAIL, SIGNER, now=NOW)
    longer = signed.replace(b"; t=", b"; l=5; t=")
    (verdict,) = verify_sync(longer, resolver=Dns(RECORDS), **SESSION).dkim
    assert verdict.outcome == "policy" and "not signed" in (verdict.problem or "")


def test_signatures_are_bounded() -> None:
    signed = MAIL
    for _ in range(30):
        signed = SIGNER.sign(MAIL, int(NOW * 1000)) + signed
    verdicts = verify_sync(signed, resolver=Dns(RECORDS), **SESSION).dkim
    assert [verdict.outcome for verdict in verdicts] == ["pass"] * 10 + ["policy"]


def test_results_are_written_read_and_kept_from_forgers() -> None:
    checked = check_sync(sign(MAIL, SIGNER, now=NOW), resolver=Dns(RECORDS), **SESSION)
    field = checked.results("mx.example.net")
    assert all(len(line) <= 100 for line in field.split(b"\r\n"))
    read = parse_results(field.partition(b":")[2])
    methods = {result.method: result for result in read.results}
    assert read.authserv_id == "mx.example.net" and methods["dmarc"].get("header.from") == "mail.example.org"
    assert methods["dkim"].get("header.d") == "example.org"
    message = field + MAIL
    assert forged_results(message, ["mx.example.net"]) == [(0, len(field))]
    assert forged_results(message, ["mx.example.com"]) == []
    assert len(trusted_results(message, ["MX.example.net"])) == 1
    with pytest.raises(AuthError):
        parse_results(b"mx.example.net; dkim")


async def test_on_trio_with_name_servers_of_our_own(nursery) -> None:
    lines = (
        f'{name}. 60 {kind} "{text}"' if kind == "TXT" else f"{name}. 60 {kind} {text}"
        for (name, kind), texts in RECORDS.items()
        for text in texts
    )
    zone = Zone("\n".join(line.replace("; ", "\\; ") for line in lines))
    await nursery.start(zone.serve)
    resolver = find_resolver(["127.0.0.1"], port=zone.port).on_trio
    report = await verify(sign(MAIL, SIGNER, now=NOW), resolver=resolver, **SESSION)
    assert (report.dmarc.outcome, report.iprev and report.iprev.outcome) == ("pass", "pass")
    nursery.cancel_scope.cancel()


async def test_the_found_resolver_asks_once_for_what_many_want(nursery) -> None:
    lines = [r'a.test. 60 TXT "v=spf1 " "\195\188 " "-all"', "a.test. 60 MX 20 two.test.", "a.test. 60 MX 10 one.test."]
    zone = Zone("\n".join(lines))
    await nursery.start(zone.serve)
    found = find_resolver(["127.0.0.1"], port=zone.port)
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await found.on_trio("a.test", "TXT"))

    async with trio.open_nursery() as asking:
        for _ in range(20):
            asking.start_soon(ask)
    assert answers == [("found", [b"v=spf1 \xc3\xbc -all"])] * 20
    assert await found.on_trio("a.test", "MX") == ("found", [b"one.test", b"two.test"])
    assert await found.on_trio("a" * 64 + ".test", "TXT") == ("nxdomain", [])
    with pytest.raises(AuthError, match="Trio"):
        found("a.test", "TXT")
    plain = find_resolver(["127.0.0.1"], port=zone.port)
    for _ in range(2):
        status, _ = await trio.to_thread.run_sync(plain, "a.test", "TXT")
        assert status == "found"
    assert zone.queries["a.test.", "TXT"] == 2, "each way of asking has asked once"
    nursery.cancel_scope.cancel()


def test_keys_that_cannot_sign() -> None:
    with pytest.raises(AuthError):
        DkimKey(b"nothing")
    with pytest.raises(AuthError):
        sign(b"To: a@example.org\r\n\r\n", SIGNER)
