"""The first run: an empty folder, no file, and every way in which a person would try it out."""

from __future__ import annotations

import contextlib
import json
import os
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests import outside
from tests.harness import COMMAND
from tests.site import angarium, wait_until

SMTP, CONTROL = 2525, 8025
UMLAUT = "Grüße, 世界"


class FirstRun:
    """`angarium serve` without a file, in an empty folder, on its own ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = (folder / "log").open("w+b")
        environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        self.process = subprocess.Popen(
            [COMMAND, "serve"], cwd=folder, env=environment, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL
        )

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return angarium(*arguments, folder=self.folder)

    def mails(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.run("mail", "list", "--json").stdout.splitlines()]

    def wait_for_mail(self, subject: str) -> str:
        """The id of the mail of this subject."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [str(mail["id"]) for mail in self.mails() if mail["subject"] == subject]
            return bool(found)

        wait_until(look, lambda: (self.mails(), self.said()))
        return found[0]


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstRun]:
    for port in (SMTP, CONTROL):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            outside.absent(f"the free port {port} of the first run")
    started = FirstRun(tmp_path_factory.mktemp("first-run"))
    try:
        wait_until(lambda: "control and metrics" in started.said() or started.process.poll() is not None, started.said)
        assert started.process.poll() is None, started.said()
        yield started
    finally:
        started.process.terminate()
        assert started.process.wait(60) == 0
        started.log.close()


def test_it_says_where_everything_is(first_run: FirstRun) -> None:
    said = first_run.said()
    data = first_run.folder / "state" / "angarium"
    for line in (
        "taking mail on 127.0.0.1:2525",
        "control and metrics on http://127.0.0.1:8025",
        f"data folder {data}",
        f"spool {data / 'spool'}",
        "read it with: angarium mail list",
    ):
        assert line in said


def test_mail_by_smtplib(first_run: FirstRun) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.org", "bob@anywhere.example", "by smtplib"
    mail.set_content(f"{UMLAUT}\n.\nend\n")
    with smtplib.SMTP("127.0.0.1", SMTP, timeout=30) as client:
        client.send_message(mail)
    id = first_run.wait_for_mail("by smtplib")
    shown = first_run.run("mail", "show", id)
    assert shown.returncode == 0
    for line in ("From: ann@example.org", "To: bob@anywhere.example", "Subject: by smtplib", UMLAUT, ".\nend"):
        assert line in shown.stdout
    (listed,) = [row for row in first_run.mails() if row["id"] == id]
    assert (listed["mailbox"], listed["from"], listed["to"]) == ("catch-all", "ann@example.org", "bob@anywhere.example")
    assert "by smtplib" in first_run.run("mail", "list").stdout
    assert json.loads(first_run.run("mail", "show", id, "--json").stdout)["text"].startswith(UMLAUT)


def test_mail_raw_is_what_lies_there(first_run: FirstRun) -> None:
    with smtplib.SMTP("127.0.0.1", SMTP, timeout=30) as client:
        client.sendmail("a@example.org", ["b@example.net"], b"Subject: raw\r\n\r\n\xe4\xff\r\n..two dots\r\n")
    id = first_run.wait_for_mail("raw")
    environment = {**os.environ, "XDG_STATE_HOME": str(first_run.folder / "state")}
    raw = subprocess.run(
        [COMMAND, "mail", "raw", id.lower()], cwd=first_run.folder, env=environment, capture_output=True, check=True
    ).stdout
    assert raw.endswith(b"Subject: raw\n\n\xe4\xff\n..two dots\n")
    message = BytesParser().parsebytes(raw)
    assert message["Return-Path"] == "<a@example.org>"
    assert id.partition(".")[0] in message["Received"]


def test_mail_by_swaks(first_run: FirstRun) -> None:
    command = [outside.program("swaks"), "--server", f"127.0.0.1:{SMTP}", "--from", "s@example.org", "--to"]
    swaks = [*command, "t@example.net,u@example.net", "--header", "Subject: by swaks", "--body", "Hello.\n"]
    sent = subprocess.run(swaks, capture_output=True, text=True, timeout=60, check=False)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    wait_until(lambda: len([m for m in first_run.mails() if m["subject"] == "by swaks"]) == 2, first_run.said)


def test_status_is_good(first_run: FirstRun) -> None:
    status = first_run.run("status")
    assert status.returncode == 0, status
    for words in ("accepting: yes", "127.0.0.1:2525"):
        assert words in " ".join(status.stdout.split())


def test_python_dash_m(first_run: FirstRun) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "angarium", "status", "--json"],
        cwd=first_run.folder,
        env={**os.environ, "XDG_STATE_HOME": str(first_run.folder / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["accepting"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mail", "show", "ZZZZ"), "there is no mail 'ZZZZ'"),
        (("mail", "raw", "../../etc/passwd"), "there is no mail"),
        (("mail", "list", "--mailbox", "nobody"), "there is no mailbox 'nobody'"),
        (("mail", "list", "--mailbox", "../spool"), "there is no mailbox '../spool'"),
        (("mail", "list", "--mailbox", "*"), "there is no mailbox '*'"),
        (("queue", "show", "ZZZZ"), "ZZZZ"),
        (("queue", "show", "../../health"), "health"),
    ],
)
def test_what_is_not_there(first_run: FirstRun, arguments: tuple[str, ...], words: str) -> None:
    ended = first_run.run(*arguments)
    assert_one_sentence(ended)
    assert words in ended.stderr


def assert_one_sentence(ended: subprocess.CompletedProcess[str], code: int = 1) -> None:
    assert ended.returncode == code, ended
    assert ended.stderr.startswith("angarium: "), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stdout == ""


def test_a_mailbox_of_many_pages(first_run: FirstRun) -> None:
    """--limit bounds the rows and says how many there are beside."""
    with smtplib.SMTP("127.0.0.1", SMTP, timeout=30) as client:
        for number in range(60):
            client.sendmail("a@example.org", ["many@example.net"], f"Subject: many {number}\r\n\r\n.\r\n".encode())
    first_run.wait_for_mail("many 59")
    wait_until(lambda: len(list_many(first_run)) == 60, first_run.said)
    listed = first_run.run("mail", "list", "--limit", "10").stdout.splitlines()
    assert len(listed) == 12
    assert "more; --limit" in listed[-1]


def list_many(first_run: FirstRun) -> list[str]:
    rows = first_run.run("mail", "list", "--json", "--limit", "1000").stdout.splitlines()
    return [row for row in rows if '"many ' in row]
