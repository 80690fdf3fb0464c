"""DKIM2: the 47 conformance cases of the draft, their DNS beside them."""

from __future__ import annotations

import json
from pathlib import Path

from angarium.auth import Answer, verify_dkim2

from tests.suites import Result

# The time at which the suite's messages were judged; one case leaves it out.
NOW = 1_782_394_396


def run(folder: Path) -> Result:
    result = Result("dkim2")
    zones = json.loads((folder / "dns.json").read_text())
    records = {f"{name}.{zone}": found[0][1] for zone, names in zones.items() for name, found in names.items()}

    def ask(name: str, kind: str) -> Answer:
        return ("found", [records[name].encode()]) if name in records else ("nxdomain", [])

    for case in json.loads((folder / "cases.json").read_text()):
        verdict = verify_dkim2(
            (folder / "expected" / case["file"]).read_bytes(),
            sender=case["mail_from"],
            recipients=case["rcpt_to"],
            resolver=ask,
            now=case["now"] or NOW,
            strict=case["strict"],
        )
        wanted = case["expected"]
        why = None if verdict.outcome == wanted else f"{verdict.outcome}, wanted {wanted}: {verdict.problem}"
        result.case(case["name"], why)
    return result
