"""What a source of logins is asked with, what it gives, and what it raises when it cannot tell."""

from __future__ import annotations

from typing import Protocol

from ..engine import Identity
from ..errors import AngariumError


class SourceDown(AngariumError):  # noqa: N818
    """Who may log in cannot be told now; the client comes again (454), it is never told that its password is wrong."""


class Attempt(Protocol):
    """One login; `policy.Login` is one. `kind`: "password", "token", "external" (a certificate), "keys" (SCRAM)
    or "secret" (CRAM-MD5)."""

    @property
    def mechanism(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def authzid(self) -> str: ...
    @property
    def secret(self) -> bytes: ...
    @property
    def certificate(self) -> bytes: ...
    @property
    def address(self) -> str: ...
    @property
    def tls(self) -> str: ...


class Source(Protocol):
    """Who knows the logins."""

    async def judge(self, attempt: Attempt) -> Identity | None:
        """None: these credentials are no good. Raises `SourceDown`."""

    async def close(self) -> None: ...
