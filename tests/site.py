"""One running server for a test: its configuration made of pieces, its ports, its command line and its control API.

`running` starts the installed server in a folder of its own and stops it at the end; everything that a test asks of it
goes over real sockets or through the real command. Nothing here waits without a bound.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from tests.harness import COMMAND, ServerProcess, free_port

# How long a test waits for what should happen at once, on a machine with much else to do.
PATIENCE = 30.0

CONFIGURATION = """
[server]
hostname = "mx.site.test"
data = "data"

[[listen]]
address = "127.0.0.1:{port}"
{listen}

[control]
address = "127.0.0.1:{control}"

{rest}
"""

# A relay to one host, which keeps what it takes while `suspended`, or tries again after `again`.
RELAY = """
[relay]
networks = ["127.0.0.0/8"]

[smarthost]
host = "[127.0.0.1]"
port = {port}

[delivery]
suspended = {suspended}

[delivery.retry]
other = ["{again}"]
throttle = ["{again}"]
greylist = ["{again}"]
"""


def relay(port: int, *, suspended: bool = False, again: str = "1h") -> str:
    """The tables of a relay to the host on `port` of loopback, for `running`."""
    return RELAY.format(port=port, suspended=str(suspended).lower(), again=again)


@dataclass
class Site:
    """A server in `folder`; `start` may be called again after `server.kill()` or `server.stop()`."""

    folder: Path
    port: int
    control: int
    server: ServerProcess
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        self.server.start(self.port)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def spool(self) -> Path:
        return self.data / "spool"

    def log(self) -> str:
        """What the server said on standard output and standard error, over all its starts."""
        return self.server.log.read_text()

    def run(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """`angarium …` with this site's settings."""
        return angarium(*arguments, folder=self.folder, text=text, **self.environment)

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command with --json says, line by line; it must succeed."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def queue(self, **filters: str) -> list[dict[str, Any]]:
        """All entries, page by page from the control socket."""
        rows: list[dict[str, Any]] = []
        asked = {"limit": "1000", **filters}
        while True:
            page = self.ask(f"/v1/queue?{urllib.parse.urlencode(asked)}")
            rows += page["entries"]
            if page["next"] is None:
                return rows
            asked["after"] = page["next"]

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.ask("/v1/status")
        return status

    def facts(self, **filters: str) -> list[dict[str, Any]]:
        """The journal from its beginning."""
        page = self.ask(f"/v1/journal?{urllib.parse.urlencode(filters)}")
        assert page["end"] is True
        rows: list[dict[str, Any]] = page["facts"]
        return rows

    def ask(self, path: str) -> Any:
        """What the control socket answers to a GET that must succeed."""
        connection = UnixConnection(self.data / "control.sock")
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            octets = answer.read()
            assert answer.status == 200, octets
            return json.loads(octets)
        finally:
            connection.close()

    def mails(self, mailbox: str) -> list[Message]:
        """What lies in a local mailbox."""
        files = sorted((self.data / "mail" / mailbox).glob("new/*"))
        return [BytesParser().parsebytes(file.read_bytes()) for file in files]

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """(status, body) from the control API on TCP."""
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Sample (name with its labels) to value, of the page for Prometheus."""
        status, page = self.get("/metrics")
        assert status == 200, page
        rows = (line.rpartition(" ") for line in page.decode().splitlines() if not line.startswith("#"))
        return {sample: float(value) for sample, _, value in rows}

    def metric(self, name: str) -> float:
        return self.metrics()[name]

    def peak_memory(self) -> int:
        """The most bytes of memory that the process has held so far (VmHWM of proc(5))."""
        assert self.server.process is not None
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the control socket at `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self.path))


@contextmanager
def running(
    folder: Path, rest: str = "", *, listen: str = "", start: bool = True, greets: bool = True
) -> Iterator[Site]:
    """A server whose file has `rest` (tables) and `listen` (keys of its only listener, which `greets` everybody)."""
    port, control = free_port(), free_port()
    text = CONFIGURATION.format(port=port, control=control, listen=listen, rest=rest)
    site = Site(folder, port, control, ServerProcess(folder, text))
    site.server.greets = greets
    if start:
        site.start()
    try:
        yield site
    finally:
        if site.server.process is not None:
            site.server.stop()


def angarium(
    *arguments: str, folder: Path, text: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The installed command, run in `folder` with its state there too."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "120", **environment},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def wait_until(holds: Callable[[], bool], what: Callable[[], object] | str, *, seconds: float = PATIENCE) -> None:
    """Polls; fails with `what` when it does not hold in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(0.02)
