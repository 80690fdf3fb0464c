"""Where mail is handed on: [[route]] and [smarthost], with what each connection must show and may ask for.

Passwords and tokens stand in the file itself or in a file of their own; `secret` reads whichever it is, when a plan is
made, so that a changed secret needs only a reload.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .kinds import DomainPattern, HostName, Mailbox, Rate

Count = Annotated[int, Meta(ge=0, le=4_294_967_295)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
# none: never. opportunistic: where it is offered. encrypt: or not at all. verify: and with a certificate for the name.
HopTls = Literal["none", "opportunistic", "encrypt", "verify"]
HopMechanism = Literal["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2", "OAUTHBEARER"]


class HopLogin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[smarthost.login], [route.login]: how we log in there; either a password or a token."""

    user: str
    password: str = ""
    password_file: str = ""
    token: str = ""
    token_file: str = ""
    # Empty: the safest that the other side offers.
    mechanisms: tuple[HopMechanism, ...] = ()
    # The password may go over a connection without TLS.
    without_tls: bool = False

    def secret(self) -> tuple[str, str]:
        """(password, token). Raises `OSError` when a file cannot be read."""
        return self.password or first_line(self.password_file), self.token or first_line(self.token_file)

    def __repr__(self) -> str:
        return f"HopLogin(user={self.user!r}, mechanisms={self.mechanisms!r})"


class HopCertificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[smarthost.certificate], [route.certificate]: PEM files that we show when asked; the key may lie in `chain`."""

    chain: str
    key: str = ""


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[provider]]: what many destinations share because one house runs their MX hosts."""

    name: Annotated[str, Meta(min_length=1)]
    # Host names of its MX, as in `.mail.protection.outlook.com`; one that agrees is enough.
    mx: Annotated[tuple[DomainPattern, ...], Meta(min_length=1)]
    # At once to all its destinations together; 0: only the limit of each destination.
    connections: Count = 0
    rate: Rate = Rate("")

    def takes(self, hosts: Sequence[str]) -> bool:
        return any(is_of(pattern, host) for pattern in self.mx for host in hosts)


def is_of(pattern: DomainPattern, host: str) -> bool:
    return pattern == "*" or host == pattern or (pattern.startswith(".") and host.endswith(pattern))


class Hop(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What [[route]] and [smarthost] share."""

    port: Port = 25
    # Look the host up by MX first.
    mx: bool = False
    tls: HopTls = "opportunistic"
    # From the first octet (port 465).
    implicit_tls: bool = False
    # Of the certificate; empty: the host's name.
    server_name: str = ""
    # PEM file of the authorities to believe; empty: the system's.
    roots: str = ""
    login: HopLogin | None = None
    certificate: HopCertificate | None = None


class Route(Hop, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[route]]: the first row whose domain and tag match says where mail goes."""

    domain: DomainPattern = DomainPattern("*")
    tag: str = ""
    # mx: as the world's DNS says. smarthost, lmtp: the host below. maildir: the mailbox below. fail: returned.
    to: Literal["mx", "smarthost", "lmtp", "maildir", "fail"] = "smarthost"
    host: HostName | None = None
    # lmtp: the path of a unix socket instead of a host.
    socket: str = ""
    mailbox: Mailbox = Mailbox("")
    # fail: the words that the sender reads.
    text: str = ""
    # Windows of its own; 0 or empty: those of [delivery].
    connections: Count = 0
    messages_per_connection: Count = 0
    rate: Rate = Rate("")


class Smarthost(Hop, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[smarthost]: all mail without another way goes there."""

    host: HostName


def first_line(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").partition("\n")[0].strip() if path else ""
