"""The keys that mail is signed with, by the settings: read, checked, and swapped whole when one of them has changed.

Files are looked at by `stat`, as certificates are; keys that the policy file gives are asked for at the same rhythm.
What cannot be used is told once and the old keys stay. When a key signs is decided by the engine, row by row, so a
rotation by dates needs nobody here.
"""

from __future__ import annotations

import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog
import trio
from msgspec import Struct

from angarium._core import DkimKey

from .. import settings as site
from ..errors import AngariumError, AuthError, StartError
from ..settings.prints import Print, prints

# `async def signing_key(domain, selector)` of a policy file: PEM, or base64 of an Ed25519 seed.
Giving = Callable[[str, str], Awaitable[bytes | str]]

log = structlog.get_logger("angarium.auth")


class Key(Struct, frozen=True):
    """A row of the settings with its key (PEM)."""

    row: site.Signing
    pem: bytes

    def __repr__(self) -> str:
        return f"<Key {self.row.selector} of {self.row.domain}>"


class SigningKeys:
    """What is signed with. `fetch` asks the policy file once, `watch` keeps everything fresh."""

    def __init__(
        self, settings: site.Settings, giving: Giving | None, install: Callable[[Sequence[Key]], None]
    ) -> None:
        """Reads the files; nothing is installed yet. Raises `StartError`."""
        self._install = install
        self._given: dict[tuple[str, str], bytes] = {}
        self._settings = settings
        self._giving = giving
        self._keys, self._print = self._read(settings)
        self._told = ""
        self._again = trio.Event()

    def use(self, settings: site.Settings, giving: Giving | None) -> Callable[[], None]:
        """Reads for other settings (reload); what it gives puts that in place. Raises `StartError`."""
        keys, looked = self._read(settings)

        def put() -> None:
            self._install(keys)
            self._settings, self._giving, self._keys, self._print = settings, giving, keys, looked
            # What the policy file gives is asked for at once.
            self._again.set()

        return put

    async def fetch(self) -> None:
        """Asks the policy file for its keys and installs all. Raises `StartError`."""
        await self._ask()
        self._keys, self._print = self._read(self._settings)
        self._install(self._keys)

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Swaps what has changed until cancelled."""
        task_status.started()
        while True:
            with trio.move_on_after(self._settings.tls.watch.seconds):
                await self._again.wait()
            self._again = trio.Event()
            await self._look_again()

    async def _look_again(self) -> None:
        settings = self._settings
        try:
            asked = await self._ask()
            looked = await trio.to_thread.run_sync(fingerprint, settings)
            if looked == self._print and not asked:
                return
            keys, looked = await trio.to_thread.run_sync(self._read, settings)
            if settings is not self._settings:
                return
            self._print = looked
            if keys != self._keys:
                self._install(keys)
                self._keys = keys
                log.info("signing keys swapped", keys=[repr(key) for key in keys])
            self._told = ""
        except AngariumError as error:
            if str(error) != self._told:
                log.error("the changed signing keys are not used", why=str(error))
            self._told = str(error)

    async def _ask(self) -> bool:
        """Asks for the keys that the policy file gives; was one another? Raises `StartError`."""
        rows = [row for row in self._settings.signing if row.hook]
        changed = False
        for row in rows:
            name = (str(row.domain), row.selector)
            pem = await give(self._giving, row, self._settings.hooks.deadline.seconds)
            changed |= self._given.get(name) != pem
            self._given[name] = pem
        return changed

    def _read(self, settings: site.Settings) -> tuple[tuple[Key, ...], Print]:
        """The print is taken first, so that a change meanwhile is seen the next time."""
        looked = fingerprint(settings)
        keys = []
        for row in settings.signing:
            pem = self._given.get((str(row.domain), row.selector)) if row.hook else read(row)
            if pem is not None:
                keys.append(Key(row, checked(row, pem)))
        return tuple(keys), looked


async def give(giving: Giving | None, row: site.Signing, seconds: float) -> bytes:
    """One key from the policy file. Raises `StartError`."""
    if giving is None:
        raise StartError(f"{place(row)}: the policy file has no async function signing_key(domain, selector)")
    try:
        with trio.fail_after(seconds):
            pem = await giving(str(row.domain), row.selector)
    except Exception as error:
        why = "it took too long" if isinstance(error, trio.TooSlowError) else f"{type(error).__name__}: {error}"
        raise StartError(f"{place(row)}: signing_key of the policy file failed: {why}") from error
    if not isinstance(pem, bytes | str):
        raise StartError(f"{place(row)}: signing_key of the policy file gave {type(pem).__name__}, not a key as text")
    return pem.encode() if isinstance(pem, str) else pem


def read(row: site.Signing) -> bytes:
    path = Path(row.key)
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o007:
            log.warning("everybody on this machine can read a signing key", file=row.key)
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{place(row)}: {path} cannot be read: {error.strerror}") from error


def checked(row: site.Signing, pem: bytes) -> bytes:
    try:
        DkimKey(pem)
    except AuthError as error:
        raise StartError(f"{place(row)}: {row.key or 'the key'}: {error}") from error
    return pem


def place(row: site.Signing) -> str:
    return f"signing key {row.selector} of {row.domain}"


def fingerprint(settings: site.Settings) -> Print:
    return prints(Path(row.key) for row in settings.signing if not row.hook)
