"""Parse trees of 32 + 32 messages with LF and CRLF, offsets included (legacy: RFC 2045 era programs; rfc: examples).

Compared for each part: place in the tree, ranges of header and body, names and ranges of all fields, dates, text
fields, addresses, and the decoded body. The suite writes down what one other parser makes of the bytes. Three of its
choices are not ours and do not count as differences: raw bytes that are not UTF-8 become U+FFFD there (here they are
read as Windows-1252), uuencoded content stays encoded there, and content that says base64 and is none stays too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from angarium.message import Group, Mailbox, Part, decode_words, parse_addresses, parse_date, scan

from tests.suites import Result


def run(folder: Path) -> Result:
    result = Result("mime")
    for expected in sorted(folder.glob("*/*.json")):
        source = expected.with_name(expected.name.replace(".crlf.json", ".eml").replace(".json", ".eml"))
        data = source.read_bytes()
        if expected.name.endswith(".crlf.json"):
            data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        else:
            data = data.replace(b"\r\n", b"\n")
        wanted = json.loads(expected.read_text())
        differences = list(compare(data, wanted))
        name = f"{expected.parent.name}/{expected.name.removesuffix('.json')}"
        result.case(name, "; ".join(differences[:3]) if differences else None)
    return result


def compare(data: bytes, wanted: dict[str, Any]) -> Iterator[str]:
    """What differs between our tree and the expected one; nested messages count as parts of the whole."""
    root = scan(data).root
    yield from compare_message(root, data, wanted)


def compare_message(root: Part, data: bytes, wanted: dict[str, Any]) -> Iterator[str]:
    ours = list(own_parts(root))
    theirs = wanted["parts"]
    if len(ours) != len(theirs):
        yield f"{len(ours)} parts, wanted {len(theirs)}"
        return
    for part, want in zip(ours, theirs, strict=True):
        for difference in compare_part(part, data, want):
            yield f"part at {part.range[0]}: {difference}"


def own_parts(root: Part) -> Iterator[Part]:
    """The parts of one message, without what stands inside messages in it."""
    yield root
    if root.kind != "message":
        for child in root.children:
            yield from own_parts(child)


def compare_part(part: Part, data: bytes, want: dict[str, Any]) -> Iterator[str]:
    place = (part.header_range[0], *part.body_range)
    wanted_place = (want["offset_header"], want["offset_body"], want["offset_end"])
    if place != wanted_place:
        yield f"lies at {place}, wanted {wanted_place}"
    yield from compare_fields(part, data, want["headers"])
    if part.encoding == "uuencode" or "base64-junk" in part.flaws:
        return
    body = want["body"]
    kind, content = next(iter(body.items()))
    if kind == "Message":
        if part.children:
            yield from compare_message(part.children[0], data, content)
        else:
            inside = part.decode()
            yield from compare_message(scan(inside).root, inside, content)
    elif kind == "Multipart":
        if len(part.children) != len(content):
            yield f"{len(part.children)} parts inside, wanted {len(content)}"
    elif kind in ("Text", "Html"):
        if not same_text(part.text(), content):
            yield f"text {shown(part.text(), content)}"
    elif list(part.decode()) != content:
        yield f"content of {len(part.decode())} bytes, wanted {len(content)}"


def same_text(ours: str, theirs: str) -> bool:
    """Equal, U+FFFD standing for any letter outside ASCII."""
    if "\ufffd" not in theirs:
        return ours == theirs
    return len(ours) == len(theirs) and all(
        a == b or (b == "\ufffd" and ord(a) > 127) for a, b in zip(ours, theirs, strict=True)
    )


def shown(ours: str, theirs: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    return f"{ours[at : at + 20]!r}, wanted {theirs[at : at + 20]!r} at character {at}"


def compare_fields(part: Part, data: bytes, wanted: list[dict[str, Any]]) -> Iterator[str]:
    ours = [(whole, name, value) for whole, name, value in part.field_ranges if name[0] != name[1]]
    if len(ours) != len(wanted):
        yield f"{len(ours)} fields, wanted {len(wanted)}"
        return
    for (whole, name, value), want in zip(ours, wanted, strict=True):
        label = want["name"] if isinstance(want["name"], str) else want["name"]["other"]
        written = data[name[0] : name[1]].decode("utf-8", "replace")
        if written.lower().replace("-", "_") != label.lower().replace("-", "_"):
            yield f"field {written}, wanted {label}"
        ends = (whole[0], whole[1])
        if ends != (want["offset_field"], want["offset_end"]):
            yield f"{written} at {ends}, wanted {(want['offset_field'], want['offset_end'])}"
        difference = compare_value(part, written, data[value[0] : value[1]], want["value"])
        if difference:
            yield f"{written}: {difference}"


def compare_value(part: Part, name: str, value: bytes, want: Any) -> str | None:
    kind, content = ("Empty", None) if isinstance(want, str) else next(iter(want.items()))
    if kind == "Text":
        text = decode_words(value)
        if name.lower() in ("message-id", "content-id", "return-path"):
            text = text.removeprefix("<").removesuffix(">")
        return None if same_text(text, content) else f"{text!r}, wanted {content!r}"
    if kind == "Address":
        return compare_addresses(value, content)
    if kind == "DateTime":
        return compare_date(value, content)
    return None


def compare_addresses(value: bytes, want: dict[str, Any]) -> str | None:
    def theirs(one: dict[str, Any]) -> Mailbox:
        return Mailbox(one["name"] or "", one["address"] or "")

    kind, content = next(iter(want.items()))
    if kind == "List":
        wanted: list[Mailbox | Group] = [theirs(one) for one in content]
    else:
        wanted = [Group(one["name"] or "", tuple(theirs(member) for member in one["addresses"])) for one in content]
        # There a list that holds a group is groups only; mailboxes outside are one without a name.
        wanted = [
            mailbox for one in wanted for mailbox in (one.members if isinstance(one, Group) and not one.name else [one])
        ]
    ours = parse_addresses(value)
    return None if same_text(repr(ours), repr(wanted)) else f"{ours}, wanted {wanted}"


def compare_date(value: bytes, want: dict[str, Any]) -> str | None:
    found = parse_date(value)
    if found is None:
        return f"no date in {value!r}"
    ours = (found.year, found.month, found.day, found.hour, found.minute, found.second)
    theirs = tuple(want[key] for key in ("year", "month", "day", "hour", "minute", "second"))
    zone = (want["tz_hour"] * 60 + want["tz_minute"]) * (-1 if want["tz_before_gmt"] else 1)
    offset = found.utcoffset()
    minutes = 0 if offset is None else round(offset.total_seconds() / 60)
    return None if (ours, minutes) == (theirs, zone) else f"{ours} {minutes}, wanted {theirs} {zone}"
