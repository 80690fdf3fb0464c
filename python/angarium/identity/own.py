"""The sources `sqlite` and `file`: accounts of our own. Look-up and password check are one step in a thread.

Two threads, because a check takes a core for 20 ms and 19 MiB: who guesses passwords gets the rest of the machine no
further. The engine remembers successes, so that busy clients seldom come here.
"""

from __future__ import annotations

import trio
from cryptography import x509
from cryptography.x509.oid import NameOID

from ..engine import CLASSES, Identity, ScramKeys
from .accounts import Account, Verifier, login_key
from .attempt import Attempt, SourceDown
from .stores import Store, StoreBroken

THREADS = 2


class OwnAccounts:
    """Asks a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._verifier = Verifier()
        self._threads = trio.CapacityLimiter(THREADS)

    async def judge(self, attempt: Attempt) -> Identity | None:
        """Raises `SourceDown`."""
        try:
            return await trio.to_thread.run_sync(self._judge, attempt, limiter=self._threads)
        except StoreBroken as error:
            raise SourceDown(str(error)) from None

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()

    def _judge(self, attempt: Attempt) -> Identity | None:
        account = self._account(attempt)
        if attempt.kind == "password":
            is_good = self._verifier.opens(account, attempt.secret.decode("utf-8", "replace"))
        else:
            is_good = account is not None and not account.disabled and proves(account, attempt.kind)
        return identity(account, attempt.kind) if account is not None and is_good else None

    def _account(self, attempt: Attempt) -> Account | None:
        """Nobody here acts for somebody else (RFC 4616 2: the authorization identity)."""
        keys = [login_key(name) for name in names(attempt)]
        wanted = login_key(attempt.authzid) if attempt.authzid else ""
        found = (self._store.find(key) for key in keys if key and wanted in ("", key))
        return next((account for account in found if account is not None), None)


def names(attempt: Attempt) -> list[str]:
    """Whose account it may be; a certificate has the names that stand in it."""
    return names_in(attempt.certificate) if attempt.kind == "external" else [attempt.name]


def names_in(certificate: bytes) -> list[str]:
    """The mail addresses of a client certificate (RFC 5280 4.2.1.6), then its common name."""
    try:
        given = x509.load_der_x509_certificate(certificate)
        common = [str(name.value) for name in given.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        other = given.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return common
    except ValueError:
        return []
    return [*other.get_values_for_type(x509.RFC822Name), *common]


def proves(account: Account, kind: str) -> bool:
    """Whether the account can be entered in this way."""
    ways = {"external": True, "keys": account.scram is not None, "secret": account.cram_secret is not None}
    return ways.get(kind, False)


def identity(account: Account, kind: str) -> Identity:
    """With what the engine needs to let the client prove itself."""
    kept = account.scram
    keys = None
    if kind == "keys" and kept is not None:
        keys = ScramKeys(
            salt=kept.salt, iterations=kept.iterations, stored_key=kept.stored_key, server_key=kept.server_key
        )
    return Identity(
        login=account.login,
        addresses=account.addresses,
        tenant=account.tenant,
        class_=CLASSES.get(account.priority),
        keys=keys,
        cram_secret=account.cram_secret if kind == "secret" else None,
    )
