"""A room that fails starts again with back-off; a cancelled one ends."""

from __future__ import annotations

import itertools

import pytest
import structlog
import trio
from angarium.engine import supervise


async def test_a_room_that_fails_starts_again_later_and_later(autojump_clock: object) -> None:
    began: list[float] = []

    async def room() -> None:
        began.append(trio.current_time())
        if len(began) < 6:
            raise ExceptionGroup("broken", [OSError("no")])

    with structlog.testing.capture_logs() as logs:
        await supervise("room", room)
    waits = [later - sooner for sooner, later in itertools.pairwise(began)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])
    assert [entry["event"] for entry in logs] == ["a room failed and starts again"] * 5


async def test_a_cancelled_left_in_a_group_does_not_end_the_server(autojump_clock: object) -> None:
    runs = 0

    async def room() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.sleep(1)
                except trio.Cancelled as cancelled:
                    stray = cancelled
                    raise BaseExceptionGroup("anyio", [OSError("no"), stray]) from None

    with structlog.testing.capture_logs():
        await supervise("room", room)
    assert runs == 2


async def test_a_cancelled_room_ends() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await supervise("room", trio.sleep_forever)
    assert scope.cancelled_caught


async def test_what_ends_the_program_is_not_held_up() -> None:
    async def room() -> None:
        raise BaseExceptionGroup("stop", [KeyboardInterrupt()])

    with pytest.raises(BaseExceptionGroup):
        await supervise("room", room)
