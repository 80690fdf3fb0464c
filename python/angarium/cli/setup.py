"""`angarium init` writes a starter file, `angarium check-config` says what is wrong with one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ..errors import AngariumError
from ..settings import Problem, check, load, locate, starter
from .show import json_line


def init(path: Path = Path("angarium.toml")) -> None:
    """Write a commented starter file.

    Parameters
    ----------
    path
        Where to write it; a file that is there is left alone.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starter())
    except FileExistsError:
        raise AngariumError(f"{path} is already there; give another name, or move it away first") from None
    except OSError as error:
        raise AngariumError(f"{path} cannot be written: {error.strerror}") from None
    print(f"wrote {path}; edit it, then run: angarium serve --config {path}")


def check_config(path: str | None = None, *, json: bool = False) -> int:
    """Say what is wrong with a settings file: file, key, what is wrong, what would be right.

    Parameters
    ----------
    path
        The file. Default: $ANGARIUM_CONFIG, else angarium.toml here.
    json
        One JSON object per problem.
    """
    found = locate(path)
    if found is None:
        raise AngariumError("there is no angarium.toml here; give a path, or write one with: angarium init")
    problems = check(found) or about_certificates(found)
    for problem in problems:
        json_line(problem) if json else print(f"{'warning: ' if problem.is_warning else ''}{problem}")
    is_good = all(problem.is_warning for problem in problems)
    if is_good and not json:
        print(f"{found} is good")
    return 0 if is_good else 1


def about_certificates(path: Path) -> list[Problem]:
    """What is to be said of the files that [tls] names; the settings themselves are good."""
    from ..tls import inspect

    _, findings = inspect(load(path), datetime.now(UTC))
    return [Problem(str(path), one.key, one.wrong, one.right, not one.is_fault) for one in findings]
