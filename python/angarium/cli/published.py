"""`angarium dns`: every record that a mail domain must publish, and whether what it publishes does what it should.

SPF (RFC 7208), DKIM for each key of the folder and of [[signing]] (RFC 6376), DMARC (RFC 9989), MTA-STS (RFC 8461),
TLS-RPT (RFC 8460) and MX. Published records are tried out rather than compared as text: our host must pass SPF, a
signature of each key must verify, DMARC must ask for no less than wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from ..auth import DkimKey, DkimSigner, Report, check_sync, sign
from ..auth.asking import Found
from ..settings import Settings, load, locate
from ..settings.reading import KEYS
from .auth import found_keys, read, record_line, resolver_at
from .show import columns

# How long a key stays published behind its last day: mail signed with it is still on its way.
ON_ITS_WAY = timedelta(days=7)
STRENGTH = ("none", "quarantine", "reject")


class Wanted(msgspec.Struct, frozen=True):
    """One record: what to publish, and what is wrong with what is published ("" for nothing)."""

    what: str
    name: str
    kind: str
    data: str
    wrong: Callable[[Found, list[str]], str]


class Domain(msgspec.Struct, frozen=True):
    """What a domain is to be: the host of its mail, where reports go, what DMARC asks."""

    name: str
    host: str
    reports: str
    policy: str


def wanted(domain: Domain, keys: dict[str, DkimKey]) -> Iterator[Wanted]:
    """Every record of a domain whose mail its host takes and sends; `keys` by selector."""
    name = domain.name
    yield Wanted("MX", name, "MX", f"10 {domain.host}.", lambda dns, found: mx_wrong(domain, dns, found))
    yield Wanted("SPF", name, "TXT", "v=spf1 mx -all", lambda dns, found: spf_wrong(domain, dns, found))
    for selector, key in keys.items():
        yield dkim_wanted(domain, selector, key)
    dmarc = f"v=DMARC1; p={domain.policy}; rua=mailto:{domain.reports}"
    yield Wanted("DMARC", f"_dmarc.{name}", "TXT", dmarc, lambda dns, found: dmarc_wrong(domain, dns, found))
    # RFC 8461 3.1: the id changes with the policy.
    yield Wanted(
        "MTA-STS", f"_mta-sts.{name}", "TXT", "v=STSv1; id=1", lambda _, found: tag_wrong(found, "v=STSv1", "id")
    )
    tls = f"v=TLSRPTv1; rua=mailto:{domain.reports}"
    yield Wanted("TLS-RPT", f"_smtp._tls.{name}", "TXT", tls, lambda _, found: tag_wrong(found, "v=TLSRPTv1", "rua"))


def addresses(dns: Found, host: str) -> list[str]:
    return [text.decode() for kind in ("A", "AAAA") for text in dns(host, kind)[1]]


def mx_wrong(domain: Domain, dns: Found, found: list[str]) -> str:
    if domain.host not in found:
        return f"{domain.host} is not among them"
    return "" if addresses(dns, domain.host) else f"{domain.host} has no address"


def judged(dns: Found, domain: Domain, message: bytes = b"", ip: str | None = None) -> Report:
    message = message or f"From: postmaster@{domain.name}\r\n\r\n".encode()
    sender = f"postmaster@{domain.name}"
    return check_sync(message, ip=ip, helo=domain.host, sender=sender, receiver=domain.host, resolver=dns).report


def spf_wrong(domain: Domain, dns: Found, found: list[str]) -> str:
    """Our host must pass, from each of its addresses; without any, the record must at least be one."""
    wrong = one_that_begins(found, "v=spf1")
    if wrong:
        return wrong
    ours = addresses(dns, domain.host)
    for ip in ours or ["192.0.2.1"]:
        verdict = judged(dns, domain, ip=ip).spf
        assert verdict is not None
        if verdict.outcome in ("permerror", "temperror"):
            return verdict.problem or verdict.outcome
        if ours and verdict.outcome != "pass":
            return f"{domain.host} at {ip} gets {verdict.outcome}"
    return ""


def dkim_wanted(domain: Domain, selector: str, key: DkimKey) -> Wanted:
    def wrong(dns: Found, found: list[str]) -> str:
        signer = DkimSigner(key, domain=domain.name, selector=selector)
        (verdict,) = judged(dns, domain, sign(f"From: postmaster@{domain.name}\r\n\r\n".encode(), signer)).dkim
        if verdict.outcome != "pass":
            return verdict.problem or verdict.outcome
        return "it says that the domain only tests (t=y)" if verdict.testing else ""

    return Wanted("DKIM", f"{selector}._domainkey.{domain.name}", "TXT", key.record, wrong)


def dmarc_wrong(domain: Domain, dns: Found, found: list[str]) -> str:
    wrong = one_that_begins(found, "v=DMARC1")
    if wrong:
        return wrong
    authors = judged(dns, domain).dmarc.authors
    if not authors or authors[0].record is None:
        return "receivers cannot read it"
    author = authors[0]
    if STRENGTH.index(author.policy) < STRENGTH.index(domain.policy):
        return f"it asks for {author.policy}, wanted is {domain.policy}"
    if author.testing:
        return "it says that the domain only tests (t=y)"
    return "" if author.aggregate else "it asks for no reports (rua=)"


def tag_wrong(found: list[str], start: str, tag: str) -> str:
    wrong = one_that_begins(found, start)
    if wrong:
        return wrong
    record = next(record for record in found if record.startswith(start))
    names = [part.partition("=") for part in record.split(";")]
    return "" if any(name.strip() == tag and value.strip() for name, _, value in names) else f"it has no {tag}="


def one_that_begins(found: list[str], start: str) -> str:
    """Exactly one record of the kind: two are as good as none in each of these standards."""
    count = sum(record.startswith(start) for record in found)
    return (
        ""
        if count == 1
        else f"there are {count} records that begin with {start}"
        if count
        else f"none begins with {start}"
    )


def signing_keys(domain: str, folder: Path, config: str | None) -> dict[str, DkimKey]:
    """The keys of the folder, and those of the settings (if there are some) that sign now or soon."""
    keys = {selector: key for _, selector, key in found_keys(folder, domain)}
    path = locate(config)
    settings = load(path) if path is not None and path.exists() else Settings()
    recently = datetime.now(UTC).date() - ON_ITS_WAY
    for row in settings.signing:
        if row.domain == domain.lower() and row.key and (row.until is None or row.until >= recently):
            keys[row.selector] = DkimKey(read(Path(row.key)))
    return keys


def records(
    domain: str,
    *,
    host: str | None = None,
    reports: str | None = None,
    policy: str = "quarantine",
    keys: Path = Path(KEYS),
    config: str | None = None,
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
        A folder of DKIM keys, beside those of [[signing]].
    config
        The configuration file.
    """
    about = Domain(domain, host or f"mail.{domain}", reports or f"postmaster@{domain}", policy)
    for record in wanted(about, signing_keys(domain, keys, config)):
        if record.kind == "TXT":
            print(record_line(record.name, record.data))
        else:
            print(f"{record.name}. 3600 IN {record.kind} {record.data}")


