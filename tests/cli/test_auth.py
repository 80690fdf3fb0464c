"""`angarium auth`, `dkim` and `dns` against a name server on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
import trio
from angarium.auth import DkimKey, DkimSigner, sign

from tests.routing.zone import Zone

MAIL = b"From: alice@example.org\r\nSubject: hello\r\n\r\nGood morning.\r\n"


def run(*words: str, folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "angarium", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


class Served:
    """A zone served from a thread of its own; records may be added while it runs."""

    def __init__(self) -> None:
        self.zone = Zone("")
        self.ready = Event()
        self.token: trio.lowlevel.TrioToken | None = None
        self.scope = trio.CancelScope()

    async def main(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.zone.serve)
                self.token = trio.lowlevel.current_trio_token()
                self.ready.set()

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.zone.port}"

    def txt(self, name: str, text: str) -> None:
        strings = " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))
        self.zone.add(f"{name}. 60 TXT {strings}")


@pytest.fixture
def dns() -> Iterator[Served]:
    served = Served()
    thread = Thread(target=trio.run, args=(served.main,))
    thread.start()
    assert served.ready.wait(30)
    yield served
    assert served.token is not None
    served.token.run_sync_soon(served.scope.cancel)
    thread.join(30)


def test_a_key_is_made_published_and_checked(tmp_path: Path, dns: Served) -> None:
    code, out = run("dkim", "new", "example.org", "--selector", "s1", folder=tmp_path)
    path = tmp_path / "keys/dkim/example.org/s1.pem"
    assert code == 0 and "s1._domainkey.example.org. 3600 IN TXT" in out, out
    assert path.stat().st_mode & 0o777 == 0o600
    assert run("dkim", "new", "example.org", "--selector", "s1", folder=tmp_path)[0] == 1
    assert "rsa-sha256" in run("dkim", "list", folder=tmp_path)[1]
    key = DkimKey(path.read_bytes())
    check = ("dkim", "check", "example.org", "s1", "--server", dns.server)
    assert run(*check, folder=tmp_path)[0] == 1
    dns.txt("s1._domainkey.example.org", key.record)
    assert run(*check, folder=tmp_path)[0] == 0


def test_what_must_be_published(tmp_path: Path, dns: Served) -> None:
    run("dkim", "new", "example.org", "--selector", "s1", "--kind", "ed25519", folder=tmp_path)
    code, out = run("dns", "records", "example.org", folder=tmp_path)
    lines = out.splitlines()
    assert code == 0 and len(lines) == 6, out
    code, out = run("dns", "check", "example.org", "--server", dns.server, folder=tmp_path)
    assert code == 1 and out.count("missing") == 6, out
    for line in lines:
        dns.zone.add(line.replace(" IN ", " ", 1))
    check = ("dns", "check", "example.org", "--server", dns.server)
    code, out = run(*check, folder=tmp_path)
    assert code == 1 and "mail.example.org has no address" in out and out.count("good") == 5, out
    dns.zone.add("mail.example.org 60 A 192.0.2.1")
    code, out = run(*check, folder=tmp_path)
    assert code == 0 and out.count("good") == 6, out


def test_what_is_published_is_tried_out(tmp_path: Path, dns: Served) -> None:
    """Records that are there and do not do what they should; keys that only the settings name."""
    code, out = run("dkim", "new", "example.org", "--selector", "s1", "--keys", "elsewhere", folder=tmp_path)
    (tmp_path / "angarium.toml").write_text(out[out.index("[[signing]]") :])
    assert run("check-config", folder=tmp_path)[0] == 0
    dns.zone.add("example.org 60 MX 10 mail.example.org.")
    dns.zone.add("mail.example.org 60 A 192.0.2.1")
    dns.txt("example.org", "v=spf1 ip4:192.0.2.2 -all")
    dns.txt("s1._domainkey.example.org", DkimKey(DkimKey.generate("rsa-2048").encode()).record)
    dns.txt("_dmarc.example.org", "v=DMARC1\\; p=none\\; rua=mailto:a@example.org")
    dns.txt("_mta-sts.example.org", "v=STSv1\\;")
    dns.txt("_smtp._tls.example.org", "v=TLSRPTv1\\; rua=mailto:a@example.org")
    dns.txt("_smtp._tls.example.org", "v=TLSRPTv1\\; rua=mailto:b@example.org")
    code, out = run("dns", "check", "example.org", "--server", dns.server, folder=tmp_path)
    assert code == 1 and out.count("differs") == 5, out
    for piece in (
        "mail.example.org at 192.0.2.1 gets fail",
        "the signature does not match",
        "it asks for none, wanted is quarantine",
        "it has no id=",
        "there are 2 records that begin with v=TLSRPTv1",
    ):
        assert piece in out, out
    # Weaker is what was wanted.
    assert (
        run("dns", "check", "example.org", "--server", dns.server, "--policy", "none", folder=tmp_path)[1].count(
            "differs"
        )
        == 4
    )


def test_a_message_is_judged_and_explained(tmp_path: Path, dns: Served) -> None:
    key = DkimKey(DkimKey.generate("ed25519").encode())
    (tmp_path / "mail.eml").write_bytes(sign(MAIL, DkimSigner(key, domain="example.org", selector="s")))
    dns.txt("example.org", "v=spf1 -all")
    dns.txt("_dmarc.example.org", "v=DMARC1\\; p=reject")
    dns.txt("s._domainkey.example.org", key.record)
    words = ("auth", "check", "mail.eml", "--ip", "192.0.2.1", "--helo", "a.example", "--server", dns.server)
    code, out = run(*words, "--from", "alice@example.org", folder=tmp_path)
    assert code == 0, out
    for piece in ("spf fail", "-all matches", "dkim pass", "dmarc pass", "Authentication-Results: localhost;"):
        assert piece in out, out
    code, out = run("auth", "check", "absent.eml", "--server", dns.server, folder=tmp_path)
    assert code == 1 and "absent.eml" in out
