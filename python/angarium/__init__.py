"""Angarium: a durable mail server, and accelerated parts for Python programs that handle mail.

The parts are `angarium.smtp`, `angarium.message`, `angarium.queue` and `angarium.reputation`; each is loaded when it is
first used. The server is `angarium.server` (`angarium serve` on the command line).
"""

from __future__ import annotations

import importlib
from typing import Any

PARTS = ("message", "queue", "reputation", "smtp")

__all__ = ["PARTS", "__version__"]


def __getattr__(name: str) -> Any:
    if name in PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version(__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *PARTS, "__version__"})
