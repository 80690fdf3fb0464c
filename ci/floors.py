"""The floors of the house, checked: which room may import which (docs/how-it-works.md draws them).

A room may import rooms on lower floors, rooms to its left on its own floor, and its own files. Each Rust room is a
crate, so its Cargo.toml is the wall; rooms without I/O and clock are also searched for the standard library's. Python
rooms are modules or packages right below `angarium`. Prints one line per violation and exits 1 if there is any.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

# Floor by floor, on each from left to right.
RUST_FLOORS: tuple[tuple[str, ...], ...] = (
    ("nouns",),
    ("smtp", "message", "traffic", "queue"),
    ("auth", "spool", "events"),
    ("ledger",),
    ("engine",),
    ("python",),
)
# Rooms on one floor whose crates may not know each other at all.
RUST_STRANGERS = frozenset({"smtp", "message", "traffic", "queue", "auth", "spool", "events"})
RUST_FOLDERS = {room: f"rust/core/{room}" for room in ("nouns", "smtp", "message", "traffic", "queue")}
# What a room without I/O, clock and chance never names.
PURE_ROOMS = ("nouns", "smtp", "message", "traffic", "queue", "auth", "ledger")
BANNED_PATHS = re.compile(
    r"\b(std::(?:fs|process|thread|env)\b|Tcp(?:Stream|Listener)\b|UdpSocket\b|SystemTime\b|Instant::now|tokio::"
    r"|pyo3::|getrandom)"
)

PYTHON_FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "_core", "settings"),
    ("smtp", "message", "queue", "reputation", "dns", "auth", "tls", "engine", "journal", "metrics"),
    ("policy", "identity", "cluster"),
    ("routing",),
    ("delivery",),
    ("intake",),
    ("feedback", "archive", "brokers"),
    ("web",),
    ("server", "cli"),
    ("__init__", "__main__"),
)


def may_import(floors: tuple[tuple[str, ...], ...], room: str, other: str) -> bool:
    """Whether `room` may import `other`: lower floor, or to its left on the same one."""
    place = {name: (floor, at) for floor, names in enumerate(floors) for at, name in enumerate(names)}
    return room == other or place[other] < place[room]


def rust_violations(root: Path) -> Iterator[str]:
    """Dependencies between crates that go up, and banned names in rooms without I/O."""
    for room in (name for floor in RUST_FLOORS for name in floor):
        folder = root / RUST_FOLDERS.get(room, f"rust/{room}")
        manifest = folder / "Cargo.toml"
        if not manifest.exists():
            continue
        dependencies = tomllib.loads(manifest.read_text(encoding="utf-8")).get("dependencies", {})
        for name in dependencies:
            other = name.removeprefix("angarium-")
            if other == name:
                continue
            allowed = may_import(RUST_FLOORS, room, other)
            if not allowed or ({room, other} <= RUST_STRANGERS and same_floor(room, other)):
                yield f"{manifest.relative_to(root)}: room {room} may not depend on room {other}"
        if room in PURE_ROOMS:
            yield from banned_names(root, folder)


def same_floor(room: str, other: str) -> bool:
    return any(room in floor and other in floor for floor in RUST_FLOORS)


def banned_names(root: Path, folder: Path) -> Iterator[str]:
    for path in sorted((folder / "src").rglob("*.rs")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip() == "#[cfg(test)]":
                break  # tests stand at the end of a file and may do as they like
            found = BANNED_PATHS.search(line.split("//")[0])
            if found:
                yield f"{path.relative_to(root)}:{number}: a room without I/O and clock names {found[1]}"


def python_violations(root: Path) -> Iterator[str]:
    """Imports between rooms below `angarium` that go up, and rooms that stand on no floor."""
    package = root / "python" / "angarium"
    known = {name for floor in PYTHON_FLOORS for name in floor}
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        room = inside.parts[0].removesuffix(".py")
        if room not in known:
            yield f"{path.relative_to(root)}: room {room} stands on no floor of ci/floors.py"
            continue
        for other, line in imported_rooms(path, inside):
            if other not in known:
                continue
            if not may_import(PYTHON_FLOORS, room, other):
                yield f"{path.relative_to(root)}:{line}: room {room} may not import room {other}"
        for line in asyncio_imports(path):
            yield f"{path.relative_to(root)}:{line}: the house runs on Trio; asyncio is not imported here"


def imported_rooms(path: Path, inside: Path) -> Iterator[tuple[str, int]]:
    """(room, line) for each import of a part of `angarium`, absolute or relative."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "angarium" and len(parts) > 1:
                    yield parts[1], node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                parts = (node.module or "").split(".")
            else:
                here = ["angarium", *inside.parts[:-1]]
                parts = [*here[: len(here) - node.level + 1], *(node.module or "").split(".")]
            parts = [part for part in parts if part]
            if not parts or parts[0] != "angarium":
                continue
            if len(parts) > 1:
                yield parts[1], node.lineno
            else:
                yield from ((alias.name, node.lineno) for alias in node.names)


def asyncio_imports(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        if any(name.split(".")[0] == "asyncio" for name in names):
            yield node.lineno


def main(root: Path) -> int:
    violations = [*rust_violations(root), *python_violations(root)]
    for violation in violations:
        print(violation)
    print(f"floors: {len(violations)} violations" if violations else "floors: every import goes down")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))
