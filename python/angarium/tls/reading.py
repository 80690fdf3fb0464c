"""Reads PEM files of certificates and keys, and says what is wrong with them.

`inspect` finds everything at once, for `angarium check-config`; `read` raises `TlsError` for what cannot be used.
Faults (not readable, not PEM, the key of another certificate) keep a certificate from being used; warnings (expired,
names, order, rights of the key's file) do not. Keys leave here as PKCS #8, whatever they were written as.
"""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID
from msgspec import Struct

from .. import settings as site
from ..errors import StartError
from .making import own_files

# Told so long before the end; authorities that renew by themselves do it 30 days before.
SOON = timedelta(days=14)
# CA/Browser Forum baseline requirements 6.1.5; the engine's library takes no less.
LEAST_RSA = 2_048
# No sane chain or bundle is larger (all authorities of a system take 250 KiB).
MOST_OCTETS = 1 << 20


class TlsError(StartError):
    """A certificate of the settings cannot be used; one line per fault."""


class Finding(Struct, frozen=True):
    """One thing about one file. `is_fault`: it keeps the certificate from being used."""

    key: str
    wrong: str
    right: str = ""
    is_fault: bool = True

    def __str__(self) -> str:
        return f"{self.key}: {self.wrong}" + (f"; {self.right}" if self.right else "")


class Certificate(Struct, frozen=True, kw_only=True):
    """A chain with its key, as PEM. `kind`: "ecdsa", "rsa" or "ed25519"; for one name there may be one of each."""

    names: tuple[str, ...]
    chain: str
    key: str
    kind: str
    expires: datetime

    def __repr__(self) -> str:
        return f"Certificate(names={self.names!r}, kind={self.kind!r}, expires={self.expires:%Y-%m-%d})"


class Shown(Struct, frozen=True):
    """What listeners show, the default first; `client_ca` is PEM, empty: no client certificate counts."""

    certificates: tuple[Certificate, ...]
    client_ca: str = ""
    warnings: tuple[Finding, ...] = ()


class Fault(Exception):  # noqa: N818
    """A file that cannot be used; becomes a `Finding`."""

    def __init__(self, field: str, wrong: str, right: str = "") -> None:
        super().__init__(wrong)
        self.field = field
        self.wrong = wrong
        self.right = right


def read(settings: site.Settings, now: datetime) -> Shown:
    """What the settings' files hold now. Raises `TlsError`."""
    shown, findings = inspect(settings, now)
    faults = [str(finding) for finding in findings if finding.is_fault]
    if faults:
        raise TlsError("\n".join(faults))
    return shown


def inspect(settings: site.Settings, now: datetime) -> tuple[Shown, list[Finding]]:
    """What can be used, and all that is to be said. Without [[tls.certificate]] our own one, if it is there."""
    certificates: list[Certificate] = []
    findings: list[Finding] = []
    for number, row in enumerate(rows(settings)):
        key = f"tls.certificate[{number}]"
        try:
            read_one = read_row(row)
        except Fault as fault:
            findings.append(Finding(f"{key}.{fault.field}", fault.wrong, fault.right))
            continue
        certificates.append(read_one)
        findings += [Finding(key, wrong, right, False) for wrong, right in remarks(row, read_one, now)]
    client_ca = ""
    try:
        client_ca = read_authorities(settings.tls.client_ca)
    except Fault as fault:
        findings.append(Finding("tls.client_ca", fault.wrong, fault.right))
    if settings.tls.certificate:
        findings += between(certificates, settings.server.hostname)
    warnings = tuple(finding for finding in findings if not finding.is_fault)
    return Shown(tuple(certificates), client_ca, warnings), findings


def rows(settings: site.Settings) -> Sequence[site.Certificate]:
    if settings.tls.certificate:
        return settings.tls.certificate
    chain, key = own_files(settings.tls_folder)
    return (site.Certificate(chain=str(chain), key=str(key)),) if chain.exists() else ()


