"""The table of commands and the one place where an error becomes an exit code."""

from __future__ import annotations

import importlib.metadata
import os
import sys

import cyclopts

from ..errors import AngariumError

# command → where it is (loaded when it is called), and what the list of commands says of it.
COMMANDS = {
    "serve": ("angarium.cli.run:serve", "Run the mail server until SIGTERM or Ctrl-C."),
    "init": ("angarium.cli.setup:init", "Write a commented starter file."),
    "check-config": (
        "angarium.cli.setup:check_config",
        "Say what is wrong with a settings file, and what would be right.",
    ),
    "status": ("angarium.cli.status:status", "Show the server at a glance; exit code 1 when it has a fault."),
}
FAMILIES = {
    "queue": (
        "Look at waiting mail and give orders about it.",
        {
            "list": ("angarium.cli.queue:list_entries", "List waiting entries, one per recipient."),
            "show": (
                "angarium.cli.queue:show",
                "Show one message: where each of its recipients stands and what was said.",
            ),
            "hold": ("angarium.cli.queue:hold", "Keep entries from being delivered until they are released."),
            "release": ("angarium.cli.queue:release", "Let held entries go; their retry clock starts anew."),
            "cancel": (
                "angarium.cli.queue:cancel",
                "Give entries up for good, without a report to the sender. This cannot be undone.",
            ),
            "retry": ("angarium.cli.queue:retry", "Try entries again now instead of when they are due."),
            "rules": (
                "angarium.cli.queue:rules",
                "List the orders that stand: holds and suspends for later mail, legal holds, pins.",
            ),
            "lift": ("angarium.cli.queue:lift", "Take away one order that stands, by the number that rules shows."),
            "keep": (
                "angarium.cli.queue:keep",
                "Keep the bytes of messages whatever becomes of them, until the order is lifted.",
            ),
            "flush": ("angarium.cli.queue:flush", "Try everything again now and wake every destination that sleeps."),
            "confirm-clock": (
                "angarium.cli.queue:confirm_clock",
                "Say that the clock is right, so that expiry, frozen after a jump, goes on.",
            ),
        },
    ),
    "user": (
        "Look after the accounts that may log in.",
        {
            "add": ("angarium.cli.user:add", "Make an account; its password comes from a prompt or standard input."),
            "passwd": ("angarium.cli.user:passwd", "Give an account another password."),
            "list": ("angarium.cli.user:list_users", "List the accounts."),
            "disable": ("angarium.cli.user:disable", "Keep an account but let nobody log in with it."),
            "enable": ("angarium.cli.user:enable", "Let a disabled account log in again."),
            "remove": ("angarium.cli.user:remove", "Remove an account for good."),
        },
    ),
    "auth": (
        "Judge who sent a message.",
        {"check": ("angarium.cli.auth:check", "Judge a message in a file and explain each verdict step by step.")},
    ),
    "dkim": (
        "Look after the keys that sign.",
        {
            "new": ("angarium.cli.auth:new_key", "Make a key and say what to publish."),
            "list": ("angarium.cli.auth:list_keys", "List the keys of a folder."),
            "check": (
                "angarium.cli.auth:check_key",
                "Compare a key with what DNS publishes; exit code 1 if it differs.",
            ),
        },
    ),
    "dns": (
        "What a domain must publish to send and receive mail.",
        {
            "records": ("angarium.cli.published:records", "Print every record to publish for a domain."),
            "check": (
                "angarium.cli.published:check",
                "Compare them with what is published; exit code 1 if one differs.",
            ),
        },
    ),
    "journal": (
        "Read what happened.",
        {
            "tail": ("angarium.cli.journal:tail", "Show the newest facts of the journal, oldest first."),
            "followers": (
                "angarium.cli.journal:followers",
                "List the readers that keep their place here, and what delivered mail they keep.",
            ),
            "forget": ("angarium.cli.journal:forget", "Forget a reader, and let go what is kept for it."),
        },
    ),
    "mail": (
        "Read the local mailboxes.",
        {
            "list": ("angarium.cli.mail:list_mail", "List delivered mail, newest first."),
            "show": ("angarium.cli.mail:show", "Show one mail: the header fields that people read, then its text."),
            "raw": ("angarium.cli.mail:raw", "Write one mail to standard output exactly as it was delivered."),
        },
    ),
}
# Exit codes: it did not work, and the command line is wrong.
FAILED, MISUSED = 1, 2


def build() -> cyclopts.App:
    """The command line, as a table of where each command is."""
    app = cyclopts.App(
        name="angarium",
        help="A durable mail server and the commands to look after it.",
        version=importlib.metadata.version("angarium"),
        help_format="plaintext",
    )
    for name, (place, text) in COMMANDS.items():
        app.command(place, name=name, help=text)
    for name, (text, commands) in FAMILIES.items():
        family = cyclopts.App(name=name, help=text)
        for command, (place, about) in commands.items():
            family.command(place, name=command, help=about)
        app.command(family)
    return app


def main() -> None:
    """Runs the command of `sys.argv`; the exit code is 0, 1 (it did not work) or 2 (the command line is wrong)."""
    try:
        result = build()(result_action="return_value", print_error=False, exit_on_error=False)
    except cyclopts.CycloptsError as error:
        print(f"angarium: {' '.join(str(error).split())} See: angarium --help", file=sys.stderr)
        sys.exit(MISUSED)
    except AngariumError as error:
        print(f"angarium: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except BrokenPipeError:
        # The reader has seen enough (head, less); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)
