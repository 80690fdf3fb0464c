"""An account of our own: who it is, what proves it, what it may do; and how passwords become what is kept of them.

Kept are an argon2id hash for passwords that come in the clear (under TLS) and the keys of SCRAM-SHA-256, from which the
password cannot be read either. CRAM-MD5 needs the password itself, so it is kept only for accounts that ask for it.
Logins and passwords are prepared as SASLprep says (RFC 4013), logins also without case.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from collections.abc import Callable

import argon2
from msgspec import Struct

from ..errors import AngariumError

# OWASP's setting for argon2id: 19 MiB, two passes, one lane; about 20 ms of one core.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
# RFC 7677 4 asks for 4096 at least; the cost is the client's.
ITERATIONS = 10_000
SALT_OCTETS = 16
# NIST SP 800-63B 5.1.1.2 asks for 8; longer ones than this are a mistake.
SHORTEST, LONGEST = 8, 1_000
LONGEST_LOGIN = 254
# Letters and digits that nobody takes for one another; 20 of 55 are 115 bits.
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
GENERATED = 20

# RFC 4013 2.3
PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class AccountError(AngariumError):
    """An account cannot be as asked, or is not there."""


class ScramKeys(Struct, frozen=True, kw_only=True):
    """RFC 5802 3, with SHA-256 (RFC 7677)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return "ScramKeys(...)"


class Account(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One account, as it stands in the store (JSON; octets in base64)."""

    login: str
    # argon2id, as PHC string. Empty: no password opens it.
    password: str = ""
    scram: ScramKeys | None = None
    # The password itself, for CRAM-MD5.
    cram_secret: bytes | None = None
    # Patterns of what it may send as; empty: the login.
    addresses: tuple[str, ...] = ()
    tenant: str = ""
    # urgent, high, normal, bulk; empty: the listener's.
    priority: str = ""
    disabled: bool = False

    def __repr__(self) -> str:
        return f"Account(login={self.login!r}, disabled={self.disabled})"


def prepare(text: str) -> str:
    """SASLprep for what is kept. Raises `AccountError` for what no client could send."""
    mapped = "".join(" " if stringprep.in_table_c12(one) else one for one in text if not stringprep.in_table_b1(one))
    prepared = unicodedata.normalize("NFKC", mapped)
    if any(is_prohibited(one) for one in prepared for is_prohibited in PROHIBITED):
        raise AccountError("there is a character in it that logins and passwords may not have (RFC 4013 2.3)")
    # RFC 3454 6
    if any(map(stringprep.in_table_d1, prepared)) and (
        any(map(stringprep.in_table_d2, prepared))
        or not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1]))
    ):
        raise AccountError("it mixes directions of writing (RFC 3454 6)")
    return prepared


def login_key(login: str) -> str:
    """How a login is looked up: prepared, without case. Empty for what cannot be one."""
    try:
        key = prepare(login).casefold()
    except AccountError:
        return ""
    return key if 0 < len(key) <= LONGEST_LOGIN and key.isprintable() and not set(key) & set(" \t") else ""


def generate_password() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(GENERATED))


def with_password(account: Account, password: str, *, keep_for_cram: bool = False) -> Account:
    """The account with another password. Raises `AccountError`."""
    prepared = prepare(password)
    if not SHORTEST <= len(prepared) <= LONGEST:
        raise AccountError(f"a password has {SHORTEST} characters at least and {LONGEST} at most")
    return Account(
        login=account.login,
        password=hasher().hash(prepared),
        scram=scram_keys(prepared, secrets.token_bytes(SALT_OCTETS), ITERATIONS),
        cram_secret=prepared.encode() if keep_for_cram else None,
        addresses=account.addresses,
        tenant=account.tenant,
        priority=account.priority,
        disabled=account.disabled,
    )


def scram_keys(password: str, salt: bytes, iterations: int) -> ScramKeys:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return ScramKeys(
        salt=salt,
        iterations=iterations,
        stored_key=hashlib.sha256(client_key).digest(),
        server_key=hmac.digest(salted, b"Server Key", "sha256"),
    )


def hasher() -> argon2.PasswordHasher:
    return argon2.PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


class Verifier:
    """Checks passwords; who is not there, is disabled or has none costs what a wrong password costs."""

    def __init__(self) -> None:
        self._hasher = hasher()
        self._nobody = self._hasher.hash(secrets.token_hex())

    def opens(self, account: Account | None, password: str) -> bool:
        """Blocks for about 20 ms."""
        kept = account.password if account is not None else ""
        try:
            prepared = prepare(password)
        except AccountError:
            prepared, kept = "", ""
        try:
            right = self._hasher.verify(kept or self._nobody, prepared)
        except argon2.exceptions.VerifyMismatchError:
            return False
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            # What stands in the store is no hash of ours: nobody gets in, and it costs the same.
            self.spend()
            return False
        return right and bool(kept) and account is not None and not account.disabled

    def spend(self) -> None:
        """The time of one check."""
        try:
            self._hasher.verify(self._nobody, "")
        except argon2.exceptions.VerificationError:
            return
