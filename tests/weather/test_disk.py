"""Bad weather on the disk: full, held, from a later version, unreadable, damaged.

A full disk puts new mail off and lets delivery go on, and heals by itself. What keeps a spool from being opened is one
sentence and exit code 1. Damage in the middle costs what it hit, is reported, and the rest is delivered.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import outside
from tests.harness import COMMAND, RecordingSink, free_port
from tests.site import Site, relay, running, wait_until
from tests.talk import Talk, content

SPOOL = """
[spool]
segment = "1MiB"
folder = "{folder}"
"""
# The spool leaves 256 MiB to others; this is room for its segments and a few messages beside.
TMPFS_BYTES = 288 << 20


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    served = RecordingSink()
    yield served
    served.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which only root can make."""
    if os.geteuid() != 0:
        outside.absent("root, who may mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES},mode=0700", "angarium-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        outside.absent(f"the right to mount a small file system ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def send(site: Site, number: int, *, size: int = 1_000) -> str:
    """The answer to the final dot, or to whatever command was refused before it."""
    with Talk(site.port) as talk:
        for line in ("MAIL FROM:<a@client.test>", "RCPT TO:<b@far.test>", "DATA"):
            reply = talk.say(line)
            if reply[0] not in "23":
                return reply
        body = ("x" * 70 + "\r\n") * (size // 72)
        talk.send(b"X-Number: %d\r\n" % number + content(f"number {number}", body) + b".\r\n")
        return talk.read()


def suspend(site: Site, suspended: bool) -> None:
    """For the next start."""
    text = site.server.config.read_text()
    site.server.config.write_text(re.sub(r"suspended = \w+", f"suspended = {json.dumps(suspended)}", text))


def stored(sink: RecordingSink, folder: Path, *, suspended: bool = False) -> str:
    """A relay to the sink whose spool lies in `folder`."""
    return relay(sink.port, suspended=suspended, again="1s") + SPOOL.format(folder=folder)


def fill(folder: Path) -> Path:
    """Takes every free byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


@pytest.mark.parametrize("size", [1_000, 2_000_000], ids=["in the log", "in a file of its own"])
def test_a_full_disk(tmp_path: Path, small_disk: Path, size: int) -> None:
    """452 4.3.1 for new mail, delivery goes on, and all is well again by itself once there is room."""
    later = ["450 4.2.0 come again"]
    sink = RecordingSink(refuse=lambda command: later[0] if later and command.startswith("RCPT") else None)
    with running(tmp_path, stored(sink, small_disk / "spool")) as site:
        for number in range(10):
            assert send(site, number).startswith("250 2.0.0")
        wait_until(lambda: all(row["attempts"] for row in site.queue()), lambda: site.queue())
        filler = fill(small_disk)
        refused = refused_at(site, size)
        assert refused.startswith("452 4.3.1"), refused
        assert site.metric("angarium_refused_for_now_total") >= 1
        # Small mail may find room when a large body does not: the fault says so either way.
        wait_until(lambda: [fault["kind"] for fault in site.status()["faults"]] == ["disk-full"], lambda: site.status())
        later.clear()
        assert site.run("queue", "flush").returncode == 0
        assert sink.wait_for(lambda: set(range(10)) <= sink.numbers.keys(), seconds=30), sink.numbers
        wait_until(lambda: not [row for row in site.queue() if row["attempts"]], lambda: site.queue())
        filler.unlink()
        wait_until(lambda: send(site, 2_000).startswith("250 2.0.0"), lambda: site.status())
        assert sink.wait_for(lambda: sink.numbers[2_000] >= 1, seconds=30)
        wait_until(lambda: not site.status()["faults"], lambda: site.status())
    sink.close()


def refused_at(site: Site, size: int) -> str:
    """Sends until one is refused: what room the spool has made for itself may be used first."""
    for number in range(100, 1_100):
        answer = send(site, number, size=size)
        if not answer.startswith("250"):
            return answer
    raise AssertionError("a thousand messages found room on a full disk")


def refusal(site: Site) -> str:
    """The one sentence of a server that does not start on this site's spool."""
    ended = subprocess.run(
        [COMMAND, "serve", "--config", str(site.server.config)],
        cwd=site.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1, ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("angarium: "), ended.stderr
    return ended.stderr


def test_a_spool_that_another_process_holds(tmp_path: Path, sink: RecordingSink) -> None:
    spool = tmp_path / "spool"
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        running(tmp_path / "one", stored(sink, spool)) as site,
        running(tmp_path / "two", stored(sink, spool), start=False) as second,
    ):
        said = refusal(second)
        assert str(spool) in said
        assert "another process" in said
        assert send(site, 1).startswith("250")
        assert sink.wait_for(lambda: sink.numbers[1] == 1, seconds=20)


def a_spool_with_mail(site: Site, *, messages: int, clean: bool) -> list[int]:
    """Leaves numbered mail in the spool of a server that is no longer there."""
    site.start()
    for number in range(messages):
        assert send(site, number).startswith("250 2.0.0")
    wait_until(lambda: len(site.facts()) == messages, lambda: site.facts())
    if clean:
        assert site.server.stop() == 0
    else:
        site.server.kill()
    suspend(site, False)
    return list(range(messages))


def segments(folder: Path) -> list[Path]:
    """Every file of the spool, largest first."""
    return sorted((file for file in folder.rglob("*") if file.is_file()), key=lambda file: -file.stat().st_size)


def bump_version(spool: Path) -> None:
    """The identity as a later version would write it: version 2, checksums right (docs/spool-format.md)."""
    identity = spool / "identity"
    octets = bytearray(identity.read_bytes())
    at = octets.index(b"ANGARIDE")
    octets[at + 8] = 2
    struct.pack_into("<I", octets, at + 60, crc32c(octets[at : at + 60]))
    identity.write_bytes(octets)


@pytest.mark.parametrize("clean", [True, False], ids=["after a stop", "after a kill"])
def test_a_spool_of_a_later_version(tmp_path: Path, sink: RecordingSink, clean: bool) -> None:
    spool = tmp_path / "spool"
    with running(tmp_path, stored(sink, spool, suspended=True), start=False) as site:
        a_spool_with_mail(site, messages=3, clean=clean)
        before = {file: file.read_bytes() for file in segments(spool)}
        bump_version(spool)
        said = refusal(site)
        assert "newer" in said
        assert "format 2" in said
        changed = [file for file in before if file.read_bytes() != before[file]]
        assert len(changed) == 1, "a spool that is not understood is left alone"
        assert not sink.numbers


def test_a_spool_that_cannot_be_read(tmp_path: Path, sink: RecordingSink) -> None:
    spool = tmp_path / "spool"
    spool.write_text("this is a file, not a folder")
    with running(tmp_path, stored(sink, spool), start=False) as site:
        assert str(spool) in refusal(site)


def test_a_segment_that_is_gone(tmp_path: Path, sink: RecordingSink) -> None:
    """A folder stands where it should be: what it held is told as lost, or the start is refused; nothing is guessed."""
    spool = tmp_path / "spool"
    with running(tmp_path, stored(sink, spool, suspended=True), start=False) as site:
        a_spool_with_mail(site, messages=3, clean=False)
        victim = file_with(spool, b"X-Number: 1\r\n")
        victim.unlink()
        victim.mkdir()
        said = start_or_refusal(site)
        assert said.startswith("angarium: ") or told(site), (said, site.log())


def start_or_refusal(site: Site) -> str:
    try:
        site.start()
    except AssertionError as ended:
        text = str(ended)
        assert "Traceback" not in text, text
        return text[text.index("angarium: ") :]
    return ""


def file_with(spool: Path, needle: bytes) -> Path:
    return next(file for file in segments(spool) if needle in file.read_bytes())


DAMAGE: list[tuple[str, Callable[[bytearray, int], None]]] = [
    ("one bit", lambda octets, at: octets.__setitem__(at, octets[at] ^ 1)),
    ("a sector of zeros", lambda octets, at: octets.__setitem__(slice(at & ~511, (at & ~511) + 512), bytes(512))),
    (
        "a page of rubbish",
        lambda octets, at: octets.__setitem__(slice(at & ~4095, (at & ~4095) + 4096), b"\xa5" * 4096),
    ),
]


@pytest.mark.parametrize("clean", [True, False], ids=["after a stop", "after a kill"])
@pytest.mark.parametrize(("what", "damage"), DAMAGE, ids=[row[0] for row in DAMAGE])
def test_a_damaged_middle(
    tmp_path: Path, sink: RecordingSink, what: str, damage: Callable[[bytearray, int], None], clean: bool
) -> None:
    """Everything but what was hit arrives; what was hit is told, in the log and in the journal, and never sent."""
    spool = tmp_path / "spool"
    with running(tmp_path, stored(sink, spool, suspended=True), start=False) as site:
        numbers = a_spool_with_mail(site, messages=20, clean=clean)
        victim = file_with(spool, b"X-Number: 10\r\n")
        octets = bytearray(victim.read_bytes())
        damage(octets, octets.index(b"X-Number: 10\r\n"))
        victim.write_bytes(octets)
        site.start()
        hit = 1 if what != "a page of rubbish" else 4
        assert sink.wait_for(lambda: len(sink.numbers) >= len(numbers) - hit, seconds=30), sink.numbers
        wait_until(lambda: site.queue() == [], lambda: site.queue())
        lost = set(numbers) - sink.numbers.keys()
        assert 10 in lost
        assert len(lost) <= hit
        assert told(site), (site.log(), site.status()["faults"], site.facts())
        assert site.server.stop() == 0
        assert set(sink.numbers.values()) == {1}


def told(site: Site) -> bool:
    """Damage shows as a fault or in the log, and what it cost as a fact."""
    faults = [fault["kind"] for fault in site.status()["faults"]]
    facts = [fact["kind"] for fact in site.facts()]
    return ("damage" in site.log() or "damage" in faults or "lost" in faults) and "lost" in facts


def crc32c(octets: bytes | bytearray) -> int:
    """RFC 3720 B.4, bit by bit: the inputs are short."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_a_second_server_on_the_same_data_folder(tmp_path: Path, sink: RecordingSink) -> None:
    """The server that runs is not disturbed by one that cannot start beside it."""
    with running(tmp_path, stored(sink, tmp_path / "spool")) as site:
        port = free_port()
        config = tmp_path / "second.toml"
        text = site.server.config.read_text().replace(f"127.0.0.1:{site.port}", f"127.0.0.1:{port}")
        config.write_text(text.replace(f"127.0.0.1:{site.control}", f"127.0.0.1:{free_port()}"))
        said = site.run("serve", "--config", str(config))
        assert said.returncode == 1
        assert said.stderr.count("\n") == 1, said.stderr
        assert site.status()["accepting"] is True
        assert send(site, 1).startswith("250")
