"""Bloom filters: equal to the reference bit by bit, files, maps, threads, and what is refused."""

from __future__ import annotations

import threading
from pathlib import Path

import mmh3
import pytest
from angarium.reputation import BloomFilter, FilterError, RotatingBloomFilter
from hypothesis import given
from hypothesis import strategies as st

from tests.reputation.reference import ReferenceFilter, crc32c

KEYS = st.lists(st.binary(max_size=70), max_size=60)


def test_the_reference_stands_on_known_values():
    assert mmh3.hash64(b"user@example.com", 42, x64arch=True, signed=False) == (
        15483754182365076051,
        8815224429610043443,
    )
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 B.4


@given(KEYS, st.integers(1, 9), st.integers(1, 24), st.integers(0, 2**32 - 1))
def test_equal_to_the_reference(keys: list[bytes], blocks: int, hashes: int, seed: int) -> None:
    ours = BloomFilter.with_layout(blocks=blocks, hashes=hashes, seed=seed)
    reference = ReferenceFilter(blocks, hashes, seed)
    assert [ours.add(key) for key in keys] == [reference.add(key) for key in keys]
    assert ours.to_bytes() == reference.image()
    strangers = [key + b"?" for key in keys]
    assert ours.contains_many(strangers) == [reference.contains(key) for key in strangers]
    assert BloomFilter.from_bytes(reference.image()).to_bytes() == reference.image()


@given(KEYS, KEYS)
def test_many_union_and_copies(keys: list[bytes], others: list[bytes]) -> None:
    one, two = (BloomFilter(100, false_positives=0.001, seed=7) for _ in range(2))
    assert one.add_many(keys) == one.added
    two.add_many(iter(others))
    before = one.copy()
    one.union(two)
    assert all(one.contains_many(keys + others))
    assert before.contains_many(others) == [before.contains(key) for key in others]
    one.union(one)
    one.clear()
    assert not any(one.contains_many(keys))
    assert all(before.contains_many(keys))


@pytest.mark.parametrize("key", ["jörg@bücher.example", "jörg@bücher.example".encode()])
def test_keys_of_all_kinds_are_the_same(key: str | bytes) -> None:
    seen = BloomFilter(10)
    assert seen.add(key)
    data = "jörg@bücher.example".encode()
    for same in ("jörg@bücher.example", data, bytearray(data), memoryview(data)):
        assert same in seen
        assert not seen.add(same)
    assert seen.contains_many(("jörg@bücher.example", data, bytearray(data))) == [True, True, True]


def test_a_file_can_be_loaded_mapped_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "seen.bloom"
    seen = BloomFilter(1000, seed=3)
    seen.add_many(f"user{n}@example.org" for n in range(1000))
    seen.save(path)
    assert path.read_bytes() == seen.to_bytes()
    assert list(tmp_path.iterdir()) == [path]
    mapped = BloomFilter.map(path, verify=True)
    assert mapped.read_only
    assert "user7@example.org" in mapped
    assert (mapped.blocks, mapped.hashes, mapped.seed, mapped.added) == (seen.blocks, seen.hashes, 3, seen.added)
    with pytest.raises(FilterError, match="read-only"):
        mapped.add(b"new")
    BloomFilter(1000, seed=3).save(path)
    assert "user7@example.org" in mapped  # the old file, still
    assert "user7@example.org" not in BloomFilter.load(path)
    changeable = mapped.copy()
    assert changeable.add(b"new")


@pytest.mark.parametrize(
    ("at", "why"), [(0, "no bloom filter"), (8, "version"), (20, "header"), (45, "header"), (70, "bits")]
)
def test_damage_is_told(tmp_path: Path, at: int, why: str) -> None:
    seen = BloomFilter(1000)
    seen.add(b"x")
    image = bytearray(seen.to_bytes())
    image[at] ^= 0x40
    path = tmp_path / "damaged"
    path.write_bytes(image)
    for read in (BloomFilter.load, lambda path: BloomFilter.map(path, verify=True)):
        with pytest.raises(FilterError, match=why):
            read(path)
    path.write_bytes(image[:-1])
    with pytest.raises(FilterError):
        BloomFilter.load(path)
    with pytest.raises(FileNotFoundError):
        BloomFilter.map(tmp_path / "absent")


def test_what_makes_no_sense_is_refused():
    for arguments in ({"expected": 0}, {"expected": 10, "false_positives": 0.0}, {"expected": 2**63}):
        with pytest.raises(FilterError):
            BloomFilter(**arguments)
    with pytest.raises(FilterError):
        BloomFilter.with_layout(blocks=1, hashes=99)
    with pytest.raises(FilterError, match="differ"):
        BloomFilter(10, seed=1).union(BloomFilter(10, seed=2))
    seen = BloomFilter(10)
    keys: tuple[object, ...] = (7, None, ["x"])
    for wrong in keys:
        with pytest.raises(TypeError):
            seen.add(wrong)  # type: ignore[arg-type]
    lists: tuple[object, ...] = ("text", b"bytes", 7)
    for wrong in lists:
        with pytest.raises(TypeError):
            seen.contains_many(wrong)  # type: ignore[arg-type]
    assert isinstance(FilterError("x"), ValueError)


def test_false_positives_are_as_promised():
    seen = BloomFilter(50_000, false_positives=0.01, seed=11)
    seen.add_many(f"user{n}@example.org" for n in range(50_000))
    wrong = sum(seen.contains_many([f"other{n}@example.org" for n in range(50_000)]))
    assert 250 < wrong < 600
    assert seen.rate(50_000) == pytest.approx(0.01, abs=0.0015)
    assert 0.4 < seen.fill() < 0.6
    assert seen.nbytes == 64 + 64 * seen.blocks < 80_000


def test_from_several_threads():
    seen = BloomFilter(40_000, false_positives=0.0001)
    other = BloomFilter(40_000, false_positives=0.0001)

    def work(thread: int) -> None:
        keys = [f"{thread}-{n}" for n in range(5000)]
        for start in range(0, 5000, 500):
            seen.add_many(keys[start : start + 500])
            other.union(seen) if thread % 2 else seen.union(other)
            assert all(seen.contains_many(keys[: start + 500]))

    threads = [threading.Thread(target=work, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert all(seen.contains_many(f"{thread}-{n}" for thread in range(4) for n in range(5000)))


def test_two_generations(tmp_path: Path) -> None:
    seen = RotatingBloomFilter(100, false_positives=0.001)
    assert seen.add("first")
    assert not seen.add("first")
    seen.rotate()
    assert "first" in seen
    assert not seen.add("first")  # known to the older one, renewed in the younger
    seen.rotate()
    assert "first" in seen
    seen.rotate()
    seen.rotate()
    assert "first" not in seen
    assert seen.add_many(str(n) for n in range(250)) >= 245
    younger, older = seen.added
    assert older == seen.capacity == 100
    assert younger == pytest.approx(50, abs=4)
    path = tmp_path / "rotating"
    seen.save(path)
    again = RotatingBloomFilter.load(path, capacity=100)
    assert again.added == seen.added
    assert all(again.contains_many(str(n) for n in range(160, 250)))
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(FilterError):
        RotatingBloomFilter.load(path, capacity=100)
