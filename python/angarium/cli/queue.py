"""`angarium queue …`: look at waiting mail and give orders about it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from cyclopts import Parameter

from ..errors import AngariumError
from ..settings import Duration
from ..web.shapes import Order, Priority, Rule, State, Where
from .client import Client
from .show import Rows, age, columns, json_line, moment, now, pairs, size


@Parameter(name="*")
@dataclass(frozen=True)
class Filter:
    """Which entries; everything that is given must match."""

    domain: str | None = None
    "Domain of the recipient."
    sender: str | None = None
    "Envelope sender."
    state: State | None = None
    "waiting, held, leased (being delivered) or owing (a report is owed)."
    priority: Priority | None = None
    "urgent, high, normal or bulk."
    tenant: str | None = None
    "Tenant."
    campaign: str | None = None
    "Campaign."
    site: str | None = None
    "The site that its route leads to."
    older_than: str | None = None
    'Received longer ago than this, like "2h".'

    def where(self, ids: tuple[str, ...] = (), *, every: bool = False) -> Where:
        return Where(
            ids=ids,
            domain=self.domain,
            sender=self.sender,
            state=self.state,
            priority=self.priority,
            tenant=self.tenant,
            campaign=self.campaign,
            site=self.site,
            before=now() - duration(self.older_than) if self.older_than else None,
            all=every,
        )


NOBODY = Filter()
# Orders for later mail, and orders that keep content.
STANDING = ("hold", "suspend")
KEEPING = ("legal-hold", "pin")


def duration(text: str) -> int:
    """Milliseconds of "90s", "2h", "1d"."""
    try:
        return int(Duration.parse(text))
    except ValueError as error:
        raise AngariumError(f"{error}; write {Duration.right}") from None


def list_entries(
    *,
    chosen: Filter = NOBODY,
    limit: Rows = 100,
    config: str | None = None,
    json: bool = False,
) -> None:
    """List waiting entries, one per recipient.

    Parameters
    ----------
    limit
        Rows at most.
    json
        One JSON object per line.
    """
    # One more than asked for, to know whether there are more.
    entries = list(Client(config).entries(chosen.where(every=chosen == NOBODY), limit=limit + 1))
    if json:
        for entry in entries[:limit]:
            json_line(entry)
        return
    rows = [
        (
            e.id,
            e.state,
            e.priority,
            age(e.received),
            due(e.state, e.due),
            str(e.attempts),
            e.sender or "<>",
            e.recipient,
            e.reason + (f" ({e.code} {e.text})" if e.code else ""),
        )
        for e in entries[:limit]
    ]
    columns(("ID", "STATE", "CLASS", "AGE", "DUE", "TRIES", "FROM", "TO", "WHY"), rows, nothing="nothing waits")
    if len(entries) > limit:
        print(f"there are more; --limit {limit * 10} shows more of them")


def due(state: str, at: int) -> str:
    if state == "held" and at == 0:
        return "-"
    return age(at) if at > now() else "now"


def show(message: str, /, *, config: str | None = None, json: bool = False) -> None:
    """Show one message: where each of its recipients stands and what was said.

    Parameters
    ----------
    message
        The id of a message, or of one recipient (MESSAGE.NUMBER).
    json
        One JSON object per recipient.
    """
    entries = Client(config).message(message).entries
    if json:
        for entry in entries:
            json_line(entry)
        return
    first = entries[0]
    pairs(
        [
            ("message", first.message),
            ("from", first.sender or "<>"),
            ("received", f"{moment(first.received)} ({age(first.received)} ago)"),
            ("size", size(first.size)),
            ("class", first.priority),
        ]
    )
    for e in entries:
        print()
        pairs(
            [
                ("recipient", f"{e.recipient} ({e.id})"),
                ("state", e.state),
                ("due", due(e.state, e.due)),
                ("expires", age(e.expires)),
                ("attempts", str(e.attempts)),
                ("site", e.site or "-"),
                ("last said", f"{e.code} {e.text} ({e.host})" if e.code else e.reason),
            ]
        )


def order(action: str, ids: tuple[str, ...], chosen: Filter, every: bool, given: Order, *, config: str | None) -> int:
    """Sends one order and says what it did; an order without a target must say --all."""
    if not ids and chosen == NOBODY and not every:
        raise AngariumError(f"say which: ids, a filter like --domain, or --all ({action} changes nothing without one)")
    where = chosen.where(ids, every=every and not ids and chosen == NOBODY)
    wanted = msgspec.structs.replace(given, where=where)
    client = Client(config)
    if action == "release" and not ids:
        # Otherwise what comes later would be held again.
        client.lift(wanted)
    done = client.order(action, wanted)
    stay = [rule for rule in client.rules() if rule.kind in STANDING] if action == "release" and every else []
    late = f", {done.too_late:,} being delivered already" if done.too_late else ""
    later = "; later mail that fits too, until a release with the same filter" if done.rule else ""
    print(f"{action}: {done.changed:,} entries changed{late}{later}")
    for rule in stay:
        print(f"still standing: {described(rule)}; angarium queue lift {rule.rule} takes it away")
    if done.changed == 0 and ids:
        raise AngariumError(f"nothing changed: {' '.join(ids)} is not waiting here, or is not in a state to {action}")
    return 0


def hold(
    *ids: str,
    chosen: Filter = NOBODY,
    all: bool = False,
    until: str | None = None,
    why: str = "",
    config: str | None = None,
) -> int:
    """Keep entries from being delivered until they are released.

    Parameters
    ----------
    ids
        Messages, or single recipients (MESSAGE.NUMBER).
    all
        Everything.
    until
        Release by itself after this long, like "12h".
    why
        Stands in the journal.
    """
    end = now() + duration(until) if until else None
    return order("hold", ids, chosen, all, Order(why=why, until=end), config=config)


def release(*ids: str, chosen: Filter = NOBODY, all: bool = False, why: str = "", config: str | None = None) -> int:
    """Let held entries go; their retry clock starts anew."""
    return order("release", ids, chosen, all, Order(why=why), config=config)


def cancel(*ids: str, chosen: Filter = NOBODY, all: bool = False, why: str = "", config: str | None = None) -> int:
    """Give entries up for good, without a report to the sender. This cannot be undone."""
    return order("cancel", ids, chosen, all, Order(why=why), config=config)


def rules(*, config: str | None = None, json: bool = False) -> None:
    """List the orders that stand: holds and suspends for later mail, legal holds, pins.

    Parameters
    ----------
    json
        One JSON object per line.
    """
    standing = Client(config).rules()
    if json:
        for rule in standing:
            json_line(rule)
        return
    rows = [
        (str(r.rule), r.kind, age(r.at), age(r.until) if r.until else "-", of_whom(r), r.by or "-", r.why or "-")
        for r in standing
    ]
    columns(("RULE", "KIND", "AGE", "ENDS", "WHAT", "BY", "WHY"), rows, nothing="no order stands")


def of_whom(rule: Rule) -> str:
    """The filter of a rule as the options that would say it."""
    if rule.kind in KEEPING:
        return f"the content of {rule.messages:,} messages"
    given = msgspec.to_builtins(rule.where)
    options = " ".join("--all" if name == "all" else f"--{name} {value}" for name, value in given.items())
    return options or "nothing"


def described(rule: Rule) -> str:
    return f"rule {rule.rule}, {rule.kind} {of_whom(rule)}"


def lift(rule: int, /, *, why: str = "", config: str | None = None) -> None:
    """Take away one order that stands. What a hold held stays held until it is released.

    Parameters
    ----------
    rule
        The number that `angarium queue rules` shows.
    why
        Stands in the journal.
    """
    if rule < 1:
        raise AngariumError("a rule has a number from 1 on; angarium queue rules shows them")
    Client(config).order("lift", Order(rule=rule, why=why))
    print(f"lifted: rule {rule}")


def keep(
    *ids: str,
    chosen: Filter = NOBODY,
    all: bool = False,
    pin: bool = False,
    why: str = "",
    config: str | None = None,
) -> None:
    """Keep the bytes of messages whatever becomes of them, until the order is lifted by its number.

    Parameters
    ----------
    ids
        Messages that are still here.
    all
        Everything that is here now, and everything that comes.
    pin
        Only what is here now, as long as there is room (for looking into a problem), instead of a legal hold. A legal
        hold by domain, tenant, campaign, sender, class or time covers mail that comes later too.
    why
        Stands in the journal.
    """
    if not ids and chosen == NOBODY and not all:
        raise AngariumError("say which: ids, a filter like --domain, or --all")
    where = chosen.where(ids, every=all and not ids and chosen == NOBODY)
    done = Client(config).order("pin" if pin else "legal-hold", Order(where=where, why=why))
    stands = not (pin or ids or chosen.state or chosen.site)
    coming = " and of what comes" if stands else ""
    print(f"kept: the content of {done.changed:,} messages{coming}, until angarium queue lift {done.rule}")
    if done.changed == 0 and not stands:
        Client(config).order("lift", Order(rule=done.rule))
        raise AngariumError("no such message is here, so nothing is kept")


def retry(*ids: str, chosen: Filter = NOBODY, all: bool = False, why: str = "", config: str | None = None) -> int:
    """Try entries again now instead of when they are due."""
    return order("retry", ids, chosen, all, Order(why=why), config=config)


def flush(*, why: str = "", config: str | None = None) -> int:
    """Try everything again now and wake every destination that sleeps."""
    return order("flush", (), NOBODY, True, Order(why=why), config=config)


def confirm_clock(*, why: str = "", config: str | None = None) -> int:
    """Say that this machine's clock is right, so that expiry, frozen after a jump of the clock, goes on."""
    return order("confirm-clock", (), NOBODY, True, Order(why=why), config=config)
