"""Reads angarium.toml: from a path to a `Settings` without gaps, or to all of its problems.

A `Problem` is one sentence: file, key, what is wrong, what would be right. `check` finds every one that can be told
without starting (it goes on behind the first); `load` raises `SettingsError` with the same sentences. Without a file
`first_run` holds. What needs the machine (ports, the spool's lock) is found when the server starts.
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
import re
import socket
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ..errors import SettingsError
from .kinds import KINDS, Mailbox, decode_kind
from .tables import CATCH_ALL, Local, Settings

DEFAULT_FILE = "angarium.toml"
# `check` stops after so many; whoever has more has another kind of file.
MOST_PROBLEMS = 50
PHASES = ("connect", "mail", "rcpt", "message")
# Sections that say where mail goes; while a file has none of them the first run's catch-all holds.
WAYS = ("relay", "local", "route", "smarthost")
LOCATED = re.compile(r"(?P<wrong>.*?)(?: - at `(?P<path>\$[^`]*)`)?", re.DOTALL)
STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a file of settings. `key` is empty when it is about the whole file."""

    file: str
    key: str
    wrong: str
    right: str = ""

    def __str__(self) -> str:
        """One sentence for a person."""
        place = f"{self.file}: {self.key}: " if self.key else f"{self.file}: "
        return place + self.wrong + (f"; {self.right}" if self.right else "")


def locate(given: str | Path | None = None) -> Path | None:
    """The file to use: the one given, $ANGARIUM_CONFIG, angarium.toml in this folder, or none (the first run)."""
    named = given or os.environ.get("ANGARIUM_CONFIG")
    if named:
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def load(path: str | Path | None) -> Settings:
    """The settings of a file (None: those of the first run), with folders and names filled in.

    Raises `SettingsError`, one line per problem.
    """
    if path is None:
        return first_run()
    settings, problems = examine(Path(path))
    if settings is None or problems:
        raise SettingsError("\n".join(str(problem) for problem in problems))
    return settings


def check(path: str | Path) -> list[Problem]:
    """Everything that is wrong with a file; empty when it can be used."""
    return examine(Path(path))[1]


def first_run() -> Settings:
    """What holds without a file: loopback, one catch-all mailbox, nothing leaves the machine."""
    return complete(Settings(local=Local(catch_all=Mailbox(CATCH_ALL))), Path.cwd())


def starter() -> str:
    """The commented file that `angarium init` writes."""
    return importlib.resources.files(__package__).joinpath("starter.toml").read_text(encoding="utf-8")


def examine(path: Path) -> tuple[Settings | None, list[Problem]]:
    """The settings as far as they can be read, and what is wrong."""
    name = str(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, [Problem(name, "", "there is no such file", "`angarium init` writes one to start from")]
    except (OSError, UnicodeDecodeError) as error:
        return None, [Problem(name, "", f"it cannot be read: {reason_of(error)}")]
    except tomllib.TOMLDecodeError as error:
        return None, [Problem(name, "", f"it is not TOML: {error}", "see toml.io for how values are written")]
    settings, problems = convert(raw, name)
    if settings is None:
        return None, problems
    if not any(way in raw for way in WAYS):
        settings = replace(settings, local=Local(catch_all=Mailbox(CATCH_ALL)))
    settings = complete(settings, path.absolute().parent)
    return settings, problems or list(contradictions(settings, name))


def convert(raw: dict[str, Any], name: str) -> tuple[Settings | None, list[Problem]]:
    """Struct by struct; what is wrong is noted, cut out and the rest tried again."""
    problems: list[Problem] = []
    while len(problems) < MOST_PROBLEMS:
        try:
            return msgspec.convert(raw, Settings, dec_hook=decode_kind), problems
        except msgspec.ValidationError as error:
            found = LOCATED.fullmatch(str(error))
            wrong, path = (found["wrong"], found["path"] or "$") if found else (str(error), "$")
            steps = steps_of(path)
            problem, culprit = explain(name, wrong, steps)
            # A key that was cut out because it was wrong is then missing: that was said already.
            if problem.key not in [known.key for known in problems]:
                problems.append(problem)
            if not cut_out(raw, culprit):
                break
    return None, problems


Step = str | int


def steps_of(path: str) -> list[Step]:
    """`$.listen[0].port` → ["listen", 0, "port"]; `...` stands for an unnamed key of a table."""
    return [name or (number if number == "..." else int(number)) for name, number in STEP.findall(path)]


def key_of(steps: list[Step]) -> str:
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps if step != "...")
    return "".join(parts).lstrip(".")


