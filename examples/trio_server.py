"""A whole SMTP server on Trio: takes mail from everybody and prints it. Stop it with Ctrl-C.

python examples/trio_server.py 2525
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio
from angarium.smtp import Body, Broken, End, Mail, Rcpt, Server

Deliver = Callable[[str | None, list[str], bytes], None]
SILENCE = 300  # seconds (RFC 5321 4.5.3.2.7)


async def session(stream: trio.abc.Stream, deliver: Deliver) -> None:
    server = Server("localhost", banner="ESMTP example", max_size=10_000_000)
    server.greet()
    sender: str | None = None
    recipients: list[str] = []
    content = bytearray()
    while True:
        await stream.send_all(server.data_to_send())
        if server.is_closed:
            return
        data: bytes | bytearray = b""
        with trio.move_on_after(SILENCE):
            data = await stream.receive_some(65_536)
        if not data:
            return
        server.receive_data(data)
        while (event := server.next_event()) is not None:
            match event:
                case Mail(address):
                    sender, recipients, content = address, [], bytearray()
                case Rcpt(address):
                    recipients.append(address)
                case Body(piece):
                    content += piece
                case Broken():
                    content.clear()
                case End():
                    deliver(sender, recipients, bytes(content))
            if server.awaits:
                server.accept()


async def handle(deliver: Deliver, stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):  # the client is gone
        await session(stream, deliver)


if __name__ == "__main__":
    trio.run(partial(trio.serve_tcp, partial(handle, print), int(sys.argv[1]), host="127.0.0.1"))
