"""The rows of the load bench: what is run, beside whom, and what the project holds itself to.

Every figure of a row comes from one run of this program on this machine; a row gives ratios, not rates, and the
noise of the machine beside them. Rows run their servers one after the other, `REPEATS` times in turn, and take medians.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack

from .front import added, idle_tls, tls
from .mail import Flood, Load, send, wait_for_port
from .rows import Row, Scale, measure, ratio
from .senders import judged
from .servers import Aiosmtpd, Angarium, Haraka, Null, Postfix

HOOK = """async def message(envelope):
    return None
"""


def accept(scale: Scale) -> Iterable[Row]:
    """Durable accept with delivery suspended, 20 sessions of 4 KiB."""
    for reuse, share, cpu_share in ((False, 0.6, 0.17), (True, 0.85, 0.08)):
        how = "reuse" if reuse else "one per connection"
        case = f"durable accept, 20 sessions, 4 KiB, {how}"
        fast = Load(scale.messages(40_000 if reuse else 15_000), reuse=reuse)
        slow = Load(scale.messages(4_000), reuse=reuse)
        ceiling = measure(Null, fast, repeats=scale.repeats)
        ours = measure(Angarium, fast, repeats=scale.repeats)
        assert ours is not None
        yield Row(case, "share of the ceiling", ratio(ours.rate, ceiling, "rate"), share, noise=ours.noise,
                  detail=f"{ours}; ceiling {ceiling}")  # fmt: skip
        for peer in (Postfix, Haraka, Aiosmtpd):
            theirs = measure(peer, slow, repeats=scale.repeats)
            yield Row(
                case, f"times {peer.name}", ratio(ours.rate, theirs, "rate"), noise=ours.noise, detail=str(theirs)
            )
            if peer is Postfix:
                yield Row(case, "server CPU per message, share of postfix", ratio(ours.cpu, theirs, "cpu"), cpu_share,
                          at_most=True, noise=ours.noise)  # fmt: skip


def accept_large(scale: Scale) -> Iterable[Row]:
    """Durable accept of 100 KiB messages, and what smtp-source can send at all: smtp-sink keeps nothing."""
    case = "durable accept, 20 sessions, 100 KiB, one per connection"
    load = Load(scale.messages(5_000), size=102_400)
    ceiling = measure(Null, load, repeats=scale.repeats)
    ours = measure(Angarium, load, repeats=scale.repeats)
    theirs = measure(Postfix, Load(scale.messages(1_500), size=102_400), repeats=scale.repeats)
    assert ours is not None
    yield Row(case, "times postfix", ratio(ours.rate, theirs, "rate"), 8, noise=ours.noise, detail=f"{ours}; {theirs}")
    yield Row(case, "share of the ceiling", ratio(ours.rate, ceiling, "rate"), noise=ours.noise, detail=str(ceiling))


def relay(scale: Scale) -> Iterable[Row]:
    """From first injection to last delivery at smtp-sink."""
    for reuse, times in ((False, 5), (True, 18)):
        case = f"relay to smtp-sink, 20 sessions, 4 KiB, {'reuse' if reuse else 'one per connection'}"
        ours = measure(Angarium, Load(scale.messages(20_000), reuse=reuse), relay=True, repeats=scale.repeats)
        assert ours is not None
        for peer in (Postfix, Haraka):
            theirs = measure(peer, Load(scale.messages(1_500), reuse=reuse), relay=True, repeats=scale.repeats)
            wanted = times if peer is Postfix else None
            yield Row(case, f"times {peer.name}", ratio(ours.rate, theirs, "rate"), wanted, noise=ours.noise,
                      detail=f"{ours}; {theirs}")  # fmt: skip
            if peer is Postfix:
                yield Row(case, "server CPU per message, share of postfix", ratio(ours.cpu, theirs, "cpu"), 0.1,
                          at_most=True, noise=ours.noise)  # fmt: skip


def hook(scale: Scale) -> Iterable[Row]:
    """A site rule in Python asked for every message."""
    load = Load(scale.messages(30_000), reuse=True)
    without = measure(Angarium, load, repeats=scale.repeats)
    asked = measure(lambda **options: Angarium(hook=HOOK, **options), load, repeats=scale.repeats)
    assert without is not None and asked is not None
    yield Row("a Python rule asked for every message, 20 sessions, 4 KiB, reuse", "share of the rate without",
              asked.rate / without.rate, 0.6, noise=asked.noise, detail=f"{asked}; without {without}")  # fmt: skip


def pipelined(scale: Scale) -> Iterable[Row]:
    """Durable accept by our own generator, which pipelines: how well the groups fill."""
    messages = scale.messages(200_000)
    with Angarium(relay_to=None) as server:
        flood(server.port, Flood(scale.messages(20_000), sessions=100))
        before, cpu = server.metrics(), server.account.cpu()
        rate = messages / flood(server.port, Flood(messages, sessions=100))
        after, cpu = server.metrics(), server.account.cpu() - cpu
    groups = after["angarium_commit_groups_total"] - before["angarium_commit_groups_total"]
    case = "durable accept, own pipelining generator, 100 sessions, 4 KiB"
    yield Row(case, "messages a second", rate, detail=f"{1e6 * cpu / messages:.1f} µs CPU a message")
    yield Row(case, "messages in a group", messages / groups, detail=f"{groups / messages:.3f} fdatasync a message")


def idle(scale: Scale) -> Iterable[Row]:
    """Process memory of sessions that have said EHLO and wait."""
    sessions = scale.messages(10_000)
    with Angarium(relay_to=None) as server, ExitStack() as open_sockets:
        before = server.account.memory()
        for _ in range(sessions):
            sock = open_sockets.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            sock.recv(512)
            sock.sendall(b"EHLO idle.example\r\n")
            sock.recv(512)
        each = (server.account.memory() - before) / sessions
    yield Row(f"{sessions:,} idle sessions", "KiB of process memory each", each / 1024, 5, at_most=True)


def restart(scale: Scale) -> Iterable[Row]:
    """A million waiting messages: the memory they take, and how long a restart after SIGKILL needs for its index."""
    entries = scale.messages(1_000_000)
    with Angarium(relay_to=None) as server:
        empty = server.account.memory()
        flood(server.port, Flood(entries, sessions=100, size=300))
        grown = server.account.memory() - empty
        server.end(signal.SIGKILL)
        start = time.monotonic()
        server.launch()
        wait_for_port(server.port, seconds=120)
        seconds = time.monotonic() - start
        waiting = server.metrics()["angarium_queue_entries"]
        after = server.account.memory() - empty
    case = f"{entries:,} waiting messages"
    per_million = 1_000_000 / entries / 1e6
    yield Row(case, "MB over the empty process, a million", grown * per_million, 120, at_most=True,
              detail=f"{after * per_million:.0f} MB after the restart")  # fmt: skip
    detail = f"{waiting:,.0f} found" if waiting == entries else f"NOT OK: {waiting:,.0f} of {entries:,} found"
    yield Row(case, "seconds from start to taking mail", seconds, 10, at_most=True, detail=detail)


def flood(port: int, load: Flood) -> float:
    """Seconds that the load takes; raises when it fails."""
    seconds, _, trouble = send(load, port)
    if trouble:
        raise SystemExit(f"flood failed: {trouble}")
    return seconds


CASES = {
    "accept": accept,
    "accept-large": accept_large,
    "relay": relay,
    "hook": hook,
    "pipelined": pipelined,
    "idle": idle,
    "tls": tls,
    "added": added,
    "idle-tls": idle_tls,
    "judged": judged,
    "restart": restart,
}
