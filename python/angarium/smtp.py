"""SMTP without sockets, both roles, on the Rust core: bytes in, events out; answers in, bytes out (RFC 5321).

`Server` and `Client` hold what one connection must remember and nothing else, so they run on Trio, threads, or in a
test without either; `examples/trio_server.py` is a whole server. Events are frozen classes, equal by value, matched by
position. A peer's mistakes are values; calls out of turn raise `angarium.errors.SmtpError`.
"""

from __future__ import annotations

from angarium._core import SmtpBody as Body
from angarium._core import SmtpBroken as Broken
from angarium._core import SmtpCapabilities as Capabilities
from angarium._core import SmtpClient as Client
from angarium._core import SmtpData as Data
from angarium._core import SmtpEarly as Early
from angarium._core import SmtpEnd as End
from angarium._core import SmtpGarbage as Garbage
from angarium._core import SmtpHangup as Hangup
from angarium._core import SmtpHello as Hello
from angarium._core import SmtpMail as Mail
from angarium._core import SmtpQuit as Quit
from angarium._core import SmtpRcpt as Rcpt
from angarium._core import SmtpReply as Reply
from angarium._core import SmtpReset as Reset
from angarium._core import SmtpServer as Server
from angarium._core import SmtpVrfy as Vrfy
from angarium.errors import SmtpError

__all__ = [
    "Body",
    "Broken",
    "Capabilities",
    "Client",
    "Data",
    "Early",
    "End",
    "Garbage",
    "Hangup",
    "Hello",
    "Mail",
    "Quit",
    "Rcpt",
    "Reply",
    "Reset",
    "Server",
    "SmtpError",
    "Vrfy",
]
