"""What every row is made of: one server under one load, its medians, and what the project holds itself to."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field, replace

from .mail import Load, Result, Sink, run
from .servers import Absent, Starter

REPEATS = 3
SINK_PORT = 2600


@dataclass(frozen=True)
class Row:
    """One line of RESULTS.md. `wanted` is the least (or most) that the project holds itself to; None: reported."""

    case: str
    figure: str
    value: float | None
    wanted: float | None = None
    at_most: bool = False
    noise: str = ""
    detail: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not run"
        if self.wanted is None:
            return "reported"
        good = self.value <= self.wanted if self.at_most else self.value >= self.wanted
        return "holds" if good else "SHORT"


@dataclass
class Figures:
    """The runs of one server under one load."""

    runs: list[Result] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(run.rate for run in self.runs)

    @property
    def cpu(self) -> float:
        return statistics.median(run.cpu_per_thousand for run in self.runs)

    @property
    def noise(self) -> str:
        return f"{statistics.median(run.noise.percent for run in self.runs):.0f} %"

    @property
    def trouble(self) -> str:
        return next((run.trouble for run in self.runs if not run.ok), "")

    def __str__(self) -> str:
        text = f"{self.rate:,.0f}/s, {self.cpu:.3f} CPU s per 1,000"
        return f"{text}, NOT OK: {self.trouble}" if self.trouble else text


def measure(starter: Starter, load: Load, *, relay: bool = False, repeats: int = REPEATS) -> Figures | None:
    """Runs one server under one load; None when the peer is not installed (says so on standard error)."""
    figures = Figures()
    sink = Sink(SINK_PORT) if relay else None
    try:
        with starter(relay_to=SINK_PORT if relay else None) as server:
            run(replace(load, messages=min(200, load.messages)), server.port, server.account, sink)
            for _ in range(repeats):
                figures.runs.append(run(load, server.port, server.account, sink))
    except Absent as absent:
        print(f"left out: {absent}", file=sys.stderr)
        return None
    finally:
        if sink is not None:
            sink.close()
    return figures


def ratio(ours: float, theirs: Figures | None, get: str) -> float | None:
    return ours / getattr(theirs, get) if theirs else None


class Scale:
    """How many messages a case sends: enough to measure, or few enough for a smoke run."""

    def __init__(self, *, smoke: bool) -> None:
        self.smoke = smoke
        self.repeats = 1 if smoke else REPEATS

    def messages(self, full: int) -> int:
        return max(200, full // 50) if self.smoke else full
