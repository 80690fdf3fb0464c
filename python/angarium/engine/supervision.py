"""Rooms that run for as long as the server: one that fails starts again with back-off and takes nothing else down."""

from __future__ import annotations

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
        except Exception:
            if trio.current_time() - began > HELD:
                wait = FIRST_WAIT
            log.exception("a room failed and starts again", room=name, after=wait)
        else:
            return
        await trio.sleep(wait)
        wait = min(wait * 2, MOST_WAIT)
