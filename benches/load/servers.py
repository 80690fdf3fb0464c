"""The servers under load, each started in a folder and an account of its own and ended by its own processes' ids.

`Angarium` is the installed command of the environment that runs the bench. `Postfix`, `Haraka` and `Aiosmtpd` are the
peers; one that is not installed says how it comes and its rows are left out. All relay to a sink, or keep the mail
when `relay` is false: Postfix and Angarium with delivery held, the others with a queue that ends at the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .machine import Account
from .mail import program, refuse_taken_port, wait_for_port

STOP_SECONDS = 20
COMMAND = str(Path(sys.executable).parent / "angarium")


class Absent(Exception):  # noqa: N818
    """The peer is not installed; the text says how it comes."""


class Server:
    """A server on `port`, running from `start` to `stop`."""

    name = ""
    port = 0
    # One that does not start is named and left out.
    is_peer = True
    # What a client must say before the server greets.
    opening = b""

    def __init__(self, *, relay_to: int | None) -> None:
        self.relay_to = relay_to
        self.folder = Path(tempfile.mkdtemp(prefix=f"angarium-bench-{self.name}-"))
        self.folder.chmod(0o755)
        self.account = Account(f"{self.name}_{self.port}")

    def start(self) -> None:
        refuse_taken_port(self.name, self.port)
        self.prepare()
        self.launch()
        try:
            wait_for_port(self.port, opening=self.opening)
        except SystemExit as error:
            if self.is_peer:
                raise Absent(f"{self.name}: {error}") from None
            raise

    def prepare(self) -> None:
        raise NotImplementedError

    def launch(self) -> None:
        raise NotImplementedError

    def spawn(self, command: list[str], **environment: str) -> int:
        log = (self.folder / "server.log").open("ab")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
            cwd=self.folder,
            start_new_session=True,
            preexec_fn=self.account.join,
        )
        self.account.follow(process.pid)
        self.process = process
        return process.pid

    def end(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """Ends the processes of the account by their ids, gently first; raises when one outlives SIGKILL."""
        for one in (sign, signal.SIGKILL):
            until = time.monotonic() + STOP_SECONDS
            while pids := self.account.pids():
                for pid in pids:
                    try_kill(pid, one)
                if hasattr(self, "process"):
                    self.process.poll()
                if time.monotonic() > until:
                    break
                time.sleep(0.1)
            else:
                return
        raise SystemExit(f"{self.name}: processes {pids} do not end")

    def stop(self) -> None:
        self.end()
        self.account.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def try_kill(pid: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)


class Angarium(Server):
    """The bundled server.

    `hook`: the text of a policy file whose functions are asked. `certificate`: (chain, key) to show. `login`: (name,
    password) of an account. `listen`: further lines of its listener. `tables`: further tables of its settings.
    """

    name = "angarium"
    port = 2530
    is_peer = False

    def __init__(
        self,
        *,
        relay_to: int | None,
        hook: str = "",
        certificate: tuple[Path, Path] | None = None,
        login: tuple[str, str] | None = None,
        listen: str = "",
        tables: str = "",
        port: int = 2530,
    ) -> None:
        self.port = port
        super().__init__(relay_to=relay_to)
        self.hook, self.certificate, self.login, self.listen = hook, certificate, login, listen
        self.tables = tables
        self.opening = b"PROXY UNKNOWN\r\n" if "proxy_networks" in listen else b""

    def prepare(self) -> None:
        smarthost = self.relay_to or 9  # discard: nothing listens there, and nothing is sent while suspended
        parts = [
            f'[server]\nhostname = "mx.load.example"\ndata = {json.dumps(str(self.folder / "data"))}\n',
            f'[[listen]]\naddress = "127.0.0.1:{self.port}"\nprofile = "relay"\n{self.listen}\n',
            '[relay]\nnetworks = ["127.0.0.0/8"]\n',
            f'[smarthost]\nhost = "[127.0.0.1]"\nport = {smarthost}\n',
            f'[control]\naddress = "127.0.0.1:{self.port + 1}"\n',
            f"[delivery]\nsuspended = {json.dumps(self.relay_to is None)}\n",
            "[limits]\nsessions = 50000\n",
            self.tables,
        ]
        if self.hook:
            (self.folder / "policy.py").write_text(self.hook)
            parts.append('[hooks]\nfile = "policy.py"\n')
        if self.certificate:
            chain, key = map(str, self.certificate)
            parts.append(f"[[tls.certificate]]\nchain = {json.dumps(chain)}\nkey = {json.dumps(key)}\n")
        config = self.folder / "angarium.toml"
        config.write_text("\n".join(parts))
        if self.login:
            name, password = self.login
            command = [COMMAND, "user", "add", name, "--config", str(config)]
            subprocess.run(command, input=password, text=True, capture_output=True, check=True)

    def metrics(self) -> dict[str, float]:
        """The figures by name, with their labels where these hold no space."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port + 1}/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.partition(" ") for line in lines if line[:1] != "#")}

    def launch(self) -> None:
        self.spawn([COMMAND, "serve", "--config", str(self.folder / "angarium.toml")])


