"""Memory of traffic in fixed space: bloom filters that answer "perhaps" or "certainly not".

    >>> seen = BloomFilter(expected=1_000_000, false_positives=0.001)
    >>> seen.add("user@example.com")
    True
    >>> "user@example.com" in seen, "other@example.com" in seen
    (True, False)

Keys are bytes, str (hashed as UTF-8) or buffers. The hash is MurmurHash3 x64_128 as `mmh3` has it, the file is
described in docs/bloom-format.md: any program can read and write these filters. `BloomFilter.map` asks a file of any
size without reading it in. Filters may be used from several threads; the calls for many keys release the interpreter.
"""

from __future__ import annotations

from angarium._core import BloomFilter, RotatingBloomFilter
from angarium.errors import FilterError

__all__ = ["BloomFilter", "FilterError", "RotatingBloomFilter"]
