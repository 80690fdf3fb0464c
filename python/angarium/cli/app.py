"""The table of commands and the one place where an error becomes an exit code."""

from __future__ import annotations

import importlib.metadata
import os
import sys

import cyclopts

from ..errors import AngariumError

# command → where it is; loaded when it is called.
COMMANDS = {
    "serve": "angarium.cli.run:serve",
    "init": "angarium.cli.setup:init",
    "check-config": "angarium.cli.setup:check_config",
    "status": "angarium.cli.status:status",
}
FAMILIES = {
    "queue": (
        "Look at waiting mail and give orders about it.",
        {
            "list": "angarium.cli.queue:list_entries",
            "show": "angarium.cli.queue:show",
            "hold": "angarium.cli.queue:hold",
            "release": "angarium.cli.queue:release",
            "cancel": "angarium.cli.queue:cancel",
            "retry": "angarium.cli.queue:retry",
            "flush": "angarium.cli.queue:flush",
            "confirm-clock": "angarium.cli.queue:confirm_clock",
        },
    ),
    "journal": ("Read what happened.", {"tail": "angarium.cli.journal:tail"}),
    "mail": (
        "Read the local mailboxes.",
        {
            "list": "angarium.cli.mail:list_mail",
            "show": "angarium.cli.mail:show",
            "raw": "angarium.cli.mail:raw",
        },
    ),
}


def build() -> cyclopts.App:
    """The command line, as a table of where each command is."""
    app = cyclopts.App(
        name="angarium",
        help="A durable mail server and the commands to look after it.",
        version=importlib.metadata.version("angarium"),
        help_format="plaintext",
    )
    for name, place in COMMANDS.items():
        app.command(place, name=name)
    for name, (text, commands) in FAMILIES.items():
        family = cyclopts.App(name=name, help=text)
        for command, place in commands.items():
            family.command(place, name=command)
        app.command(family)
    return app


def main() -> None:
    """Runs the command of `sys.argv`; the exit code is 0, 1 (it did not work) or 2 (the command line is wrong)."""
    try:
        result = build()(result_action="return_value")
    except AngariumError as error:
        print(f"angarium: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader has seen enough (head, less); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)
