"""Certificates from files: what is read, what is wrong with them, and that a change is shown without a restart."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme
from angarium.settings import Certificate, DomainPattern, Duration, Server, Settings, Tls
from angarium.tls import Certificates, Shown, TlsError, inspect, make_own, read
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from tests.house import until

NOW = datetime(2026, 11, 25, tzinfo=UTC)
HOST = "mx.example.org"


def settings(folder: Path, *rows: Certificate, client_ca: str = "") -> Settings:
    return Settings(
        server=Server(hostname=HOST, data=str(folder)),
        tls=Tls(certificate=rows, client_ca=client_ca, watch=Duration(1)),
    )


def issue(folder: Path, *names: str, label: str = "one", until: datetime = NOW + timedelta(days=90)) -> Certificate:
    """A chain and its key, as certbot writes them."""
    made = trustme.CA().issue_cert(*names, not_after=until, not_before=NOW - timedelta(days=1))
    chain, key = folder / f"{label}.crt", folder / f"{label}.key"
    chain.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    key.chmod(0o600)
    return Certificate(chain=str(chain), key=str(key))


def said(given: Settings) -> list[str]:
    return [str(finding) for finding in inspect(given, NOW)[1]]


def test_reads_a_chain_with_its_key_and_its_names(tmp_path: Path) -> None:
    row = issue(tmp_path, HOST, "*.example.net")
    shown = read(settings(tmp_path, row), NOW)
    (one,) = shown.certificates
    assert one.names == (HOST, "*.example.net")
    assert one.kind == "ecdsa"
    assert one.key.startswith("-----BEGIN PRIVATE KEY-----")
    assert shown.warnings == ()
    assert "PRIVATE" not in repr(shown)


def test_key_and_chain_may_lie_in_one_file(tmp_path: Path) -> None:
    row = issue(tmp_path, HOST)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(row.key).read_bytes() + Path(row.chain).read_bytes())
    (one,) = read(settings(tmp_path, Certificate(chain=str(both))), NOW).certificates
    assert one.names == (HOST,)


def test_key_types_stand_side_by_side(tmp_path: Path) -> None:
    chain, key = tmp_path / "rsa.crt", tmp_path / "rsa.key"
    made = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert(
        HOST, key_type=trustme.KeyType.RSA, not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=90)
    )
    chain.write_bytes(made.cert_chain_pems[0].bytes())
    key.write_bytes(made.private_key_pem.bytes())
    key.chmod(0o600)
    given = settings(tmp_path, issue(tmp_path, HOST), Certificate(chain=str(chain), key=str(key)))
    assert [one.kind for one in read(given, NOW).certificates] == ["ecdsa", "rsa"]
    assert said(given) == []


def without_key(folder: Path) -> Certificate:
    row = issue(folder, HOST)
    return Certificate(chain=row.chain)


def with_another_key(folder: Path) -> Certificate:
    return Certificate(chain=issue(folder, HOST).chain, key=issue(folder, HOST, label="two").key)


def with_key(secret: Callable[[], bytes]) -> Callable[[Path], Certificate]:
    def row(folder: Path) -> Certificate:
        (folder / "own.key").write_bytes(secret())
        return Certificate(chain=issue(folder, HOST).chain, key=str(folder / "own.key"))

    return row


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey, word: bytes = b"") -> bytes:
    lock = serialization.BestAvailableEncryption(word) if word else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def no_pem(folder: Path) -> Certificate:
    (folder / "text").write_text("hello")
    return Certificate(chain=str(folder / "text"))


def too_large(folder: Path) -> Certificate:
    (folder / "large").write_bytes(bytes((1 << 20) + 1))
    return Certificate(chain=str(folder / "large"))


FAULTS: dict[str, tuple[Callable[[Path], Certificate], str]] = {
    "no key": (without_key, "tls.certificate[0].key: there is no key in this file; it takes PEM"),
    "another key": (with_another_key, "tls.certificate[0].key: the key belongs to another certificate"),
    "a locked key": (
        with_key(lambda: pem(ec.generate_private_key(ec.SECP256R1()), b"word")),
        "tls.certificate[0].key: the key has a passphrase; give one without",
    ),
    "a short key": (
        with_key(lambda: pem(rsa.generate_private_key(65_537, 1_024))),
        "tls.certificate[0].key: this kind of key cannot be used; RSA of 2048 bits or more",
    ),
    "a strange curve": (
        with_key(lambda: pem(ec.generate_private_key(ec.SECP256K1()))),
        "tls.certificate[0].key: this kind of key cannot be used",
    ),
    "a strange kind": (
        with_key(lambda: pem(ed448.Ed448PrivateKey.generate())),
        "tls.certificate[0].key: this kind of key cannot be used",
    ),
    "no PEM": (no_pem, "tls.certificate[0].chain: there is no certificate in this file; it takes PEM"),
    "no file": (lambda folder: Certificate(chain=str(folder / "gone")), "tls.certificate[0].chain: "),
    "a large file": (too_large, "tls.certificate[0].chain: "),
}


@pytest.mark.parametrize(("make", "words"), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_used(tmp_path: Path, make: Callable[[Path], Certificate], words: str) -> None:
    given = settings(tmp_path, make(tmp_path))
    with pytest.raises(TlsError) as raised:
        read(given, NOW)
    assert str(raised.value).startswith(words)
    assert "\n" not in str(raised.value)


def open_key(folder: Path) -> Certificate:
    row = issue(folder, HOST)
    Path(row.key).chmod(0o644)
    return row


def out_of_order(folder: Path) -> Certificate:
    row = issue(folder, HOST)
    stranger = issue(folder, "other.example", label="two")
    Path(row.chain).write_bytes(Path(row.chain).read_bytes() + Path(stranger.chain).read_bytes())
    return row


def under_other_names(folder: Path) -> Certificate:
    row = issue(folder, HOST, "*.example.net")
    names = (DomainPattern(HOST), DomainPattern("a.example.net"), DomainPattern("b.a.example.net"))
    return Certificate(chain=row.chain, key=row.key, names=names)


WARNINGS: dict[str, tuple[Callable[[Path], Certificate], str]] = {
    "expired": (
        lambda folder: issue(folder, HOST, until=NOW - timedelta(hours=1)),
        "tls.certificate[0]: the certificate expired on 2026-11-24; renew it",
    ),
    "ends soon": (
        lambda folder: issue(folder, HOST, until=NOW + timedelta(days=5)),
        "tls.certificate[0]: the certificate expires on 2026-11-30; renew it soon",
    ),
    "for others": (lambda folder: issue(folder, "a.example"), f"tls.certificate: no certificate names {HOST}"),
    "an open key": (open_key, "tls.certificate[0]: everybody on this machine may read the key"),
    "out of order": (out_of_order, "tls.certificate[0]: the certificates of the chain are not in order"),
    "names": (under_other_names, "tls.certificate[0]: the certificate does not name b.a.example.net; it is for"),
}


@pytest.mark.parametrize(("make", "words"), WARNINGS.values(), ids=WARNINGS)
def test_what_is_odd_is_told_and_shown_all_the_same(
    tmp_path: Path, make: Callable[[Path], Certificate], words: str
) -> None:
    given = settings(tmp_path, make(tmp_path))
    shown = read(given, NOW)
    assert len(shown.certificates) == 1
    (warning,) = map(str, shown.warnings)
    assert warning.startswith(words)
    assert said(given) == [warning]


def test_two_for_one_name_and_kind_are_odd(tmp_path: Path) -> None:
    given = settings(tmp_path, issue(tmp_path, HOST), issue(tmp_path, HOST, label="two"))
    (warning,) = said(given)
    assert warning.startswith(f"tls.certificate[1]: an ECDSA certificate for {HOST} stands before this one")


def test_all_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    row = Certificate(chain=str(tmp_path / "text"))
    found = said(settings(tmp_path, row, row, client_ca=str(tmp_path / "text")))
    assert [line.split(": ")[0] for line in found] == [
        "tls.certificate[0].chain",
        "tls.certificate[1].chain",
        "tls.client_ca",
    ]


def test_client_authorities_are_read(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    given = settings(tmp_path, issue(tmp_path, HOST), client_ca=str(tmp_path / "ca.pem"))
    assert x509.load_pem_x509_certificate(read(given, NOW).client_ca.encode())


# --- our own one, and changes -------------------------------------------------------------------------------------


class Installed:
    """What the engine would have got."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.changed = trio.Event()

    def __call__(self, shown: Shown) -> None:
        self.shown.append(shown)
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, count: int) -> Shown:
        with trio.fail_after(20):
            while len(self.shown) < count:
                await self.changed.wait()
        return self.shown[-1]