class Postfix(Server):
    """An own instance of Debian's Postfix with its defaults. `certificate`: (chain, key) to show."""

    name = "postfix"
    port = 2540

    def __init__(self, *, relay_to: int | None, certificate: tuple[Path, Path] | None = None) -> None:
        super().__init__(relay_to=relay_to)
        self.certificate = certificate

    def prepare(self) -> None:
        try:
            program("postfix")
        except SystemExit as error:
            raise Absent(str(error)) from None
        for part in ("etc", "spool", "data"):
            (self.folder / part).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.folder / "spool",
            "data_directory": self.folder / "data",
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "maillog_file": self.folder / "maillog",
            "maillog_file_prefixes": self.folder,
            "myhostname": "mx.load.example",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
            "relayhost": f"[127.0.0.1]:{self.relay_to or 9}",
        }
        if self.relay_to is None:
            settings["smtpd_recipient_restrictions"] = "check_client_access static:HOLD, permit"
        if self.certificate:
            chain, key = self.certificate
            settings |= {"smtpd_tls_security_level": "may", "smtpd_tls_cert_file": chain, "smtpd_tls_key_file": key}
        text = "".join(f"{key} = {value}\n" for key, value in settings.items())
        (self.folder / "etc" / "main.cf").write_text(text)
        (self.folder / "etc" / "master.cf").write_text(self.services())

    def services(self) -> str:
        """master.cf: the services of a default installation that this load can touch."""
        lines = [f"127.0.0.1:{self.port} inet n - n - - smtpd", "pickup unix n - n 60 1 pickup"]
        lines += [
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr",
            "rewrite unix - - n - - trivial-rewrite",
        ]
        lines += [f"{name} unix - - n - 0 bounce" for name in ("bounce", "defer", "trace")]
        lines += ["flush unix n - n 1000? 0 flush", "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp"]
        lines += ["relay unix - - n - - smtp", "showq unix n - n - - showq", "error unix - - n - - error"]
        lines += ["retry unix - - n - - error", "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache"]
        lines += ["tlsmgr unix - - n 1000? 1 tlsmgr"]
        return "\n".join([*lines, "postlog unix-dgram n - n - 1 postlogd", ""])

    def launch(self) -> None:
        command = [program("postfix"), "-c", str(self.folder / "etc"), "start"]
        subprocess.run(command, preexec_fn=self.account.join, capture_output=True, check=True)

    def stop(self) -> None:
        try:
            if (self.folder / "etc" / "master.cf").exists():
                command = [program("postfix"), "-c", str(self.folder / "etc"), "stop"]
                subprocess.run(command, capture_output=True, check=False)
        finally:
            super().stop()


class Haraka(Server):
    """Haraka from npm, in HARAKA_HOME or a folder in the cache; its queue is on disk, its outbound to the sink."""

    name = "haraka"
    port = 2550

    def prepare(self) -> None:
        home = Path(os.environ.get("HARAKA_HOME", Path.home() / ".cache" / "angarium-peers" / "haraka"))
        self.script = home / "node_modules" / "Haraka" / "bin" / "haraka"
        if not self.script.exists():
            raise Absent(f"Haraka is not installed; npm install --prefix {home} Haraka brings it")
        # Its own starter files: parts of it read sections that have no default in the code.
        subprocess.run(["node", self.script, "-i", self.folder], capture_output=True, check=True)
        texts = {
            "config/plugins": "to_sink\n",
            "config/smtp.ini": f"listen=127.0.0.1:{self.port}\n",
            "config/log.ini": "[main]\nlevel=error\n",
            "config/me": "mx.load.example\n",
            "config/outbound.ini": "local_mx_ok=true\ninet_prefer=v4\nconcurrency_max=100\n"
            + ("" if self.relay_to else "disabled=true\n"),
            "plugins/to_sink.js": HARAKA_PLUGIN % (self.relay_to or 9),
        }
        for name, text in texts.items():
            (self.folder / name).write_text(text)

    def launch(self) -> None:
        self.spawn(["node", str(self.script), "-c", str(self.folder)])


HARAKA_PLUGIN = """'use strict'
exports.hook_lookup_rdns = (next) => next(OK, 'localhost')
exports.hook_connect = (next, connection) => { connection.relaying = true; next() }
exports.hook_get_mx = (next) => next(OK, { exchange: '127.0.0.1', port: %d, priority: 0 })
"""


class Aiosmtpd(Server):
    """aiosmtpd with a handler that writes each message to a file and syncs it before the reply."""

    name = "aiosmtpd"
    port = 2560

    def prepare(self) -> None:
        if subprocess.run([sys.executable, "-c", "import aiosmtpd"], capture_output=True, check=False).returncode:
            raise Absent("aiosmtpd is not installed; pip install aiosmtpd brings it")
        (self.folder / "durable_handler.py").write_text(AIOSMTPD_HANDLER)
        (self.folder / "mail").mkdir()

    def launch(self) -> None:
        listen = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "aiosmtpd", "-n", "-l", listen, "-c", "durable_handler.Durable"]
        self.spawn(command, PYTHONPATH=str(self.folder))


AIOSMTPD_HANDLER = """import itertools, os

class Durable:
    numbers = itertools.count()

    async def handle_DATA(self, server, session, envelope):
        fd = os.open(f"mail/{next(self.numbers)}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, envelope.content)
        os.fdatasync(fd)
        os.close(fd)
        return "250 2.0.0 kept"
"""


class Null(Server):
    """smtp-sink itself as the server: the ceiling of the load generator."""

    name = "ceiling"
    port = 2570

    def prepare(self) -> None:
        pass

    def launch(self) -> None:
        self.spawn([program("smtp-sink"), "-u", "nobody", f"127.0.0.1:{self.port}", "1000"])


Starter = Callable[..., Server]
