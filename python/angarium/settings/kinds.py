"""The words that values in angarium.toml are made of: times, sizes, rates, networks, names, ports.

Each kind is a str or an int that was checked once; `parse` takes what TOML gives and raises `ValueError` with what is
wrong, and `right` says what a good one looks like. Who has one trusts it. Nothing here looks anything up.
"""

from __future__ import annotations

import ipaddress
import re
from typing import ClassVar, Self

import idna

UNITS_OF_TIME = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
UNITS_OF_SIZE = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
UNITS_OF_RATE = {"s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
# RFC 1035 2.3.4, less the root's dot.
LONGEST_DOMAIN = 253
# sun_path of unix(7).
LONGEST_SOCKET = 107
TIME_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|[smhdw])\s*", re.IGNORECASE)
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]i?b|b?)", re.IGNORECASE)
RATE = re.compile(r"(\d+)\s*/\s*(\d*)\s*(min|[smhd])", re.IGNORECASE)
LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# In milliseconds; the engine reckons in 64 bits.
LONGEST = 1_000 * 366 * 86_400_000
MAILBOX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


class Duration(int):
    """Milliseconds; written "250ms", "30s", "5m", "1h30m", "5d", or as a number of seconds."""

    right: ClassVar[str] = 'a time like "30s", "5m", "4h" or "5d" (a plain number counts seconds)'

    @classmethod
    def parse(cls, given: object) -> Self:
        if isinstance(given, int | float) and not isinstance(given, bool) and given >= 0:
            return cls.bounded(given * 1_000, given)
        if not isinstance(given, str) or not given.strip():
            raise ValueError(f"{given!r} is not a time")
        total, at, text = 0.0, 0, given.strip()
        while at < len(text):
            part = TIME_PART.match(text, at)
            if part is None:
                raise ValueError(f"{given!r} is not a time")
            total += float(part[1]) * UNITS_OF_TIME[part[2].lower()]
            at = part.end()
        return cls.bounded(total, given)

    @classmethod
    def bounded(cls, milliseconds: float, given: object) -> Self:
        """Also what is no number any more is too long."""
        if not milliseconds <= LONGEST:
            raise ValueError(f"{given!r} is longer than a thousand years")
        return cls(round(milliseconds))

    @property
    def seconds(self) -> float:
        return self / 1_000


class Size(int):
    """Bytes; written "64KiB", "50MB", or as a number of bytes."""

    right: ClassVar[str] = 'a size like "64KiB", "50MB" or "1GiB" (a plain number counts bytes)'

    @classmethod
    def parse(cls, given: object) -> Self:
        if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
            return cls(given)
        found = SIZE.fullmatch(given.strip()) if isinstance(given, str) else None
        if found is None:
            raise ValueError(f"{given!r} is not a size")
        return cls(round(float(found[1]) * UNITS_OF_SIZE[found[2].lower()]))


class Rate(str):
    """Messages in a time; written "100/min", "10/s", "5000/2h". Empty: no bound."""

    right: ClassVar[str] = 'a rate like "10/s", "100/min" or "5000/h", or "" for none'

    @classmethod
    def parse(cls, given: object) -> Self:
        text = given.strip() if isinstance(given, str) else given
        if text != "" and (not isinstance(text, str) or not (found := RATE.fullmatch(text)) or found[1] == "0"):
            raise ValueError(f"{given!r} is not a rate")
        return cls(text)

    @property
    def bucket(self) -> tuple[int, int] | None:
        """(messages, milliseconds)."""
        found = RATE.fullmatch(self)
        return (int(found[1]), int(found[2] or 1) * UNITS_OF_RATE[found[3].lower()]) if found else None


class Network(str):
    """`192.0.2.0/24`, `2001:db8::/32` or a single address."""

    right: ClassVar[str] = 'a network like "192.0.2.0/24", "2001:db8::/32" or a single address'

    @classmethod
    def parse(cls, given: object) -> Self:
        if not isinstance(given, str):
            raise ValueError(f"{given!r} is not a network")
        try:
            return cls(ipaddress.ip_network(given.strip()))
        except ValueError as error:
            if "host bits" in str(error):
                raise ValueError(
                    f"{given!r} is an address inside {ipaddress.ip_network(given, strict=False)}"
                ) from None
            raise ValueError(f"{given!r} is not a network") from None


class DomainName(str):
    """A domain in lower case, international ones as A-labels (RFC 5890)."""

    right: ClassVar[str] = 'a domain like "example.org"'

    @classmethod
    def parse(cls, given: object) -> Self:
        if not isinstance(given, str):
            raise ValueError(f"{given!r} is not a domain")
        return cls(a_labels(given))


class DomainPattern(str):
    """`example.org` itself, `.example.org` all below it, `*` everything."""

    right: ClassVar[str] = 'a domain like "example.org", ".example.org" for all below it, or "*" for every one'

    @classmethod
    def parse(cls, given: object) -> Self:
        if not isinstance(given, str):
            raise ValueError(f"{given!r} is not a domain")
        if given == "*":
            return cls(given)
        return cls("." + a_labels(given[1:]) if given.startswith(".") else a_labels(given))


class AddressPattern(str):
    """`user@example.org`, `@example.org`, `@.example.org` (below it) or `*`; `<>` is the null sender."""

    right: ClassVar[str] = 'an address like "user@example.org", "@example.org", "@.example.org" (below it) or "*"'

    @classmethod
    def parse(cls, given: object) -> Self:
        if not isinstance(given, str):
            raise ValueError(f"{given!r} is not an address")
        if given in ("", "*", "<>"):
            return cls(given)
        local, at, domain = given.rpartition("@")
        if not at or any(character <= " " for character in local):
            raise ValueError(f"{given!r} is not an address")
        return cls(f"{local}@{DomainPattern.parse(domain)}")