def test_the_first_run_makes_its_own_and_keeps_it(tmp_path: Path) -> None:
    given = settings(tmp_path)
    first = Certificates(given, Installed(), now=lambda: NOW).shown
    (one,) = first.certificates
    assert (one.names, one.kind) == ((HOST,), "ecdsa")
    assert one.expires > NOW + timedelta(days=365)
    assert first.warnings == ()
    for file in (tmp_path / "tls").iterdir():
        assert file.stat().st_mode & 0o077 == 0
    assert Certificates(given, Installed(), now=lambda: NOW + timedelta(days=300)).shown == first
    assert Certificates(given, Installed(), now=lambda: NOW + timedelta(days=380)).shown != first
    renamed = Settings(server=Server(hostname="other.example", data=str(tmp_path)), tls=given.tls)
    (other,) = Certificates(renamed, Installed(), now=lambda: NOW).shown.certificates
    assert other.names == ("other.example",)


def test_a_name_of_any_length_gets_one() -> None:
    name = ".".join(["a" * 60] * 4)
    certificate, _ = make_own(name, NOW)
    names = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [name]


async def test_a_changed_file_is_shown_without_a_restart(tmp_path: Path, nursery: trio.Nursery) -> None:
    row, installed = issue(tmp_path, HOST), Installed()
    certificates = Certificates(settings(tmp_path, row), installed, now=lambda: NOW)
    certificates.install()
    await nursery.start(certificates.watch)
    first = await installed.wait(1)
    issue(tmp_path, HOST, "more.example.org")
    with trio.fail_after(20):
        while (await installed.wait(len(installed.shown))).certificates[0].names == (HOST,):
            await installed.changed.wait()
    assert installed.shown[-1].certificates[0].names == (HOST, "more.example.org")
    assert first.certificates[0].names == (HOST,)


