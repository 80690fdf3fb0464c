"""The dialog language: an SMTP session as a mail admin would note it down, to be played to a server.

A `.dialog` file is read line by line:

    # what is shown, in plain words
    === settings max_size=3000 bare_newline=normalise   options of `angarium.smtp.Server`
    === refuse bob@d.example 550 5.1.1 No such user     what the site says: an address, DATA, BDAT, AUTH, . (the end)
    === early                                           the client speaks before it is greeted
    C: MAIL FROM:<a@b.example>                          sent with CRLF; C| without
    S: 250 2.1.0 *                                      expected; * is any text, `S: 250-...` any lines before the last
    S: (closed)                                         the server has closed the connection
    K: Subject: x                                       content that was kept, line by line, of the message just ended
    K: (nothing)                                        no message was kept since the last K

Bytes that a text file cannot show stand between `===`: `===0D0A===` in hex, `===x*600===` for 600 times x. Lines sent
one after another are sent in one piece, as a pipelining client does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import trio

PATIENCE = 10  # seconds for one expected line


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


OPTIONS = {
    **dict.fromkeys(("max_size", "max_recipients", "max_line", "max_errors"), int),
    **dict.fromkeys(("deliver_by_minimum", "hold_maximum"), int),
    **dict.fromkeys(("extensions", "mechanisms"), _words),
    **dict.fromkeys(("lmtp", "tls_required", "login_required"), lambda text: text == "yes"),
}
ESCAPE = re.compile(r"===(?:((?:[0-9A-F]{2})+)|(.)\*(\d+))===")


class DialogError(AssertionError):
    """The dialog went otherwise than it is written, or is written wrongly."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line: `kind` is C, S or K; `number` its place in the file."""

    kind: str
    number: int
    text: str
    data: bytes = b""


@dataclass(slots=True)
class Dialog:
    """A whole file. `settings` are options of the Server; `refusals` map an address, DATA or `.` to (code, text)."""

    name: str
    about: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    early: bool = False
    steps: list[Step] = field(default_factory=list)

    @property
    def fits_any_server(self) -> bool:
        """Whether a server with its usual settings and an open door says the same."""
        return not self.settings and not self.refusals and not self.early


def read_dialog(path: Path) -> Dialog:
    """Reads a file; DialogError names the line that is no line of the language."""
    dialog = Dialog(path.stem)
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        if line.startswith("#"):
            dialog.about += line.lstrip("# ") + "\n"
        elif line.startswith("=== "):
            _read_header(dialog, line[4:])
        elif match := re.fullmatch(r"(?:(C|S|K):|(C)\|)(?: (.*))?", line):
            kind, raw, text = match[1], match[2], match[3] or ""
            end = b"" if raw else b"\r\n"
            dialog.steps.append(Step(kind or raw, number, text, unescape(text) + end))
        else:
            raise DialogError(f"{path.name}:{number}: not a line of a dialog: {line}")
    return dialog


def _read_header(dialog: Dialog, line: str) -> None:
    word, _, rest = line.partition(" ")
    match word:
        case "settings":
            for option in rest.split():
                name, _, value = option.partition("=")
                dialog.settings[name] = OPTIONS.get(name, str)(value)
        case "refuse":
            whom, code, text = rest.split(" ", 2)
            dialog.refusals[whom] = (int(code), text)
        case "early":
            dialog.early = True
        case _:
            raise DialogError(f"{dialog.name}: unknown header {word}")


def unescape(text: str) -> bytes:
    """The bytes that a line stands for."""

    def one(match: re.Match[str]) -> str:
        return bytes.fromhex(match[1]).decode("latin-1") if match[1] else match[2] * int(match[3])

    def pieces() -> Iterator[bytes]:
        at = 0
        for match in ESCAPE.finditer(text):
            yield text[at : match.start()].encode()
            yield one(match).encode("latin-1")
            at = match.end()
        yield text[at:].encode()

    return b"".join(pieces())


SESSION = re.compile(r"^([45]\d\d .*) \[[0-9a-f]+\]$")


class Player:
    """Plays a dialog over a stream.

    `kept` gives the messages that the server kept, if anybody can tell. `names_session`: refusals may end with the name
    of their session, which no dialog can know.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        kept: Callable[[], list[bytes]] | None = None,
        names_session: bool = False,
    ) -> None:
        self.stream = stream
        self.kept = kept
        self.names_session = names_session
        self.seen = 0
        self.unread = b""

    async def play(self, dialog: Dialog, *, bytewise: bool = False) -> None:
        """DialogError at the first line that goes otherwise."""
        waiting = b""
        content: list[bytes] = []
        for step in [*dialog.steps, Step("", 0, "")]:
            if content and step.kind != "K":
                self._check_kept(dialog, b"".join(content))
                content = []
            if step.kind == "C":
                waiting += step.data
                continue
            await self._send(waiting, bytewise=bytewise)
            waiting = b""
            if step.kind == "S":
                await self._expect(dialog, step)
            elif step.kind == "K" and step.text == "(nothing)":
                self._check_kept(dialog, None)
            elif step.kind == "K":
                content.append(step.data)

    async def _send(self, data: bytes, *, bytewise: bool) -> None:
        pieces = (data[at : at + 1] for at in range(len(data))) if bytewise else iter([data] if data else [])
        for piece in pieces:
            try:
                await self.stream.send_all(piece)
            except trio.BrokenResourceError:
                return  # the server has closed; what is expected next will show whether it may

    async def _expect(self, dialog: Dialog, step: Step) -> None:
        while True:
            line = await self._line()
            if step.text.endswith("-..."):
                if line.startswith(step.text[:4]):
                    continue
                self.unread = line.encode() + b"\r\n" + self.unread
                return
            if self.names_session:
                line = SESSION.sub(r"\1", line)
            if line == step.text or fnmatchcase(line, step.text.replace("[", "[[]")):
                return
            raise DialogError(f"{dialog.name}:{step.number}: expected {step.text!r}, got {line!r}")

    async def _line(self) -> str:
        while b"\r\n" not in self.unread:
            try:
                with trio.fail_after(PATIENCE):
                    data = await self.stream.receive_some(65_536)
            except trio.TooSlowError:
                return f"(silence after {self.unread!r})"
            except trio.BrokenResourceError:
                data = b""
            if not data:
                return "(closed)" if not self.unread else f"(closed after {self.unread!r})"
            self.unread += data
        line, _, self.unread = self.unread.partition(b"\r\n")
        return line.decode(errors="surrogateescape")

    def _check_kept(self, dialog: Dialog, content: bytes | None) -> None:
        if self.kept is None:
            return
        new, self.seen = self.kept()[self.seen :], len(self.kept())
        wanted = [] if content is None else [content]
        if new != wanted:
            raise DialogError(f"{dialog.name}: kept {new!r}, not {wanted!r}")
