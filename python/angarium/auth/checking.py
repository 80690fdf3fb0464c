"""Verify, sign and seal: the Rust room driven with a resolver, on Trio or without any loop.

Times are Unix seconds (`now`, by default the clock). A message is bytes with CRLF; bare LF counts as CRLF.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence

import msgspec
import trio

from angarium import _core
from angarium._core import AuthJudge, DkimKey, DkimSigner

from ..errors import AuthError
from .asking import Answer, Resolver, SyncResolver, find_resolver
from .verdicts import Dkim2Verdict, Report

REPORTS = msgspec.msgpack.Decoder(Report)


class Checked:
    """A judged message: its report, our header field for it, and a seal that continues its chain."""

    def __init__(self, judge: AuthJudge) -> None:
        self._judge = judge
        self.report = REPORTS.decode(judge.report())

    def results(self, authserv_id: str) -> bytes:
        """The Authentication-Results field (RFC 8601) with its CRLF."""
        return self._judge.results(authserv_id)

    def seal(
        self, key: DkimKey, *, domain: str, selector: str, results: str, fields: Sequence[str] | None = None
    ) -> bytes | None:
        """The three ARC fields to put in front, or None where the chain had failed or is full (RFC 8617 5.1).

        `results` is the value of our Authentication-Results; `fields` the names for `h=`, else the usual ones.
        """
        names = None if fields is None else list(fields)
        return self._judge.seal(key, domain=domain, selector=selector, results=results, fields=names)


def begin(message: bytes, ip: str | None, helo: str, sender: str, receiver: str, now: float | None) -> AuthJudge:
    moment = int((time.time() if now is None else now) * 1000)
    return AuthJudge(message, ip=ip, helo=helo, sender=sender, receiver=receiver, now=moment)


async def check(
    message: bytes,
    *,
    ip: str | None = None,
    helo: str = "",
    sender: str = "",
    receiver: str = "",
    resolver: Resolver | None = None,
    now: float | None = None,
) -> Checked:
    """Judges a message on Trio; questions of one round go out side by side. Arguments as in `verify`."""
    ask: Resolver = find_resolver().on_trio if resolver is None else resolver
    judge = begin(message, ip, helo, sender, receiver, now)
    while (questions := judge.step()) is not None:
        async with trio.open_nursery() as nursery:
            for at, (kind, name) in enumerate(questions):
                nursery.start_soon(ask_one, judge, ask, at, kind, name)
    return Checked(judge)


async def ask_one(judge: AuthJudge, ask: Resolver, at: int, kind: str, name: str) -> None:
    answer = ask(name, kind)
    if inspect.isawaitable(answer):
        answer = await answer
    judge.answer(at, answer[0], list(answer[1]))


def check_sync(
    message: bytes,
    *,
    ip: str | None = None,
    helo: str = "",
    sender: str = "",
    receiver: str = "",
    resolver: SyncResolver | None = None,
    now: float | None = None,
) -> Checked:
    """Judges a message with plain calls. Arguments as in `verify_sync`."""
    ask = find_resolver() if resolver is None else resolver
    judge = begin(message, ip, helo, sender, receiver, now)
    while (questions := judge.step()) is not None:
        for at, (kind, name) in enumerate(questions):
            answer: Answer = ask(name, kind)
            if inspect.isawaitable(answer):
                raise AuthError("verify_sync wants a resolver of plain calls; an async one belongs to verify")
            judge.answer(at, answer[0], list(answer[1]))
    return Checked(judge)


async def verify(
    message: bytes,
    *,
    ip: str | None = None,
    helo: str = "",
    sender: str = "",
    receiver: str = "",
    resolver: Resolver | None = None,
    now: float | None = None,
) -> Report:
    """SPF, DKIM, ARC, DMARC and iprev of a message, on Trio.

    `ip` is the client's address (without it SPF and iprev are left out), `helo` its name, `sender` the reverse-path
    ("" for the null one), `receiver` our name, `now` Unix seconds.
    """
    checked = await check(message, ip=ip, helo=helo, sender=sender, receiver=receiver, resolver=resolver, now=now)
    return checked.report


def verify_sync(
    message: bytes,
    *,
    ip: str | None = None,
    helo: str = "",
    sender: str = "",
    receiver: str = "",
    resolver: SyncResolver | None = None,
    now: float | None = None,
) -> Report:
    """What `verify` does, with plain calls."""
    return check_sync(message, ip=ip, helo=helo, sender=sender, receiver=receiver, resolver=resolver, now=now).report


def verify_dkim2(
    message: bytes,
    *,
    sender: str,
    recipients: Sequence[str],
    resolver: SyncResolver | None = None,
    now: float | None = None,
    strict: bool = True,
) -> Dkim2Verdict:
    """The DKIM2 draft: is the message what its newest hop signed, for this envelope? With plain calls.

    `strict`: addresses in the signature must have their angle brackets. Older hops are not rebuilt.
    """
    ask = find_resolver() if resolver is None else resolver
    moment = int((time.time() if now is None else now) * 1000)
    answers: list[tuple[str, str, Sequence[bytes]]] = []
    while True:
        names, verdict = _core.verify_dkim2(
            message, sender=sender, recipients=list(recipients), now=moment, strict=strict, answers=answers
        )
        if verdict is not None:
            return Dkim2Verdict(*verdict)
        answers += [(name, *ask(name, "TXT")) for name in names]


def sign(message: bytes, signer: DkimSigner, *, now: float | None = None) -> bytes:
    """The message with a DKIM-Signature in front. Raises `AuthError` where it has no From (RFC 6376 5.4)."""
    return signer.sign(message, int((time.time() if now is None else now) * 1000)) + message


def sign_dkim2(
    message: bytes,
    key: DkimKey,
    *,
    domain: str,
    selector: str,
    sender: str,
    recipients: Sequence[str],
    before: bytes | None = None,
    now: float | None = None,
) -> bytes:
    """The message with the DKIM2 fields of this hop in front, for this envelope (draft; see docs/authentication.md).

    `before` is the message as it came in, needed where this hop has changed it: a recipe then tells what it was. Raises
    `AuthError` where the trail is broken, the change cannot be told, or names or recipients do not fit.
    """
    moment = int((time.time() if now is None else now) * 1000)
    fields = _core.sign_dkim2(
        message,
        key,
        domain=domain,
        selector=selector,
        sender=sender,
        recipients=list(recipients),
        before=before,
        now=moment,
    )
    return fields + message


def seal(
    message: bytes,
    key: DkimKey,
    *,
    domain: str,
    selector: str,
    results: str,
    fields: Sequence[str] | None = None,
    resolver: SyncResolver | None = None,
    now: float | None = None,
) -> bytes | None:
    """The message with the ARC set that continues its chain in front, or None where it may not be continued."""
    checked = check_sync(message, resolver=resolver, now=now)
    sealed = checked.seal(key, domain=domain, selector=selector, results=results, fields=fields)
    return None if sealed is None else sealed + message
