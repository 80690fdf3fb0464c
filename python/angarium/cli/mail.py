"""`angarium mail …`: reads the local Maildirs; needs no running server."""

from __future__ import annotations

import sys
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from ..errors import AngariumError
from ..settings import load, locate
from ..settings.kinds import MAILBOX
from .show import Rows, columns, json_line, moment, plain, size


def list_mail(*, mailbox: str | None = None, limit: Rows = 50, config: str | None = None, json: bool = False) -> None:
    """List delivered mail, newest first.

    Parameters
    ----------
    mailbox
        Only this mailbox.
    limit
        Rows at most.
    json
        One JSON object per line.
    """
    found = sorted(files(config, mailbox), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    rows = [row(file) for file in found[:limit]]
    if json:
        for line in rows:
            json_line(line)
        return
    cells = [
        (str(r["id"]), str(r["mailbox"]), moment(int(r["at"])), size(int(r["size"])), str(r["from"]), str(r["subject"]))
        for r in rows
    ]
    columns(("ID", "MAILBOX", "DELIVERED", "SIZE", "FROM", "SUBJECT"), cells, nothing="no mail yet")
    if len(found) > limit:
        print(f"{len(found) - limit:,} more; --limit shows more of them")


def show(id: str, /, *, config: str | None = None, json: bool = False) -> None:
    """Show one mail: the header fields that people read, then its text.

    Parameters
    ----------
    id
        As `angarium mail list` shows it; the beginning of it is enough when only one fits.
    json
        One JSON object.
    """
    file = one(id, config)
    message = parse(file)
    text = text_of(message)
    if json:
        json_line({**row(file), "text": text})
        return
    for name in ("From", "To", "Cc", "Subject", "Date"):
        if message[name]:
            print(plain(f"{name}: {message[name]}"))
    print()
    print("\n".join(plain(line) for line in text.splitlines()))


def raw(id: str, /, *, config: str | None = None) -> None:
    """Write one mail to standard output exactly as it was delivered.

    Parameters
    ----------
    id
        As `angarium mail list` shows it; the beginning of it is enough when only one fits.
    """
    sys.stdout.flush()
    sys.stdout.buffer.write(one(id, config).read_bytes())
    sys.stdout.buffer.flush()


def files(config: str | None, mailbox: str | None = None) -> list[Path]:
    folder = load(locate(config)).mail_folder
    if mailbox is not None and not (MAILBOX.fullmatch(mailbox) and (folder / mailbox).is_dir()):
        raise AngariumError(f"there is no mailbox {mailbox!r} in {folder}")
    return [file for part in ("new", "cur") for file in folder.glob(f"{mailbox or '*'}/{part}/*") if file.is_file()]


def one(id: str, config: str | None) -> Path:
    fitting = [file for file in files(config) if file.name.upper().startswith(id.upper())]
    if not fitting:
        raise AngariumError(f"there is no mail {id!r}; angarium mail list shows what is there")
    exact = [file for file in fitting if file.name.partition(":")[0].upper() == id.upper()]
    if len(fitting) > 1 and len(exact) != 1:
        raise AngariumError(f"{len(fitting)} mails begin with {id!r}; give more of the id")
    return exact[0] if exact else fitting[0]


def row(file: Path) -> dict[str, str | int]:
    state = file.stat()
    message = parse(file, headers_only=True)
    return {
        "id": file.name.partition(":")[0],
        "mailbox": file.parent.parent.name,
        "at": state.st_mtime_ns // 1_000_000,
        "size": state.st_size,
        "from": header(message, "From"),
        "to": header(message, "Delivered-To"),
        "subject": header(message, "Subject"),
    }


def header(message: EmailMessage, name: str) -> str:
    return " ".join(str(message[name] or "").split())


def parse(file: Path, *, headers_only: bool = False) -> EmailMessage:
    with file.open("rb") as stream:
        return BytesParser(policy=policy.default).parse(stream, headersonly=headers_only)


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain", "html"))
    if part is None:
        return "(no text part; angarium mail raw shows all of it)"
    try:
        return str(part.get_content())
    except (LookupError, UnicodeError):
        return bytes(part.get_payload(decode=True) or b"").decode("latin-1")
