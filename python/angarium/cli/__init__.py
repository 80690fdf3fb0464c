"""The command `angarium`: runs the server, and asks a running one through its control API.

`app` is the table of commands; each file holds one family of them and is loaded when it is called, so that a command
starts quickly. Whatever goes wrong is one sentence on standard error and a non-zero exit code, never a traceback.
"""

from __future__ import annotations

from .app import main

__all__ = ["main"]
