"""What a listening socket shows: the keys of [[listen]] and [profile.NAME], and the table of the five profiles.

A profile is a row of defaults. A key of [[listen]] stands before the same key of [profile.NAME], and that before the
row here; keys that no row names have one default for all. `Listen` is whole as soon as it is made. Who may say what
to whom is not decided here: these are the words, the engine holds to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, field
from msgspec.structs import force_setattr

from .kinds import Duration, ListenAddress, Network, Size

Profile = Literal["mx", "submission", "submissions", "relay", "lmtp"]
Priority = Literal["urgent", "high", "normal", "bulk"]
# off: no STARTTLS. offered: who wants it. required: no mail and no login before it. implicit: from the first octet.
ListenTls = Literal["off", "offered", "required", "implicit"]
# What mail taken here demands of the connections that it leaves by.
OnwardTls = Literal["none", "encrypt", "verify"]
TlsVersion = Literal["1.2", "1.3"]
Mechanism = Literal[
    "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"
]
# EHLO keywords that a site may not want to offer.
Extension = Literal[
    "8BITMIME", "SMTPUTF8", "PIPELINING", "CHUNKING", "BINARYMIME", "DSN", "DELIVERBY", "FUTURERELEASE", "MT-PRIORITY",
    "REQUIRETLS", "LIMITS", "SIZE",
]  # fmt: skip
Count = Annotated[int, Meta(ge=0, le=4_294_967_295)]
Positive = Annotated[int, Meta(ge=1, le=4_294_967_295)]
# A key of a face that the file does not give; `Listen` never holds one.
BY_PROFILE: Any = UNSET


class Allowance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[listen.limits.address] and its like: what one of them may do within `per`; 0: as much as it likes."""

    per: Duration = Duration.parse("1m")
    # At once, whatever `per` is.
    sessions: Count = 0
    new_sessions: Count = 0
    messages: Count = 0
    recipients: Count = 0
    bytes: Size = Size(0)
    # Mistakes and refused recipients.
    errors: Count = 0
    failed_logins: Count = 0


class ListenLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[listen.limits]"""

    address: Allowance = Allowance()
    # All addresses of a /24 (IPv4) or /64 (IPv6) together.
    network: Allowance = Allowance()
    login: Allowance = Allowance()
    tenant: Allowance = Allowance()


class Face(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys that [[listen]] and [profile.NAME] share."""

    banner: str = BY_PROFILE
    max_size: Size = BY_PROFILE
    max_recipients: Positive = BY_PROFILE
    max_line: Annotated[int, Meta(ge=1_000, le=1_048_576)] = BY_PROFILE
    # What bare CR or LF from trusted clients meets; others are always refused.
    bare_newline: Literal["reject", "normalise"] = BY_PROFILE
    max_errors: Positive = BY_PROFILE
    # Everybody who reaches this socket is trusted.
    trusted: bool = BY_PROFILE
    tls: ListenTls = BY_PROFILE
    tls_version: TlsVersion = BY_PROFILE
    # Of the client: not asked for; asked for; demanded.
    client_certificates: Literal["off", "ask", "require"] = BY_PROFILE
    onward_tls: OnwardTls = BY_PROFILE
    # Networks where clear text is as good as TLS: logins are taken and required TLS is not demanded.
    clear_networks: tuple[Network, ...] = BY_PROFILE
    # off; offered; required before MAIL, but from networks of [relay].
    login: Literal["off", "offered", "required"] = BY_PROFILE
    # The mechanisms for it, best first; empty: all that the source of [logins] can judge (`reading` fills it in).
    auth: tuple[Mechanism, ...] = BY_PROFILE
    # Which senders a login may use: any; its own as MAIL FROM (envelope); and in From and Sender (header).
    senders: Literal["any", "envelope", "header"] = BY_PROFILE
    # Add Date and Message-ID when they are missing (RFC 6409 8).
    complete: bool = BY_PROFILE
    # Whose senders are judged: off; strangers (neither trusted nor on this machine); all.
    authenticate: Literal["off", "strangers", "all"] = BY_PROFILE
    # Networks that must send a PROXY header (v1 or v2); from others one is refused.
    proxy_networks: tuple[Network, ...] = BY_PROFILE
    # Networks that may say XCLIENT and XFORWARD.
    xclient_networks: tuple[Network, ...] = BY_PROFILE
    # The banner comes so late; who talks before it is refused (RFC 5321 4.3.1).
    greet_delay: Duration = BY_PROFILE
    # Each refusal behind the third of a session comes so late.
    tarpit: Duration = BY_PROFILE
    # Extensions not to offer, and those that are offered only when named.
    without: tuple[Extension, ...] = BY_PROFILE
    with_: tuple[Literal["PRDR", "ETRN", "VRFY", "EXPN"], ...] = field(default=BY_PROFILE, name="with")
    # RFC 4865: the longest that a client may have mail held. RFC 2852: the shortest time for a delivery.
    hold_at_most: Duration = BY_PROFILE
    deliver_by_least: Duration = BY_PROFILE
    priority: Priority = BY_PROFILE
    tenant: str = BY_PROFILE
    limits: ListenLimits = BY_PROFILE
    # Reply code, or code and enhanced code, to words of the site's own.
    replies: dict[str, str] = BY_PROFILE


