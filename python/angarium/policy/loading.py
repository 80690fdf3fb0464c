"""Finds the hooks in a site's policy file: async functions called connect, mail, rcpt, message, auth, signing_key.

The file is ordinary Python, run once when it is loaded. What is wrong with it is one sentence with file and line
(`HookError`); a reload that fails leaves the hooks as they were.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ..errors import HookError

Hook = Callable[..., Coroutine[Any, Any, Any]]
# What each is called with, by the names of the documentation.
ARGUMENTS = {
    "connect": ("connection",),
    "mail": ("envelope",),
    "rcpt": ("envelope", "recipient"),
    "message": ("message",),
    "auth": ("login",),
    # Not asked by the engine: see auth.keys.
    "signing_key": ("domain", "selector"),
}
MODULE = "angarium_site_policy"


def load_hooks(path: Path | None) -> dict[str, Hook]:
    """Phase to function. Raises `HookError`."""
    if path is None:
        return {}
    module = run_file(path)
    hooks = {phase: getattr(module, phase) for phase in ARGUMENTS if hasattr(module, phase)}
    for phase, function in hooks.items():
        check_hook(path, phase, function)
    if not hooks:
        raise HookError(f"{path}: there is no hook in it; known are async functions called {', '.join(ARGUMENTS)}")
    return hooks


def run_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise HookError(f"{path}: this is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles of the file look for their module.
    sys.modules[MODULE] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise HookError(f"{where(path, error)}: {type(error).__name__}: {error}") from error
    return module


def where(path: Path, error: Exception) -> str:
    """The last line of the file that took part in the error."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def check_hook(path: Path, phase: str, function: Any) -> None:
    if not inspect.iscoroutinefunction(function):
        raise HookError(f"{path}: {phase} must be an async function (async def {phase}(...))")
    arguments = ARGUMENTS[phase]
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        raise HookError(f"{path}: write it as async def {phase}({', '.join(arguments)})") from None
