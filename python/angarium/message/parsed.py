"""A message as a person sees it: subject, people, date, text, attachments, each read when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING

from angarium._core import MessagePart, MessageScan, scan_message
from angarium._core import parse_date as _parse_date
from angarium.message.address import Mailbox

if TYPE_CHECKING:
    from typing_extensions import Buffer


def parse_date(value: bytes) -> datetime | None:
    """A Date value as a datetime with its zone (RFC 5322 3.3 and 4.3), or None where it is none."""
    found = _parse_date(value)
    if found is None:
        return None
    year, month, day, hour, minute, second, east = found
    zone = UTC if east == 0 else timezone(timedelta(minutes=max(-1439, min(1439, east))))
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
    except ValueError:
        return None


class Message:
    """A parsed message. Holds its bytes; nothing is decoded before it is asked for, and then once."""

    def __init__(self, scan: MessageScan) -> None:
        self.scan = scan
        self.root = scan.root

    def header(self, name: str) -> str | None:
        """The first field of this name as text: unfolded, encoded words decoded."""
        return self.root.header(name)

    def mailboxes(self, name: str) -> tuple[Mailbox, ...]:
        """All mailboxes of all fields of this name, those of groups among them."""
        return tuple(Mailbox(*one) for one in self.root.addresses(name))

    @cached_property
    def subject(self) -> str:
        return self.header("Subject") or ""

    @cached_property
    def from_(self) -> tuple[Mailbox, ...]:
        return self.mailboxes("From")

    @cached_property
    def to(self) -> tuple[Mailbox, ...]:
        return self.mailboxes("To")

    @cached_property
    def cc(self) -> tuple[Mailbox, ...]:
        return self.mailboxes("Cc")

    @cached_property
    def reply_to(self) -> tuple[Mailbox, ...]:
        return self.mailboxes("Reply-To")

    @cached_property
    def date(self) -> datetime | None:
        value = self.root.value("Date")
        return None if value is None else parse_date(value)

    @cached_property
    def message_id(self) -> str | None:
        """The Message-ID without its angle brackets."""
        value = self.header("Message-ID")
        return value.removeprefix("<").removesuffix(">") if value else None

    @cached_property
    def text(self) -> str:
        """The first text/plain that is shown, or an empty text."""
        return next((part.text() for part in self._shown("text/plain")), "")

    @cached_property
    def html(self) -> str:
        """The first text/html that is shown, or an empty text."""
        return next((part.text() for part in self._shown("text/html")), "")

    @cached_property
    def attachments(self) -> tuple[MessagePart, ...]:
        """The parts to be saved; messages inside are one each, what stands inside them is not counted."""
        return tuple(part for part in self._own_parts() if part.is_attachment)

    def _shown(self, content_type: str) -> Iterator[MessagePart]:
        return (part for part in self._own_parts() if part.content_type == content_type and not part.is_attachment)

    def _own_parts(self) -> Iterator[MessagePart]:
        waiting = [self.root]
        while waiting:
            part = waiting.pop()
            yield part
            if part.kind == "multipart":
                waiting.extend(reversed(part.children))

    def __repr__(self) -> str:
        return f"<Message {self.subject!r} in {len(self.scan)} parts>"

    def __str__(self) -> str:
        return str(self.scan)


def parse(data: Buffer) -> Message:
    """The message in these bytes; takes any buffer, copies nothing, raises nothing on content."""
    return Message(scan_message(data))
