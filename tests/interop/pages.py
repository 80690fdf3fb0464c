"""The tables of docs/interop.md: made from what runs, held by tests; ANGARIUM_WRITE=1 writes them."""

from __future__ import annotations

import os
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "interop.md"


def hold_table(name: str, rendered: str) -> None:
    """Fails when the table between the marks of `name` is not this one."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = PAGE.read_text().partition(begin)
    table, _, after = rest.partition(end)
    if os.environ.get("ANGARIUM_WRITE"):
        PAGE.write_text(f"{before}{begin}{rendered}{end}{after}")
    else:
        assert table == rendered
