"""The control API: listings, orders, the journal, metrics; over a unix socket and, with a token, on loopback."""

from .api import Surface, build_app
from .guard import Guard, is_loopback
from .serving import ControlSockets, open_control, serve_control

__all__ = ["ControlSockets", "Guard", "Surface", "build_app", "is_loopback", "open_control", "serve_control"]
