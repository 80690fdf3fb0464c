"""Rows about Rust crates beside Rust peers: our own examples measure, this file reads what they print.

`rust/core/message/examples/parse_speed.rs` scans messages beside mail-parser and decodes base64 beside memchr with
base64-simd; `rust/auth/examples/auth_speed.rs` signs beside raw aws-lc-rs and judges with DNS known.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .load.rows import Row

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ("parse_speed", "auth_speed")
# (case, figure) → what the project holds itself to, and whether that is the most.
WANTED = {
    ("message scan, 4 KiB text", "times mail-parser 0.11 parse"): (10.0, False),
    ("message scan, 100 KiB multipart", "times mail-parser 0.11 parse"): (10.0, False),
    ("attachment of 5 MiB decoded from base64", "GB/s"): (2.0, False),
    ("DKIM rsa-2048 signature, 4 KiB", "share of raw aws-lc-rs"): (0.9, False),
    ("SPF, DKIM, DMARC of a warm message, 4 KiB", "µs CPU"): (150.0, True),
}


def crates(*, smoke: bool) -> Iterable[Row]:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for example in EXAMPLES:
        command = [str(target / "release" / "examples" / example), *(["--brief"] if smoke else [])]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for line in printed.splitlines():
            case, figure, value, noise, detail = line.split("\t")
            wanted, at_most = WANTED.get((case, figure), (None, False))
            percent = f"{float(noise) * 100:.0f} %"
            yield Row(case, figure, float(value), wanted, at_most=at_most, noise=percent, detail=detail)
