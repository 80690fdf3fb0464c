"""The README's example, run as it stands and spoken to by the standard library's client."""

from __future__ import annotations

import importlib.util
import smtplib
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import trio

EXAMPLE = Path(__file__).parents[2] / "examples" / "trio_server.py"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trio_server", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_is_short():
    assert len(EXAMPLE.read_text().splitlines()) < 60


async def test_takes_mail():
    kept: list[tuple[str | None, list[str], bytes]] = []
    handle = partial(example().handle, lambda *mail: kept.append(mail))

    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.sendmail("a@example.org", ["b@example.org", "c@example.org"], "Subject: 1\n\n.dot\nend")
            client.sendmail("", "b@example.org", "Subject: 2\r\n\r\ngrün\r\n".encode())
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail("a@example.org", "nobody", b"")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        await trio.to_thread.run_sync(send, listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()
    assert kept == [
        ("a@example.org", ["b@example.org", "c@example.org"], b"Subject: 1\r\n\r\n.dot\r\nend\r\n"),
        (None, ["b@example.org"], "Subject: 2\r\n\r\ngrün\r\n".encode()),
    ]