def explain(name: str, wrong: str, steps: list[Step]) -> tuple[Problem, list[Step]]:
    """msgspec's words as ours, and the steps to what has to go before reading on."""
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", wrong)
    if unknown:
        known = fields_of(type_at(steps))
        return Problem(name, key_of([*steps, unknown[1]]), "there is no such key", nearest(unknown[1], known)), [
            *steps,
            unknown[1],
        ]
    missing = re.fullmatch(r"Object missing required field `(.*)`", wrong)
    if missing:
        right = f"it needs {describe(type_at([*steps, missing[1]]))}"
        return Problem(name, key_of([*steps, missing[1]]), "this key is missing", right), steps
    kind = type_at(steps)
    option = re.fullmatch(r"Invalid enum value '?(.*?)'?", wrong)
    if option:
        return Problem(
            name, key_of(steps), f"{option[1]!r} is not known here", nearest(option[1], options(kind))
        ), steps
    wanted = re.fullmatch(r"Expected `(.*?)`(?:, got `(.*)`| (.*))", wrong)
    if wanted:
        wrong = f"this is {NAMES.get(wanted[2], wanted[2])}" if wanted[2] else "the number is out of range"
    right = f"it takes {describe(kind)}" if wanted or bare(kind) in KINDS else ""
    return Problem(name, key_of(steps), wrong, right), steps


NAMES = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number with a fraction",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
    "date": "a date",
    "datetime": "a time of day",
}


def nearest(word: str, known: list[str]) -> str:
    """The one that was perhaps meant, else all."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "known here: " + ", ".join(known)


def type_at(steps: list[Step]) -> Any:
    """The annotation at a place in `Settings`; `object` where there is none."""
    kind: Any = Settings
    for step in steps:
        kind = bare(kind)
        origin = typing.get_origin(kind)
        if origin is tuple:
            kind = typing.get_args(kind)[0]
        elif origin is dict:
            kind = typing.get_args(kind)[1]
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            kind = typing.get_type_hints(kind, include_extras=True).get(str(step), object)
        else:
            return object
    return kind


def bare(kind: Any) -> Any:
    """Without `Annotated` and `| None`."""
    if typing.get_origin(kind) is typing.Annotated:
        return bare(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return bare(next(part for part in typing.get_args(kind) if part is not type(None)))
    return kind


def fields_of(kind: Any) -> list[str]:
    kind = bare(kind)
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return [field.encode_name for field in msgspec.structs.fields(kind)] if is_struct else []


def options(kind: Any) -> list[str]:
    kind = bare(kind)
    return [str(option) for option in typing.get_args(kind)] if typing.get_origin(kind) is typing.Literal else []


def describe(kind: Any) -> str:
    """What would be right at a place of this type."""
    bounds = [part for part in typing.get_args(kind)[1:] if isinstance(part, msgspec.Meta)]
    inner = bare(kind)
    origin = typing.get_origin(inner)
    if inner in KINDS:
        return str(inner.right)
    if bounds:
        least, most = bounds[0].ge, bounds[0].le
        return f"a whole number from {least} " + (f"to {most}" if most is not None else "on")
    if origin is typing.Literal:
        return "one of " + ", ".join(f'"{option}"' for option in options(inner))
    if origin is tuple:
        item = typing.get_args(inner)[0]
        return "blocks, each with its name in [[ ]]" if fields_of(item) else f"a list, each item {describe(item)}"
    if fields_of(inner) or origin is dict:
        return "a table"
    return {str: "a text in quotes", bool: "true or false", int: "a whole number"}.get(inner, "something else")


def cut_out(raw: Any, steps: list[Step]) -> bool:
    """Takes what stands at `steps` out of the raw tables (the whole table when a key is not named)."""
    if not steps:
        return False
    *way, last = [step for step in steps if step != "..."]
    for step in way:
        raw = raw[step]
    try:
        del raw[last]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def complete(settings: Settings, base: Path) -> Settings:
    """Fills in folders and names; relative paths count from the file's folder."""

    def path(given: str, otherwise: Path) -> str:
        return str((base / Path(given).expanduser()) if given else otherwise)

    data = Path(path(settings.server.data, state_folder()))
    hooks = path(settings.hooks.file, Path()) if settings.hooks.file else ""
    return replace(
        settings,
        server=replace(settings.server, data=str(data), hostname=settings.server.hostname or own_name()),
        local=replace(settings.local, folder=path(settings.local.folder, data / "mail")),
        spool=replace(settings.spool, folder=path(settings.spool.folder, data / "spool")),
        control=replace(settings.control, socket=path(settings.control.socket, data / "control.sock")),
        hooks=replace(settings.hooks, file=hooks),
        listen=tuple(replace(row, name=row.name or row.profile) for row in settings.listen),
    )


