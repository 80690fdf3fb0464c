"""Puts the engine's questions to the hooks and sends the answers back in batches.

A question costs no Trio task while its hook does not wait: a worker task runs one hook after the other, and only when
one waits does another worker take over the rest of the queue. So hooks run in a task of their own right (cancel scopes,
nurseries and time-outs work as everywhere), and a hook without waits costs a few microseconds. One scope bounds all
hooks of a worker until one waits; then its deadline becomes that of the question, and the next hook gets a fresh scope.
A hook that raises or says nonsense gets the settings' default; the log has its traceback once, the peer never.
"""

from __future__ import annotations

import math
import time
import traceback
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any

import msgspec
import structlog
import trio

from .. import _core
from .. import settings as site
from ..engine import PHASES, Verdict
from ..errors import HookError
from .loading import Hook
from .words import call

# Workers that stay parked for the next question.
MOST_IDLE = 16
# The same failure is told again after so many seconds at the earliest, with its count.
TELL_AGAIN = 60.0

Answer = Callable[[list[tuple[int, bytes]]], object]

encode = msgspec.msgpack.Encoder().encode
log = structlog.get_logger("angarium.policy")

ACCEPT = b""
# RFC 4954 6: a temporary failure, so that nobody throws a good password away.
UNTOLD = encode(
    Verdict(decision="defer", code=454, enhanced="4.7.0", text="Logins cannot be checked now, try again later")
)
FAILED = encode(Verdict(decision="defer", text="A rule of this site could not be asked, come again"))


@types.coroutine
def watched(hook: Coroutine[Any, Any, Any], waits: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Runs a hook inside the calling task; `waits` is called when it waits for the first time.

    What the hook yields to Trio and what Trio sends back passes through untouched.
    """
    try:
        trap = hook.send(None)
    except StopIteration as end:
        return end.value
    waits()
    while True:
        thrown: BaseException | None = None
        sent = None
        try:
            sent = yield trap
        except BaseException as error:  # noqa: BLE001  cancellation too belongs to the hook first
            thrown = error
        try:
            trap = hook.send(sent) if thrown is None else hook.throw(thrown)
        except StopIteration as end:
            return end.value


class Asking:
    """The hooks at work. `ask` takes questions (from the drain task, never blocks), `run` answers them."""

    def __init__(self, answer: Answer, settings: site.Hooks, hooks: Mapping[str, Hook]) -> None:
        """`answer` sends a batch of (ask, verdict) back: `Engine.answer_many`."""
        self._answer = answer
        self._limit = 0
        self._defaults: dict[str, bytes] = {}
        self._hooks: dict[str, Hook] = {}
        self.use(settings, hooks)
        self._queue: deque[_core.Ask] = deque()
        self._answers: list[tuple[int, bytes]] = []
        self._idle = trio.lowlevel.ParkingLot()
        self._workers = 0
        # Workers that are neither parked nor inside a hook that waits.
        self._busy = 0
        self._nursery: trio.Nursery | None = None
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self.failures = 0
        self.late = 0

    def use(self, settings: site.Hooks, hooks: Mapping[str, Hook]) -> None:
        """Other hooks from the next question on (reload)."""
        self._limit = settings.at_once
        self._defaults = {phase: default_of(settings, phase) for phase in PHASES}
        self._hooks = dict(hooks)

    def ask(self, asks: list[_core.Ask]) -> None:
        """Takes a batch of questions."""
        self._queue.extend(asks)
        self._ensure_worker()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answers questions until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._workers = self._busy = 0
            self._ensure_worker()
            task_status.started()
            await trio.sleep_forever()

    def _ensure_worker(self) -> None:
        """Somebody takes the queue: a running worker, a parked one, or a new one."""
        if self._busy or not self._queue or self._nursery is None:
            return
        if self._idle:
            self._busy += 1
            self._idle.unpark()
        elif self._workers < self._limit:
            self._busy += 1
            self._workers += 1
            self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            waited = await self._answer_queue()
            if waited:
                continue
            self._send()
            self._busy -= 1
            if len(self._idle) >= MOST_IDLE:
                self._workers -= 1
                return
            await self._idle.park()

    async def _answer_queue(self) -> bool:
        """Questions until the queue is empty (False) or until after one whose hook waited (True)."""
        with trio.CancelScope() as scope:
            while self._queue:
                ask = self._queue.popleft()
                turn = Turn(self, scope, ask)
                try:
                    answer = await self._judge(ask, turn)
                finally:
                    if turn.waited:
                        self._busy += 1
                self._answers.append((ask.ask, answer))
                if turn.waited:
                    if not self._queue:
                        self._send()
                    return True
            return False
        # The question's deadline passed inside the hook; the engine took the default by itself.
        self.late += 1
        return True

    async def _judge(self, ask: _core.Ask, turn: Turn) -> bytes:
        phase = ask.phase
        hook = self._hooks.get(phase)
        if hook is None:
            return ACCEPT
        try:
            verdict = await watched(call(hook, ask), turn.waits)
            return ACCEPT if verdict is None else checked(verdict)
        except Exception as error:  # noqa: BLE001  the hook is the site's; its mistakes never end a room
            self._failed(phase, error)
            return self._defaults[phase]

    def _send(self) -> None:
        if self._answers:
            answers, self._answers = self._answers, []
            self._answer(answers)

    def _waits(self) -> None:
        """A hook begins to wait: what is answered goes out, and somebody else takes the queue."""
        self._busy -= 1
        if self._queue:
            self._ensure_worker()
        else:
            self._send()

    def _failed(self, phase: str, error: Exception) -> None:
        """Told once with its traceback, then at most once a minute with its count."""
        self.failures += 1
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        key = (phase, f"{type(error).__name__} {place}")
        told, since = self._told.get(key, (-math.inf, 0))
        if told == -math.inf:
            text = "".join(traceback.format_exception(error))
            log.error("hook failed", phase=phase, error=repr(error), place=place, traceback=text)
        elif trio.current_time() - told < TELL_AGAIN:
            self._told[key] = (told, since + 1)
            return
        else:
            log.error("hook fails again", phase=phase, error=repr(error), place=place, times=since + 1)
        self._told[key] = (trio.current_time(), 0)


class Turn:
    """One question's turn in a worker: whether its hook waited."""

    __slots__ = ("_ask", "_asking", "_scope", "waited")

    def __init__(self, asking: Asking, scope: trio.CancelScope, ask: _core.Ask) -> None:
        self._asking = asking
        self._scope = scope
        self._ask = ask
        self.waited = False

    def waits(self) -> None:
        self.waited = True
        self._scope.deadline = trio.current_time() + self._ask.deadline / 1_000 - time.time()
        self._asking._waits()


def default_of(settings: site.Hooks, phase: str) -> bytes:
    if phase == "auth":
        return UNTOLD
    own: site.Hook = getattr(settings, phase)
    return ACCEPT if (own.otherwise or settings.otherwise) == "accept" else FAILED


def checked(verdict: object) -> bytes:
    if not isinstance(verdict, Verdict):
        raise HookError(f"a hook returns a verdict or None, not {verdict!r}")
    return encode(verdict)
