"""Questions to hooks: what they answer, what happens when they wait, fail, are late or say nonsense."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import structlog
import trio
import trio.testing
from angarium.engine import Verdict
from angarium.policy import Asking, Envelope, Message, accept, add_header, defer, discard, hold, reject, remove_header
from angarium.settings import Duration, Hook, Hooks


@dataclass
class Question:
    """As the engine asks."""

    ask: int
    phase: str = "message"
    deadline: int = field(default_factory=lambda: int(time.time() * 1_000) + 10_000)
    peer: tuple[str, int] = ("192.0.2.1", 40_000)
    listener: int = 0
    session: int = 1
    trusted: bool = False
    hello: str = "client.example"
    login: str = ""
    tls: str = ""
    id: str = "0" * 26
    sender: str = "a@example.org"
    recipients: list[str] = field(default_factory=lambda: ["b@example.org", "c@example.org"])
    size: int = 100
    body: bytes | None = b"Subject: one\r\nX-Two: first\r\n second\r\nx-two: third\r\n\r\nX-Two: body\r\n"


class Answers:
    """What came back, batch by batch; `wait(n)` until n answers are there."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, bytes]]] = []
        self.changed = trio.Event()

    def take(self, batch: list[tuple[int, bytes]]) -> None:
        self.batches.append(batch)
        self.changed.set()
        self.changed = trio.Event()

    @property
    def by_ask(self) -> dict[int, Verdict]:
        answered = [answer for batch in self.batches for answer in batch]
        assert len({ask for ask, _ in answered}) == len(answered), "answered twice"
        return {ask: msgspec.msgpack.decode(verdict or b"\x80", type=Verdict) for ask, verdict in answered}

    async def wait(self, count: int) -> dict[int, Verdict]:
        with trio.fail_after(5):
            while len(self.by_ask) < count:
                await self.changed.wait()
        return self.by_ask


Start = Callable[..., Any]


@pytest.fixture
async def start(nursery: trio.Nursery) -> AsyncIterator[Start]:
    async def started(answers: Answers, settings: Hooks | None = None, **hooks: Any) -> Asking:
        asking = Asking(answers.take, settings or Hooks(), hooks)
        await nursery.start(asking.run)
        return asking

    yield started


def ask(asking: Asking, *questions: Question) -> None:
    asking.ask(list(questions))  # type: ignore[arg-type]


async def test_a_batch_is_answered_together_without_waits(start: Start) -> None:
    async def message(message: Message) -> Verdict | None:
        return reject(554, "no", enhanced="5.6.1") if message.sender == "bad@example.org" else None

    answers = Answers()
    asking = await start(answers, message=message)
    ask(asking, *(Question(n, sender="bad@example.org" if n == 3 else "a@example.org") for n in range(64)))
    found = await answers.wait(64)
    assert len(answers.batches) == 1
    assert found[3] == Verdict(decision="reject", code=554, text="no", enhanced="5.6.1")
    assert found[4] == Verdict()


async def test_hooks_that_wait_do_not_hold_up_the_others(start: Start) -> None:
    release = trio.Event()

    async def message(message: Message) -> Verdict | None:
        if message.size == 1:
            await release.wait()
            return hold()
        return None

    answers = Answers()
    asking = await start(answers, message=message)
    ask(asking, *(Question(n, size=1 if n % 3 == 0 else 0) for n in range(60)))
    found = await answers.wait(40)
    assert all(n % 3 for n in found)
    release.set()
    found = await answers.wait(60)
    assert found[0].decision == "hold"
    assert len(found) == 60


async def test_hooks_may_use_all_of_trio(start: Start) -> None:
    """Cancel scopes, nurseries and time-outs belong to the task that runs the hook, whoever that is."""

    async def message(message: Message) -> Verdict | None:
        with trio.move_on_after(0.01) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0.001)
            with pytest.raises(trio.TooSlowError), trio.fail_after(0.001):
                await trio.sleep(5)
        await trio.lowlevel.checkpoint()
        return discard()

    answers = Answers()
    asking = await start(answers, message=message)
    ask(asking, *(Question(n) for n in range(30)))
    found = await answers.wait(30)
    assert {verdict.decision for verdict in found.values()} == {"discard"}


