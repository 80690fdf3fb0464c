"""The rows of what stands before a message: TLS, logins, PROXY and XCLIENT, and the memory of idle sessions under TLS.

The load comes from our own generator, the same for every server: smtp-source speaks no TLS.
"""

from __future__ import annotations

import base64
import resource
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from .mail import Flood, run
from .rows import Figures, Row, Scale, measure, ratio
from .servers import Angarium, Postfix

LOGIN = ("load@load.example", "a password of the bench")
# The server's own files, and what the load generator has open besides its sessions.
SPARE_FILES = 500
NOBODY = ("messages", "0")


@contextmanager
def certificate() -> Iterator[tuple[Path, Path]]:
    """(certificate, key) for mx.load.example: ECDSA on P-256, shown by every server of the row."""
    with tempfile.TemporaryDirectory(prefix="angarium-bench-tls-") as folder:
        chain, key = Path(folder) / "load.pem", Path(folder) / "load.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-subj", "/CN=mx.load.example", "-addext", "subjectAltName=DNS:mx.load.example", "-days", "30"]
        command += ["-addext", "basicConstraints=critical,CA:FALSE", "-out", str(chain), "-keyout", str(key)]
        subprocess.run(command, capture_output=True, check=True)
        yield chain, key


def tls(scale: Scale) -> Iterable[Row]:
    """STARTTLS sessions and mail over them beside Postfix: whole handshakes (TLS 1.3), no resumption."""
    cases = (
        ("STARTTLS sessions without mail, 20 at once", 10_000, 2_000, NOBODY),
        ("4 KiB over STARTTLS, 20 sessions, one per connection", 8_000, 2_000, ("messages", "1")),
        ("4 KiB over STARTTLS, 20 sessions, reuse", 60_000, 6_000, ()),
    )
    with certificate() as shown:
        for case, many, few, options in cases:
            options = ("tls", str(shown[0]), *options)
            fast, slow = Flood(scale.messages(many), options=options), Flood(scale.messages(few), options=options)
            ours = measure(partial(Angarium, certificate=shown), fast, repeats=scale.repeats)
            theirs = measure(partial(Postfix, certificate=shown), slow, repeats=scale.repeats)
            assert ours is not None
            yield Row(case, "times postfix", ratio(ours.rate, theirs, "rate"), 3, noise=ours.noise,
                      detail=f"{ours}; {theirs}")  # fmt: skip
            yield Row(case, "server CPU, share of postfix", ratio(ours.cpu, theirs, "cpu"), 0.25, at_most=True,
                      noise=ours.noise)  # fmt: skip


def added(scale: Scale) -> Iterable[Row]:
    """What a login, PROXY and XCLIENT add to the server's CPU for a session.

    They run in turn with sessions that have as many round trips (NOOP for AUTH, NOOP and EHLO for XCLIENT), so that
    what the network costs is not counted as theirs.
    """
    words = base64.b64encode("\0".join(("", *LOGIN)).encode()).decode()
    loopback = '["127.0.0.0/8"]'
    clear = f'login = "offered"\nclear_networks = {loopback}'
    cases = (
        ("AUTH PLAIN, remembered", 10, clear, ("login", words), ("noops", "1")),
        ("XCLIENT", 5, f"xclient_networks = {loopback}", ("xclient", "1"), ("noops", "1", "hellos", "1")),
        ("PROXY", 5, f"proxy_networks = {loopback}", ("proxy", "1"), ()),
    )
    for what, wanted, listen, option, alike in cases:
        login = LOGIN if option[0] == "login" else None
        # A PROXY header is required or refused: these sessions need a server of their own.
        plain = "" if what == "PROXY" else listen
        with (
            Angarium(relay_to=None, login=login, listen=listen) as one,
            Angarium(relay_to=None, login=login, listen=plain, port=2534) as other,
        ):
            sides = [(one, Flood(scale.messages(10_000), options=(*NOBODY, *option)), Figures())]
            sides += [(other, Flood(scale.messages(10_000), options=(*NOBODY, *alike)), Figures())]
            for _ in range(2 * scale.repeats + 1):
                for server, load, figures in sides:
                    figures.runs.append(run(load, server.port, server.account))
        more, less = (figures for _, _, figures in sides)
        yield Row(f"{what}: added to a session without mail", "µs of server CPU", 1000 * (more.cpu - less.cpu), wanted,
                  at_most=True, noise=more.noise, detail=f"{more}; without {less}")  # fmt: skip


def idle_tls(scale: Scale) -> Iterable[Row]:
    """Process memory of sessions that have made their handshake, said EHLO and wait; as many as the limits allow."""
    most = min(50_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES)
    sessions = scale.messages(most)
    with certificate() as shown, Angarium(relay_to=None, certificate=shown) as server:
        before = server.account.memory()
        load = Flood(0, sessions=sessions, options=("tls", str(shown[0]), "hold", "1"))
        pipe = subprocess.PIPE
        with subprocess.Popen(load.command(server.port), stdin=pipe, stdout=pipe, text=True) as process:
            said = process.stdout.readline() if process.stdout else ""
            each = (server.account.memory() - before) / sessions
            process.communicate()
    detail = f"{most:,} is what this machine's limit of open files allows" if most < 50_000 else ""
    detail = detail if said == f"{sessions} held\n" else f"NOT OK: {said.strip()}"
    yield Row(f"{sessions:,} idle sessions under TLS", "KiB of process memory each", each / 1024, 20, at_most=True,
              detail=detail)  # fmt: skip
