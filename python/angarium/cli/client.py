"""Speaks to a running server over its control socket, for the commands.

The socket is found through the settings. `ClientError` is one sentence: the server is not running, may not be spoken
to, or said no. Answers come as the shapes of `web.shapes`.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from typing import TypeVar

import httpx2
import msgspec

from ..errors import AngariumError
from ..settings import Settings, load, locate
from ..web.shapes import (
    Entry,
    Facts,
    Followers,
    FollowerShown,
    Order,
    Ordered,
    Page,
    Rule,
    Rules,
    Status,
    Trouble,
    Where,
)

Answer = TypeVar("Answer", bound=msgspec.Struct)
# The server answers orders after a sync and listings at once; what takes longer is stuck.
PATIENCE_SECONDS = 60
# Where there is no standing rule to lift.
NO_RULE = 404
ID = re.compile(r"[0-9A-Za-z]+(\.[0-9]+)?")


class ClientError(AngariumError):
    """The server could not be asked, or refused with this HTTP status."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Client:
    """One connection to the control socket of the server that these settings describe."""

    def __init__(self, config: str | None = None) -> None:
        self.settings: Settings = load(locate(config))
        self.socket = self.settings.control_socket
        transport = httpx2.HTTPTransport(uds=str(self.socket))
        self.http = httpx2.Client(transport=transport, base_url="http://localhost", timeout=PATIENCE_SECONDS)

    def status(self) -> Status:
        return self.ask("GET", "/v1/status", Status)

    def order(self, action: str, order: Order) -> Ordered:
        return self.ask("POST", f"/v1/queue/{action}", Ordered, body=msgspec.json.encode(order))

    def lift(self, order: Order) -> None:
        """Takes away the standing rules of exactly this filter (with `all`: every one), if there are any."""
        try:
            self.order("lift", order)
        except ClientError as error:
            if error.status != NO_RULE:
                raise

    def rules(self) -> list[Rule]:
        return self.ask("GET", "/v1/queue/rules", Rules).rules

    def followers(self) -> list[FollowerShown]:
        return self.ask("GET", "/v1/journal/followers", Followers).followers

    def forget(self, name: str) -> None:
        self.ask("DELETE", f"/v1/journal/followers/{urllib.parse.quote(name, safe='')}", Followers)

    def message(self, message: str) -> Page:
        if not ID.fullmatch(message):
            raise ClientError(f"{message!r} is no id; an id is MESSAGE or MESSAGE.NUMBER, as angarium queue list shows")
        return self.ask("GET", f"/v1/queue/{message}", Page)

    def entries(self, where: Where, *, limit: int) -> Iterator[Entry]:
        """Up to `limit` entries, fetched page by page."""
        after = None
        while limit > 0:
            asked = {"limit": str(min(limit, 500)), **filter_parameters(where), **({"after": after} if after else {})}
            page = self.ask("GET", "/v1/queue", Page, parameters=asked)
            yield from page.entries[:limit]
            limit -= len(page.entries)
            after = page.next
            if after is None:
                return

    def facts(self, **asked: str) -> Facts:
        return self.ask("GET", "/v1/journal", Facts, parameters=asked)

    def ask(
        self,
        method: str,
        path: str,
        shape: type[Answer],
        *,
        parameters: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request; raises `ClientError` for whatever is not the wanted shape."""
        try:
            reply = self.http.request(method, path, params=parameters, content=body)
        except httpx2.ConnectError:
            raise ClientError(f"no server answers at {self.socket}; is `angarium serve` running?") from None
        except httpx2.TimeoutException:
            raise ClientError(f"the server at {self.socket} did not answer in {PATIENCE_SECONDS} s") from None
        except httpx2.HTTPError as error:
            raise ClientError(f"the server at {self.socket} broke off: {error}") from None
        if reply.status_code >= 400:
            raise ClientError(trouble(reply.content, reply.status_code), reply.status_code)
        try:
            return msgspec.json.decode(reply.content, type=shape)
        except msgspec.DecodeError:
            raise ClientError(
                f"what answers at {self.socket} is no Angarium server, or one of another version"
            ) from None


def filter_parameters(where: Where) -> dict[str, str]:
    """The filter as query parameters; only what is given."""
    given = msgspec.to_builtins(where)
    return {name: str(value) for name, value in given.items() if name not in ("ids", "all")}


def trouble(content: bytes, status: int) -> str:
    try:
        return msgspec.json.decode(content, type=Trouble).error
    except msgspec.DecodeError:
        return f"the server answered with status {status}"
