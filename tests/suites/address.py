"""Address syntax: isemail's 164 cases, each with its diagnosis. What DNS says is taken from the case itself."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from angarium.message import Address

from tests.suites import Result

# The suite looks names up in the live DNS of 2010; a case that expects nothing worse than DNS tells what was found.
RECORDS = {"VALID": "found", "DNSWARN_NO_MX_RECORD": "no-mx", "DNSWARN_NO_RECORD": "none"}
# The suite writes control characters as the pictures that Unicode has for them.
PICTURES = {0x2400 + code: code for code in range(32)}


def run(folder: Path) -> Result:
    result = Result("address")
    for test in ElementTree.parse(folder / "isemail-tests.xml").getroot().iter("test"):
        address = (test.findtext("address") or "").translate(PICTURES)
        want = (test.findtext("diagnosis") or "").removeprefix("ISEMAIL_")
        got, _ = Address.diagnose(address, records=RECORDS.get(want, "unknown"))
        result.case(test.attrib["id"], None if got == want else f"{address!r} is {got}, wanted {want}")
    return result
