"""The whole house: builds every room, opens the nurseries, stops them in reverse.

`serve` runs until it is told to stop; `run` is what the command calls: signals, exit code, and one sentence for what
keeps it from starting. Read from top to bottom, this is the order in which a server comes up.
"""

from __future__ import annotations

import trio

from .settings import Settings


async def serve(settings: Settings, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Runs the mail server until SIGTERM or SIGINT. Reports started when mail is taken.

    Raises `StartError` (one sentence) for what keeps it from starting.
    """
    raise NotImplementedError


def run(settings: Settings) -> int:
    """`serve` in an own Trio loop; the exit code."""
    trio.run(serve, settings)
    return 0