def state_folder() -> Path:
    """Where data goes that is not configuration (XDG base directories, 0.8)."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state") / "angarium"


def own_name() -> str:
    """This machine's full name, or localhost when it has none (RFC 5321 2.3.5 asks for a full one)."""
    name = socket.gethostname().lower()
    return name if "." in name else "localhost"


def contradictions(settings: Settings, name: str) -> Iterator[Problem]:
    """What is wrong between keys that are each right."""
    for check_rows in (listen_rows, way_rows, folder_rows, number_rows):
        for key, wrong, right in check_rows(settings):
            yield Problem(name, key, wrong, right)


Finding = tuple[str, str, str]


def listen_rows(settings: Settings) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    if not settings.listen:
        yield "listen", "there is no listening socket", "add one [[listen]] with an address"
    places = [(f"listen[{number}].address", row.address) for number, row in enumerate(settings.listen)]
    if settings.control.address:
        places.append(("control.address", settings.control.address))
    for key, address in places:
        if address in seen and not address.endswith(":0"):
            yield key, f"{address} is already used by {seen[address]}", "give each its own port"
        seen[address] = key
    if settings.control.address and not settings.control.address.is_loopback:
        yield "control.address", f"{settings.control.address} is open to the network", "it takes an address on loopback"
    for number, listen in enumerate(settings.listen):
        if listen.max_size < 65_536:
            yield f"listen[{number}].max_size", "this is below what mail needs", "64KiB at least (RFC 5321 4.5.3.1.7)"


def way_rows(settings: Settings) -> Iterator[Finding]:
    tags = {row.tag for row in settings.tag}
    for number, row in enumerate(settings.route):
        key = f"route[{number}]"
        if row.to in ("smarthost", "lmtp") and row.host is None and (row.to == "lmtp" or settings.smarthost is None):
            yield f"{key}.host", "this key is missing", f'to = "{row.to}" needs a host'
        if row.to == "maildir" and not row.mailbox:
            yield f"{key}.mailbox", "this key is missing", 'to = "maildir" needs a mailbox'
        if row.tag and row.tag not in tags and not settings.hooks.file:
            yield f"{key}.tag", f"nothing gives the tag {row.tag!r}", "add a [[tag]] row or a hook that gives it"
    if "*" in settings.relay.domains:
        yield "relay.domains", "anybody could send to everybody through us", "name domains, or trust networks"
    for domain, mailbox in settings.local.domains.items():
        if domain == "*":
            yield 'local.domains."*"', "every domain would end here", "use local.catch_all for that"
        if not mailbox:
            yield f'local.domains."{domain}"', "it has no mailbox", f"it takes {Mailbox.right}"


def folder_rows(settings: Settings) -> Iterator[Finding]:
    hooks = settings.hooks_file
    if hooks and not hooks.is_file():
        yield "hooks.file", f"there is no file {hooks}", "name a Python file, or leave the key out"
    if len(settings.control.socket.encode()) > 107:  # sun_path of unix(7)
        yield "control.socket", "the path is too long for a unix socket", "107 octets at most; set control.socket"


def number_rows(settings: Settings) -> Iterator[Finding]:
    """Numbers that the engine bounds more narrowly than their kind does."""
    spool, limits = settings.spool, settings.limits
    bounds = (
        ("spool.segment", spool.segment, 1 << 20, 1 << 30, "1MiB to 1GiB"),
        ("spool.group_size", spool.group_size, 64 << 10, 16 << 20, "64KiB to 16MiB"),
        ("limits.inline_body", limits.inline_body, 4 << 10, 8 << 20, "4KiB to 8MiB"),
        ("limits.max_header", limits.max_header, 4 << 10, 1 << 20, "4KiB to 1MiB"),
        ("dns.timeout", settings.dns.timeout, 100, 60_000, "100ms to 60s"),
        ("dns.lifetime", settings.dns.lifetime, settings.dns.timeout, 300_000, "dns.timeout to 5m"),
        ("dns.max_ttl", settings.dns.max_ttl, settings.dns.min_ttl, 7 * 86_400_000, "dns.min_ttl to 7d"),
    )
    for key, value, least, most, right in bounds:
        if not least <= value <= most:
            yield key, "the number is out of range", f"it takes {right}"
    for word, waits in msgspec.structs.asdict(settings.delivery.retry).items():
        if not waits or min(waits) <= 0:
            yield f"delivery.retry.{word}", "a wait is missing or zero", "at least one time above 0"


def reason_of(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
