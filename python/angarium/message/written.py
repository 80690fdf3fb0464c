"""Messages built and changed: `build` makes one from text, HTML, attachments; `rewrite` changes a finished one."""

from __future__ import annotations

import html as markup
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from angarium._core import build_message, rewrite_message
from angarium.message.address import Group, Mailbox, parse_addresses

if TYPE_CHECKING:
    from typing_extensions import Buffer

People = str | Mailbox | Iterable[str | Mailbox]


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something to attach, or with a `content_id` to show inside the HTML as `cid:…` (RFC 2392)."""

    content: bytes
    file_name: str = ""
    content_type: str = "application/octet-stream"
    content_id: str = ""


def build(
    *,
    from_: People,
    to: People = (),
    cc: People = (),
    subject: str = "",
    text: str | None = None,
    html: str | None = None,
    attachments: Iterable[Attachment] = (),
    headers: Mapping[str, str] | None = None,
    message_id: str = "",
    date: datetime | None = None,
    utf8: bool = False,
) -> bytes:
    """A message with CRLF line ends, in 7 bits unless `utf8` lets letters stand in the header as they are (RFC 6532).

    People are `a@b.example`, `Name <a@b.example>`, a `Mailbox`, or several of them. `date` is now where none is given;
    a `message_id` has no brackets and is left out when empty. Every part takes the encoding its content asks for.
    """
    at = datetime.now(UTC) if date is None else date
    return build_message(
        sender=_people(from_),
        to=_people(to),
        cc=_people(cc),
        subject=subject,
        message_id=message_id,
        date=max(0, int(at.timestamp() * 1000)),
        fields=list((headers or {}).items()),
        text=text,
        html=html,
        attachments=[(one.file_name, one.content_type, one.content, one.content_id) for one in attachments],
        boundary=secrets.token_hex(12),
        utf8=utf8,
    )


def rewrite(
    data: Buffer,
    *,
    add: Mapping[str, str] | None = None,
    replace: Mapping[str, str] | None = None,
    remove: Iterable[str] = (),
    footer_text: str = "",
    footer_html: str = "",
    link: Callable[[str], str | None] | None = None,
) -> bytes:
    """The message with changes, every other byte as it was.

    `add` puts fields in front, `replace` in the place of the first of that name (in front where there is none), and
    `remove` takes all of a name away. The footers go to the first text and the first HTML that are shown, in the
    charset and encoding of the part; where the charset lacks a character HTML gets a reference and plain text becomes
    UTF-8. The text is shown in HTML too where there is no `footer_html`. `link` gets each link of the shown texts and
    gives the new one, or None to leave it. Signed and encrypted parts and messages inside are never touched.
    """
    return rewrite_message(
        data,
        add=[_field(name, text) for name, text in (add or {}).items()],
        replace=[(name, _field(name, text)) for name, text in (replace or {}).items()],
        remove=list(remove),
        footer_text=footer_text,
        footer_html=footer_html or markup.escape(footer_text).replace("\n", "<br>\n"),
        link=link,
    )


def _field(name: str, text: str) -> bytes:
    """A whole field; text outside ASCII stands as UTF-8 (RFC 6532)."""
    if not name or any(not 33 <= ord(char) <= 126 or char == ":" for char in name):
        raise ValueError(f"{name!r} is no name of a field (RFC 5322 3.6.8)")
    if any(char in text for char in "\r\n\0"):
        raise ValueError(f"the text of {name} holds a line end or NUL")
    return f"{name}: {text}\r\n".encode()


def _people(people: People) -> list[tuple[str, str]]:
    if isinstance(people, str | Mailbox):
        people = [people]
    found: list[tuple[str, str]] = []
    for one in people:
        for entry in parse_addresses(one) if isinstance(one, str) else (one,):
            members = entry.members if isinstance(entry, Group) else (entry,)
            found.extend((mailbox.name, mailbox.address) for mailbox in members)
    return found
