"""The two ends of a run: smtp-source sends, smtp-sink receives and counts (both from Debian's postfix package)."""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .machine import Account, Noise, process_cpu

ROOT = Path(__file__).resolve().parents[2]
BACKLOG = 1000
# A run that takes longer than this has hung.
LIMIT_SECONDS = 180
# Without a new delivery for this long, what is missing will not come.
QUIET_SECONDS = 15


@dataclass(frozen=True)
class Load:
    """What smtp-source sends: `messages` of `size` bytes by `sessions` at once, one or many per connection."""

    messages: int
    sessions: int = 20
    size: int = 4096
    reuse: bool = False

    def command(self, port: int) -> list[str]:
        reuse = ["-d"] if self.reuse else []
        shape = ["-s", str(self.sessions), "-m", str(self.messages), "-l", str(self.size), "-C", "20"]
        ends = ["-f", "sender@load.example", "-t", "recipient@sink.example"]
        return [program("smtp-source"), *shape, *reuse, *ends, f"127.0.0.1:{port}"]


@dataclass(frozen=True)
class Flood(Load):
    """What our own generator sends (rust/engine/examples/flood): it pipelines, and takes `options` as it says."""

    options: tuple[str, ...] = ()

    def command(self, port: int) -> list[str]:
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        numbers = (port, self.sessions, self.messages, self.size)
        return [str(target / "release" / "examples" / "flood"), *map(str, numbers), *self.options]


@dataclass(frozen=True)
class Result:
    """One run. `rate` in messages a second: accepted, or with a sink from first injection to last delivery."""

    rate: float
    cpu_per_thousand: float
    memory: int
    noise: Noise
    ok: bool
    trouble: str = ""


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise SystemExit(f"{name} is not installed; ci/peers install brings it")
    return found


class Sink:
    """smtp-sink on a port, with the number of messages it has taken."""

    def __init__(self, port: int) -> None:
        refuse_taken_port("smtp-sink", port)
        self.port = port
        self._file = tempfile.NamedTemporaryFile(prefix="angarium-sink-", dir="/dev/shm")  # noqa: SIM115
        command = [program("smtp-sink"), "-u", "nobody", "-c", f"127.0.0.1:{port}", str(BACKLOG)]
        self._process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port)
        except BaseException:
            self.close()
            raise

    def count(self) -> int:
        tail = Path(self._file.name).read_bytes()[-200:]
        numbers = re.findall(rb"mesg=(\d+)\r", tail)
        return int(numbers[-1]) if numbers else 0

    def cpu(self) -> float:
        return process_cpu(self._process.pid)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._file.close()


def refuse_taken_port(name: str, port: int) -> None:
    """Raises when something listens on 127.0.0.1:`port` already: the load would go there, outside every account."""
    with socket.socket() as sock:
        sock.settimeout(1)
        if sock.connect_ex(("127.0.0.1", port)) == 0:
            raise SystemExit(f"{name}: something listens on 127.0.0.1:{port} already, perhaps left over; end it first")


def wait_for_port(port: int, *, seconds: float = 30, opening: bytes = b"") -> None:
    """Returns when something accepts and greets on 127.0.0.1:`port`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as sock:
                sock.settimeout(3)
                sock.sendall(opening)
                if sock.recv(200):
                    sock.sendall(b"QUIT\r\n")
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"nothing greets on port {port}")


def send(load: Load, port: int) -> tuple[float, float, str]:
    """Runs smtp-source; gives (wall seconds, its CPU seconds, what went wrong or "")."""
    before = children_cpu()
    start = time.monotonic()
    try:
        done = subprocess.run(load.command(port), capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
        trouble = done.stderr.strip()[-200:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        trouble = f"smtp-source did not end in {LIMIT_SECONDS} s"
    return time.monotonic() - start, children_cpu() - before, trouble


def children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(load: Load, port: int, account: Account, sink: Sink | None = None) -> Result:
    """One measured run against the server on `port`; with a sink the run ends with the last delivery."""
    noise = Noise()
    taken_before = sink.count() if sink else 0
    sink_before = sink.cpu() if sink else 0.0
    cpu_before = account.cpu()
    noise.begin()
    start = time.monotonic()
    wall, source_cpu, trouble = send(load, port)
    if sink is not None:
        wall, missing = wait_delivered(sink, taken_before + load.messages, start)
        trouble = trouble or (f"{missing} messages did not arrive" if missing else "")
    used = account.cpu() - cpu_before
    sink_used = sink.cpu() - sink_before if sink else 0.0
    noise.end(seconds=wall, ours=used + source_cpu + sink_used)
    return Result(
        rate=load.messages / wall,
        cpu_per_thousand=1000 * used / load.messages,
        memory=account.memory(),
        noise=noise,
        ok=not trouble,
        trouble=trouble,
    )


def wait_delivered(sink: Sink, wanted: int, start: float) -> tuple[float, int]:
    """(seconds from `start` to the last delivery seen, how many of `wanted` are missing)."""
    count, changed = sink.count(), time.monotonic()
    while count < wanted and time.monotonic() - changed < QUIET_SECONDS:
        time.sleep(0.005)
        now = sink.count()
        if now != count:
            count, changed = now, time.monotonic()
    return changed - start, max(0, wanted - count)