async def test_one_cancelled_hook_does_not_touch_the_next(start: Start) -> None:
    cancelled = trio.Event()

    async def message(message: Message) -> Verdict | None:
        if message.size == 1:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()
        await trio.lowlevel.checkpoint()
        return accept(tag="x")

    answers = Answers()
    asking = await start(answers, message=message)
    soon = int(time.time() * 1_000) + 50
    ask(asking, Question(1, size=1, deadline=soon), *(Question(n, size=0) for n in range(2, 20)))
    found = await answers.wait(18)
    assert 1 not in found
    with trio.fail_after(5):
        await cancelled.wait()
    ask(asking, Question(30, size=0))
    assert (await answers.wait(19))[30].tag == "x"
    assert asking.late == 1


@pytest.mark.parametrize("otherwise", ["accept", "defer"])
async def test_a_hook_that_raises_gets_the_default_and_is_told_once(start: Start, otherwise: Any) -> None:
    async def message(message: Message) -> Verdict | None:
        if message.size == 2:
            await trio.lowlevel.checkpoint()
        raise ValueError("the site's own mistake")

    answers = Answers()
    asking = await start(answers, Hooks(message=Hook(otherwise=otherwise)), message=message)
    with structlog.testing.capture_logs() as logs:
        ask(asking, *(Question(n, size=n) for n in range(20)))
        found = await answers.wait(20)
    assert {verdict.decision for verdict in found.values()} == {otherwise}
    assert all("mistake" not in verdict.text for verdict in found.values())
    assert asking.failures == 20
    assert [entry["event"] for entry in logs] == ["hook failed"]
    assert "the site's own mistake" in logs[0]["traceback"]


async def test_nonsense_gets_the_default(start: Start) -> None:
    async def message(message: Message) -> Any:
        return "yes"

    answers = Answers()
    asking = await start(answers, message=message)
    with structlog.testing.capture_logs():
        ask(asking, Question(1))
        assert (await answers.wait(1))[1].decision == "defer"


async def test_phases_get_their_arguments(start: Start) -> None:
    seen: list[object] = []

    async def rcpt(envelope: Envelope, recipient: str) -> Verdict | None:
        seen.append((envelope.address, envelope.sender, envelope.recipients, recipient, envelope.hello))
        return defer(450, "later", enhanced="4.2.0")

    async def connect(connection: Any) -> None:
        seen.append((connection.address, connection.port, connection.is_trusted))

    answers = Answers()
    asking = await start(answers, rcpt=rcpt, connect=connect)
    ask(asking, Question(1, phase="rcpt"), Question(2, phase="connect"), Question(3, phase="mail"))
    found = await answers.wait(3)
    assert seen == [
        ("192.0.2.1", "a@example.org", ["b@example.org"], "c@example.org", "client.example"),
        ("192.0.2.1", 40_000, False),
    ]
    assert (found[1].code, found[2], found[3]) == (450, Verdict(), Verdict())


async def test_reload_and_a_room_that_starts_again(start: Start) -> None:
    async def first(message: Message) -> Verdict | None:
        return accept(tag="first")

    async def second(message: Message) -> Verdict | None:
        return accept(tag="second")

    answers = Answers()
    asking = await start(answers, message=first)
    ask(asking, Question(1))
    assert (await answers.wait(1))[1].tag == "first"
    asking.use(Hooks(deadline=Duration.parse("1s")), {"message": second})
    ask(asking, Question(2))
    assert (await answers.wait(2))[2].tag == "second"


async def test_a_message_shows_its_header(start: Start) -> None:
    seen: list[object] = []

    async def message(message: Message) -> None:
        seen.append((message.header("subject"), message.header("X-Two"), message.recipients, len(message.content)))

    answers = Answers()
    asking = await start(answers, message=message)
    ask(asking, Question(1))
    await answers.wait(1)
    assert seen == [(["one"], ["first second", "third"], ["b@example.org", "c@example.org"], 66)]


def test_verdicts() -> None:
    assert add_header("X-Seen", "yes").edits == ((0, b"X-Seen: yes\r\n"),)
    assert remove_header("X-Seen").edits == ((1, b"X-Seen"),)
    assert accept(priority="bulk").class_ == 3
    assert accept(recipients={1: reject()}).recipients[1].decision == "reject"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: add_header("X-Bad", "a\r\nBcc: b@example.org"),
        lambda: add_header("X Bad", "a"),
        lambda: add_header("", "a"),
        lambda: accept(priority="soon"),
        lambda: reject(450),
        lambda: defer(550),
    ],
)
def test_verdicts_that_cannot_be(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        wrong()