def check(
    domain: str,
    *,
    host: str | None = None,
    policy: str = "quarantine",
    keys: Path = Path(KEYS),
    server: str | None = None,
    config: str | None = None,
) -> int:
    """Try out what is published against what should be; exit code 1 if one is missing or differs.

    Parameters
    ----------
    host
        The host that takes the domain's mail; by default mail.DOMAIN.
    policy
        What DMARC must ask for at least: none, quarantine or reject.
    keys
        A folder of DKIM keys, beside those of [[signing]].
    server
        The name server to ask, as ADDRESS or ADDRESS:PORT.
    config
        The configuration file.
    """
    dns = resolver_at(server)
    about = Domain(domain, host or f"mail.{domain}", f"postmaster@{domain}", policy)
    rows = [judged_row(dns, record) for record in wanted(about, signing_keys(domain, keys, config))]
    columns(("RECORD", "NAME", "STATE", "WHAT"), rows, nothing="")
    return 0 if all(row[2] == "good" for row in rows) else 1


def judged_row(dns: Found, record: Wanted) -> tuple[str, str, str, str]:
    status, octets = dns(record.name, record.kind)
    found = [text.decode("utf-8", "replace").rstrip(".") for text in octets]
    if status != "found":
        word = "unknown" if status == "failed" else "missing"
        return record.what, record.name, word, f"should be {record.data}"
    wrong = record.wrong(dns, found)
    return record.what, record.name, "differs" if wrong else "good", wrong or "; ".join(found)
