"""`angarium auth check` and `angarium dkim`: verdicts explained, and keys in files.

A key lies in `KEYS/DOMAIN/SELECTOR.pem`, readable by its owner alone.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Literal

from ..auth import DkimKey, check_sync, find_resolver
from ..auth.asking import Found
from ..errors import AuthError
from ..settings.reading import KEYS
from .show import columns, json_line, plain

Kind = Literal["rsa-2048", "rsa-3072", "rsa-4096", "ed25519"]


def resolver_at(server: str | None) -> Found:
    """The resolver for `--server ADDRESS[:PORT]`, or the system's."""
    if server is None:
        return find_resolver()
    host, colon, port = server.rpartition(":")
    if not colon or "]" in port or (":" in host.strip("[]") and not host.startswith("[")):
        host, port = server, "53"
    if not port.isdigit():
        raise AuthError(f"--server wants ADDRESS or ADDRESS:PORT, not {server!r}")
    return find_resolver([host.strip("[]")], port=int(port))


def check(
    file: Path,
    *,
    ip: str | None = None,
    helo: str = "",
    from_: str = "",
    server: str | None = None,
    authserv_id: str = "localhost",
    json: bool = False,
) -> int:
    """Judge a message in a file and explain each verdict step by step.

    Parameters
    ----------
    file
        The message; "-" for standard input.
    ip
        The address of the client. Without it SPF and iprev are left out.
    helo
        What the client said in EHLO.
    from_
        The reverse-path; empty for the null one.
    server
        The name server to ask, as ADDRESS or ADDRESS:PORT.
    authserv_id
        Our name in the Authentication-Results field.
    json
        The whole report as JSON.
    """
    message = sys.stdin.buffer.read() if str(file) == "-" else read(file)
    checked = check_sync(message, ip=ip, helo=helo, sender=from_, resolver=resolver_at(server), now=time.time())
    if json:
        json_line(checked.report)
    else:
        for line in checked.report.explain():
            print(plain(line))
        print(checked.results(authserv_id).decode(), end="")
    return 0 if checked.report.dmarc.outcome in ("pass", "none") else 1


def read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise AuthError(f"{file} cannot be read: {error.strerror}") from error


def place(keys: Path, domain: str, selector: str) -> Path:
    for word in (domain, selector):
        if not word or "/" in word or word.startswith("."):
            raise AuthError(f"{word!r} is no domain or selector")
    return keys / domain.lower() / f"{selector}.pem"


def new_key(domain: str, *, selector: str | None = None, kind: Kind = "rsa-2048", keys: Path = Path(KEYS)) -> None:
    """Make a key and say what to publish.

    Parameters
    ----------
    selector
        Its name below DOMAIN; by default the month and the kind, such as "202611-rsa".
    kind
        ed25519 keys are short; not every receiver knows them yet, so sign with both.
    keys
        The folder of all keys.
    """
    name = selector or time.strftime("%Y%m-") + kind.split("-")[0]
    path = place(keys, domain, name)
    if path.exists():
        raise AuthError(f"{path} is there already; a key is never written over")
    pem = DkimKey.generate(kind)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(pem)
    except OSError as error:
        raise AuthError(f"{path} cannot be written: {error.strerror}") from error
    print(f"{path} holds the key; publish:")
    print(record_line(f"{name}._domainkey.{domain}", DkimKey(pem.encode()).record))
    print("When the record is out, sign with it by these lines of angarium.toml:")
    print(f'[[signing]]\ndomain = "{domain.lower()}"\nselector = "{name}"\nkey = "{path.absolute()}"')


def record_line(name: str, text: str) -> str:
    """A line of a zone file; strings of a TXT record hold 255 octets (RFC 1035 3.3.14)."""
    strings = (text[at : at + 255] for at in range(0, len(text), 255))
    return f"{name}. 3600 IN TXT " + " ".join(f'"{string}"' for string in strings)


def found_keys(keys: Path, domain: str | None = None) -> list[tuple[str, str, DkimKey]]:
    """(domain, selector, key) of every key in the folder."""
    paths = sorted(keys.glob(f"{domain.lower() if domain else '*'}/*.pem"))
    return [(path.parent.name, path.stem, DkimKey(read(path))) for path in paths]


def list_keys(*, keys: Path = Path(KEYS), json: bool = False) -> None:
    """List the keys of a folder.

    Parameters
    ----------
    keys
        The folder of all keys.
    json
        One JSON object per line.
    """
    found = found_keys(keys)
    if json:
        for domain, selector, key in found:
            json_line({"domain": domain, "selector": selector, "algorithm": key.algorithm, "bits": key.bits})
        return
    rows = [(domain, selector, key.algorithm, str(key.bits)) for domain, selector, key in found]
    columns(("DOMAIN", "SELECTOR", "ALGORITHM", "BITS"), rows, nothing=f"{keys} holds no key.")


def check_key(domain: str, selector: str, *, keys: Path = Path(KEYS), server: str | None = None) -> int:
    """Compare a key with what DNS publishes; exit code 1 if it differs.

    Parameters
    ----------
    keys
        The folder of all keys.
    server
        The name server to ask, as ADDRESS or ADDRESS:PORT.
    """
    key = DkimKey(read(place(keys, domain, selector)))
    name = f"{selector}._domainkey.{domain}"
    status, records = resolver_at(server)(name, "TXT")
    published = [record.decode("utf-8", "replace") for record in records]
    if any(public_half(record) == public_half(key.record) for record in published):
        print(f"{name} publishes this key ({key.algorithm}, {key.bits} bits)")
        return 0
    told = {"found": "publishes another key", "failed": "cannot be looked up now"}.get(status, "publishes nothing")
    print(f"{name} {told}; it should be:\n{record_line(name, key.record)}")
    return 1


def public_half(record: str) -> str:
    """The key of a record (p=) without white space."""
    tags = (tag.split("=", 1) for tag in record.split(";") if "=" in tag)
    return next(("".join(value.split()) for name, value in tags if name.strip() == "p"), "")
