"""Keeps the shown certificates fresh: looks at their files, reads them when they changed, and swaps them whole.

Files are looked at by `stat` and not by inotify, which misses links that are set anew (certbot, Kubernetes) and
network file systems. Between the writing of a chain and of its key the pair does not match: what cannot be used is
told once and the old pair stays, until the files change again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog
import trio

from .. import settings as site
from ..errors import AngariumError
from ..settings.prints import Print, prints
from .making import ensure_own, own_files
from .reading import Shown, read

# Ends of validity are looked at so often, in seconds.
DAY = 86_400.0

log = structlog.get_logger("angarium.tls")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Certificates:
    """What is shown, by the settings. `install` gets it at the start and whenever it has changed."""

    def __init__(
        self, settings: site.Settings, install: Callable[[Shown], None], *, now: Callable[[], datetime] = utc_now
    ) -> None:
        """Reads and makes, installs nothing yet. Raises `StartError`."""
        self._install = install
        self._now = now
        self._settings = settings
        self.shown, self._print = self._read(settings)
        # The files as they are now cannot be used; what was shown before still is.
        self.is_refused = False

    def use(self, settings: site.Settings) -> Callable[[], None]:
        """Reads for other settings (reload); what it gives puts that in place. Raises `StartError`."""
        shown, looked = self._read(settings)

        def put() -> None:
            self._install(shown)
            self._settings, self._print, self.shown, self.is_refused = settings, looked, shown, False
            tell(shown)

        return put

    def install(self) -> None:
        """Gives the engine what was read."""
        self._install(self.shown)
        tell(self.shown)

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Swaps what has changed until cancelled."""
        looked_again = trio.current_time()
        task_status.started()
        while True:
            await trio.sleep(self._settings.tls.watch.seconds)
            settings = self._settings
            looked = await trio.to_thread.run_sync(fingerprint, settings)
            is_due = trio.current_time() - looked_again >= DAY
            if (looked == self._print and not is_due) or settings is not self._settings:
                continue
            looked_again = trio.current_time()
            await self._look_again(settings, looked)

    async def _look_again(self, settings: site.Settings, looked: Print) -> None:
        try:
            shown, looked = await trio.to_thread.run_sync(self._read, settings)
            if settings is not self._settings:
                return
            self._print = looked
            if shown != self.shown:
                self._install(shown)
                log.info("certificates swapped", certificates=[repr(one) for one in shown.certificates])
        except AngariumError as error:
            self._print, self.is_refused = looked, True
            log.error("the changed certificates are not used", why=str(error))
            return
        self.shown, self.is_refused = shown, False
        tell(shown)

    def _read(self, settings: site.Settings) -> tuple[Shown, Print]:
        """The print is taken first, so that a change meanwhile is seen the next time."""
        now = self._now()
        if not settings.tls.certificate:
            ensure_own(settings.tls_folder, settings.server.hostname, now)
        looked = fingerprint(settings)
        return read(settings, now), looked


def tell(shown: Shown) -> None:
    for finding in shown.warnings:
        log.warning("certificate", about=finding.key, what=finding.wrong, right=finding.right)


def fingerprint(settings: site.Settings) -> Print:
    return prints(files(settings))


def files(settings: site.Settings) -> list[Path]:
    rows = settings.tls.certificate
    named = [path for row in rows for path in (row.chain, row.key)] if rows else own_files(settings.tls_folder)
    return [Path(path) for path in (*named, settings.tls.client_ca) if path]
