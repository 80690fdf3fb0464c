"""Addresses: strict for envelopes (RFC 5321 4.1.2), lenient for fields (RFC 5322 3.4), diagnosed by every rule."""

from __future__ import annotations

from dataclasses import dataclass

from angarium._core import diagnose_address, message_addresses, write_mailbox
from angarium.errors import AngariumError

# What may stand in an envelope: plain, or quoted and literal, which SMTP knows as well (RFC 5321 4.1.2).
ENVELOPE_CLASSES = frozenset({"valid", "dns", "unusual"})


class AddressError(AngariumError, ValueError):
    """A text is no address: `diagnosis` names the rule it breaks, `offset` the byte where that was seen."""

    def __init__(self, text: str, diagnosis: str, offset: int) -> None:
        super().__init__(text, diagnosis, offset)
        self.text = text
        self.diagnosis = diagnosis
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.text!r} is no address: {self.diagnosis} at byte {self.offset}"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox of a header field: display name and address, each perhaps empty; `str()` writes it for a field."""

    name: str
    address: str

    def __str__(self) -> str:
        return write_mailbox(self.name, self.address)


@dataclass(frozen=True, slots=True)
class Group:
    """A named group of mailboxes (RFC 5322 3.4), often an empty one."""

    name: str
    members: tuple[Mailbox, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """An address as envelopes have it: `local@domain`, checked. Letters outside ASCII are fine (RFC 6531 3.3)."""

    local: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `local@domain`; raises `AddressError` with the rule that is broken and the byte where."""
        diagnosis, kind, offset = diagnose_address(_ascii_shape(text))
        if kind not in ENVELOPE_CLASSES:
            raise AddressError(text, diagnosis, offset)
        local, _, domain = text.rpartition("@")
        return cls(local, domain)

    @staticmethod
    def diagnose(text: str | bytes, *, records: str = "unknown") -> tuple[str, str]:
        """The worst finding and its class, such as `("CFWS_COMMENT", "folded")`; nothing is ever raised.

        Classes from harmless to broken: valid, dns, unusual, folded, obsolete, letter-only, broken. `records` says what
        DNS knows of the domain: unknown, found, no-mx or none.
        """
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        diagnosis, kind, _ = diagnose_address(data, records)
        return diagnosis, kind

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def _ascii_shape(text: str) -> bytes:
    """The bytes with a letter in place of each byte outside ASCII: RFC 6531 3.3 lets them stand where letters may."""
    return bytes(byte if byte < 128 else ord("x") for byte in text.encode("utf-8", "surrogateescape"))


def parse_addresses(value: str | bytes) -> list[Mailbox | Group]:
    """The entries of a From, To or Cc value, read leniently: comments, groups, obsolete forms, encoded words."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    entries: list[Mailbox | Group] = []
    for name, second, third in message_addresses(data):
        if third is None:
            entries.append(Group(name or "", tuple(Mailbox(*member) for member in second)))
        else:
            entries.append(Mailbox(str(second), third))
    return entries
