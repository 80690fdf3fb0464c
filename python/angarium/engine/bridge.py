"""The Trio side of the bridge: one task waits for the engine's eventfd, drains in batches and hands every event on.

The drain task awaits nothing else (bridge rules): a flag calls a function that may not block, asks and leases of one
batch are handed over together, a `Done` wakes whoever awaits its ticket. Who cancels such a wait detaches himself; the
work goes on in the engine. Everything here belongs to one Trio loop; nothing is called from other threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

import msgspec
import trio

from .. import _core
from ..errors import EngineError
from .listings import (
    Accepted,
    Claims,
    Control,
    Controlled,
    Figures,
    FollowerPlace,
    Found,
    JournalPage,
    Predicate,
    Recovered,
    Refused,
    Rule,
    Stopped,
)
from .tables import (
    Certificates,
    NoRoute,
    Outcome,
    Plan,
    Policy,
    Route,
    Signers,
    Submission,
)

# Events of one step: 64 asks with short hooks stay well under the loop's 10 ms alarm.
BATCH = 64
FLAGS = ("route_wanted", "plan_wanted", "plan_report", "journal_grew", "limits_met", "fault")


def bare(word: object) -> str | int:
    """The words of settings are checked kinds of str and int; on the wire they are just that."""
    if isinstance(word, str):
        return str(word)
    if isinstance(word, int):
        return int(word)
    raise NotImplementedError(f"{type(word).__name__} does not cross the bridge")


encode = msgspec.msgpack.Encoder(enc_hook=bare).encode
Result = TypeVar("Result")


class Ticket:
    """A running call of the engine; `await ticket.wait()` gives its `Done`, or raises `EngineError`."""

    __slots__ = ("_arrived", "_done")

    def __init__(self) -> None:
        self._arrived = trio.Event()
        self._done: _core.Done | None = None

    def settle(self, done: _core.Done) -> None:
        self._done = done
        self._arrived.set()

    async def wait(self) -> _core.Done:
        await self._arrived.wait()
        done = self._done
        assert done is not None
        if done.error:
            raise EngineError(done.error, done.text, done.result)
        return done


class Content(msgspec.Struct, frozen=True):
    """A message as it is kept: the head (nouns::record::ContentHead, MessagePack) and the bytes."""

    head: bytes
    body: _core.Body


class Bridge:
    """The engine, for Trio. `run` must be running for anything that is awaited here."""

    def __init__(self, engine: _core.Engine) -> None:
        self.engine = engine
        self._tickets: dict[int, Ticket] = {}
        self._flags: dict[str, Callable[[], None]] = {}
        self._asks: Callable[[list[_core.Ask]], None] | None = None
        self._deliveries: Callable[[list[_core.Deliver]], None] | None = None
        # Events of the last drain: what the queue held when it was looked at.
        self.depth = 0
        self.drained = 0

    def on_flag(self, kind: str, call: Callable[[], None]) -> None:
        """`call` is run when something of this kind waits to be pulled. It may not block or raise."""
        if kind not in FLAGS:
            raise ValueError(f"there is no flag {kind!r}; known: {', '.join(FLAGS)}")
        self._flags[kind] = call

    def on_asks(self, call: Callable[[list[_core.Ask]], None]) -> None:
        """`call` gets the questions of one batch together."""
        self._asks = call

    def on_deliveries(self, call: Callable[[list[_core.Deliver]], None]) -> None:
        """`call` gets the leases for Python next hops of one batch together."""
        self._deliveries = call

    # --- the drain task -------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Waits and drains until it is cancelled."""
        task_status.started()
        while True:
            await trio.lowlevel.wait_readable(self.engine.eventfd)
            while self.drain() == BATCH:
                await trio.lowlevel.checkpoint()

    def drain(self) -> int:
        """One batch; how many events it had."""
        events = self.engine.drain(BATCH)
        asks: list[_core.Ask] = []
        deliveries: list[_core.Deliver] = []
        for event in events:
            match event:
                case _core.Ask():
                    asks.append(event)
                case _core.Done():
                    self._settle(event)
                case _core.Flag():
                    call = self._flags.get(event.kind)
                    if call is not None:
                        call()
                case _core.Deliver():
                    deliveries.append(event)
        if asks and self._asks is not None:
            self._asks(asks)
        if deliveries and self._deliveries is not None:
            self._deliveries(deliveries)
        self.depth = len(events)
        self.drained += len(events)
        return len(events)

    def _settle(self, done: _core.Done) -> None:
        ticket = self._tickets.pop(done.ticket, None)
        if ticket is not None:
            ticket.settle(done)

    def _ticket(self, number: int) -> Ticket:
        ticket = Ticket()
        self._tickets[number] = ticket
        return ticket

    async def _result(self, number: int, kind: type[Result]) -> Result:
        done = await self._ticket(number).wait()
        return msgspec.msgpack.decode(done.result or b"\x80", type=kind)

    # --- calls that take time -------------------------------------------------------------------------------------

    async def recover(self, policy: Policy) -> Recovered:
        """Reads the spool back; then intake may begin. `EngineError`: `newer`, `unreadable`, `damaged`."""
        return await self._result(self.engine.recover(encode(policy)), Recovered)

    def submit_nowait(self, batch: Sequence[tuple[Submission, bytes]]) -> list[Ticket]:
        """Hands messages over (CRLF lines; the bytes must not change) and gives their tickets, see `accepted`.

        Raises `Busy` when the engine has no room for more answers.
        """
        return [self._ticket(number) for number in self.engine.submit([(encode(head), body) for head, body in batch])]

    async def submit(self, submission: Submission, body: bytes) -> Accepted | Refused:
        """One message; returns when it is durable or refused. Raises `Busy`, `EngineError` for our own faults."""
        (ticket,) = self.submit_nowait([(submission, body)])
        return await accepted(ticket)

    async def control(self, control: Control) -> Controlled:
        """Carries an order out and waits until it is durable."""
        return await self._result(self.engine.control(encode(control)), Controlled)

    async def find(self, where: Predicate, *, after: bytes = b"", limit: int = 100) -> Found:
        """A page of the entries that match."""
        return await self._result(self.engine.find(encode(where), after=after, limit=limit), Found)

    async def content(self, id: str, *, recipient: int | None = None) -> Content:
        """A message's bytes; with `recipient` as they go over the wire to it. `EngineError`: `not-found`, `lost`."""
        done = await self._ticket(self.engine.content(id, recipient=recipient)).wait()
        assert done.body is not None
        return Content(done.result, done.body)

    async def read_journal(self, at: bytes, *, kinds: int = 0, limit: int = 256) -> JournalPage:
        """Facts from a cursor on (empty: the oldest); `kinds` has bit N for facts of tag N. `EngineError`: `gap`."""
        return await self._result(self.engine.read_journal(at, kinds, limit), JournalPage)

    async def follow(self, name: str, at: bytes, *, claims: Claims = "none") -> None:
        """Writes down durably how far a follower is and what it claims of the content behind; "gone" forgets it."""
        await self._ticket(self.engine.follow(name, at, claims=claims)).wait()

    async def followers(self) -> dict[str, FollowerPlace]:
        """How far each follower is, by its name."""
        result = await self._result(self.engine.followers(), dict[str, tuple[FollowerPlace, ...]])
        return {place.name: place for place in result.get("followers", ())}

    async def rules(self) -> tuple[Rule, ...]:
        """Every order that stands: holds, suspends, legal holds, pins."""
        result = await self._result(self.engine.rules(), dict[str, tuple[Rule, ...]])
        return result.get("rules", ())

    async def stop(self, deadline: int) -> Stopped:
        """No new transactions, no new deliveries, final replies awaited until `deadline` (Unix milliseconds)."""
        return await self._result(self.engine.stop(deadline), Stopped)

    # --- calls that do not ----------------------------------------------------------------------------------------

    def set_policy(self, policy: Policy) -> int:
        """Swaps the tables whole; gives their generation. Raises `PolicyError`, then nothing changed."""
        return self.engine.set_policy(encode(policy))

    def set_certificates(self, certificates: Certificates) -> None:
        """Swaps what listeners show whole, before `recover` too. Raises `PolicyError`, then nothing changed."""
        self.engine.set_certificates(encode(certificates))

    def set_signers(self, signers: Signers) -> None:
        """Swaps the keys that mail is signed with whole, before `recover` too. Raises `PolicyError`, then nothing
        changed."""
        self.engine.set_signers(encode(signers))

    def forget_logins(self) -> None:
        """No login is taken from memory any more: accounts have changed."""
        self.engine.forget_logins()

    def set_route(self, key: int, route: Route | NoRoute, *, valid: int, stale: int) -> bool:
        """False: nobody wants it any more. `valid`, `stale`: when it ends being fresh, and being usable."""
        return self.engine.set_route(key, encode(route), valid=valid, stale=stale)

    def set_plan(self, lane: int, plan: Plan, *, valid: int) -> bool:
        """False: the lane is gone."""
        return self.engine.set_plan(lane, encode(plan), valid=valid)

    def settle(self, results: Sequence[tuple[int, Outcome]]) -> list[bool]:
        """Ends leased entries of a `Deliver`; False: the lease had expired."""
        return self.engine.settle([(entry, encode(outcome)) for entry, outcome in results])

    def figures(self) -> Figures:
        return msgspec.msgpack.decode(self.engine.counters(), type=Figures)


async def accepted(ticket: Ticket) -> Accepted | Refused:
    """What became of one submission."""
    try:
        done = await ticket.wait()
    except EngineError as error:
        if error.word != "refused":
            raise
        return msgspec.msgpack.decode(error.result, type=Refused)
    return msgspec.msgpack.decode(done.result, type=Accepted)
