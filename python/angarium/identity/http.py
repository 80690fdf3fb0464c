"""Asks the site's own service over HTTP: one POST per login, the answer is its status and a small JSON object.

    POST url  {"login": "a@example.org", "password": "…", "mechanism": "PLAIN", "address": "192.0.2.1", "tls": true}
    200       {"addresses": ["a@example.org"], "tenant": "acme", "priority": "normal"}   all may be left out
    401, 403, 404   this login does not work

Everything else, a time-out, a redirect, or what is not such an object is `SourceDown`: the client comes again.
"""

from __future__ import annotations

import base64
from typing import Literal

import httpx2
import msgspec
from msgspec import Struct

from ..engine import CLASSES, Identity
from ..errors import StartError
from ..settings import AddressPattern, Logins
from ..settings.kinds import decode_kind
from .attempt import Attempt, SourceDown

REFUSALS = frozenset({401, 403, 404})
# Larger answers are not read: this one is a few hundred octets.
MOST_OCTETS = 65_536
CONNECTIONS = 32


class Given(Struct, frozen=True, kw_only=True):
    """The service's answer. `login`: as it should stand in logs and journal."""

    login: str = ""
    addresses: tuple[AddressPattern, ...] = ()
    tenant: str = ""
    priority: Literal["", "urgent", "high", "normal", "bulk"] = ""


decode = msgspec.json.Decoder(Given, dec_hook=decode_kind).decode


class Http:
    """The source `http`."""

    def __init__(self, given: Logins) -> None:
        """Raises `StartError` when the token cannot be read."""
        self.url = given.url
        self._client = httpx2.AsyncClient(
            headers=authorization(given.token_file),
            timeout=given.deadline.seconds,
            limits=httpx2.Limits(max_connections=CONNECTIONS),
            follow_redirects=False,
            trust_env=False,
        )

    async def judge(self, attempt: Attempt) -> Identity | None:
        """Raises `SourceDown`."""
        if attempt.kind in ("keys", "secret"):
            return None
        try:
            async with self._client.stream("POST", self.url, json=question(attempt)) as answer:
                if answer.status_code in REFUSALS:
                    return None
                if answer.status_code != 200:
                    raise SourceDown(f"{self.url} answers {answer.status_code}")
                content = await bounded(answer)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise SourceDown(f"{self.url}: {error or type(error).__name__}") from None
        try:
            given = decode(content)
        except msgspec.DecodeError as error:
            raise SourceDown(f"{self.url} gives an answer of another shape: {error}") from None
        return Identity(
            login=given.login,
            addresses=tuple(str(pattern) for pattern in given.addresses),
            tenant=given.tenant,
            class_=CLASSES.get(given.priority),
        )

    async def close(self) -> None:
        await self._client.aclose()


def authorization(token_file: str) -> dict[str, str]:
    if not token_file:
        return {}
    try:
        with open(token_file, encoding="ascii") as file:  # noqa: PTH123
            return {"Authorization": f"Bearer {file.readline().strip()}"}
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"logins.token_file: {token_file} cannot be read: {error}") from None


def question(attempt: Attempt) -> dict[str, object]:
    """Secrets are text for everybody who types them; other octets come as they can."""
    asked: dict[str, object] = {
        "login": attempt.name,
        "mechanism": attempt.mechanism,
        "address": attempt.address,
        "tls": bool(attempt.tls),
    }
    if attempt.kind in ("password", "token"):
        asked[attempt.kind] = attempt.secret.decode("utf-8", "replace")
    if attempt.kind == "external":
        asked["certificate"] = base64.b64encode(attempt.certificate).decode()
    if attempt.authzid:
        asked["authzid"] = attempt.authzid
    return asked


async def bounded(answer: httpx2.Response) -> bytes:
    content = b""
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > MOST_OCTETS:
            raise SourceDown(f"the answer has more than {MOST_OCTETS} octets")
    return content
