"""Readers and orders that keep content, over real sockets: 452 at the limit, pins until they are lifted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import RecordingSink
from tests.site import Site, relay, running, wait_until
from tests.talk import Talk, content

SMALL = """
[journal]
required = "64KiB"
"""
# Small segments are full soon and could be used again.
SEGMENTS = """
[spool]
segment = "1MiB"
"""
BODY = ("x" * 70 + "\r\n") * 200


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    served = RecordingSink()
    yield served
    served.close()


def send(site: Site, number: int) -> str:
    """The answer to the final dot, or to whatever command was refused before it."""
    with Talk(site.port) as talk:
        for line in ("MAIL FROM:<a@client.test>", "RCPT TO:<b@far.test>", "DATA"):
            reply = talk.say(line)
            if reply[0] not in "23":
                return reply
        talk.send(b"X-Number: %d\r\n" % number + content(f"number {number}", BODY) + b".\r\n")
        return talk.read()


def test_at_the_limit_of_required_claims_new_mail_is_put_off(tmp_path: Path, sink: RecordingSink) -> None:
    """A legal hold on all mail, present and to come, fills its class: 452 until it is lifted."""
    with running(tmp_path, relay(sink.port) + SMALL) as site:
        kept = site.run("queue", "keep", "--all", "--why", "case 7")
        assert kept.returncode == 0, kept.stderr
        answers: list[str] = []

        def refused() -> bool:
            answers.append(send(site, len(answers)))
            return answers[-1].startswith("452 4.3.1")

        wait_until(refused, lambda: answers)
        assert any(answer.startswith("250") for answer in answers)
        wait_until(lambda: "claims" in [fault["kind"] for fault in site.status()["faults"]], lambda: site.status())
        (hold,) = site.lines("queue", "rules")
        assert hold["messages"] >= 2
        assert site.run("queue", "lift", str(hold["rule"])).returncode == 0
        wait_until(lambda: send(site, 1_000).startswith("250"), lambda: site.status())
        wait_until(lambda: not site.status()["faults"], lambda: site.status())


def test_a_pin_keeps_its_segment_until_it_is_lifted(tmp_path: Path, sink: RecordingSink) -> None:
    """The message is delivered; its bytes stay in the content log, over restarts, as long as somebody keeps them."""
    needle = b"X-Number: 7\r\n"

    def again(site: Site) -> None:
        """A stop writes a checkpoint; two of them, and nothing refers to what is closed."""
        for _ in range(3):
            site.server.stop()
            site.start()

    with running(tmp_path, relay(sink.port, suspended=True) + SEGMENTS) as site:
        id = send(site, 7).split()[-1]
        # By its name: a file that is used again holds old bytes behind the new ones.
        (segment,) = (file for file in site.spool.glob("content-*.log") if needle in file.read_bytes())
        pinned = site.run("queue", "keep", id, "--pin")
        assert pinned.returncode == 0, pinned.stderr
        site.server.stop()
        site.server.config.write_text(site.server.config.read_text().replace("suspended = true", "suspended = false"))
        site.start()
        for number in range(100, 260):
            assert send(site, number).startswith("250"), number
        wait_until(lambda: not site.queue(), lambda: site.queue())
        again(site)
        (pin,) = site.lines("queue", "rules")
        assert (pin["kind"], pin["messages"]) == ("pin", 1)
        assert segment.exists()
        assert site.run("queue", "lift", str(pin["rule"])).returncode == 0
        again(site)
        wait_until(lambda: not segment.exists(), lambda: [file.name for file in site.spool.iterdir()])
