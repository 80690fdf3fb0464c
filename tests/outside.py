"""What tests need from outside the project: suites, service scripts and programs, found or named as absent.

`ANGARIUM_SHARED` (default: `../shared` beside the checkout) holds suites and service scripts. A test whose piece is
absent is skipped with its name; with `ANGARIUM_REQUIRE=all`, as in CI, it fails instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("ANGARIUM_SHARED", Path(__file__).resolve().parents[2] / "shared"))
REQUIRED = os.environ.get("ANGARIUM_REQUIRE", "") == "all"
# Places of system programs that an ordinary user's PATH leaves out.
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def absent(what: str) -> None:
    """Skips the running test because `what` is not here, or fails it where everything is required."""
    if REQUIRED:
        pytest.fail(f"{what} is absent, and ANGARIUM_REQUIRE=all asks for it")
    pytest.skip(f"{what} is absent")


def program(name: str) -> str:
    """The path of a program, e.g. `smtp-sink`."""
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        absent(f"the program {name}")
    assert found is not None
    return found


def node_modules(name: str) -> Path:
    """The folder of Node's modules that holds `name`; ci/peers puts it there."""
    services = os.environ.get("ANGARIUM_SERVICES", str(Path.home() / ".cache" / "angarium-services"))
    folder = Path(services) / "node" / "node_modules"
    if not (folder / name).exists():
        absent(f"Node's module {name}")
    return folder


def suite(name: str) -> Path:
    """The folder of an outside suite below `SHARED/suites`."""
    folder = SHARED / "suites" / name
    if not folder.exists():
        absent(f"the suite {name}")
    return folder


@contextmanager
def service(name: str, port: int, folder: Path, **settings: str) -> Iterator[tuple[str, int]]:
    """Installs and starts a service of `SHARED/services` and gives its (host, port); stops it at the end."""
    script = SHARED / "services" / f"{name}.sh"
    if not script.exists():
        absent(f"the service {name}")
    environment = {**os.environ, **settings}
    installed = subprocess.run([script, "install"], env=environment, capture_output=True, text=True, check=False)
    if installed.returncode:
        absent(f"the service {name} ({installed.stderr.strip()[-300:]})")
    started = subprocess.run(
        [script, "start", str(port), str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    if started.returncode:
        pytest.fail(f"{name} did not start: {started.stderr.strip()[-2000:]}")
    try:
        host, _, number = started.stdout.strip().rpartition(":")
        yield host, int(number)
    finally:
        subprocess.run([script, "stop", str(folder)], env=environment, capture_output=True, check=False)
