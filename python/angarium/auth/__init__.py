"""Who sent this mail: SPF, DKIM, DMARC, ARC and iprev checked and explained; DKIM signed, ARC sealed.

`await verify(message, ip=..., helo=..., sender=...)` on Trio, `verify_sync(...)` anywhere. Both ask DNS through the
resolver given, else through one that is found (`/etc/resolv.conf`). A resolver is a callable `(name, type) -> Answer`
or a coroutine function of the same kind; `("found", [b"..."])`, `("none", [])`, `("nxdomain", [])` and
`("failed", [])` are its answers. Temporary failures of DNS end as `temperror`, never as a pass.

    >>> report = verify_sync(b"From: a@example.org\\r\\n\\r\\n", resolver=lambda name, kind: ("nxdomain", []))
    >>> report.dmarc.outcome
    'none'
"""

from __future__ import annotations

from angarium._core import DkimKey, DkimSigner, forged_results, merged_results

from .asking import Answer, Resolver, Status, SyncResolver, find_resolver
from .checking import Checked, check, check_sync, seal, sign, sign_dkim2, verify, verify_dkim2, verify_sync
from .results import MethodResult, Results, parse_results, trusted_results
from .verdicts import (
    ArcVerdict,
    AuthorVerdict,
    Dkim2Verdict,
    DkimVerdict,
    DmarcVerdict,
    IprevVerdict,
    Report,
    SpfVerdict,
    Verdicts,
)

__all__ = [
    "Answer",
    "ArcVerdict",
    "AuthorVerdict",
    "Checked",
    "Dkim2Verdict",
    "DkimKey",
    "DkimSigner",
    "DkimVerdict",
    "DmarcVerdict",
    "IprevVerdict",
    "MethodResult",
    "Report",
    "Resolver",
    "Results",
    "SpfVerdict",
    "Status",
    "SyncResolver",
    "Verdicts",
    "check",
    "check_sync",
    "find_resolver",
    "forged_results",
    "merged_results",
    "parse_results",
    "seal",
    "sign",
    "sign_dkim2",
    "trusted_results",
    "verify",
    "verify_dkim2",
    "verify_sync",
]
