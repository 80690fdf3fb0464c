"""`angarium dns`: every record that a mail domain must publish, and whether it does.

SPF (RFC 7208), DKIM for each key in the folder (RFC 6376), DMARC (RFC 9989), MTA-STS (RFC 8461), TLS-RPT (RFC 8460)
and MX. A published policy that says more than ours is not wrong: it is compared by what must be in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..auth.asking import Found
from .auth import KEYS, found_keys, public_half, record_line, resolver_at
from .show import columns


class Wanted(msgspec.Struct, frozen=True):
    """One record: what to publish, and what of it is necessary."""

    what: str
    name: str
    kind: str
    data: str
    suits: Callable[[list[str]], bool]


def wanted(domain: str, host: str, reports: str, policy: str, keys: Path) -> Iterator[Wanted]:
    """Every record of a domain whose mail `host` takes and sends."""
    yield Wanted("MX", domain, "MX", f"10 {host}.", lambda found: host in found)
    spf = "v=spf1 mx -all"
    yield Wanted("SPF", domain, "TXT", spf, one_that_begins("v=spf1"))
    for _, selector, key in found_keys(keys, domain):
        half = public_half(key.record)
        name = f"{selector}._domainkey.{domain}"
        yield Wanted("DKIM", name, "TXT", key.record, publishes(half))
    dmarc = f"v=DMARC1; p={policy}; rua=mailto:{reports}"
    yield Wanted("DMARC", f"_dmarc.{domain}", "TXT", dmarc, one_that_begins("v=DMARC1"))
    # RFC 8461 3.1: the id changes with the policy.
    yield Wanted("MTA-STS", f"_mta-sts.{domain}", "TXT", "v=STSv1; id=1", one_that_begins("v=STSv1"))
    tls = f"v=TLSRPTv1; rua=mailto:{reports}"
    yield Wanted("TLS-RPT", f"_smtp._tls.{domain}", "TXT", tls, one_that_begins("v=TLSRPTv1"))


def publishes(half: str) -> Callable[[list[str]], bool]:
    return lambda found: any(public_half(record) == half for record in found)


def one_that_begins(start: str) -> Callable[[list[str]], bool]:
    """Exactly one record of the kind: two are as good as none in each of these standards."""
    return lambda found: sum(record.startswith(start) for record in found) == 1


def records(
    domain: str,
    *,
    host: str | None = None,
    reports: str | None = None,
    policy: str = "quarantine",
    keys: Path = Path(KEYS),
) -> None:
    """Print every record to publish for a domain, as lines of a zone file.

    Parameters
    ----------
    host
        The host that takes the domain's mail; by default mail.DOMAIN.
    reports
        Where reports go; by default postmaster@DOMAIN.
    policy
        What receivers shall do with mail that fails DMARC.
    keys
        The folder of all DKIM keys.
    """
    for record in wanted(domain, host or f"mail.{domain}", reports or f"postmaster@{domain}", policy, keys):
        if record.kind == "TXT":
            print(record_line(record.name, record.data))
        else:
            print(f"{record.name}. 3600 IN {record.kind} {record.data}")


def check(
    domain: str,
    *,
    host: str | None = None,
    keys: Path = Path(KEYS),
    server: str | None = None,
) -> int:
    """Compare what should be published with what is; exit code 1 if one is missing or differs.

    Parameters
    ----------
    host
        The host that takes the domain's mail; by default mail.DOMAIN.
    keys
        The folder of all DKIM keys.
    server
        The name server to ask, as ADDRESS or ADDRESS:PORT.
    """
    resolver = resolver_at(server)
    rows = []
    for record in wanted(domain, host or f"mail.{domain}", f"postmaster@{domain}", "quarantine", keys):
        status, found = published(resolver, record)
        word = "good" if record.suits(found) else {"found": "differs", "failed": "unknown"}.get(status, "missing")
        rows.append((record.what, record.name, word, "; ".join(found) or f"should be {record.data}"))
    columns(("RECORD", "NAME", "STATE", "PUBLISHED"), rows, nothing="")
    return 0 if all(row[2] == "good" for row in rows) else 1


def published(resolver: Found, record: Wanted) -> tuple[str, list[str]]:
    status, found = resolver(record.name, record.kind)
    return status, [text.decode("utf-8", "replace").rstrip(".") for text in found]
