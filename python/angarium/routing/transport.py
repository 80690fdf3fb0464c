"""The transport map: which row of the settings speaks of a domain and a tag. Static, no look-ups.

Order: local domains, then the [[route]] rows as they stand, then the catch-all, then the smarthost, else MX. Domains
are looked up by whole names and by the names above them, so that a map of 100,000 rows costs the labels of a domain.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from .. import settings as site


class Transport:
    """Built once from the settings."""

    def __init__(self, settings: site.Settings) -> None:
        self._local = dict(settings.local.domains)
        self._rows: dict[tuple[str, str], tuple[int, site.Route]] = {}
        for number, row in enumerate(settings.route):
            self._rows.setdefault((row.domain, row.tag), (number, filled_in(row, settings.smarthost)))
        self._otherwise = last_resort(settings)

    def row(self, domain: str, tag: str) -> site.Route:
        """The row that holds for a domain (lower case, or an address literal in brackets)."""
        for pattern in patterns(domain):
            if pattern in self._local:
                return site.Route(to="maildir", mailbox=self._local[site.DomainPattern(pattern)])
        tags = (tag, "") if tag else ("",)
        known = (self._rows.get((pattern, tag)) for pattern in (*patterns(domain), "*") for tag in tags)
        first = min((found for found in known if found), key=lambda found: found[0], default=None)
        return first[1] if first else self._otherwise


def patterns(domain: str) -> Iterator[str]:
    """The patterns that match a domain, narrow to wide: itself, then all that stands above."""
    yield domain
    if domain.startswith("["):
        return
    _, dot, above = domain.partition(".")
    while dot:
        yield "." + above
        _, dot, above = above.partition(".")


def filled_in(row: site.Route, smarthost: site.Smarthost | None) -> site.Route:
    """A row to the smarthost that names none means the one of [smarthost]."""
    if row.to == "smarthost" and row.host is None and smarthost is not None:
        return to_smarthost(smarthost)
    return row


def to_smarthost(smarthost: site.Smarthost) -> site.Route:
    return site.Route(to="smarthost", **structs.asdict(smarthost))


def last_resort(settings: site.Settings) -> site.Route:
    if settings.local.catch_all:
        return site.Route(to="maildir", mailbox=settings.local.catch_all)
    return to_smarthost(settings.smarthost) if settings.smarthost else site.Route(to="mx", tls=settings.delivery.tls)
