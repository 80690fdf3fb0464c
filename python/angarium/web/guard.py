"""Who may speak to the control API over TCP: an ASGI wrapper in front of it.

The unix socket needs no guard (its file mode is one). Over TCP a request must name a loopback host in its Host field,
so that no page in a browser reaches it under a name of its own (DNS rebinding), and must bring the token of the data
folder; only `OPEN` paths need none. What is refused is answered here and never reaches a handler.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Read by monitoring that has no token; both tell figures only.
OPEN = frozenset({"/metrics", "/health"})


class Guard:
    """Lets through what names a loopback host and brings the token."""

    def __init__(self, app: App, *, token: str) -> None:
        self.app = app
        self.expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            # The unix socket's server runs the application's life; a second one would end it in another task.
            await live(receive, send)
            return
        refusal = self.refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await answer(send, *refusal)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence, or None for what may pass."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not is_loopback(headers.get(b"host", b"").decode("latin-1")):
            return 403, "The control API answers only to a loopback name: use 127.0.0.1 or localhost in the URL."
        if scope["path"] in OPEN:
            return None
        if not hmac.compare_digest(headers.get(b"authorization", b""), self.expected):
            return 401, "Send the token of the file control.token in the data folder as 'Authorization: Bearer TOKEN'."
        return None


def is_loopback(host: str) -> bool:
    """Whether a Host field (RFC 9110 7.2) names this machine by a loopback name."""
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def live(receive: Receive, send: Send) -> None:
    """The lifespan protocol of ASGI with nothing to do."""
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Send, status: int, sentence: str) -> None:
    body = msgspec.json.encode({"error": sentence})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
