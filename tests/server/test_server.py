"""The installed server as a process: the first run, a relay, hooks, reload, stops, and what keeps it from starting."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import smtplib
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.harness import COMMAND, RecordingSink, ServerProcess, free_port

BODY = "From: a@example.org\r\nTo: b@example.net\r\nSubject: hello\r\nX-Number: {number}\r\n\r\n.dot\r\nHello.\r\n"

FIRST_RUN = """
[spool]
segment = "1MiB"

[[listen]]
address = "127.0.0.1:{port}"

[control]
address = "127.0.0.1:{control}"
"""

RELAY = (
    FIRST_RUN
    + """
[server]
hostname = "mx.server.example"

[relay]
networks = ["127.0.0.0/8"]

[smarthost]
host = "[127.0.0.1]"
port = {sink}

[delivery.retry]
other = ["1s"]
throttle = ["1s"]
uncertain = ["1s"]
"""
)


class Site:
    """One server with its ports, folder and sink."""

    def __init__(self, folder: Path, configuration: str, *, sink: int = 9) -> None:
        self.port = free_port()
        self.control = free_port()
        text = configuration.format(port=self.port, control=self.control, sink=sink)
        self.server = ServerProcess(folder, text)
        self.data = folder / "state" / "angarium"

    def start(self) -> Site:
        self.server.start(self.port)
        return self

    def send(self, number: int = 0, *, to: str = "b@example.net", sender: str = "a@example.org") -> None:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            client.sendmail(sender, [to], BODY.format(number=number).encode())

    def log(self) -> str:
        return self.server.log.read_text()

    def pid(self) -> int:
        assert self.server.process is not None
        return self.server.process.pid


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def made(configuration: str = FIRST_RUN, *, sink: int = 9) -> Site:
        sites.append(Site(tmp_path, configuration, sink=sink))
        return sites[-1]

    yield made
    for site in sites:
        if site.server.process is not None and site.server.process.poll() is None:
            site.server.kill()


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    served = RecordingSink()
    served.keep_bodies = True
    yield served
    served.close()


def wait_until(seen: Callable[[], bool], *, seconds: float = 20) -> None:
    """The far side of a process can only be looked at again and again; bounded."""
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def mails(site: Site, mailbox: str = "catch-all") -> list[bytes]:
    return [file.read_bytes() for file in sorted((site.data / "mail" / mailbox / "new").glob("*"))]


# --- the first run ------------------------------------------------------------------------------------------------


def test_the_first_run_keeps_mail_in_the_catch_all_mailbox(make: Callable[..., Site]) -> None:
    site = make().start()
    site.send(to="anybody@anywhere.example")
    wait_until(lambda: len(mails(site)) == 1)
    (mail,) = mails(site)
    assert b"\r" not in mail
    message = message_from_bytes(mail)
    assert (message["Subject"], message["Delivered-To"]) == ("hello", "anybody@anywhere.example")
    assert message["Return-Path"] == "<a@example.org>"
    assert message["Received"] is not None
    assert message.get_payload() == ".dot\nHello.\n"
    assert site.server.stop() == 0


def test_it_says_what_it_does(make: Callable[..., Site]) -> None:
    site = make().start()
    said = site.log()
    assert re.search(rf"^angarium \S+: taking mail on 127\.0\.0\.1:{site.port}$", said, re.MULTILINE), said
    assert f"control and metrics on http://127.0.0.1:{site.control}" in said
    assert f"data folder {site.data}" in said
    site.server.stop()
    assert "stopped" in site.log()


def test_folders_and_token_are_for_their_owner_only(make: Callable[..., Site]) -> None:
    site = make().start()
    assert stat.S_IMODE(site.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((site.data / "control.token").stat().st_mode) == 0o600
    assert stat.S_IMODE((site.data / "control.sock").stat().st_mode) == 0o600
    site.server.stop()


def test_metrics_show_what_came_and_went(make: Callable[..., Site]) -> None:
    site = make().start()
    site.send()
    wait_until(lambda: len(mails(site)) == 1)

    def page() -> str:
        with socket.create_connection(("127.0.0.1", site.control), 5) as sock:
            sock.sendall(
                f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{site.control}\r\nConnection: close\r\n\r\n".encode()
            )
            received = b""
            while more := sock.recv(65_536):
                received += more
        return received.decode()

    wait_until(lambda: "angarium_delivered_total 1.0" in page())
    shown = page()
    for name in ("angarium_received_total 1.0", "angarium_accept_seconds_bucket", "angarium_loop_step_seconds_count"):
        assert name in shown
    site.server.stop()


# --- relaying -----------------------------------------------------------------------------------------------------


def test_mail_is_relayed_byte_for_byte_behind_one_trace_field(make: Callable[..., Site], sink: RecordingSink) -> None:
    site = make(RELAY, sink=sink.port).start()
    site.send(7)
    assert sink.wait_for(lambda: sink.numbers[7] == 1, seconds=20)
    (mail,) = sink.messages
    assert mail.endswith(BODY.format(number=7).encode())
    assert b"mx.server.example" in mail.split(b"From:")[0]
    assert site.server.stop() == 0


def test_a_peer_that_says_later_is_asked_again(make: Callable[..., Site]) -> None:
    refusals = iter(["450 4.2.0 come again"])
    sink = RecordingSink(refuse=lambda command: next(refusals, None) if command.startswith("RCPT") else None)
    site = make(RELAY, sink=sink.port).start()
    site.send(8)
    assert sink.wait_for(lambda: sink.numbers[8] == 1, seconds=30)
    site.server.stop()
    sink.close()


def test_relaying_is_refused_to_strangers(make: Callable[..., Site]) -> None:
    site = make(RELAY.replace('["127.0.0.0/8"]', "[]")).start()
    with (
        smtplib.SMTP("127.0.0.1", site.port, timeout=30) as client,
        pytest.raises(smtplib.SMTPRecipientsRefused) as refused,
    ):
        client.sendmail("a@example.org", ["b@example.net"], BODY.format(number=1).encode())
    assert refused.value.recipients["b@example.net"][0] == 550
    assert b"5.7.1" in refused.value.recipients["b@example.net"][1]
    site.server.stop()


def test_kill_and_start_again_loses_nothing(make: Callable[..., Site], sink: RecordingSink) -> None:
    suspended = RELAY.replace("[delivery.retry]", "[delivery]\nsuspended = true\n\n[delivery.retry]")
    site = make(suspended, sink=sink.port)
    site.start()
    for number in range(20):
        site.send(number)
    site.server.kill()
    text = site.server.config.read_text().replace("suspended = true", "suspended = false")
    site.server.config.write_text(text)
    site.start()
    assert "20 recipients wait" in site.log()
    assert sink.wait_for(lambda: len(sink.numbers) == 20, seconds=60), sink.numbers
    assert site.server.stop() == 0
    again = site.start()
    assert "spool" in again.log()
    site.server.stop()


# --- hooks --------------------------------------------------------------------------------------------------------

HOOKS = """
import trio
from angarium.policy import accept, add_header, defer, hold, reject

