"""All benches: the parts by pytest-benchmark, the whole by smtp-source and smtp-sink; prints and writes RESULTS.md.

    python benches/run.py [--smoke] [--parts | --whole] [--only CASE]

Figures are ratios within this run. `--smoke` runs everything briefly, so that a bench which broke is noticed, and
writes nothing. A row that falls short is printed as SHORT; the exit code is 0 all the same, since speed on a shared
machine is a report and not a test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benches.crates import crates  # noqa: E402
from benches.load.cases import CASES, Row, Scale  # noqa: E402


def parts(*, smoke: bool) -> Iterable[Row]:
    """Runs the pytest benches; in each group the test whose name holds "ours" is set against the others.

    A test may say in `benchmark.extra_info["wanted"]` how many times faster ours is to be.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "parts.json"
        brief = ["--benchmark-max-time=0.05", "--benchmark-min-rounds=1"] if smoke else []
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-only", *brief]
        command += [f"--benchmark-json={report}", "--benchmark-columns=median,ops", str(HERE)]
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise SystemExit(f"the benches of the parts failed with exit code {done.returncode}")
        measured = json.loads(report.read_text())["benchmarks"]
    groups = defaultdict(list)
    for bench in measured:
        groups[bench["group"] or bench["name"]].append(bench)
    for group, benches in groups.items():
        ours = next((b for b in benches if "ours" in b["name"]), None)
        for other in benches:
            if ours is None or other is ours:
                continue
            times = other["stats"]["median"] / ours["stats"]["median"]
            detail = f"{ours['stats']['median'] * 1e6:.2f} µs; {other['stats']['median'] * 1e6:.2f} µs"
            wanted = other["extra_info"].get("wanted")
            yield Row(group, f"times {other['name'].removeprefix('test_')}", times, wanted, detail=detail)


def table(rows: Iterable[Row]) -> str:
    lines = ["| case | figure | value | wanted | | noise | detail |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        sign = "≤" if row.at_most else "≥"
        wanted = f"{sign} {row.wanted:g}" if row.wanted is not None else ""
        value = "" if row.value is None else f"{row.value:.3g}"
        lines.append(f"| {row.case} | {row.figure} | {value} | {wanted} | {row.verdict} | {row.noise} | {row.detail} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--smoke", action="store_true", help="run everything briefly and write nothing")
    parser.add_argument("--parts", action="store_true", help="only the parts")
    parser.add_argument("--whole", action="store_true", help="only the whole")
    parser.add_argument("--only", action="append", choices=sorted(CASES), help="only these cases of the whole")
    asked = parser.parse_args()
    # A run that is told to end leaves through its `with` blocks, and they end its servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows: list[Row] = []
    # The idle case holds thousands of sockets open on both sides.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if not asked.whole and not asked.only:
        rows += show(parts(smoke=asked.smoke))
        rows += show(crates(smoke=asked.smoke))
    if not asked.parts:
        for name in asked.only or CASES:
            rows += show(CASES[name](Scale(smoke=asked.smoke)))
    if not asked.smoke and not asked.only:
        (HERE / "RESULTS.md").write_text(report(rows))


def show(rows: Iterable[Row]) -> list[Row]:
    shown = []
    for row in rows:
        value = "" if row.value is None else f"{row.value:.3g}"
        print(f"{row.case} | {row.figure}: {value} {row.verdict} | noise {row.noise} | {row.detail}", flush=True)
        shown.append(row)
    return shown


def report(rows: list[Row]) -> str:
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {sys.version.split()[0]}"
    )
    head = (
        f"# Results of `make bench`\n\nOne run on {day}: {machine}. Ratios within this run; see README.md for how.\n\n"
    )
    return head + table(rows) + "\n"


if __name__ == "__main__":
    main()
