"""The README's Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_every_block_runs_up_to_its_main() -> None:
    """Definitions and imports of each block; the server example only serves as `__main__`."""
    assert len(BLOCKS) >= 3
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_the_server_is_the_example() -> None:
    assert (ROOT / "examples" / "trio_server.py").read_text() in BLOCKS
