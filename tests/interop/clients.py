"""The mail clients of the matrix: how each is called for one job, and what each can do.

A job is a message, an envelope, and how the connection is secured and logged in. `Client.send` raises `NotSent` with
what the client said when it did not get it through. What a client has no words for is named with the reason in
`cannot`; the table of docs/interop.md is made from that.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import smtplib
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import outside

HERE = Path(__file__).parent / "clients"
PATIENCE = 120


class NotSent(Exception):  # noqa: N818
    """A client could not hand its message over."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One message to one port of 127.0.0.1. `tls`: none, starttls, implicit. `ca`: PEM file of the authority."""

    port: int
    content: bytes
    sender: str
    recipients: tuple[str, ...]
    ca: Path
    folder: Path
    tls: str = "none"
    login: str = ""
    password: str = ""
    # Empty: the client's own choice.
    mechanism: str = ""

    @functools.cached_property
    def content_file(self) -> Path:
        path = self.folder / "content.eml"
        path.write_bytes(self.content)
        return path

    def as_json(self) -> str:
        names = ("port", "tls", "login", "password", "mechanism", "sender", "recipients")
        told = {name: getattr(self, name) for name in names}
        return json.dumps({**told, "ca": str(self.ca), "content": str(self.content_file)})


@dataclass(frozen=True)
class Client:
    """`cannot`: case to the reason why this client has no row for it."""

    name: str
    send: Callable[[Job], None]
    cannot: Mapping[str, str] = field(default_factory=dict)