async def test_half_a_change_leaves_the_old_pair_until_it_is_whole(tmp_path: Path, nursery: trio.Nursery) -> None:
    row, installed = issue(tmp_path, HOST), Installed()
    new = issue(tmp_path, HOST, "new.example.org", label="new")
    certificates = Certificates(settings(tmp_path, row), installed, now=lambda: NOW)
    certificates.install()
    await nursery.start(certificates.watch)
    shutil.move(new.chain, row.chain)
    await until(lambda: certificates.is_refused)
    assert len(installed.shown) == 1
    shutil.move(new.key, row.key)
    assert (await installed.wait(2)).certificates[0].names == (HOST, "new.example.org")
    assert not certificates.is_refused


def test_other_settings_are_used_or_leave_everything(tmp_path: Path) -> None:
    installed = Installed()
    certificates = Certificates(settings(tmp_path), installed, now=lambda: NOW)
    certificates.use(settings(tmp_path, issue(tmp_path, HOST, "two.example")))()
    assert installed.shown[-1].certificates[0].names == (HOST, "two.example")
    with pytest.raises(TlsError):
        certificates.use(settings(tmp_path, Certificate(chain=str(tmp_path / "gone"))))
    assert len(installed.shown) == 1
    assert certificates.shown.certificates[0].names == (HOST, "two.example")
