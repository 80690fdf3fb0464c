"""The filter in plain Python, straight from docs/bloom-format.md: slow, short, and on mmh3."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import mmh3

SPREAD = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


class ReferenceFilter:
    """What a filter of this layout must be, bit by bit."""

    def __init__(self, blocks: int, hashes: int, seed: int) -> None:
        self.blocks, self.hashes, self.seed = blocks, hashes, seed
        self.added = 0
        self.bits = bytearray(64 * blocks)

    def positions(self, key: bytes) -> Iterator[tuple[int, int]]:
        h1, h2 = mmh3.hash64(key, self.seed, x64arch=True, signed=False)
        start = (h1 >> 32 | h1 << 32) & MASK
        for i in range(1, self.hashes + 1):
            step = (start + i * h2) & MASK
            bit = ((step ^ step >> 32) * SPREAD & MASK) >> 55
            yield (h1 * self.blocks >> 64) * 64 + bit // 8, 1 << bit % 8

    def add(self, key: bytes) -> bool:
        new = not self.contains(key)
        for byte, mask in self.positions(key):
            self.bits[byte] |= mask
        self.added += new
        return new

    def contains(self, key: bytes) -> bool:
        return all(self.bits[byte] & mask for byte, mask in self.positions(key))

    def image(self) -> bytes:
        front = struct.pack("<8sIIQII", b"ANGBLOOM", 1, self.hashes, self.blocks, self.seed, 0)
        front += struct.pack("<QI16x", self.added, crc32c(bytes(self.bits)))
        return front + struct.pack("<I", crc32c(front)) + bytes(self.bits)


def crc32c(data: bytes) -> int:
    """Castagnoli, bit by bit (RFC 3720 B.4 has test values)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
