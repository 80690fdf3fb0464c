"""ARC: 171 chains to judge, 17 messages to seal. A sealed message must have the suite's signatures, bit for bit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from angarium.auth import Answer, DkimKey, check_sync, merged_results

from tests.suites import Result


class Records:
    def __init__(self, records: dict[str, str]) -> None:
        self.records = records

    def __call__(self, name: str, kind: str) -> Answer:
        record = self.records.get(name)
        return ("found", [record.encode()]) if kind == "TXT" and record else ("nxdomain", [])


def run(folder: Path) -> Result:
    result = Result("arc")
    for scenario in yaml.safe_load_all((folder / "arc-validation-tests.yml").read_text()):
        records = Records(scenario.get("txt-records") or {})
        for name, case in scenario["tests"].items():
            # The suite says nothing where a seal says itself that the chain had failed: then it did.
            wanted = (case["cv"] or "Fail").lower()
            report = check_sync(crlf(case["message"]), resolver=records).report
            got = report.arc.outcome
            result.case(name, None if got == wanted else f"{got}, wanted {wanted}: {report.arc.problem}")
    for scenario in yaml.safe_load_all((folder / "arc-sign-tests.yml").read_text()):
        records = Records(scenario.get("txt-records") or {})
        key = DkimKey(scenario["privatekey"].encode())
        for name, case in scenario["tests"].items():
            result.case(f"sign/{name}", why_not(case, scenario, key, records))
    return result


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def tags(text: str) -> dict[str, str]:
    pairs = (item.split("=", 1) for item in text.split(";") if "=" in item)
    return {name.strip(): re.sub(r"\s", "", value) for name, value in pairs}


def why_not(case: dict[str, Any], scenario: dict[str, Any], key: DkimKey, records: Records) -> str | None:
    message = crlf(case["message"])
    results = merged_results(message, case["srv-id"])
    checked = check_sync(message, resolver=records, now=case["t"])
    sealed = checked.seal(
        key,
        domain=scenario["domain"],
        selector=scenario["sel"],
        results=results or "",
        fields=case["sig-headers"].split(":"),
    )
    if sealed is None:
        return None if not case["AS"] else "not sealed"
    fields = {
        name: value
        for name, _, value in (field.partition(": ") for field in re.split(r"\r\n(?=A)", sealed.decode().rstrip()))
    }
    for name, wanted in (("ARC-Seal", "AS"), ("ARC-Message-Signature", "AMS")):
        if tags(fields[name]) != tags(case[wanted]):
            return f"{name} is {tags(fields[name])}, wanted {tags(case[wanted])}"
    got, wanted_results = (" ".join(text.split()) for text in (fields["ARC-Authentication-Results"], case["AAR"]))
    return None if got == wanted_results else f"results {got}, wanted {wanted_results}"
