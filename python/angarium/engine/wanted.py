"""What the engine wants (routes, plans) is pulled in batches and answered, many at once and bounded.

The flag only wakes; what is wanted comes from `pull`, urgent first. What can be answered without waiting costs no task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

Want = TypeVar("Want")

# Pulled at once: answering 64 without waiting takes about a millisecond.
BATCH = 64


class Wake:
    """Set from anywhere in the loop, waited for by one task; what was set while it worked is not lost."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event = trio.Event()


async def answer_wanted(
    pull: Callable[[], Sequence[Want]],
    answer: Callable[[Want], Awaitable[None]],
    *,
    woken: Wake,
    at_once: int,
    answer_nowait: Callable[[Want], bool] = lambda _: False,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs until cancelled. `answer_nowait` says whether it answered; what it leaves goes to `answer` in a task."""
    room = trio.Semaphore(at_once)

    async def one(want: Want) -> None:
        try:
            await answer(want)
        finally:
            room.release()

    async with trio.open_nursery() as nursery:
        task_status.started()
        while True:
            batch = pull()
            for want in batch:
                if not answer_nowait(want):
                    await room.acquire()
                    nursery.start_soon(one, want)
            if len(batch) >= BATCH:
                await trio.lowlevel.checkpoint()
            else:
                await woken.wait()