class Listen(Face, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[listen]]: one listening socket and the face it shows."""

    address: ListenAddress
    # For logs and metrics; empty: the profile.
    name: str = ""
    profile: Profile = "mx"
    # Of a unix socket: who may connect, as chmod says it.
    mode: str = "0660"

    def __post_init__(self) -> None:
        for key, value in {**FOR_ALL, **PROFILES[self.profile]}.items():
            if getattr(self, key) is UNSET:
                force_setattr(self, key, value)


class Profiles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[profile.mx], [profile.submission] …: other defaults for all listeners of a profile."""

    mx: Face = field(default_factory=Face)
    submission: Face = field(default_factory=Face)
    submissions: Face = field(default_factory=Face)
    relay: Face = field(default_factory=Face)
    lmtp: Face = field(default_factory=Face)


FOR_ALL: Mapping[str, Any] = MappingProxyType({
    "banner": "",
    "max_size": Size.parse("50MiB"),
    # RFC 5321 4.5.3.1.8 asks for 100 at least.
    "max_recipients": 1_000,
    "max_line": 65_536,
    "bare_newline": "reject",
    "max_errors": 20,
    "trusted": False,
    "tls": "offered",
    "tls_version": "1.2",
    "client_certificates": "off",
    "onward_tls": "none",
    "clear_networks": (),
    "login": "off",
    "auth": (),
    "senders": "any",
    "complete": False,
    "authenticate": "off",
    "proxy_networks": (),
    "xclient_networks": (),
    "greet_delay": Duration(0),
    "tarpit": Duration(0),
    "without": (),
    "with_": (),
    "hold_at_most": Duration.parse("30d"),
    "deliver_by_least": Duration(0),
    "priority": "normal",
    "tenant": "",
    "limits": ListenLimits(),
    "replies": MappingProxyType({}),
})  # fmt: skip
# RFC 6409 4.3 and 6.1: only who logged in, and as one of its addresses.
SUBMISSION: Mapping[str, Any] = MappingProxyType({"login": "required", "senders": "envelope", "complete": True})
PROFILES: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    # The world sends to us.
    "mx": {"authenticate": "strangers"},
    # RFC 6409 on port 587: people and programs hand in new mail.
    "submission": {**SUBMISSION, "tls": "required"},
    # The same with TLS from the first octet (RFC 8314 7.3), port 465.
    "submissions": {**SUBMISSION, "tls": "implicit"},
    # Our own machines relay through us.
    "relay": {},
    # RFC 2033: another mail system of ours hands over for our mailboxes.
    "lmtp": {"tls": "off", "max_errors": 100},
})  # fmt: skip
