"""`angarium status`: the server at a glance."""

from __future__ import annotations

from .client import Client
from .show import age, json_line, moment, pairs


def status(*, config: str | None = None, json: bool = False) -> int:
    """Show whether the server takes and delivers mail, and what needs an operator.

    Exit code 1 when there is a fault.

    Parameters
    ----------
    config
        The settings file that says where the server's control socket is.
    json
        One JSON object.
    """
    state = Client(config).status()
    if json:
        json_line(state)
        return 1 if state.faults else 0
    counters = state.counters
    pairs(
        [
            ("server", f"{state.hostname}, Angarium {state.version}, up {age(state.started, state.now)}"),
            ("listening", ", ".join(state.listening)),
            ("accepting", "yes" if state.accepting else "no"),
            ("spool", state.spool),
            ("messages", ", ".join(f"{counters.get(word, 0):,} {word}" for word in FIGURES)),
            ("waiting", ", ".join(f"{count:,} {word}" for word, count in state.depth.items())),
            ("states", ", ".join(f"{count:,} {word}" for word, count in state.states.items())),
            ("oldest", age(state.oldest, state.now) if state.oldest else "nothing waits"),
        ]
    )
    for fault in state.faults:
        print(f"FAULT {fault.kind} since {moment(fault.since)}: {fault.text}")
    return 1 if state.faults else 0


FIGURES = ("received", "delivered", "deferred", "failed", "refused", "repeated")
