"""Rooms that run for as long as the server: one that fails starts again with back-off and takes nothing else down."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import structlog
import trio

log = structlog.get_logger("angarium")

# Seconds before the second start, doubled at each failure up to the most; a room that held so long starts afresh.
FIRST_WAIT = 0.1
MOST_WAIT = 60.0
HELD = 300.0


async def supervise(name: str, room: Callable[[], Awaitable[None]]) -> None:
    """Runs `room` until it returns or this is cancelled; an exception is logged and the room starts again."""
    wait = FIRST_WAIT
    while True:
        began = trio.current_time()
        try:
            await room()
        except BaseException as error:
            if not is_failure(error):
                raise
            if trio.current_time() - began > HELD:
                wait = FIRST_WAIT
            log.exception("a room failed and starts again", room=name, after=wait)
        else:
            return
        await trio.sleep(wait)
        wait = min(wait * 2, MOST_WAIT)


def is_failure(error: BaseException) -> bool:
    """Whether a room broke down by itself. Some libraries leave a `Cancelled` in the group of what went wrong."""
    if isinstance(error, Exception):
        return True
    if not isinstance(error, BaseExceptionGroup) or trio.current_effective_deadline() == -math.inf:
        return False
    return error.subgroup(lambda one: not isinstance(one, Exception | trio.Cancelled)) is None
