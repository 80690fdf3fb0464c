"""What a site's policy file sees and says: the arguments of hooks, and the verdicts that they return.

    from angarium.policy import Message, Verdict, add_header, reject

    async def message(message: Message) -> Verdict | None:
        if message.size > 10_000_000:
            return reject(552, "Too large for this site", enhanced="5.3.4")
        return add_header("X-Seen", "yes")

Returning None accepts. Arguments are read-only views of the engine's question; bodies are not copied by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from .. import _core
from ..auth import Verdicts
from ..engine import CLASSES, Edit, Verdict
from ..errors import HookError

FIELD_NAME = re.compile(r"[!-9;-~]+")
# Octets in which `Message.header` looks; no sane header section is larger.
HEADER_LIMIT = 262_144
VERDICTS = msgspec.msgpack.Decoder(Verdicts)


class Connection:
    """connect: a client has connected, nothing was said yet."""

    __slots__ = ("_ask",)

    def __init__(self, ask: _core.Ask) -> None:
        self._ask = ask

    @property
    def address(self) -> str:
        """The client's IP address."""
        return self._ask.peer[0]

    @property
    def port(self) -> int:
        return self._ask.peer[1]

    @property
    def listener(self) -> int:
        """Which [[listen]] block of the settings, from 0."""
        return self._ask.listener

    @property
    def session(self) -> str:
        """The same for all questions about one connection, and in its replies, its log lines and the journal."""
        return f"{self._ask.session:x}"

    @property
    def is_trusted(self) -> bool:
        """In a network that may relay, or logged in."""
        return self._ask.trusted

    def __repr__(self) -> str:
        return f"<{type(self).__name__} from {self.address}>"


class Login(Connection):
    """auth: a client wants to log in (only with `source = "hook"` in [logins])."""

    __slots__ = ("_credentials",)

    def __init__(self, ask: _core.Ask) -> None:
        super().__init__(ask)
        if ask.credentials is None:
            raise HookError("the engine asks about a login without saying which")
        self._credentials = ask.credentials

    @property
    def mechanism(self) -> str:
        """PLAIN, SCRAM-SHA-256, …"""
        return self._credentials.mechanism

    @property
    def kind(self) -> str:
        """password, token, external (`certificate`), keys (SCRAM: give `Identity.keys`), secret (CRAM-MD5: give
        `Identity.cram_secret`)."""
        return self._credentials.kind

    @property
    def name(self) -> str:
        """What it calls itself; may be empty for external."""
        return self._credentials.login

    @property
    def authzid(self) -> str:
        """Whom it wants to act as; empty: itself."""
        return self._credentials.authzid

    @property
    def secret(self) -> bytes:
        """The password or token; empty for the other kinds."""
        return self._credentials.secret

    @property
    def certificate(self) -> bytes:
        """The client's certificate, DER; it was checked against `tls.client_ca`."""
        return self._credentials.certificate

    @property
    def tls(self) -> str:
        """Version and cipher, empty without TLS."""
        return self._ask.tls

    @property
    def password(self) -> str:
        """The password as text; octets that are not UTF-8 are replaced."""
        return self.secret.decode("utf-8", "replace") if self.kind == "password" else ""

    @property
    def token(self) -> str:
        return self.secret.decode("utf-8", "replace") if self.kind == "token" else ""

    def __repr__(self) -> str:
        return f"<Login of {self.name!r} by {self.mechanism} from {self.address}>"


class Envelope(Connection):
    """mail: a client names the sender of a message; rcpt: and one more recipient."""

    __slots__ = ()

    @property
    def hello(self) -> str:
        """What the client called itself."""
        return self._ask.hello

    @property
    def login(self) -> str:
        return self._ask.login

    @property
    def tls(self) -> str:
        """Version and cipher, empty without TLS."""
        return self._ask.tls

    @property
    def id(self) -> str:
        """The message's id, 26 characters."""
        return self._ask.id

    @property
    def sender(self) -> str:
        """Envelope sender, empty for the null path."""
        return self._ask.sender

    @property
    def recipients(self) -> list[str]:
        """Those that were accepted so far."""
        return self._ask.recipients[:-1] if self._ask.phase == "rcpt" else self._ask.recipients

    @property
    def size(self) -> int:
        """As declared, 0 if not."""
        return self._ask.size


