"""What the checks found, as frozen values. `outcome` is always the word of RFC 8601; `steps` tell how it came about."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Verdicts(msgspec.Struct, frozen=True, array_like=True):
    """nouns::Verdicts: what the server found and did, as it is kept with the message. Empty: not tried."""

    iprev: str = ""
    helo: str = ""
    spf: str = ""
    # Of all signatures together: pass if one passes.
    dkim: str = ""
    arc: str = ""
    dmarc: str = ""
    # What the author's domain asks for mail that fails DMARC: none, quarantine, reject.
    disposition: str = ""
    # The domain in From.
    author: str = ""
    # The value of our Authentication-Results field.
    results: str = ""
    # Names as in `angarium.message.scan(data).findings`.
    findings: tuple[str, ...] = ()
    # What the policy did, the rows that led to it, and why failures were not held against it (forwarder, sealer).
    action: str = ""
    reasons: tuple[str, ...] = ()
    excused: str = ""


class SpfVerdict(msgspec.Struct, frozen=True):
    """RFC 7208: may the address send for `domain`? `identity` is "mailfrom" or "helo"."""

    outcome: str
    identity: str
    domain: str
    mechanism: str | None
    explanation: str | None
    problem: str | None
    lookups: int
    void_lookups: int
    steps: tuple[str, ...]


class DkimVerdict(msgspec.Struct, frozen=True):
    """RFC 6376: one signature. `bits` is 0 where no key was found; `tag` is the beginning of `b=`."""

    outcome: str
    domain: str
    selector: str
    identity: str
    algorithm: str
    bits: int
    tag: str
    testing: bool
    problem: str | None
    steps: tuple[str, ...]


class Dkim2Verdict(msgspec.Struct, frozen=True):
    """The DKIM2 draft: the newest of `hops`, its domain, and why it does not pass."""

    outcome: str
    domain: str
    problem: str | None
    hops: int


class ArcVerdict(msgspec.Struct, frozen=True):
    """RFC 8617: the chain. `oldest_pass` is 0 where every message signature still holds."""

    outcome: str
    instances: int
    oldest_pass: int
    sealers: tuple[str, ...]
    problem: str | None
    temporary: bool
    steps: tuple[str, ...]


class AuthorVerdict(msgspec.Struct, frozen=True):
    """RFC 9989: one domain of From. `policy` is what its record asks for this very name."""

    domain: str
    outcome: str
    policy: str
    organization: str | None
    record_domain: str | None
    record: str | None
    testing: bool
    spf_aligned: bool
    dkim_aligned: bool
    aggregate: tuple[str, ...]
    failures: tuple[str, ...]
    steps: tuple[str, ...]


class DmarcVerdict(msgspec.Struct, frozen=True):
    """The strictest of all authors; `disposition` is what they ask to be done with a message that fails."""

    outcome: str
    disposition: str
    problem: str | None
    authors: tuple[AuthorVerdict, ...]


class IprevVerdict(msgspec.Struct, frozen=True):
    """RFC 8601 3: has the address a name that leads back to it?"""

    outcome: str
    ip: str
    name: str | None


class Report(msgspec.Struct, frozen=True):
    """Everything that was found out. `spf`, `helo` and `iprev` are None where no client address was given."""

    iprev: IprevVerdict | None
    helo: SpfVerdict | None
    spf: SpfVerdict | None
    dkim: tuple[DkimVerdict, ...]
    arc: ArcVerdict
    dmarc: DmarcVerdict
    questions: int
    temporary: bool

    def explain(self) -> Iterator[str]:
        """The verdicts for people, one line each, every step indented below its verdict."""
        if self.iprev is not None:
            yield f"iprev {self.iprev.outcome}: {self.iprev.ip} is {self.iprev.name or 'without a name'}"
        for spf in (self.helo, self.spf):
            if spf is not None:
                yield f"spf {spf.outcome} ({spf.identity} {spf.domain}){because(spf.problem)}"
                yield from indented(spf.steps)
        if not self.dkim:
            yield "dkim none: there is no signature"
        for dkim in self.dkim:
            yield f"dkim {dkim.outcome} ({dkim.domain}, selector {dkim.selector}){because(dkim.problem)}"
            yield from indented(dkim.steps)
        yield f"arc {self.arc.outcome} ({self.arc.instances} instances){because(self.arc.problem)}"
        yield from indented(self.arc.steps)
        yield f"dmarc {self.dmarc.outcome}, disposition {self.dmarc.disposition}{because(self.dmarc.problem)}"
        for author in self.dmarc.authors:
            yield f"  {author.domain}: {author.outcome}, policy {author.policy}"
            yield from indented(author.steps, by=4)


def because(problem: str | None) -> str:
    return f": {problem}" if problem else ""


def indented(steps: tuple[str, ...], *, by: int = 2) -> Iterator[str]:
    yield from (" " * by + step for step in steps)
