"""SIGKILL under load, again and again: every message that was acknowledged arrives (spool.md S1, S2).

Several senders hand in numbered messages and write down which ones were acknowledged. The server is killed at random
moments and started again on the same spool; at the end it drains to a sink that counts. Lost must be 0; repeats are
counted and shown, since a crash between a delivery and its durable fact repeats it.
"""

from __future__ import annotations

import os
import random
import smtplib
import threading
import time
from pathlib import Path

import pytest

from tests.harness import RecordingSink, ServerProcess, free_port

SENDERS = 6
DRAIN_SECONDS = 90

CONFIGURATION = """
[server]
hostname = "mx.stress.example"
data = "data"

[[listen]]
address = "127.0.0.1:{port}"
profile = "relay"

[relay]
networks = ["127.0.0.0/8"]

[smarthost]
host = "[127.0.0.1]"
port = {sink}

[control]
address = "127.0.0.1:{control}"

[delivery.retry]
other = ["1s", "1s", "2s"]
throttle = ["1s"]
uncertain = ["1s"]
dns = ["1s"]
"""


class Sender(threading.Thread):
    """Hands in messages with numbers of its own until told to stop; reconnects when the server is gone."""

    def __init__(self, port: int, first: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.number = first
        self.random = random.Random(seed)
        self.acknowledged: set[int] = set()
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=10) as client:
                    while not self.stopping.is_set():
                        self.send(client)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    def send(self, client: smtplib.SMTP) -> None:
        self.number += 1
        size = self.random.choice([200, 200, 2_000, 20_000, 1_500_000 if self.random.random() < 0.02 else 4_000])
        body = ("x" * 70 + "\r\n") * (size // 72)
        text = f"From: s@stress.example\r\nX-Number: {self.number}\r\nSubject: stress\r\n\r\n{body}"
        client.sendmail("s@stress.example", ["r@sink.example"], text)
        self.acknowledged.add(self.number)


def storm(folder: Path, *, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    sink = RecordingSink()
    port = free_port()
    server = ServerProcess(folder, CONFIGURATION.format(port=port, sink=sink.port, control=free_port()))
    server.start(port)
    senders = [Sender(port, n * 10_000_000, seed + n) for n in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        for _ in range(kills):
            time.sleep(chance.uniform(0.1, 1.5))
            server.kill()
            server.start(port)
        time.sleep(0.5)
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            sender.join(30)
        promised = set().union(*(sender.acknowledged for sender in senders))
        sink.wait_for(lambda: promised <= sink.numbers.keys(), seconds=DRAIN_SECONDS)
    finally:
        for sender in senders:
            sender.stopping.set()
        server.stop()
        sink.close()
    lost = promised - sink.numbers.keys()
    repeats = sum(count - 1 for count in sink.numbers.values())
    unknown = sum(1 for number in sink.numbers if number not in promised)
    print(f"seed {seed}: {len(promised)} acknowledged, {len(lost)} lost, {repeats} repeats, {unknown} unacknowledged")
    assert len(promised) > kills, "the storm sent next to nothing"
    assert not lost, f"seed {seed}: {len(lost)} acknowledged messages were lost, e.g. {sorted(lost)[:5]}"


def test_kill_short(tmp_path: Path) -> None:
    storm(tmp_path, kills=3, seed=int(os.environ.get("ANGARIUM_SEED", "1")))


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(1, 6))
def test_kill_long(tmp_path: Path, seed: int) -> None:
    storm(tmp_path, kills=10, seed=seed)
