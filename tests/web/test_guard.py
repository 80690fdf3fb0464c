"""The guard in front of the control API on TCP: loopback names only, and the token."""

from __future__ import annotations

from typing import Any

import pytest
from angarium.web.guard import Guard, is_loopback

TOKEN = "t" * 43


async def ask(path: str, **headers: str) -> tuple[int, bytes]:
    """(status, body) of a request through a guard in front of an application that says "in"."""
    sent: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    await Guard(app, token=TOKEN)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8025", "localhost", "LOCALHOST:1", "[::1]:8025", "127.8.9.1", "localhost."]
)
def test_loopback_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "192.0.2.1", "[2001:db8::1]", "0.0.0.0"]
)
def test_other_names(host: str) -> None:
    assert not is_loopback(host)


async def test_the_token_lets_in() -> None:
    assert await ask("/v1/status", host="127.0.0.1:8025", authorization=f"Bearer {TOKEN}") == (200, b"in")


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN])
async def test_without_the_token_nothing(given: str) -> None:
    status, body = await ask("/v1/queue", host="localhost", authorization=given)
    assert status == 401
    assert b"control.token" in body


@pytest.mark.parametrize("path", ["/metrics", "/health"])
async def test_open_paths_need_a_loopback_name_only(path: str) -> None:
    assert (await ask(path, host="localhost"))[0] == 200
    assert (await ask(path, host="rebound.example"))[0] == 403


@pytest.mark.parametrize("path", ["/metrics/", "/health/../v1/queue", "/v1/metrics"])
async def test_nothing_else_is_open(path: str) -> None:
    assert (await ask(path, host="localhost"))[0] == 401


async def test_a_foreign_name_is_refused_even_with_the_token() -> None:
    assert (await ask("/v1/status", host="rebound.example", authorization=f"Bearer {TOKEN}"))[0] == 403
