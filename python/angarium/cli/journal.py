"""`angarium journal tail`: what happened, line by line."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter, validators

from ..errors import AngariumError
from ..web.shapes import Fact
from .client import Client
from .queue import duration
from .show import columns, json_line, moment, now, plain

# How long to wait before asking for news.
NEWS_SECONDS = 0.5
# The newest facts that the server keeps together for one answer.
MOST = 10_000


def tail(
    *,
    since: str | None = None,
    message: str | None = None,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"])] = False,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], validator=validators.Number(gte=1, lte=MOST))] = 100,
    config: str | None = None,
    json: bool = False,
) -> None:
    """Show the newest facts of the journal, oldest first.

    Parameters
    ----------
    since
        Everything that happened in the last while, like "10m"; without it the last --limit facts.
    message
        Only what concerns this message, or one recipient (MESSAGE.NUMBER), from its beginning.
    follow
        Go on as more happens, until Ctrl-C.
    limit
        Facts at most (not with --since or --message).
    json
        One JSON object per line.
    """
    client = Client(config)
    asked: dict[str, str] = {"limit": "1000"}
    if message:
        asked["message"] = message
    if since:
        asked["since"] = str(now() - duration(since))
    elif not message:
        asked["last"] = str(limit)
    shown = 0
    while True:
        facts = client.facts(**asked)
        for fact in facts.facts:
            json_line(fact) if json else print(line(fact), flush=follow)
        shown += len(facts.facts)
        asked.pop("last", None)
        asked["after"] = facts.next
        if facts.end:
            if not follow:
                break
            time.sleep(NEWS_SECONDS)
    if message and not since and not shown:
        raise AngariumError(f"the journal says nothing of {message}")


def followers(*, config: str | None = None, json: bool = False) -> None:
    """List the readers that keep their place here, and what delivered mail they keep.

    Parameters
    ----------
    json
        One JSON object per line.
    """
    known = Client(config).followers()
    if json:
        for follower in known:
            json_line(follower)
        return
    rows = [(f.name, str(f.lsn), f.claims, str(f.skipped) if f.skipped else "-") for f in known]
    columns(("NAME", "READ UP TO", "KEEPS", "LOST UP TO"), rows, nothing="nobody reads")


def forget(name: str, /, *, config: str | None = None) -> None:
    """Forget a reader, and let go what is kept for it. If it comes back it begins at the oldest fact.

    Parameters
    ----------
    name
        As `angarium journal followers` shows it.
    """
    Client(config).forget(name)
    print(f"forgotten: {name}")


def line(fact: Fact) -> str:
    """A fact for a person: time, kind, then its fields."""
    about = " ".join(
        f"{name}={word(value)}" for name, value in fact.about.items() if value not in ("", None, 0, False, [])
    )
    return plain(f"{moment(fact.at)} {fact.kind} {about}")


def word(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    text = str(value)
    return repr(text) if " " in text else text
