"""Which hosts and addresses are ourselves, so that mail is not sent round in a circle.

A host is ours by its name, by an address that the settings name, or by an address of this machine at a port where we
listen. Asking the system for its addresses would miss some and change under us: an address is local when a socket can
be bound to it.
"""

from __future__ import annotations

import ipaddress
import socket

from .. import settings as site

WILDCARDS = ("0.0.0.0", "::")


class Own:
    """Built once from the settings; says `is_ours` of names and of addresses at a port."""

    def __init__(self, settings: site.Settings) -> None:
        names = {settings.server.hostname, *settings.server.names} - {"localhost"}
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        self._networks = tuple(ipaddress.ip_network(network) for network in settings.server.addresses)
        self._listening = tuple((row.address.host, row.address.port) for row in settings.listen)

    def is_our_name(self, host: str) -> bool:
        return host.lower().rstrip(".") in self._names

    def is_our_address(self, address: str, port: int) -> bool:
        if any(ipaddress.ip_address(address) in network for network in self._networks):
            return True
        hosts = [host for host, listening in self._listening if listening == port]
        return address in hosts or (any(host in WILDCARDS for host in hosts) and is_local(address))


def is_local(address: str) -> bool:
    """Whether this machine has the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
