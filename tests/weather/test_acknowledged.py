"""S1 as the kernel sees it: strace shows no 250 for a message before the fdatasync behind its write (spool.md)."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests import outside
from tests.site import running
from tests.talk import Talk, content

MESSAGES = 20
CALLS = "trace=pwritev,pwritev2,pwrite64,fdatasync,write,writev,sendto,sendmsg"
# pid, call and what stands behind it; a call that another thread interrupts comes in two lines.
LINE = re.compile(r"^(\d+)\s+(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$")


def happenings(trace: str) -> Iterator[str]:
    """`written`, `synced` (content log, completed) and `said` (250 for a message), in their order."""
    started: dict[str, str] = {}
    for line in trace.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        pid, resumed, called, rest = found.groups()
        text = started.pop(pid, "") + rest if resumed else rest
        if called in ("write", "writev", "sendto", "sendmsg") and "250 2.0.0 Queued" in rest:
            yield "said"  # when it begins: later would be too late
        if rest.endswith("<unfinished ...>"):
            started[pid] = rest
        elif "/content-" in text and " = -1" not in text:
            call = resumed or called
            if call == "fdatasync":
                yield "synced"
            elif call.startswith("pwrite"):
                yield "written"


def test_no_250_before_its_sync(tmp_path: Path) -> None:
    strace = outside.program("strace")
    trace = tmp_path / "trace"
    with running(tmp_path) as site:
        process = site.server.process
        assert process is not None
        command = [strace, "-f", "-y", "-s", "64", "-e", CALLS, "-o", str(trace), "-p", str(process.pid)]
        watching = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert watching.stderr is not None
        assert b"attached" in watching.stderr.readline()
        with Talk(site.port) as talk:
            for number in range(MESSAGES):
                answer = talk.mail("a@client.test", ["b@far.test"], content(f"{number}"))
                assert answer.startswith("250 2.0.0 Queued"), answer
        watching.send_signal(signal.SIGINT)
        watching.wait(30)
    order = list(happenings(trace.read_text()))
    assert order.count("said") == MESSAGES, order
    since: list[str] = []
    for happening in order:
        if happening == "said":
            assert "written" in since, f"a 250 without a write: {order}"
            assert "synced" in since[since.index("written") :], f"a 250 before its fdatasync: {order}"
            since = []
        else:
            since.append(happening)
