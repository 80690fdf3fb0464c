"""What routing answers: a way, or none with the reply that the sender reads. A table, no look-ups.

Codes: RFC 3463, RFC 7505 (null MX), RFC 5321 5.1 (what to do with MX records). Reasons are numbers of
`nouns::outcome::Reason`.
"""

from __future__ import annotations

from msgspec import Struct

from ..engine import NoRoute, Route

REASON_DNS = 10
REASON_LOOP = 18
REASON_NO_ROUTE = 24


class Routed(Struct, frozen=True):
    """An answer with the time for which it holds, in milliseconds from now. `groups`: hosts by preference."""

    route: Route | NoRoute
    valid: int
    groups: tuple[tuple[str, ...], ...] = ()

    @property
    def is_deferral(self) -> bool:
        return isinstance(self.route, NoRoute) and not self.route.failed


def no_such_domain(domain: str) -> NoRoute:
    return refusal(550, "5.1.2", f"The domain {domain} does not exist")


def no_address(domain: str) -> NoRoute:
    return refusal(550, "5.1.2", f"The domain {domain} has neither MX records nor an address")


def null_mx(domain: str) -> NoRoute:
    # RFC 7505 4.2
    return refusal(556, "5.1.10", f"The domain {domain} does not take mail (null MX)")


def no_usable_host(domain: str) -> NoRoute:
    # RFC 5321 5.1: MX records of which none is usable are an error.
    return refusal(550, "5.4.4", f"None of the hosts that take mail for {domain} has an address")


def loop(domain: str) -> NoRoute:
    # RFC 5321 5.1: at our own preference and above nothing is tried.
    text = f"Mail for {domain} loops back to this server, which does not keep it"
    return NoRoute(failed=True, code=554, enhanced="5.4.6", text=text, reason=REASON_LOOP)


def by_order(text: str) -> NoRoute:
    return refusal(550, "5.1.2", text or "Mail for this domain is not taken")


def try_later(why: str) -> NoRoute:
    return NoRoute(failed=False, code=451, enhanced="4.4.3", text=f"DNS did not answer: {why}", reason=REASON_DNS)


def refusal(code: int, enhanced: str, text: str) -> NoRoute:
    return NoRoute(failed=True, code=code, enhanced=enhanced, text=text, reason=REASON_NO_ROUTE)
