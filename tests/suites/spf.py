"""SPF evaluation: the 203 cases of RFC 7208's test suite, each with its own zone."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import yaml
from angarium.auth import Answer, verify_sync

from tests.suites import Result


class Zone:
    """A zone of the suite: SPF records stand for TXT ones where a name has no TXT of its own (see the suite's head)."""

    def __init__(self, data: dict[str, list[Any]]) -> None:
        self.records = {name.lower().rstrip("."): entries for name, entries in data.items()}

    def __call__(self, name: str, kind: str) -> Answer:
        for _ in range(8):
            entries = self.records.get(name.lower())
            if entries is None:
                return "nxdomain", []
            alias = next((entry["CNAME"] for entry in entries if isinstance(entry, dict) and "CNAME" in entry), None)
            if alias is None:
                break
            name = alias.rstrip(".")
        found = [self.text(entry[kind]) for entry in entries if isinstance(entry, dict) and kind in entry]
        if kind == "TXT" and not found:
            found = [self.text(entry["SPF"]) for entry in entries if isinstance(entry, dict) and "SPF" in entry]
        if kind == "TXT":
            found = [text for text in found if text != b"NONE"]
        if not found and "TIMEOUT" in entries:
            return "failed", []
        return ("found", found) if found else ("none", [])

    def text(self, value: Any) -> bytes:
        if isinstance(value, list):
            # Strings of a TXT record, or (preference, host) of an MX record.
            value = value[1] if value and isinstance(value[0], int) else "".join(value)
        return str(value).encode("latin-1", "surrogateescape")


def run(folder: Path) -> Result:
    result = Result("spf")
    text = (folder / "rfc7208-tests.yml").read_bytes().decode("utf-8", "surrogateescape")
    for scenario in yaml.safe_load_all(text):
        zone = Zone(scenario["zonedata"])
        for name, case in scenario["tests"].items():
            result.case(name, why_not(case, zone))
    return result


def why_not(case: dict[str, Any], zone: Zone) -> str | None:
    address = str(ipaddress.ip_address(case["host"]))
    report = verify_sync(
        b"From: x@x.invalid\r\n\r\n",
        ip=address,
        helo=case["helo"],
        sender=case["mailfrom"],
        receiver="receiver.example",
        resolver=zone,
    )
    assert report.spf is not None
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    if report.spf.outcome not in wanted:
        return f"{report.spf.outcome}, wanted {wanted}: {report.spf.problem} {list(report.spf.steps)}"
    explanation = case.get("explanation")
    if explanation is not None:
        wanted_text = None if explanation == "DEFAULT" else explanation
        if report.spf.explanation != wanted_text:
            return f"explanation {report.spf.explanation!r}, wanted {wanted_text!r}"
    return None
