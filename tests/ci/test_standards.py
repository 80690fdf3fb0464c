"""docs/standards.tsv and the code agree: a row's file cites its section, and what is cited has a row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CITED = re.compile(r"RFC (\d{3,5})(?: (\d+(?:\.\d+)*))?")
STATUSES = {"done", "partial", "planned", "deviation"}


def rows() -> list[dict[str, str]]:
    with (ROOT / "docs" / "standards.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def cited(text: str) -> Iterator[tuple[str, str]]:
    for found in CITED.finditer(text):
        yield found[1], found[2] or "-"


def test_every_row_is_obeyed_where_it_says() -> None:
    for row in rows():
        assert row["status"] in STATUSES, row
        text = (ROOT / row["file"]).read_text()
        assert (row["rfc"], row["section"]) in set(cited(text)), f"{row['file']} does not cite {row}"


def test_every_citation_has_a_row() -> None:
    known = {(row["rfc"], row["section"]) for row in rows()}
    sources = [path for end in ("rs", "py") for part in ("rust", "python") for path in (ROOT / part).rglob(f"*.{end}")]
    for path in sources:
        if {"tests", "examples", "target"} & set(path.parts):
            continue
        missing = set(cited(path.read_text())) - known
        assert not missing, f"{path.relative_to(ROOT)} cites {sorted(missing)}; docs/standards.tsv has no row for it"
