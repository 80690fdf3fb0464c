"""How a file is seen to have changed: by what `stat` says of what its path leads to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Print = tuple[tuple[int, int, int] | None, ...]


def prints(paths: Iterable[Path]) -> Print:
    """Changes whenever a file does: time, size and inode of each; None for one that is not there."""
    return tuple(look(path) for path in paths)


def look(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
