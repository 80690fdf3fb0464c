"""A name server on loopback, UDP and TCP, that answers from a table and can be told to fail.

A zone is text, one record per line (`name TTL TYPE data`); `name ! SERVFAIL` fails, `name ! SILENT` never answers,
`name ! TRUNCATED` says over UDP that the answer is too long. What has no line does not exist.
"""

from __future__ import annotations

import struct
from collections import Counter

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import trio

NEGATIVE_TTL = 300
SOA = "ns.test. hostmaster.test. 1 3600 600 86400 300"


class Zone:
    """Start it with `nursery.start(zone.serve)`; `queries` counts (name, type)."""

    def __init__(self, text: str) -> None:
        self.records: dict[tuple[str, str], dns.rrset.RRset] = {}
        self.faults: dict[str, str] = {}
        self.queries: Counter[tuple[str, str]] = Counter()
        self.port = 0
        for line in filter(None, (line.strip() for line in text.splitlines())):
            self.add(line)

    def add(self, line: str) -> None:
        name, ttl, kind, *data = line.split(maxsplit=3)
        name = name.rstrip(".") + "."
        if ttl == "!":
            self.faults[name] = kind
            return
        fresh = dns.rrset.from_text(name, int(ttl), "IN", kind, *data)
        known = self.records.setdefault((name, kind), fresh)
        if known is not fresh:
            known.union_update(fresh)

    async def serve(self, *, task_status: trio.TaskStatus[Zone] = trio.TASK_STATUS_IGNORED) -> None:
        datagrams, listener = await open_both()
        self.port = datagrams.getsockname()[1]
        with datagrams:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self.serve_stream, [listener])
                task_status.started(self)
                while True:
                    wire, peer = await datagrams.recvfrom(4096)
                    answer = self.answer(wire, over_udp=True)
                    if answer is not None:
                        await datagrams.sendto(answer, peer)

    async def serve_stream(self, stream: trio.SocketStream) -> None:
        length = await stream.receive_some(2)
        wire = await stream.receive_some(struct.unpack("!H", length)[0])
        answer = self.answer(bytes(wire), over_udp=False)
        if answer is not None:
            await stream.send_all(struct.pack("!H", len(answer)) + answer)

    def answer(self, wire: bytes, *, over_udp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.queries[name, kind] += 1
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        fault = self.faults.get(name)
        if fault == "SILENT":
            return None
        if fault == "SERVFAIL":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif fault == "TRUNCATED" and over_udp:
            response.flags |= dns.flags.TC
        else:
            self.fill(response, name, kind)
        return response.to_wire()

    def fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        for _ in range(8):
            found = self.records.get((name, kind))
            alias = self.records.get((name, "CNAME"))
            if found is not None:
                response.answer.append(found)
                return
            if alias is None:
                break
            response.answer.append(alias)
            name = alias[0].target.to_text().lower()
        soa = dns.rrset.from_text("test.", NEGATIVE_TTL, "IN", "SOA", SOA)
        response.authority.append(soa)
        if not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)


async def open_both() -> tuple[trio.socket.SocketType, trio.SocketListener]:
    """UDP and TCP at one port that is free in both."""
    for _ in range(20):
        datagrams = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await datagrams.bind(("127.0.0.1", 0))
        try:
            (listener,) = await trio.open_tcp_listeners(datagrams.getsockname()[1], host="127.0.0.1")
        except OSError:
            datagrams.close()
            continue
        return datagrams, listener
    raise OSError("no port is free in both UDP and TCP")
