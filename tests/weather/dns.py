"""The fake name server of the routing tests, in a thread of its own, for servers that are processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tests.routing.zone import Zone


@contextmanager
def serve_zone(text: str) -> Iterator[Zone]:
    """The zone may be changed while it is served."""
    zone = Zone(text)
    ready = threading.Event()
    ending: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(zone.serve)
            ending.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert ready.wait(10), "the name server did not start"
    try:
        yield zone
    finally:
        token, scope = ending[0]
        token.run_sync_soon(scope.cancel)
        thread.join(10)
