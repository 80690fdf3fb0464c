"""How commands show things: rows in columns, ages, sizes, and JSON lines for programs."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter, validators

# --limit of every listing.
Rows = Annotated[int, Parameter(name=["--limit", "-n"], validator=validators.Number(gte=1))]
UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def now() -> int:
    """Unix milliseconds."""
    return int(time.time() * 1000)


def age(since: int, at: int | None = None) -> str:
    """How long ago, or in how long, in its largest unit: "5m", "in 2h", "now"."""
    seconds = ((now() if at is None else at) - since) / 1000
    for size, unit in UNITS:
        if abs(seconds) >= size:
            return f"{int(seconds / size)}{unit}" if seconds > 0 else f"in {int(-seconds / size)}{unit}"
    return "now"


def moment(at: int) -> str:
    """Local time to the second."""
    return datetime.fromtimestamp(at / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(octets: int) -> str:
    amount = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("the last unit takes all")


def plain(text: str) -> str:
    """Without what could steer a terminal; mail is full of foreign text."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def json_line(value: Any) -> None:
    """One value as one line of JSON on standard output."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def columns(head: Sequence[str], rows: Iterable[Sequence[str]], *, nothing: str) -> None:
    """Prints rows under a head, each column as wide as its widest cell; the last is cut at the terminal's edge."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        print(nothing)
        return
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    edge = shutil.get_terminal_size((160, 40)).columns if sys.stdout.isatty() else None
    for row in [list(head), *cells]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        print(line if edge is None or len(line) <= edge else line[: edge - 1] + "…")


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Prints `name: value` lines with the values aligned."""
    rows = [(name, plain(value)) for name, value in rows]
    width = max((len(name) for name, _ in rows), default=0) + 1
    for name, value in rows:
        print(f"{name + ':':{width}} {value}".rstrip())
