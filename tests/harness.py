"""The installed server as a process, and the far end of the network: a sink that remembers what it took.

`ServerProcess` runs the `angarium` command of this environment in a folder of its own; `RecordingSink` is an SMTP
server on loopback in threads that keeps the numbers of the messages it accepted and can be told to refuse some.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "angarium")
START_SECONDS = 30
STOP_SECONDS = 60


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on now, below those that the system gives to clients (ip(7))."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is no free port on 127.0.0.1")


class ServerProcess:
    """`angarium serve` with a configuration, started, killed and started again in the same folder."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self.folder = folder
        self.config = folder / "angarium.toml"
        self.config.write_text(configuration)
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        # Whoever connects is greeted; else a start waits for the words of the log.
        self.greets = True

    def start(self, port: int) -> None:
        """Starts it and returns when something greets on `port`."""
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder / "state")}
        with self.log.open("ab") as log:
            command = [COMMAND, "serve", "--config", str(self.config)]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=environment
            )
        self.wait_greeting(port)

    def wait_greeting(self, port: int) -> None:
        assert self.process is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at once: {self.log.read_text()[-2000:]}")
            if not self.greets:
                if b": taking mail on " in self.log.read_bytes():
                    return
                time.sleep(0.02)
                continue
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
                sock.settimeout(5)
                if sock.recv(512).startswith(b"220"):
                    sock.sendall(b"QUIT\r\n")
                    return
            time.sleep(0.02)
        raise AssertionError(f"nothing greets on port {port}: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL, as a power cut would look to the process."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop: {self.log.read_text()[-2000:]}") from None


class RecordingSink:
    """An SMTP server on loopback that accepts mail and counts how often it saw each `X-Number`."""

    def __init__(self, *, refuse: Callable[[str], str | None] = lambda _command: None) -> None:
        """`refuse` sees each command line and gives a reply to send instead of the usual one, or None."""
        self.numbers: Counter[int] = Counter()
        self.messages: list[bytes] = []
        self.keep_bodies = False
        self.lock = threading.Lock()
        self.refuse = refuse
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    sink.serve(self)

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 512

        self.server = Listener(("127.0.0.1", 0), Handler)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, peer: socketserver.StreamRequestHandler) -> None:
        peer.wfile.write(b"220 sink.example ESMTP\r\n")
        while line := peer.rfile.readline():
            command = line.decode("utf-8", "replace").strip()
            refusal = self.refuse(command)
            if refusal is not None:
                peer.wfile.write(refusal.encode() + b"\r\n")
                continue
            verb = command[:4].upper()
            if verb == "EHLO":
                peer.wfile.write(b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
            elif verb == "DATA":
                peer.wfile.write(b"354 go on\r\n")
                self.take(peer)
            elif verb == "QUIT":
                peer.wfile.write(b"221 bye\r\n")
                return
            else:
                peer.wfile.write(b"250 ok\r\n")

    def take(self, peer: socketserver.StreamRequestHandler) -> None:
        lines = []
        while (line := peer.rfile.readline()) != b".\r\n":
            if not line:
                return
            lines.append(line[1:] if line.startswith(b".") else line)
        message = b"".join(lines)
        refusal = self.refuse("<dot>")
        if refusal is not None:
            peer.wfile.write(refusal.encode() + b"\r\n")
            return
        self.remember(message)
        peer.wfile.write(b"250 taken\r\n")

    def remember(self, message: bytes) -> None:
        found = re.search(rb"^X-Number: (\d+)\r$", message, re.MULTILINE)
        with self.lock:
            if found:
                self.numbers[int(found[1])] += 1
            if self.keep_bodies:
                self.messages.append(message)

    def wait_for(self, wanted: Callable[[], bool], *, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.lock:
                if wanted():
                    return True
            time.sleep(0.05)
        return False

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
