"""Listening sockets: opened whole or not at all, and what keeps them from opening is one sentence."""

from __future__ import annotations

import errno
import os
import resource
import socket

import pytest
import trio
from angarium import intake
from angarium.errors import StartError
from angarium.settings import Listen, ListenAddress, Settings


def settings(*addresses: str) -> Settings:
    return Settings(listen=tuple(Listen(address=ListenAddress.parse(address)) for address in addresses))


def test_sockets_listen_and_do_not_leak_into_children() -> None:
    opened = intake.listen(settings("127.0.0.1:0", "127.0.0.1:0"))
    try:
        assert [one.number for one in opened] == [0, 1]
        for one in opened:
            assert not os.get_inheritable(one.socket.fileno())
            assert one.address.startswith("127.0.0.1:")
            host, _, port = one.address.rpartition(":")
            socket.create_connection((host, int(port)), 1).close()
    finally:
        intake.close(opened)


def test_a_port_in_use_is_said_and_closes_the_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, other = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        with pytest.raises(StartError) as raised:
            intake.listen(settings(f"127.0.0.1:{other}", f"127.0.0.1:{port}"))
        assert str(raised.value) == (
            f"Cannot listen on 127.0.0.1:{port}: the port is in use; "
            "stop what uses it, or set another port in the settings"
        )
        intake.close(intake.listen(settings(f"127.0.0.1:{other}")))


@pytest.mark.parametrize(
    ("number", "says"), [(errno.EACCES, "needs more rights"), (errno.EADDRNOTAVAIL, "does not have")]
)
def test_other_reasons_are_said(number: int, says: str) -> None:
    assert says in intake.why_not(OSError(number, "x"), ListenAddress("192.0.2.1:25"))


def test_an_address_of_another_machine() -> None:
    with pytest.raises(StartError, match="this machine does not have that address"):
        intake.listen(settings("192.0.2.1:2525"))


def test_the_systems_limit_is_looked_at() -> None:
    assert intake.backlog_warning(4_096) == ""
    assert "net.core.somaxconn is 128" in intake.backlog_warning(128)


def test_descriptors_are_raised_as_far_as_may_be() -> None:
    assert intake.raise_descriptors(1) == ""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert limit == most
    assert intake.raise_descriptors(10**12).startswith("limits.sessions is 1,000,000,000,000, but only")


class Taker:
    """The engine's side of a batch: takes what is odd, refuses what is even."""

    def __init__(self) -> None:
        self.engine = self
        self.batches: list[list[intake.Peer]] = []

    def adopt(self, listener: int, peers: list[intake.Peer]) -> list[tuple[int, bytes]]:
        self.batches.append(peers)
        refused = []
        for number, (descriptor, _, _) in enumerate(peers):
            if number % 2:
                os.close(descriptor)
            else:
                refused.append((descriptor, b"421 4.7.0 full\r\n"))
        return refused


async def test_connections_are_taken_in_batches_and_the_refused_get_their_reply() -> None:
    opened = intake.listen(settings("127.0.0.1:0"))
    port = opened[0].socket.getsockname()[1]
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    taker = Taker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(intake.serve, taker, opened[0])
        with trio.fail_after(5):
            while sum(map(len, taker.batches)) < 100:
                await trio.lowlevel.checkpoint()
        intake.close(opened)
    assert max(map(len, taker.batches)) <= intake.BATCH
    said = [client.recv(100) for client in clients]
    assert sorted(set(said)) == [b"", b"421 4.7.0 full\r\n"]
    for client in clients:
        client.close()


async def test_out_of_descriptors_is_a_pause_not_a_spin(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    class Exhausted:
        def _accept(self) -> object:
            raise OSError(errno.EMFILE, "too many open files")

    listening = intake.listen(settings("127.0.0.1:0"))[0]
    real = listening.socket
    with socket.create_connection(real.getsockname()[:2]):
        listening.socket = Exhausted()  # type: ignore[assignment]
        assert intake.accept_batch(Taker(), listening) is True  # type: ignore[arg-type]
    real.close()
