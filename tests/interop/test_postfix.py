"""Mail to a real Postfix and from a real Postfix (its own instance, from the service scripts), and to smtp-sink."""

from __future__ import annotations

import os
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import outside
from tests.harness import ServerProcess, free_port

BODIES = {
    "text": "plain text\r\n",
    "dots": ".\r\n..\r\n.leading\r\n\r\n.\r\n",
    "long": ("0123456789" * 90 + "\r\n") * 20,
    "large": ("x" * 76 + "\r\n") * 40_000,
    "empty": "",
}

CONFIGURATION = """
[server]
hostname = "mx.interop.example"
data = "data"

[[listen]]
address = "127.0.0.1:{port}"
profile = "relay"

[relay]
networks = ["127.0.0.0/8"]

[control]
address = "127.0.0.1:{control}"
{rest}
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that Postfix's own users may enter."""
    with tempfile.TemporaryDirectory(prefix="angarium-interop-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def send(port: int, name: str, body: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        text = f"From: a@interop.example\r\nTo: b@interop.example\r\nSubject: {name}\r\n\r\n{body}"
        client.sendmail("a@interop.example", ["b@interop.example"], text.encode())


def wait_for(count: Callable[[], int], wanted: int, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while count() < wanted:
        assert time.monotonic() < end, f"{count()} of {wanted} arrived in {seconds} s"
        time.sleep(0.1)


def mails(folder: Path) -> dict[str, bytes]:
    """Subject to body, of the files in a Maildir."""
    found = {}
    for file in folder.glob("new/*"):
        head, _, body = file.read_bytes().partition(b"\n\n")
        subject = next(line for line in head.split(b"\n") if line.startswith(b"Subject: "))
        found[subject.removeprefix(b"Subject: ").strip().decode()] = body
    return found


def test_to_postfix(tmp_path: Path, open_folder: Path) -> None:
    with outside.service("postfix", free_port(), open_folder / "postfix") as (host, postfix_port):
        rest = f'[smarthost]\nhost = "[{host}]"\nport = {postfix_port}\n'
        port = free_port()
        server = ServerProcess(tmp_path, CONFIGURATION.format(port=port, control=free_port(), rest=rest))
        server.start(port)
        try:
            for name, body in BODIES.items():
                send(port, name, body)
            maildir = open_folder / "postfix" / "mail" / "all"
            wait_for(lambda: len(mails(maildir)), len(BODIES))
        finally:
            server.stop()
        arrived = mails(maildir)
    for name, body in BODIES.items():
        assert arrived[name] == body.replace("\r\n", "\n").encode(), name


def test_from_postfix(tmp_path: Path, open_folder: Path) -> None:
    port = free_port()
    server = ServerProcess(tmp_path, CONFIGURATION.format(port=port, control=free_port(), rest=""))
    server.config.write_text(server.config.read_text().replace('profile = "relay"', 'profile = "mx"') + CATCH_ALL)
    server.start(port)
    settings = {"POSTFIX_RELAY": f"127.0.0.1:{port}"}
    try:
        with outside.service("postfix", free_port(), open_folder / "postfix", **settings) as (_, postfix_port):
            for name, body in BODIES.items():
                send(postfix_port, name, body)
            maildir = tmp_path / "mail" / "all"
            wait_for(lambda: len(mails(maildir)), len(BODIES))
    finally:
        server.stop()
    arrived = mails(maildir)
    for name, body in BODIES.items():
        assert arrived[name] == body.replace("\r\n", "\n").encode(), name


CATCH_ALL = """
[local]
domains = { "interop.example" = "all" }
folder = "mail"
"""


def test_to_smtp_sink(tmp_path: Path, open_folder: Path) -> None:
    sink_port, port = free_port(), free_port()
    dumps = open_folder / "dumps"
    dumps.mkdir()
    dumps.chmod(0o777)
    # As root it wants to be somebody else.
    somebody = ["-u", "nobody"] if os.getuid() == 0 else []
    command = [outside.program("smtp-sink"), *somebody, "-d", "%M.", f"127.0.0.1:{sink_port}", "100"]
    sink = subprocess.Popen(command, cwd=dumps, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rest = f'[smarthost]\nhost = "[127.0.0.1]"\nport = {sink_port}\n'
    server = ServerProcess(tmp_path, CONFIGURATION.format(port=port, control=free_port(), rest=rest))
    try:
        server.start(port)
        source = [outside.program("smtp-source"), "-s", "5", "-m", "100", "-l", "4096", "-f", "a@b.example"]
        subprocess.run([*source, "-t", "c@d.example", f"127.0.0.1:{port}"], check=True, timeout=60)
        wait_for(lambda: len(list(dumps.iterdir())), 100)
    finally:
        server.stop()
        sink.terminate()
        sink.wait()
