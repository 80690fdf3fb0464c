"""What a sender asks for beside the delivery, over real sockets: DSN, FUTURERELEASE, DELIVERBY, MT-PRIORITY.

Each is followed to where it must show: at the next host, in the report, in the queue.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.extensions.far import Far, fields_of, site_with, the_mail
from tests.site import Site, wait_until
from tests.talk import Talk, content

GONE = "550 5.1.1 no such box"


def gone(line: str) -> str | None:
    return GONE if line.startswith("RCPT") else None


def send(site: Site, mail: str, rcpt: str, body: bytes | None = None) -> str:
    """One message whose MAIL and RCPT end like this; the reply to its dot."""
    with Talk(site.port) as talk:
        for line in (f"MAIL FROM:{mail}", f"RCPT TO:{rcpt}"):
            reply = talk.say(line)
            assert reply.startswith("250"), f"{line}: {reply}"
        talk.data()
        talk.send((body or content()) + b".\r\n")
        return talk.read()


def entry(site: Site) -> dict[str, object]:
    wait_until(lambda: len(site.queue()) == 1, lambda: site.facts())
    (row,) = site.queue()
    return row


def finished(site: Site) -> None:
    wait_until(lambda: not site.queue(), lambda: site.queue())


# RFC 3461


def test_dsn_words_reach_the_next_host_that_has_dsn(tmp_path: Path) -> None:
    with Far("DSN") as far, site_with(tmp_path, far.port) as site:
        send(
            site,
            "<a@here.test> RET=HDRS ENVID=one+2Btwo",
            "<b@far.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;B+2Bx@far.test",
        )
        wait_until(lambda: bool(far.messages), lambda: site.queue())
        (mail,), (rcpt,) = far.told("MAIL"), far.told("RCPT")
        assert "RET=HDRS" in mail
        assert "ENVID=one+2Btwo" in mail
        assert "ORCPT=rfc822;B+2Bx@far.test" in rcpt
        assert set(rcpt.partition("NOTIFY=")[2].split(" ")[0].split(",")) == {"FAILURE", "DELAY"}


def test_dsn_words_do_not_reach_a_host_without_dsn(tmp_path: Path) -> None:
    with Far() as far, site_with(tmp_path, far.port) as site:
        send(site, "<a@here.test> RET=HDRS ENVID=one", "<b@far.test> NOTIFY=FAILURE ORCPT=rfc822;b@far.test")
        wait_until(lambda: bool(far.messages), lambda: site.queue())
        assert not [line for line in far.lines if "RET=" in line or "NOTIFY=" in line or "ORCPT=" in line]


def test_a_failure_is_reported_in_the_words_of_its_sender(tmp_path: Path) -> None:
    with Far("DSN", refuse=gone) as far, site_with(tmp_path, far.port) as site:
        send(site, "<a@here.test> ENVID=QQ+2B314", "<b@far.test> NOTIFY=FAILURE ORCPT=rfc822;First@old.test")
        whole, (row,) = fields_of(the_mail(site))
        assert whole["Original-Envelope-Id"] == "QQ+314"
        assert row["Action"] == "failed"
        assert row["Status"] == "5.1.1"
        assert row["Original-Recipient"] == "rfc822; First@old.test"
        assert row["Final-Recipient"] == "rfc822; b@far.test"


def test_nothing_is_asked_and_a_failure_is_reported(tmp_path: Path) -> None:
    with Far(refuse=gone) as far, site_with(tmp_path, far.port) as site:
        send(site, "<a@here.test>", "<b@far.test>")
        whole, (row,) = fields_of(the_mail(site))
        assert whole["Original-Envelope-Id"] is None
        assert row["Action"] == "failed"


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS", "DELAY"])
def test_a_failure_that_nobody_asked_about_is_not_reported(tmp_path: Path, notify: str) -> None:
    with Far(refuse=gone) as far, site_with(tmp_path, far.port) as site:
        send(site, "<a@here.test>", f"<b@far.test> NOTIFY={notify}")
        wait_until(lambda: bool(far.told("RCPT")), lambda: site.queue())
        finished(site)
        # A report would have been owed before the entry went: another message that follows shows that none was.
        send(site, "<c@client.test>", "<x@here.test>", content("the only one"))
        assert the_mail(site)["Subject"] == "the only one"


@pytest.mark.parametrize(("ret", "whole"), [("FULL", True), ("HDRS", False)])
def test_how_much_of_the_original_comes_back(tmp_path: Path, ret: str, whole: bool) -> None:
    with Far(refuse=gone) as far, site_with(tmp_path, far.port) as site:
        send(site, f"<a@here.test> RET={ret}", "<b@far.test>", content(body="the text itself\r\n"))
        report = the_mail(site)
        kinds = [part.get_content_type() for part in report.walk()]
        assert ("message/rfc822" in kinds) is whole
        assert ("text/rfc822-headers" in kinds) is not whole
        assert ("the text itself" in report.as_string()) is whole


def test_a_bounce_has_no_bounce(tmp_path: Path) -> None:
    with Far(refuse=gone) as far, site_with(tmp_path, far.port) as site:
        send(site, "<>", "<b@far.test> NOTIFY=FAILURE")
        wait_until(lambda: bool(far.told("RCPT")), lambda: site.queue())
        finished(site)
        assert not site.mails("here")


@pytest.mark.parametrize(("extensions", "reported"), [((), True), (("DSN",), False)])
def test_a_success_is_reported_here_where_the_next_host_cannot(
    tmp_path: Path, extensions: tuple[str, ...], reported: bool
) -> None:
    with Far(*extensions) as far, site_with(tmp_path, far.port) as site:
        send(site, "<a@here.test> ENVID=E8", "<b@far.test> NOTIFY=SUCCESS ORCPT=rfc822;old@far.test")
        wait_until(lambda: bool(far.messages), lambda: site.queue())
        if reported:
            whole, (row,) = fields_of(the_mail(site))
            assert whole["Original-Envelope-Id"] == "E8"
            assert row["Action"] == "relayed"
            assert row["Status"].startswith("2.")
            assert row["Original-Recipient"] == "rfc822; old@far.test"
        finished(site)
        assert len(site.mails("here")) == reported


def test_a_delivery_into_our_own_mailbox_is_reported(tmp_path: Path) -> None:
    with Far() as far, site_with(tmp_path, far.port) as site:
        send(site, "<a@here.test>", "<b@here.test> NOTIFY=SUCCESS")
        wait_until(lambda: len(site.mails("here")) == 2, lambda: site.queue())
        (report,) = (mail for mail in site.mails("here") if mail.get_content_type() == "multipart/report")
        _, (row,) = fields_of(report)
        assert row["Action"] == "delivered"


def later(line: str) -> str | None:
    return "451 4.2.0 not now" if line.startswith("RCPT") else None


@pytest.mark.parametrize(
    ("mail", "rcpt", "told"),
    [
        ("", " NOTIFY=DELAY", True),
        ("", "", False),
        (" BY=1;N", "", True),
        (" BY=1;N", " NOTIFY=NEVER", False),
    ],
)
def test_who_asked_hears_that_it_is_late(tmp_path: Path, mail: str, rcpt: str, told: bool) -> None:
    with (
        Far(refuse=later) as far,
        site_with(tmp_path, far.port, listen='deliver_by_least = "1s"', reports='delay_after = "1s"') as site,
    ):
        send(site, f"<a@here.test>{mail}", f"<b@far.test>{rcpt}")
        if not told:
            # One that asked, and later: with its notice any other would be here.
            send(site, "<a@here.test>", "<c@far.test> NOTIFY=DELAY")
        _, (row,) = fields_of(the_mail(site))
        assert row["Final-Recipient"] == f"rfc822; {'b' if told else 'c'}@far.test"
        assert row["Action"] == "delayed"
        assert row["Status"] == "4.2.0"
        assert row["Will-Retry-Until"]
        assert "not now" in str(row["Diagnostic-Code"])
        assert "b@far.test" in [entry["recipient"] for entry in site.queue()], "it is tried on"


# RFC 4865


def test_held_for_a_time(tmp_path: Path) -> None:
    with Far() as far, site_with(tmp_path, far.port) as site:
        send(site, "<a@here.test> HOLDFOR=3600", "<b@far.test>")
        row = entry(site)
        left = int(str(row["due"])) / 1_000 - time.time()
        assert 3_000 < left <= 3_600
        assert not far.messages


def test_held_until_a_time(tmp_path: Path) -> None:
    with Far() as far, site_with(tmp_path, far.port) as site:
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7_200))
        send(site, f"<a@here.test> HOLDUNTIL={until}", "<b@far.test>")
        assert 7_000 < int(str(entry(site)["due"])) / 1_000 - time.time() <= 7_200
        assert not far.messages


def test_a_short_hold_ends_by_itself(tmp_path: Path) -> None:
    with Far() as far, site_with(tmp_path, far.port) as site:
        send(site, "<a@here.test> HOLDFOR=1", "<b@far.test>")
        wait_until(lambda: bool(far.messages), lambda: site.queue())


@pytest.mark.parametrize(
    ("listen", "mail", "code"),
    [
        ('hold_at_most = "1h"', "HOLDFOR=3601", "501"),
        ('hold_at_most = "1h"', "HOLDFOR=60 HOLDUNTIL=2030-01-01T00:00:00Z", "501"),
        ('without = ["FUTURERELEASE"]', "HOLDFOR=60", "555"),
        # The world does not say when we deliver.
        ('profile = "mx"', "HOLDFOR=60", "555"),
    ],
)
def test_holds_that_are_refused(tmp_path: Path, listen: str, mail: str, code: str) -> None:
    with site_with(tmp_path, listen=listen) as site, Talk(site.port) as talk:
        assert talk.say(f"MAIL FROM:<a@here.test> {mail}").startswith(code)


# RFC 2852


def test_by_a_time_or_back(tmp_path: Path) -> None:
    with Far(refuse=later) as far, site_with(tmp_path, far.port, listen='deliver_by_least = "1s"') as site:
        with Talk(site.port) as talk:
            assert "DELIVERBY 1" in talk.capabilities
            assert talk.say("MAIL FROM:<a@here.test> BY=0;R").startswith("501")
        send(site, "<a@here.test> BY=1;R", "<b@far.test>")
        expires = int(str(entry(site)["expires"])) / 1_000
        wait_until(lambda: time.time() > expires and entry(site)["attempts"] == 1, lambda: site.queue())
        assert site.run("queue", "retry", "--all").returncode == 0
        _, (row,) = fields_of(the_mail(site))
        assert row["Action"] == "failed"
        # RFC 3463 3.5: the delivery time has passed.
        assert row["Status"] == "5.4.7"


@pytest.mark.parametrize("mode", ["R", "N"])
def test_by_a_time_goes_on_with_what_is_left(tmp_path: Path, mode: str) -> None:
    with Far("DELIVERBY 1") as far, site_with(tmp_path, far.port) as site:
        send(site, f"<a@here.test> BY=3600;{mode}", "<b@far.test>")
        wait_until(lambda: bool(far.messages), lambda: site.queue())
        (mail,) = far.told("MAIL")
        seconds, _, said = mail.partition("BY=")[2].partition(";")
        assert said == mode
        assert 3_000 < int(seconds) <= 3_600


# RFC 6710


@pytest.mark.parametrize(("said", "kept"), [("9", "urgent"), ("2", "high"), ("0", "normal"), ("-3", "bulk")])
def test_a_priority_is_a_class(tmp_path: Path, said: str, kept: str) -> None:
    with site_with(tmp_path, suspended=True) as site:
        send(site, f"<a@here.test> MT-PRIORITY={said}", "<b@far.test>")
        assert entry(site)["priority"] == kept


def test_a_stranger_gives_itself_no_priority(tmp_path: Path) -> None:
    with site_with(tmp_path, listen='profile = "mx"') as site, Talk(site.port) as talk:
        assert "MT-PRIORITY" not in talk.capabilities
        assert talk.say("MAIL FROM:<a@far.test> MT-PRIORITY=9").startswith("555")