async def rcpt(envelope, recipient):
    if recipient.startswith("gone@"):
        return reject(550, "This one has left", enhanced="5.1.6")

async def mail(envelope):
    await trio.sleep(0)
    if envelope.sender.startswith("later@"):
        return defer(451, "Come again", enhanced="4.7.1")

async def message(message):
    if message.header("x-number") == ["13"]:
        raise RuntimeError("the site's own mistake")
    assert bytes(message.content).endswith(b"Hello.\\r\\n")
    return add_header("X-Site", "seen")
"""


def with_hooks(tmp_path: Path, text: str = HOOKS) -> str:
    (tmp_path / "policy.py").write_text(text)
    return FIRST_RUN + '\n[hooks]\nfile = "policy.py"\n'


def test_hooks_judge_and_change(make: Callable[..., Site], tmp_path: Path) -> None:
    site = make(with_hooks(tmp_path)).start()
    site.send(1)
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        site.send(2, to="gone@example.net")
    code, text = refused.value.recipients["gone@example.net"]
    assert (code, text.partition(b" [")[0]) == (550, b"5.1.6 This one has left")
    with pytest.raises(smtplib.SMTPSenderRefused) as deferred:
        site.send(3, sender="later@example.org")
    assert deferred.value.smtp_code == 451
    assert bytes(deferred.value.smtp_error).startswith(b"4.7.1 Come again [")
    with pytest.raises(smtplib.SMTPDataError) as failed:
        site.send(13)
    assert failed.value.smtp_code == 451
    wait_until(lambda: len(mails(site)) == 1)
    assert message_from_bytes(mails(site)[0])["X-Site"] == "seen"
    assert "the site's own mistake" in site.log()
    assert b"mistake" not in failed.value.smtp_error
    site.server.stop()


def test_sighup_reads_the_policy_again_and_a_broken_one_changes_nothing(
    make: Callable[..., Site], tmp_path: Path
) -> None:
    site = make(with_hooks(tmp_path)).start()
    (tmp_path / "policy.py").write_text("async def message(message):\n    nonsense(\n")
    os.kill(site.pid(), signal.SIGHUP)
    wait_until(lambda: "SyntaxError" in site.log())
    site.send(1)
    wait_until(lambda: len(mails(site)) == 1)
    assert message_from_bytes(mails(site)[0])["X-Site"] == "seen"
    (tmp_path / "policy.py").write_text(HOOKS.replace('"seen"', '"again"'))
    os.kill(site.pid(), signal.SIGHUP)
    wait_until(lambda: "read again" in site.log())
    site.send(2)
    wait_until(lambda: len(mails(site)) == 2)
    assert sorted(message_from_bytes(mail)["X-Site"] for mail in mails(site)) == ["again", "seen"]
    site.server.stop()


def test_out_of_descriptors_waits_and_does_not_spin(make: Callable[..., Site]) -> None:
    site = make(FIRST_RUN + "\n[limits]\nsessions_per_address = 1000\n").start()
    # The start takes as many as it may.
    resource.prlimit(site.pid(), resource.RLIMIT_NOFILE, (200, 200))
    clients = [socket.create_connection(("127.0.0.1", site.port), 10) for _ in range(300)]
    wait_until(lambda: "no descriptor is free" in site.log())
    used = cpu_seconds(site.pid())
    time.sleep(1)
    assert cpu_seconds(site.pid()) - used < 0.5
    for client in clients:
        client.close()
    site.send(1)
    wait_until(lambda: len(mails(site)) == 1)
    assert site.log().count("no descriptor is free") == 1
    site.server.stop()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_suspended_delivery_goes_on_at_a_reload(make: Callable[..., Site]) -> None:
    site = make(FIRST_RUN + "\n[delivery]\nsuspended = true\n").start()
    site.send(1)
    assert "delivery is suspended" in site.log()
    assert not mails(site)
    site.server.config.write_text(site.server.config.read_text().replace("suspended = true", "suspended = false"))
    os.kill(site.pid(), signal.SIGHUP)
    wait_until(lambda: len(mails(site)) == 1)
    site.server.config.write_text(site.server.config.read_text() + "\n[dns]\nnonsense = 1\n")
    os.kill(site.pid(), signal.SIGHUP)
    wait_until(lambda: "dns.nonsense: there is no such key" in site.log())
    site.server.stop()


# --- stops --------------------------------------------------------------------------------------------------------


def test_sigterm_finishes_what_is_being_received(make: Callable[..., Site]) -> None:
    site = make().start()
    with socket.create_connection(("127.0.0.1", site.port), 10) as sock, sock.makefile("rb") as reader:
        reader.readline()
        for command in ("EHLO client.example", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>", "DATA"):
            sock.sendall(command.encode() + b"\r\n")
            while reader.readline()[3:4] == b"-":
                pass
        os.kill(site.pid(), signal.SIGTERM)
        wait_until(lambda: "stopping" in site.log())
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", site.port), 1)
        sock.sendall(b"Subject: late\r\n\r\nstill here\r\n.\r\n")
        assert reader.readline().startswith(b"250 ")
    assert site.server.stop() == 0
    site.start()
    wait_until(lambda: len(mails(site)) == 1)
    assert b"still here" in mails(site)[0]
    site.server.stop()


def test_a_second_sigterm_does_not_wait(make: Callable[..., Site]) -> None:
    site = make(FIRST_RUN + '\n[timeouts]\nstop = "5m"\n').start()
    with socket.create_connection(("127.0.0.1", site.port), 10) as sock, sock.makefile("rb") as reader:
        reader.readline()
        for command in ("EHLO client.example", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>", "DATA"):
            sock.sendall(command.encode() + b"\r\n")
            while reader.readline()[3:4] == b"-":
                pass
        os.kill(site.pid(), signal.SIGTERM)
        wait_until(lambda: "stopping" in site.log())
        began = time.monotonic()
        os.kill(site.pid(), signal.SIGTERM)
        assert site.server.process is not None
        assert site.server.process.wait(20) == 0
        assert time.monotonic() - began < 15


# --- what keeps it from starting ----------------------------------------------------------------------------------


def refuses(configuration: str, folder: Path) -> str:
    """The one sentence of a server that does not start."""
    config = folder / "refused.toml"
    config.write_text(configuration)
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    command = [COMMAND, "serve", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refuses(FIRST_RUN.format(port=port, control=free_port()), tmp_path)
    assert f"Cannot listen on 127.0.0.1:{port}: the port is in use" in said


def test_a_control_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refuses(FIRST_RUN.format(port=free_port(), control=taken.getsockname()[1]), tmp_path)
    assert "control" in said


def test_a_spool_that_another_server_holds(make: Callable[..., Site], tmp_path: Path) -> None:
    site = make().start()
    other = FIRST_RUN.format(port=free_port(), control=free_port())
    other = other.replace("[spool]", f"[spool]\nfolder = {json.dumps(str(site.data / 'spool'))}")
    other += '\n[server]\ndata = "other"\n'
    said = refuses(other, tmp_path)
    assert "in use by another process" in said
    site.server.stop()


def test_settings_that_are_wrong(tmp_path: Path) -> None:
    assert "server.hostnam: there is no such key; did you mean hostname?" in refuses(
        "[server]\nhostnam = 'x'\n", tmp_path
    )


def test_a_policy_file_that_is_wrong(tmp_path: Path) -> None:
    configuration = with_hooks(tmp_path, "def message(m): pass\n").format(port=free_port(), control=free_port())
    assert "message must be an async function" in refuses(configuration, tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    configuration = FIRST_RUN.format(port=free_port(), control=free_port()) + '[server]\ndata = "file/below"\n'
    assert "the folder cannot be made" in refuses(configuration, tmp_path)


def test_python_dash_m(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-m", "angarium", "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout.strip()
