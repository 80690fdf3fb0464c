"""What the machine did during a run: CPU of a server with all its children, memory, and the noise of everything else.

CPU is read from a control group that the server is started in (cgroup v1 cpuacct, or v2), so that daemons which
fork twice are counted too; where neither can be made, from /proc over the process tree. Rates on a shared machine
mean nothing without the noise beside them: `Noise.percent` is the CPU that neither server nor load generator used, in
percent of one core.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
GROUP_ROOTS = (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


class Account:
    """Counts the CPU seconds and memory of the processes started in it. `join` is for `preexec_fn`."""

    def __init__(self, name: str) -> None:
        self._root: int | None = None
        self._group = self._make(f"angarium_bench_{os.getpid()}_{name}")

    @staticmethod
    def _make(name: str) -> Path | None:
        for root in GROUP_ROOTS:
            group = root / name
            try:
                group.mkdir(exist_ok=True)
            except OSError:
                continue
            if (group / "cpuacct.usage").exists() or (group / "cpu.stat").exists():
                return group
            group.rmdir()
        return None

    def join(self) -> None:
        """Puts the calling process into the account."""
        if self._group is not None:
            (self._group / "cgroup.procs").write_text(str(os.getpid()))

    def follow(self, pid: int) -> None:
        """Names the first process, for machines without control groups."""
        self._root = pid

    def pids(self) -> list[int]:
        if self._group is not None:
            return [int(pid) for pid in (self._group / "cgroup.procs").read_text().split()]
        return [pid for pid in descendants(self._root) if Path(f"/proc/{pid}").exists()] if self._root else []

    def cpu(self) -> float:
        """CPU seconds used so far."""
        if self._group is not None and (self._group / "cpuacct.usage").exists():
            return int((self._group / "cpuacct.usage").read_text()) / 1e9
        if self._group is not None:
            usage = re.search(r"usage_usec (\d+)", (self._group / "cpu.stat").read_text())
            return int(usage[1]) / 1e6 if usage else 0.0
        return sum(process_cpu(pid) for pid in self.pids())

    def memory(self) -> int:
        """Bytes of memory that belong to these processes (proportional set size)."""
        return sum(process_memory(pid) for pid in self.pids())

    def close(self) -> None:
        if self._group is not None:
            self._group.rmdir()


def descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def process_cpu(pid: int) -> float:
    """User and system seconds of one process and of the children it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def process_memory(pid: int) -> int:
    try:
        pss = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(pss[1]) * 1024 if pss else 0


def machine_cpu() -> tuple[float, float]:
    """(busy, stolen) CPU seconds of the whole machine."""
    times = [int(x) / TICKS for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = times
    return user + nice + system + irq + softirq, steal


@dataclass
class Noise:
    """What others used between `begin` and `end`, in percent of one core."""

    percent: float = 0.0
    stolen: float = 0.0
    _before: tuple[float, float] = field(default=(0.0, 0.0))

    def begin(self) -> None:
        self._before = machine_cpu()

    def end(self, *, seconds: float, ours: float) -> None:
        """`ours`: CPU seconds that server, source and sink are known to have used."""
        busy, stolen = machine_cpu()
        self.percent = max(0.0, 100 * (busy - self._before[0] - ours) / max(seconds, 1e-9))
        self.stolen = 100 * (stolen - self._before[1]) / max(seconds, 1e-9)

    def __str__(self) -> str:
        return f"{self.percent:.0f} % others, {self.stolen:.1f} % stolen"
