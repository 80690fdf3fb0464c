"""SMTP without sockets, both roles, on the Rust core: bytes in, events out; answers in, bytes out (RFC 5321).

`Server` and `Client` hold what one connection must remember and nothing else, so they run on Trio, threads, or in a
test without either; `examples/trio_server.py` is a whole server. Events are frozen classes, equal by value, matched by
position. A peer's mistakes are values; calls out of turn raise `angarium.errors.SmtpError`. Extensions are named by
their EHLO keywords; what each brings stands at `Server` and `Client`. LMTP is a setting of the one, LHLO of the other.
"""

from __future__ import annotations

from angarium._core import SmtpAuth as Auth
from angarium._core import SmtpAuthCancelled as AuthCancelled
from angarium._core import SmtpAuthResponse as AuthResponse
from angarium._core import SmtpBody as Body
from angarium._core import SmtpBroken as Broken
from angarium._core import SmtpCapabilities as Capabilities
from angarium._core import SmtpChunk as Chunk
from angarium._core import SmtpClient as Client
from angarium._core import SmtpData as Data
from angarium._core import SmtpEarly as Early
from angarium._core import SmtpEnd as End
from angarium._core import SmtpEtrn as Etrn
from angarium._core import SmtpExpn as Expn
from angarium._core import SmtpGarbage as Garbage
from angarium._core import SmtpHangup as Hangup
from angarium._core import SmtpHello as Hello
from angarium._core import SmtpMail as Mail
from angarium._core import SmtpQuit as Quit
from angarium._core import SmtpRcpt as Rcpt
from angarium._core import SmtpReply as Reply
from angarium._core import SmtpReset as Reset
from angarium._core import SmtpServer as Server
from angarium._core import SmtpStartTls as StartTls
from angarium._core import SmtpVrfy as Vrfy
from angarium._core import SmtpXclient as Xclient
from angarium._core import SmtpXforward as Xforward
from angarium.errors import SmtpError

__all__ = [
    "Auth",
    "AuthCancelled",
    "AuthResponse",
    "Body",
    "Broken",
    "Capabilities",
    "Chunk",
    "Client",
    "Data",
    "Early",
    "End",
    "Etrn",
    "Expn",
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
    "StartTls",
    "Vrfy",
    "Xclient",
    "Xforward",
]