def run(command: list[str], *, text: str | bytes = b"", **environment: str) -> str:
    """Runs a client; raises `NotSent` with its last words when it fails."""
    given = text.encode() if isinstance(text, str) else text
    done = subprocess.run(
        command, input=given, capture_output=True, timeout=PATIENCE, check=False, env={**os.environ, **environment}
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode:
        raise NotSent(f"{command[0]} ended with {done.returncode}: {said[-2_000:]}")
    return said


def by_smtplib(job: Job) -> None:
    context = ssl.create_default_context(cafile=str(job.ca))
    is_utf8 = not (job.sender + "".join(job.recipients)).isascii()
    options = [*(["SMTPUTF8"] if is_utf8 else []), *([] if job.content.isascii() else ["BODY=8BITMIME"])]
    try:
        opened = (
            smtplib.SMTP_SSL("localhost", job.port, timeout=PATIENCE, context=context)
            if job.tls == "implicit"
            else smtplib.SMTP("localhost", job.port, timeout=PATIENCE)
        )
        with opened as client:
            if job.tls == "starttls":
                client.starttls(context=context)
            client.ehlo()
            if job.login:
                client.login(job.login, job.password)
            client.sendmail(job.sender, list(job.recipients), job.content, options)
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(str(error)) from None


def by_nodemailer(job: Job) -> None:
    modules = outside.node_modules("nodemailer")
    run([outside.program("node"), str(HERE / "send.js")], text=job.as_json(), NODE_PATH=str(modules))


@functools.cache
def go_program() -> str:
    """Built once; Go's own cache makes the next time quick."""
    built = Path(tempfile.mkdtemp(prefix="angarium-interop-")) / "send"
    run([outside.program("go"), "build", "-o", str(built), str(HERE / "send.go")], CGO_ENABLED="0")
    return str(built)


def by_go(job: Job) -> None:
    run([go_program()], text=job.as_json())


def by_swaks(job: Job) -> None:
    tls = {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[job.tls]
    verify = ["--tls-verify", "--tls-ca-path", str(job.ca)] if tls else []
    login = ["--auth", job.mechanism or "PLAIN", "--auth-user", job.login, "--auth-password", job.password]
    swaks(job, [*tls, *verify, *(login if job.login else [])])


def by_swaks_pipelined(job: Job) -> None:
    swaks(job, ["--pipeline"])


def swaks(job: Job, more: list[str]) -> None:
    to = ["--to", ",".join(job.recipients), "--from", job.sender, "--data", f"@{job.content_file}"]
    run([outside.program("swaks"), "--server", "localhost", "--port", str(job.port), *to, *more])


def by_msmtp(job: Job) -> None:
    tls = {"none": ["--tls=off"], "starttls": ["--tls=on"], "implicit": ["--tls=on", "--tls-starttls=off"]}[job.tls]
    trust = [f"--tls-trust-file={job.ca}"] if job.tls != "none" else []
    secret = job.folder / "msmtp.password"
    secret.write_text(job.password)
    way = f"--auth={job.mechanism.lower() or 'plain'}"
    login = [way, f"--user={job.login}", f"--passwordeval=cat {secret}"] if job.login else ["--auth=off"]
    where = ["--host=localhost", f"--port={job.port}", "--file=/dev/null", f"--from={job.sender}"]
    run([outside.program("msmtp"), *where, *tls, *trust, *login, *job.recipients], text=unix_lines(job.content))


def by_curl(job: Job) -> None:
    scheme = "smtps" if job.tls == "implicit" else "smtp"
    secured = [] if job.tls == "none" else ["--ssl-reqd", "--cacert", str(job.ca)]
    way = ["--login-options", f"AUTH={job.mechanism or 'PLAIN'}"]
    login = ["--user", f"{job.login}:{job.password}", *way] if job.login else []
    to = [word for recipient in job.recipients for word in ("--mail-rcpt", recipient)]
    url = f"{scheme}://localhost:{job.port}/client.example"
    command = [outside.program("curl"), "--silent", "--show-error", "--url", url, "--mail-from", job.sender, *to]
    run([*command, *secured, *login, "--upload-file", str(job.content_file)], LC_ALL="C.UTF-8")


def by_s_client(job: Job) -> None:
    """All commands at once: what a person pipes into it."""
    start = ["-starttls", "smtp"] if job.tls == "starttls" else []
    verify = ["-CAfile", str(job.ca), "-verify_return_error", "-verify_hostname", "localhost"]
    token = base64.b64encode(f"\0{job.login}\0{job.password}".encode()).decode()
    commands = [
        "EHLO client.example",
        *([f"AUTH PLAIN {token}"] if job.login else []),
        f"MAIL FROM:<{job.sender}>" + ("" if job.content.isascii() else " BODY=8BITMIME"),
        *(f"RCPT TO:<{recipient}>" for recipient in job.recipients),
        "DATA",
    ]
    talk_pipe(
        [outside.program("openssl"), "s_client", "-quiet", *start, *verify, "-connect", f"localhost:{job.port}"],
        commands,
        job.content,
        greeted=not start,
    )


def talk_pipe(command: list[str], commands: list[str], content: bytes, *, greeted: bool) -> None:
    """Speaks over a program's standard input and output, reply by reply."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None

        def reply() -> str:
            assert process.stdout is not None
            while (line := process.stdout.readline())[3:4] == b"-":
                pass
            return line.decode("utf-8", "replace")

        def say(octets: bytes) -> None:
            assert process.stdin is not None
            process.stdin.write(octets)
            process.stdin.flush()
            if (line := reply())[:1] not in ("2", "3"):
                process.kill()
                errors.seek(0)
                raise NotSent(f"{octets[:60]!r}: {line!r} {errors.read()[-1_000:].decode('utf-8', 'replace')}")

        # With -starttls the greeting was read by openssl itself.
        if greeted:
            reply()
        for line in commands:
            say(line.encode() + b"\r\n")
        say(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        say(b"QUIT\r\n")
        process.wait(PATIENCE)


def unix_lines(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


NO_UTF8 = "it has no SMTPUTF8"
NO_PIPELINE = "it does not pipeline"
ONE_BY_ONE = {"pipelined": NO_PIPELINE}

CLIENTS = (
    Client("Python smtplib", by_smtplib, ONE_BY_ONE),
    Client("Node nodemailer", by_nodemailer, ONE_BY_ONE),
    Client("Go net/smtp", by_go, ONE_BY_ONE),
    Client("swaks", by_swaks, {"utf8": NO_UTF8}),
    Client("msmtp", by_msmtp, {"utf8": NO_UTF8, **ONE_BY_ONE}),
    Client("curl", by_curl, ONE_BY_ONE),
    Client(
        "openssl s_client",
        by_s_client,
        {"plain": "it is for TLS", "utf8": NO_UTF8, "cram": "it has no logins of its own", **ONE_BY_ONE},
    ),
)
