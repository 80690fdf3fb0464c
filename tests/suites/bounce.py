"""Returned mail in many dialects: 264 mails, 285 labels; status, hard or soft, and reason count, each on its own."""

from __future__ import annotations

import json
from pathlib import Path

from angarium.message import read_bounces

from tests.suites import Result

# What a label is held to; a label passes when all three agree.
POINTS = ("status", "hard", "reason")


def run(folder: Path) -> Result:
    result = Result("bounce")
    for name, labels in json.loads((folder / "labels.json").read_text()).items():
        found = read_bounces((folder / "eml" / name).read_bytes())
        for at, label in enumerate(labels):
            case = f"{name}#{at}"
            if at >= len(found):
                result.case(case, "nothing found")
                continue
            differences = [
                f"{point} {getattr(found[at], point)!r}, wanted {label[point]!r}"
                for point in POINTS
                if getattr(found[at], point) != label[point]
            ]
            result.case(case, "; ".join(differences) or None)
    return result
