"""The floor check catches what goes up, on both sides of the house."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).resolve().parents[2] / "ci" / "floors.py"


def run(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, CHECK, root], capture_output=True, text=True, check=False)


def write(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def test_the_house_itself_holds() -> None:
    found = run(CHECK.parents[1])
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("python/angarium/settings.py", "from angarium import server\n", "room settings may not import room server"),
        ("python/angarium/routing/mx.py", "from ..intake import accept\n", "room routing may not import room intake"),
        ("python/angarium/engine.py", "import angarium.metrics\n", "room engine may not import room metrics"),
        ("python/angarium/intake.py", "import asyncio\n", "asyncio is not imported here"),
        ("python/angarium/helpers.py", "", "room helpers stands on no floor"),
        ("rust/core/smtp/Cargo.toml", "[dependencies]\nangarium-ledger.workspace = true\n", "smtp may not depend on"),
        ("rust/spool/Cargo.toml", "[dependencies]\nangarium-events.workspace = true\n", "spool may not depend on"),
        ("rust/core/queue/Cargo.toml", "[dependencies]\nangarium-smtp.workspace = true\n", "queue may not depend on"),
    ],
)
def test_a_violation_is_caught(tmp_path: Path, path: str, text: str, says: str) -> None:
    write(tmp_path, path, text)
    found = run(tmp_path)
    assert found.returncode == 1
    assert says in found.stdout


def test_a_clock_below_the_drivers_is_caught(tmp_path: Path) -> None:
    write(tmp_path, "rust/ledger/Cargo.toml", "[dependencies]\n")
    write(tmp_path, "rust/ledger/src/lib.rs", "fn now() { std::time::Instant::now(); }\n")
    found = run(tmp_path)
    assert "rust/ledger/src/lib.rs:1: a room without I/O and clock names Instant::now" in found.stdout


def test_what_goes_down_is_allowed(tmp_path: Path) -> None:
    write(tmp_path, "python/angarium/server.py", "from . import intake\nfrom .routing.mx import Mx\n")
    write(tmp_path, "rust/ledger/Cargo.toml", "[dependencies]\nangarium-spool.workspace = true\n")
    assert run(tmp_path).returncode == 0