class Endpoint(str):
    """An address of this machine with a port; IPv6 in brackets."""

    right: ClassVar[str] = 'an address with a port like "127.0.0.1:2525" or "[::]:25"'

    @classmethod
    def parse(cls, given: object) -> Self:
        host, port = split_port(given)
        host = "127.0.0.1" if host == "localhost" else host
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{given!r} is not an address with a port") from None
        return cls(f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}")

    @property
    def host(self) -> str:
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback


class OptionalEndpoint(Endpoint):
    """An `Endpoint`, or empty for none."""

    right: ClassVar[str] = 'an address with a port like "127.0.0.1:8025", or "" for none'

    @classmethod
    def parse(cls, given: object) -> Self:
        return cls("") if given == "" else super().parse(given)


class ListenAddress(Endpoint):
    """An `Endpoint`, or the path of a unix socket as `unix:/run/angarium/lmtp.sock`."""

    right: ClassVar[str] = 'an address with a port like "127.0.0.1:2525" or "[::]:25", or "unix:/path/of/a.sock"'

    @classmethod
    def parse(cls, given: object) -> Self:
        if not isinstance(given, str) or not given.startswith("unix:"):
            return super().parse(given)
        if not given.startswith("unix:/") or "\0" in given:
            raise ValueError(f"{given!r} is not a whole path")
        if len(given.encode("utf-8", "surrogateescape")) > LONGEST_SOCKET + len("unix:"):
            raise ValueError(f"this path is longer than the {LONGEST_SOCKET} octets of a unix socket")
        return cls(given)

    @property
    def path(self) -> str:
        """Of a unix socket; empty for TCP."""
        return self.removeprefix("unix:") if self.startswith("unix:") else ""

    @property
    def host(self) -> str:
        return "" if self.path else super().host

    @property
    def port(self) -> int:
        return 0 if self.path else super().port

    @property
    def is_loopback(self) -> bool:
        return bool(self.path) or super().is_loopback


class NameServer(str):
    """An address of a DNS server, with a port when it is not 53."""

    right: ClassVar[str] = 'an address like "127.0.0.1", or "127.0.0.1:5353" with a port'

    @classmethod
    def parse(cls, given: object) -> Self:
        try:
            return cls(
                f"[{address}]:53" if (address := ipaddress.ip_address(str(given))).version == 6 else f"{address}:53"
            )
        except ValueError:
            return cls(Endpoint.parse(given))

    @property
    def endpoint(self) -> tuple[str, int]:
        host, _, port = self.rpartition(":")
        return host.strip("[]"), int(port)


class HostName(str):
    """A host to send to: a name, or an address; brackets (`[mail.example.org]`) say that no MX is looked up."""

    right: ClassVar[str] = 'a host like "mail.example.org", "192.0.2.1" or "[2001:db8::1]"'

    @classmethod
    def parse(cls, given: object) -> Self:
        if not isinstance(given, str) or not given.strip():
            raise ValueError(f"{given!r} is not a host")
        bare = given.strip()
        bracketed = bare.startswith("[") and bare.endswith("]")
        bare = bare[1:-1] if bracketed else bare
        try:
            return cls(f"[{ipaddress.ip_address(bare.removeprefix('IPv6:'))}]")
        except ValueError:
            name = a_labels(bare)
        if name.rpartition(".")[2].isdigit():
            raise ValueError(f"{given!r} is not a host")
        return cls(f"[{name}]" if bracketed else name)

    @property
    def bare(self) -> str:
        return self.strip("[]")

    @property
    def is_bracketed(self) -> bool:
        return self.startswith("[")

    @property
    def address(self) -> str:
        """The address it is, empty for a name."""
        try:
            return str(ipaddress.ip_address(self.bare))
        except ValueError:
            return ""


class Mailbox(str):
    """The name of a local mailbox, which is the name of its Maildir."""

    right: ClassVar[str] = "a name of letters, digits and . _ @ + - that begins with a letter or digit"

    @classmethod
    def parse(cls, given: object) -> Self:
        if not isinstance(given, str) or (given and not MAILBOX.fullmatch(given)):
            raise ValueError(f"{given!r} is not a mailbox name")
        return cls(given)


Kind = (
    type[Duration]
    | type[Size]
    | type[Rate]
    | type[Network]
    | type[DomainName]
    | type[DomainPattern]
    | type[AddressPattern]
    | type[Endpoint]
    | type[OptionalEndpoint]
    | type[ListenAddress]
    | type[NameServer]
    | type[HostName]
    | type[Mailbox]
)
KINDS: tuple[Kind, ...] = (
    Duration,
    Size,
    Rate,
    Network,
    DomainName,
    DomainPattern,
    AddressPattern,
    Endpoint,
    OptionalEndpoint,
    ListenAddress,
    NameServer,
    HostName,
    Mailbox,
)


def decode_kind(kind: type, given: object) -> object:
    """msgspec's way in for what it does not know itself."""
    for known in KINDS:
        if kind is known:
            return known.parse(given)
    raise NotImplementedError(f"no kind of settings: {kind}")


def a_labels(text: str) -> str:
    """Lower case, international labels as A-labels (RFC 5891); `ValueError` for what is no domain."""
    name = text.strip().rstrip(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"{text!r} is not a domain: {error}") from None
    if not name or len(name) > LONGEST_DOMAIN or not all(LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{text!r} is not a domain")
    return name


def split_port(given: object) -> tuple[str, int]:
    """`host:port`, the host without brackets."""
    host, colon, port = given.rpartition(":") if isinstance(given, str) else ("", "", "")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65_535 or (":" in host and not host.startswith("[")):
        raise ValueError(f"{given!r} is not an address with a port")
    return host.strip("[]"), int(port)
