"""Makes the certificate of the first run: self-signed, ECDSA on P-256, for our host name, renewed before it ends.

It gives clients that take any certificate (other mail servers mostly do) an encrypted connection from the first
minute on. Who verifies needs one of an authority: docs/tls.md. Both files are for their owner only.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import StartError

# As long as authorities may give at most (398 days), renewed a month before.
VALID = timedelta(days=398)
RENEWED = timedelta(days=30)
# A common name holds 64 characters (RFC 5280, upper bounds); the full name stands beside it.
LONGEST_COMMON_NAME = 64


def own_files(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) of our own."""
    return folder / "own.crt", folder / "own.key"


def ensure_own(folder: Path, hostname: str, now: datetime) -> None:
    """Makes the certificate when there is none, or none for this name that holds long enough. Raises `StartError`."""
    chain, key = own_files(folder)
    try:
        if not (key.exists() and is_good(chain, hostname, now)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            pem, secret = make_own(hostname, now)
            # The key first: who reads in between sees a pair that does not match and looks again.
            write_private(key, secret)
            write_private(chain, pem)
    except OSError as error:
        raise StartError(f"{folder}: the certificate of our own cannot be written: {error.strerror}") from None


def is_good(chain: Path, hostname: str, now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(chain.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return False
    return hostname in names.get_values_for_type(x509.DNSName) and certificate.not_valid_after_utc - now > RENEWED


def make_own(hostname: str, now: datetime) -> tuple[bytes, bytes]:
    """(certificate, key) as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:LONGEST_COMMON_NAME])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of clients differ.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), secret


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, for its owner only."""
    beside = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
