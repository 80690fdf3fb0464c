"""Messages as ranges in their bytes.

`scan_header(data)` finds the fields of a header in one pass and decodes nothing: 8-bit, folded and malformed fields
come out as they stand. Never raises on content; at a bound (1 MiB, 10,000 fields) it stops and says so in `overflow`.

    >>> scan = scan_header(b"Subject: hello\\r\\nReceived: from a by b\\r\\n\\r\\nbody")
    >>> scan.value("subject"), scan.received_count
    (b' hello', 1)
"""

from __future__ import annotations

from angarium._core import HeaderScan, scan_header

__all__ = ["HeaderScan", "scan_header"]
