"""Policy: the site's own hooks. For policy files: the arguments of hooks and the verdicts that they return.

`Asking` runs them (for server.py), `load_hooks` finds them in a file.
"""

from ..engine import Identity, ScramKeys, Verdict
from .asking import Asking
from .loading import Hook, load_hooks
from .words import (
    Connection,
    Envelope,
    Login,
    Message,
    accept,
    add_header,
    defer,
    discard,
    hold,
    reject,
    remove_header,
)

__all__ = [
    "Asking",
    "Connection",
    "Envelope",
    "Hook",
    "Identity",
    "Login",
    "Message",
    "ScramKeys",
    "Verdict",
    "accept",
    "add_header",
    "defer",
    "discard",
    "hold",
    "load_hooks",
    "reject",
    "remove_header",
]
