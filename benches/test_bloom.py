"""Bloom filter look-ups, singly and by the thousand, against the same filter written in plain Python on mmh3."""

from __future__ import annotations

import mmh3
import pytest
from angarium.reputation import BloomFilter

ITEMS = 100_000
RATE = 0.01
SEED = 42
SPREAD = 0x9E3779B97F4A7C15
MASK = 2**64 - 1
KNOWN = [f"user{n}@example.org" for n in range(ITEMS)]
# Half known, half not, as a server that looks for strangers sees them.
ASKED = [f"user{n * 37 % ITEMS}@example.org" if n % 2 else f"other{n}@example.org" for n in range(1000)]


class PlainFilter:
    """The same positions and the same bits, as a person would write it."""

    def __init__(self, blocks: int, hashes: int) -> None:
        self.blocks = blocks
        self.rounds = range(1, hashes + 1)
        self.bits = bytearray(64 * blocks)

    def add(self, key: str) -> None:
        h1, h2 = mmh3.hash64(key, SEED, x64arch=True, signed=False)
        block = (h1 * self.blocks >> 64) * 64
        start = (h1 >> 32 | h1 << 32) & MASK
        for i in self.rounds:
            step = (start + i * h2) & MASK
            bit = ((step ^ step >> 32) * SPREAD & MASK) >> 55
            self.bits[block + (bit >> 3)] |= 1 << (bit & 7)

    def __contains__(self, key: str) -> bool:
        h1, h2 = mmh3.hash64(key, SEED, x64arch=True, signed=False)
        block = (h1 * self.blocks >> 64) * 64
        start = (h1 >> 32 | h1 << 32) & MASK
        for i in self.rounds:
            step = (start + i * h2) & MASK
            bit = ((step ^ step >> 32) * SPREAD & MASK) >> 55
            if not self.bits[block + (bit >> 3)] & 1 << (bit & 7):
                return False
        return True


@pytest.fixture(scope="module")
def ours() -> BloomFilter:
    seen = BloomFilter(ITEMS, false_positives=RATE, seed=SEED)
    seen.add_many(KNOWN)
    return seen


@pytest.fixture(scope="module")
def plain(ours: BloomFilter) -> PlainFilter:
    seen = PlainFilter(ours.blocks, ours.hashes)
    for key in KNOWN:
        seen.add(key)
    assert bytes(seen.bits) == ours.to_bytes()[64:]
    return seen


@pytest.mark.benchmark(group="bloom filter, one known key looked up")
class TestOne:
    def test_ours(self, benchmark, ours):
        assert benchmark(lambda: "user7@example.org" in ours)

    def test_plain_python(self, benchmark, plain):
        assert benchmark(lambda: "user7@example.org" in plain)


@pytest.mark.benchmark(group="bloom filter, 1,000 keys looked up, half of them known")
class TestThousand:
    def test_ours(self, benchmark, ours, plain):
        assert benchmark(ours.contains_many, ASKED) == [key in plain for key in ASKED]

    def test_ours_singly(self, benchmark, ours):
        benchmark(lambda: [key in ours for key in ASKED])

    def test_plain_python(self, benchmark, plain):
        benchmark(lambda: [key in plain for key in ASKED])


@pytest.mark.benchmark(group="bloom filter, 1,000 keys added")
class TestAdd:
    def test_ours(self, benchmark, ours):
        benchmark(ours.copy().add_many, ASKED)

    def test_plain_python(self, benchmark, ours):
        seen = PlainFilter(ours.blocks, ours.hashes)

        def add() -> None:
            for key in ASKED:
                seen.add(key)

        benchmark(add)