class Message(Envelope):
    """message: a message is complete and waits for its answer."""

    __slots__ = ()

    @property
    def recipients(self) -> list[str]:
        """All of them, in the order of their numbers."""
        return self._ask.recipients

    @property
    def size(self) -> int:
        """Octets of the content."""
        return self._ask.size

    @property
    def verdicts(self) -> Verdicts | None:
        """What its sender was found to be; None: nobody judged it (we know the client)."""
        octets = self._ask.verdicts
        return VERDICTS.decode(octets) if octets else None

    @property
    def content(self) -> memoryview:
        """The content as received, read-only, not copied."""
        body = self._ask.body
        return memoryview(body) if body is not None else memoryview(b"")

    def header(self, name: str) -> list[str]:
        """The values of all fields of that name, unfolded; octets that are not UTF-8 are replaced."""
        head = bytes(self.content[:HEADER_LIMIT]).split(b"\r\n\r\n", 1)[0]
        field = re.compile(
            rb"^" + re.escape(name.encode()) + rb"[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE
        )
        return [found.replace(b"\r\n", b"").decode("utf-8", "replace").strip() for found in field.findall(head)]


def call(hook: Callable[..., Coroutine[Any, Any, Any]], ask: _core.Ask) -> Coroutine[Any, Any, Any]:
    """The hook's coroutine for a question: connect(connection), auth(login), mail(envelope), rcpt(envelope, recipient),
    message(message)."""
    match ask.phase:
        case "message":
            return hook(Message(ask))
        case "rcpt":
            return hook(Envelope(ask), ask.recipients[-1])
        case "mail":
            return hook(Envelope(ask))
        case "auth":
            return hook(Login(ask))
        case "connect":
            return hook(Connection(ask))


def accept(
    *,
    add: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    remove: Sequence[str] = (),
    sender: str | None = None,
    add_recipients: Sequence[str] = (),
    recipients: Mapping[int, Verdict] | None = None,
    body: bytes | None = None,
    tag: str | None = None,
    priority: str | None = None,
    tenant: str | None = None,
    campaign: str | None = None,
) -> Verdict:
    """Go on, with changes. `add` and `remove` speak of header fields, `recipients` judges single ones by number.

    `body` is another content, whole, with CRLF lines. Raises `ValueError` for what is no header field or priority.
    """
    if priority is not None and priority not in CLASSES:
        raise ValueError(f"{priority!r} is no priority; known: {', '.join(CLASSES)}")
    fields = add.items() if isinstance(add, Mapping) else add
    edits: tuple[Edit, ...] = (
        *((1, field_name(name).encode()) for name in remove),
        *((0, header_line(name, value)) for name, value in fields),
    )
    return Verdict(
        edits=edits,
        sender=sender,
        add_recipients=tuple(add_recipients),
        recipients=dict(recipients or {}),
        body=body,
        tag=tag,
        class_=None if priority is None else CLASSES[priority],
        tenant=tenant,
        campaign=campaign,
    )


def reject(code: int = 550, text: str = "", *, enhanced: str = "") -> Verdict:
    """Refuse for good. `code` 500 to 599, `enhanced` like "5.7.1". Raises `ValueError` for another code."""
    if not 500 <= code <= 599:
        raise ValueError(f"{code} is no code that refuses for good (500 to 599)")
    return Verdict(decision="reject", text=text, code=code, enhanced=enhanced)


def defer(code: int = 451, text: str = "", *, enhanced: str = "") -> Verdict:
    """Refuse for now. `code` 400 to 499, `enhanced` like "4.7.1". Raises `ValueError` for another code."""
    if not 400 <= code <= 499:
        raise ValueError(f"{code} is no code that refuses for now (400 to 499)")
    return Verdict(decision="defer", text=text, code=code, enhanced=enhanced)


def hold(text: str = "", *, until: int = 0) -> Verdict:
    """Take it and keep it back until it is released, or until a time (Unix milliseconds)."""
    return Verdict(decision="hold", text=text, until=until)


def discard() -> Verdict:
    """Say yes and deliver to nobody; the journal remembers it."""
    return Verdict(decision="discard")


def add_header(name: str, value: str) -> Verdict:
    """Accept, with one more header field in front."""
    return accept(add=[(name, value)])


def remove_header(name: str) -> Verdict:
    """Accept, without any header field of that name."""
    return accept(remove=[name])


def field_name(name: str) -> str:
    if not FIELD_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header field")
    return name


def header_line(name: str, value: str) -> bytes:
    """One field as it stands in a message; a value cannot bring another line in."""
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError(f"the value of {name} holds a line break or NUL")
    return f"{field_name(name)}: {value}\r\n".encode()
