"""Facts as Python reads them: by the records of rust/core/nouns/src/record, forward compatible."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from angarium import journal
from angarium.journal import Claimed, Controlled, Lost, Received, Settled, Strange, fact_of
from msgspec.structs import replace

ID = (7).to_bytes(16, "big")
PRINTED = "0" * 25 + "7"
STRINGS = ("a@example.org", "b@example.org", "user unknown", "mx[192.0.2.1]:25", "example.org", "")

RECEIVED = [1, 5, ID, 1_000, 3, 1, 0, [2, 1], 0, 0, 0, 1, True]
SETTLED = [2, 6, ID, 1, 5, 0, 99, 1, 0, 2, 0, 4, 305, 550, 5_001_001, 3, 4, 5, 0, 12, False]


def read(fact: list[object]) -> journal.Fact:
    return fact_of(9, msgspec.msgpack.encode(fact), STRINGS)


def test_received() -> None:
    assert read(RECEIVED) == Received(
        lsn=9,
        at=5,
        id=PRINTED,
        size=1_000,
        class_="bulk",
        sender="a@example.org",
        first=0,
        recipients=("b@example.org", "a@example.org"),
        peer="",
        tenant="",
        campaign="",
        successor="bounce",
        recovered=True,
    )


def test_settled() -> None:
    fact = read(SETTLED)
    assert isinstance(fact, Settled)
    assert (fact.state, fact.outcome, fact.scope, fact.reason) == ("failed", "failed", "recipient", "no-such-recipient")
    assert (fact.code, fact.status, fact.text, fact.tag_given) == (550, "5.1.1", "user unknown", None)
    reroute = read([*SETTLED[:18], 6, *SETTLED[19:]])
    assert isinstance(reroute, Settled)
    assert reroute.tag_given == ""


def test_the_other_kinds() -> None:
    assert read([5, 1, ID, 3, 3]) == Lost(lsn=9, at=1, id=PRINTED, number=3, why="user unknown")
    controlled = read([4, 1, 2, 1, 2, 0, 0, 0, 5])
    assert isinstance(controlled, Controlled)
    assert (controlled.control, controlled.changed) == (2, 5)


def test_later_versions_are_read_as_far_as_they_are_known() -> None:
    judged = read([*RECEIVED, 3])
    assert read([*RECEIVED, 3, 0, "new"]) == judged == replace(read(RECEIVED), verdicts="user unknown")
    assert read([8, 1, ID, 7, 2]) == Claimed(lsn=9, at=1, id=PRINTED, control=7, claim="required")
    assert read([99, 1, 2]) == Strange(lsn=9, tag=99)
    unknown = read([*SETTLED[:11], 200, *SETTLED[12:]])
    assert isinstance(unknown, Settled)
    assert unknown.reason == "200"


@pytest.mark.parametrize("cut", [[1, 5], SETTLED[:-1], []])
def test_what_is_cut_short_is_refused(cut: list[object]) -> None:
    with pytest.raises(ValueError):
        read(cut)


def test_words_are_those_of_the_record() -> None:
    """The tables of words here and in Rust, compared where the sources are at hand."""
    nouns = Path(__file__).parents[2] / "rust" / "core" / "nouns" / "src"
    files = [nouns / "outcome.rs", nouns / "envelope.rs", *sorted((nouns / "record").glob("*.rs"))]
    text = "".join(file.read_text() for file in files)
    for name in journal.REASONS + journal.STATES + journal.CLASSES:
        assert f'"{name}"' in text, name
