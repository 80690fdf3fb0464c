"""Answers the engine's question who may log in: asks the source of the settings, turns its answer into a verdict.

`Identities.judge` is put to `policy.Asking` as the hook of the phase auth. Refused is refused in the same words whoever
it was (535 5.7.8). A source that is down is 454 4.7.0 (RFC 4954 6), so that no client throws a good password away;
that is logged when it begins and when it is over, never once per login.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import structlog
import trio
from msgspec.structs import replace

from .. import settings as site
from ..engine import Identity, Verdict
from ..errors import HookError, StartError
from ..policy import Hook, Login
from ..settings.prints import Print, prints
from .attempt import Attempt, Source, SourceDown
from .dovecot import Dovecot
from .http import Http
from .own import OwnAccounts
from .stores import StoreBroken, open_store

REFUSED = Verdict(decision="reject", code=535, enhanced="5.7.8", text="Login or password is wrong")
# RFC 4954 6
DOWN = Verdict(decision="defer", code=454, enhanced="4.7.0", text="Logins cannot be checked now, try again later")

# Seconds until a changed account counts: a look costs two `stat` calls.
LOOK_AGAIN = 1.0

log = structlog.get_logger("angarium.identity")


class Site:
    """The source `hook`: the function `auth` of the policy file, which gives an `Identity`, None or a verdict."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    async def judge(self, login: Attempt) -> Identity | None:
        """What the function raises passes through: it is logged as every hook's failure."""
        answer = await self._hook(login)
        if answer is None or isinstance(answer, Identity):
            return answer
        if isinstance(answer, Verdict) and answer.decision == "reject":
            return None
        if isinstance(answer, Verdict) and answer.decision == "defer":
            raise SourceDown(answer.text or "the policy file puts logins off")
        raise HookError(f"auth returns an Identity, None, reject() or defer(), not {answer!r}")

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()


class Identities:
    """The source of logins, as the settings name it. `auth` is the policy file's function, if it has one."""

    def __init__(self, settings: site.Settings, auth: Hook | None) -> None:
        """Raises `StartError` for a source that can never answer."""
        if auth is not None and settings.logins.source != "hook":
            log.warning("the policy file's auth is never asked", source=settings.logins.source)
        self._settings = settings
        self._source = open_source(settings, auth)
        self._is_down = False

    def use(self, settings: site.Settings, auth: Hook | None) -> Callable[[], Source]:
        """Prepares another source (reload); what it gives puts it in place of the old one, which it returns to be
        closed. Raises `StartError`."""
        source = open_source(settings, auth)

        def put() -> Source:
            old, self._settings, self._source = self._source, settings, source
            return old

        return put

    async def close(self) -> None:
        await self._source.close()

    async def watch(self, forget: Callable[[], None]) -> NoReturn:
        """Calls `forget` when accounts of our own have changed, so that no remembered success outlives them."""
        looked = traces(self._settings)
        while True:
            await trio.sleep(LOOK_AGAIN)
            before, looked = looked, traces(self._settings)
            if looked != before:
                forget()

    async def judge(self, login: Login) -> Verdict:
        """The hook of the phase auth."""
        deadline = self._settings.logins.deadline.seconds
        try:
            with trio.fail_after(deadline):
                found = await self._source.judge(login)
        except SourceDown as error:
            self._tell(str(error))
            return DOWN
        except trio.TooSlowError:
            self._tell(f"there was no answer in {deadline:g} s")
            return DOWN
        self._tell("")
        if found is None:
            return REFUSED
        return Verdict(identity=self._complete(found, login))

    def _complete(self, found: Identity, login: Login) -> Identity:
        """Who has no addresses sends as himself, at our domain when his login names none."""
        name = found.login or login.name
        own = name if "@" in name else f"{name}@{self._settings.logins.domain}"
        return replace(found, login=name, addresses=found.addresses or (own,))

    def _tell(self, why: str) -> None:
        if why and not self._is_down:
            log.error("logins cannot be checked", source=self._settings.logins.source, why=why)
        elif self._is_down and not why:
            log.info("logins are checked again", source=self._settings.logins.source)
        self._is_down = bool(why)


def traces(settings: site.Settings) -> Print:
    """Other than before whenever our own accounts have changed; empty for sources that are not ours."""
    if settings.logins.source not in ("sqlite", "file"):
        return ()
    kept = settings.accounts_file
    # SQLite writes a change into its log first.
    return prints((kept, kept.with_name(f"{kept.name}-wal")))


def open_source(settings: site.Settings, auth: Hook | None) -> Source:
    given = settings.logins
    match given.source:
        case "dovecot":
            return Dovecot(given.socket)
        case "http":
            return Http(given)
        case "hook":
            if auth is None:
                raise StartError(f'{settings.hooks.file}: logins.source = "hook" needs async def auth(login) in it')
            return Site(auth)
    store = open_store(given.source, settings.accounts_file)
    try:
        store.prepare()
    except StoreBroken as error:
        raise StartError(str(error)) from None
    return OwnAccounts(store)
