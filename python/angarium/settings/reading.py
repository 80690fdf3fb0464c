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
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from ..errors import SettingsError
from .checks import contradictions
from .faces import Listen, Mechanism
from .hops import Hop
from .kinds import KINDS, Mailbox, decode_kind
from .tables import CATCH_ALL, Certificate, Local, Logins, Settings

DEFAULT_FILE = "angarium.toml"
# Where `angarium dkim new` puts keys.
KEYS = "keys/dkim"
# `check` stops after so many; whoever has more has another kind of file.
MOST_PROBLEMS = 50
PHASES = ("connect", "mail", "rcpt", "message")
# Sections that say where mail goes; while a file has none of them the first run's catch-all holds.
WAYS = ("relay", "local", "route", "smarthost")
LOCATED = re.compile(r"(?P<wrong>.*?)(?: - at `(?P<path>\$[^`]*)`)?", re.DOTALL)
STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a file of settings. `key` is empty when it is about the whole file.

    `is_warning`: the server starts with it all the same.
    """

    file: str
    key: str
    wrong: str
    right: str = ""
    is_warning: bool = False

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
    settings = replace(settings, listen=profiled(raw, settings))
    if not any(way in raw for way in WAYS):
        settings = replace(settings, local=Local(catch_all=Mailbox(CATCH_ALL)))
    settings = complete(settings, path.absolute().parent)
    return settings, problems or [Problem(name, *finding) for finding in contradictions(settings)]


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


def profiled(raw: dict[str, Any], settings: Settings) -> tuple[Listen, ...]:
    """The listeners with what [profile.NAME] says where their own block is silent."""
    rows, profiles = raw.get("listen"), raw.get("profile")
    if not rows or not profiles:
        return settings.listen
    whole = [{**profiles.get(row.profile, {}), **given} for row, given in zip(settings.listen, rows, strict=True)]
    return msgspec.convert(whole, tuple[Listen, ...], dec_hook=decode_kind)


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
    return {date: "a date like 2026-12-01", str: "a text in quotes", bool: "true or false", int: "a whole number"}.get(
        inner, "something else"
    )


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


SomeHop = TypeVar("SomeHop", bound=Hop)


def complete(settings: Settings, base: Path) -> Settings:
    """Fills in folders and names; relative paths count from the file's folder."""

    def path(given: str, otherwise: Path | str = "") -> str:
        return str((base / Path(given).expanduser()) if given else otherwise)

    def hop(given: SomeHop) -> SomeHop:
        login, shown = given.login, given.certificate
        if login is not None:
            login = replace(login, password_file=path(login.password_file), token_file=path(login.token_file))
        if shown is not None:
            shown = replace(shown, chain=path(shown.chain), key=path(shown.key))
        return replace(given, roots=path(given.roots), login=login, certificate=shown)

    data = Path(path(settings.server.data, state_folder()))
    return replace(
        settings,
        server=replace(settings.server, data=str(data), hostname=settings.server.hostname or own_name()),
        local=replace(settings.local, folder=path(settings.local.folder, data / "mail")),
        spool=replace(settings.spool, folder=path(settings.spool.folder, data / "spool")),
        control=replace(settings.control, socket=path(settings.control.socket, data / "control.sock")),
        hooks=replace(settings.hooks, file=path(settings.hooks.file)),
        tls=replace(
            settings.tls,
            client_ca=path(settings.tls.client_ca),
            certificate=tuple(certificate(row, path) for row in settings.tls.certificate),
        ),
        logins=logins(settings, data, path),
        listen=tuple(listener(row, settings.logins) for row in settings.listen),
        signing=tuple(
            row if row.hook else replace(row, key=path(row.key, base / KEYS / row.domain / f"{row.selector}.pem"))
            for row in settings.signing
        ),
        route=tuple(hop(row) for row in settings.route),
        smarthost=None if settings.smarthost is None else hop(settings.smarthost),
    )


# What each source of logins can judge, best first. CRAM-MD5 and tokens must be asked for.
MECHANISMS: dict[str, tuple[Mechanism, ...]] = {
    "sqlite": ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"),
    "file": ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"),
    "dovecot": ("PLAIN", "LOGIN"),
    "http": ("PLAIN", "LOGIN"),
    "hook": ("PLAIN", "LOGIN"),
}


def listener(row: Listen, logins: Logins) -> Listen:
    """With a name, and with the mechanisms of its logins."""
    external: tuple[Mechanism, ...] = ("EXTERNAL",) if row.client_certificates != "off" else ()
    usual = () if row.login == "off" else (*external, *MECHANISMS[logins.source])
    return replace(row, name=row.name or row.profile, auth=row.auth or usual)


def certificate(row: Certificate, path: Callable[..., str]) -> Certificate:
    return replace(row, chain=path(row.chain), key=path(row.key))


def logins(settings: Settings, data: Path, path: Callable[..., str]) -> Logins:
    """Our own accounts lie in the data folder when nothing else is said."""
    given = settings.logins
    own = {"sqlite": data / "accounts.db", "file": data / "accounts.jsonl"}
    return replace(
        given,
        file=path(given.file, own.get(given.source, "")),
        domain=given.domain or settings.server.hostname or own_name(),
        socket=path(given.socket, ""),
        token_file=path(given.token_file, ""),
    )


def state_folder() -> Path:
    """Where data goes that is not configuration (XDG base directories, 0.8)."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state") / "angarium"


def own_name() -> str:
    """This machine's full name, or localhost when it has none (RFC 5321 2.3.5 asks for a full one)."""
    name = socket.gethostname().lower()
    return name if "." in name else "localhost"


def reason_of(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
