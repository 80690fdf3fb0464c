"""What other readers see: everything that some honest one takes from a message, and who wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from angarium._core import message_automatic, message_readings

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Readings(NamedTuple):
    """The union of the ways in which readers take a message.

    `contents` are decoded bodies, uuencoded files and text around parts, each once; `cut`: some ways were not gone,
    since the message has more of them than honest ones have.
    """

    file_names: tuple[str, ...]
    types: tuple[str, ...]
    contents: tuple[bytes, ...]
    cut: bool


def readings(data: Buffer) -> Readings:
    """All file names, types and contents that some reader sees, for a filter that must not be led around.

    `scan(data).findings` tells where readers differ; here each repeated field, each boundary, each encoding and each
    kind of line end is followed.
    """
    names, types, contents, cut = message_readings(data)
    return Readings(tuple(names), tuple(types), tuple(contents), cut)


def automatic(data: Buffer) -> str | None:
    """Why a program must not answer this message (RFC 3834 2), or None where a person seems to have written it.

    One of "auto-submitted", "report", "list", "null-sender" (its Return-Path), "marked" (by older fields such as
    X-Autoreply) and "nobody" (From is an address that no person reads).
    """
    return message_automatic(data)
