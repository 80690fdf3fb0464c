"""The identity of a hop: a short name for how connections to it are secured and logged in.

It stands in the route, so that lanes with other demands never share a connection, and it is how the plan of a lane
finds its row of the settings again. Secrets do not go into it.
"""

from __future__ import annotations

import hashlib

from msgspec import structs

from .. import settings as site

PLAIN = site.Route()
# Hex digits; two of a few thousand hops do not meet.
LENGTH = 12


def identity_of(hop: site.Hop) -> str:
    """Empty for a hop that asks for nothing special."""
    login = hop.login and structs.replace(hop.login, password="", token="")
    told = (hop.tls, hop.implicit_tls, hop.server_name, hop.roots, login, hop.certificate)
    usual = (PLAIN.tls, PLAIN.implicit_tls, PLAIN.server_name, PLAIN.roots, PLAIN.login, PLAIN.certificate)
    if told == usual:
        return ""
    parts = [str(part if login is None or part is not login else structs.astuple(login)) for part in told]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:LENGTH]
