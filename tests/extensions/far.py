"""The next host on the way of a message: it offers what a test says, and remembers what it was told.

`Far` is a `RecordingSink` whose answer to EHLO is the test's own and whose MAIL and RCPT lines are kept. `site_with` is
a server that relays to it and keeps mail for `here.test` in the mailbox *here*, where its reports arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from email.message import Message
from pathlib import Path

from tests.harness import RecordingSink
from tests.site import Site, relay, running, wait_until

TABLES = """
[local]
domains = {{ "here.test" = "here" }}

[reports]
collect = "0s"
{reports}

{rest}
"""


class Far(RecordingSink):
    """`offers`: EHLO keywords. `refuse`: a command line (or "<dot>") to a reply other than the usual one."""

    def __init__(self, *offers: str, refuse: Callable[[str], str | None] = lambda _line: None) -> None:
        self.lines: list[str] = []
        self.offers = offers
        self.other = refuse
        super().__init__(refuse=self.answer)
        self.keep_bodies = True

    def answer(self, line: str) -> str | None:
        if line[:4].upper() in ("MAIL", "RCPT"):
            self.lines.append(line)
        if line[:4].upper() == "EHLO":
            return "\r\n".join((*("250-" + word for word in ("far.test", *self.offers)), "250 8BITMIME"))
        return self.other(line)

    def told(self, verb: str) -> list[str]:
        return [line for line in self.lines if line.startswith(verb)]

    def __enter__(self) -> Far:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def site_with(
    folder: Path, port: int = 9, *, listen: str = "", reports: str = "", rest: str = "", suspended: bool = False
) -> AbstractContextManager[Site]:
    """A relay for everybody on loopback to the host on `port`."""
    profile = "" if "profile" in listen else 'profile = "relay"\n'
    tables = relay(port, suspended=suspended) + TABLES.format(reports=reports, rest=rest)
    return running(folder, tables, listen=profile + listen, greets="proxy_networks" not in listen)


def the_mail(site: Site, mailbox: str = "here") -> Message:
    """The only message in a mailbox, once it is there."""
    wait_until(lambda: len(site.mails(mailbox)) >= 1, lambda: (site.queue(), site.facts()))
    (mail,) = site.mails(mailbox)
    return mail


def fields_of(report: Message) -> tuple[Message, list[Message]]:
    """The fields for the message and for each recipient of a delivery report (RFC 3464)."""
    (status,) = [part for part in report.walk() if part.get_content_type() == "message/delivery-status"]
    groups = status.get_payload()
    assert isinstance(groups, list)
    whole, *each = (group for group in groups if isinstance(group, Message) and group.keys())
    return whole, each
