"""Runs every outside suite: `python -m tests.suites [name ...]`.

Prints `name passed/of` for each, then its misses. A suite whose folder is absent is named; with ANGARIUM_REQUIRE=all
that makes the exit code 1.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from tests import suites
from tests.outside import REQUIRED, SHARED


def main(wanted: list[str]) -> int:
    names = wanted or sorted(module.name for module in pkgutil.iter_modules(suites.__path__) if module.name[0] != "_")
    absent = []
    for name in names:
        suite = importlib.import_module(f"tests.suites.{name}")
        if not hasattr(suite, "run"):
            continue
        folder: Path = SHARED / "suites" / getattr(suite, "FOLDER", name)
        if folder.exists():
            print(suite.run(folder), flush=True)
        else:
            absent.append(name)
            print(f"{name} absent")
    return 1 if absent and REQUIRED else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