def read_row(row: site.Certificate) -> Certificate:
    """One [[tls.certificate]]. Raises `Fault`."""
    chain = load_chain("chain", octets(row.chain, "chain"))
    key = load_key(octets(row.key or row.chain, "key"))
    kind = kind_of(key)
    if chain[0].public_key() != key.public_key():
        raise Fault("key", "the key belongs to another certificate", "name the key that the certificate was made for")
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        names=tuple(str(name) for name in row.names) or names_of(chain[0]),
        chain="".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in chain),
        key=secret.decode(),
        kind=kind,
        expires=chain[0].not_valid_after_utc,
    )


def octets(path: str, field: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            found = file.read(MOST_OCTETS + 1)
    except OSError as error:
        raise Fault(field, f"{path} cannot be read: {error.strerror}", "let the server's user read it") from None
    if len(found) > MOST_OCTETS:
        raise Fault(field, f"{path} is no certificate: it has more than {MOST_OCTETS >> 20} MiB")
    return found


def load_chain(field: str, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Fault(
            field, "there is no certificate in this file", "it takes PEM: -----BEGIN CERTIFICATE-----"
        ) from None


def load_key(pem: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, None)
    except TypeError:
        raise Fault("key", "the key has a passphrase", "give one without; its file's rights protect it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Fault("key", "there is no key in this file", "it takes PEM: -----BEGIN PRIVATE KEY-----") from None


def kind_of(key: PrivateKeyTypes) -> str:
    right = f"RSA of {LEAST_RSA} bits or more, ECDSA on P-256, P-384 or P-521, or Ed25519"
    match key:
        case rsa.RSAPrivateKey() if key.key_size >= LEAST_RSA:
            return "rsa"
        case ec.EllipticCurvePrivateKey() if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
            return "ecdsa"
        case ed25519.Ed25519PrivateKey():
            return "ed25519"
    raise Fault("key", "this kind of key cannot be used", right)


def read_authorities(path: str) -> str:
    if not path:
        return ""
    chain = load_chain("client_ca", octets(path, "client_ca"))
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in chain)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The hosts that it is for (RFC 6125 6.4.4: the common name only when there is no other)."""
    try:
        other = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = other.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in names))


def remarks(row: site.Certificate, given: Certificate, now: datetime) -> Iterator[tuple[str, str]]:
    """What is odd about one certificate: (what, what would be right)."""
    chain = x509.load_pem_x509_certificates(given.chain.encode())
    day = f"{given.expires:%Y-%m-%d}"
    if given.expires <= now:
        yield f"the certificate expired on {day}", "renew it; the new files are used as soon as they are there"
    elif given.expires - now < SOON:
        yield f"the certificate expires on {day}", "renew it soon"
    if chain[0].not_valid_before_utc > now:
        yield (
            f"the certificate is valid from {chain[0].not_valid_before_utc:%Y-%m-%d} on",
            "look at this machine's clock",
        )
    if any(one.issuer != above.subject for one, above in itertools.pairwise(chain)):
        yield "the certificates of the chain are not in order", "each one must have signed the one before it"
    named = names_of(chain[0])
    strange = [str(name) for name in row.names if not any(covers(pattern, str(name)) for pattern in named)]
    if strange:
        yield f"the certificate does not name {', '.join(strange)}", f"it is for {', '.join(named) or 'nobody'}"
    if row.key and stat.S_IMODE(Path(row.key).stat().st_mode) & 0o007:
        yield f"everybody on this machine may read the key {row.key}", f"run: chmod o= {row.key}"


def between(certificates: Sequence[Certificate], hostname: str) -> Iterator[Finding]:
    """What is odd about all of them together."""
    if certificates and not any(covers(name, hostname) for one in certificates for name in one.names):
        wrong = f"no certificate names {hostname}, which is what clients call this server"
        yield Finding("tls.certificate", wrong, "add one for server.hostname", False)
    seen: set[tuple[str, str]] = set()
    for number, one in enumerate(certificates):
        hidden = [name for name in one.names if (name, one.kind) in seen]
        if hidden:
            wrong = f"an {one.kind.upper()} certificate for {hidden[0]} stands before this one and is shown instead"
            yield Finding(f"tls.certificate[{number}]", wrong, "leave one of them out", False)
        seen.update((name, one.kind) for name in one.names)


def covers(pattern: str, name: str) -> bool:
    """RFC 6125 6.4.3: a star stands for exactly one label, the leftmost."""
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return pattern == name
