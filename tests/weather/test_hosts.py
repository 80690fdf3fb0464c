"""Hosts that misbehave when mail is sent to them: each recipient is put off for the right reason, nothing is lost,
and all of it arrives once the host behaves (one more time where a host took mail without saying so)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import RecordingSink, free_port
from tests.site import Site, running, wait_until
from tests.talk import Talk, content

TIMEOUTS = """
[timeouts]
connect = "2s"
greeting = "2s"
hello = "2s"
mail = "2s"
rcpt = "2s"
data = "2s"
block = "2s"
dot = "2s"

[delivery.retry]
other = ["1h"]
throttle = ["1h"]
uncertain = ["1h"]
dns = ["1h"]
greylist = ["1h"]
"""

Misbehave = Callable[[socket.socket], None]
# Whether the session goes on.
Ending = Callable[[socket.socket], bool | None]


def quiet(peer: socket.socket) -> None:
    """Takes the connection and never says a word."""
    while peer.recv(4096):
        pass


def close_at_once(peer: socket.socket) -> None:
    """Accepts and closes."""


def garbage(peer: socket.socket) -> None:
    """Speaks something that is no SMTP."""
    peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff\xfe\r\n")
    quiet(peer)


def endless(peer: socket.socket) -> None:
    """A greeting without an end."""
    while True:
        peer.sendall(b"220-" + b"x" * 500 + b"\r\n")


def always_421(peer: socket.socket) -> None:
    """Not now, to everything."""
    peer.sendall(b"421 4.3.2 not now\r\n")
    while peer.recv(4096):
        peer.sendall(b"421 4.3.2 not now\r\n")


def no_greeting_554(peer: socket.socket) -> None:
    """RFC 5321 3.1: no SMTP service here."""
    peer.sendall(b"554 5.3.2 no service here\r\n")
    quiet(peer)


GOOD_REPLIES = {"DATA": b"354 go on\r\n", "DATA for nobody": b"554 5.5.1 no valid recipients\r\n"}


def until(phase: str, ending: Ending) -> Misbehave:
    """A good server but for one phase (a verb, or `dot`); it goes on behind an ending that says so."""

    def serve(peer: socket.socket) -> None:
        peer.sendall(b"220 host.test ESMTP\r\n")
        for reached in phases(peer, but_for=phase):
            if reached != phase:
                peer.sendall(GOOD_REPLIES.get(reached, b"250 ok\r\n"))
            elif not ending(peer):
                return

    return serve


def phases(peer: socket.socket, *, but_for: str) -> Iterator[str]:
    """Where a session is when something must be answered; the phase `but_for` leads nowhere."""
    stream = peer.makefile("rb")
    recipients = 0
    while line := stream.readline():
        verb = line[:4].upper().decode("latin-1")
        if verb == "DATA" and but_for != verb and not recipients:
            yield "DATA for nobody"
            continue
        yield verb
        if verb == "DATA" and but_for != verb:
            while stream.readline() not in (b".\r\n", b""):
                pass
            yield "dot"
        recipients = recipients + 1 if verb == "RCPT" and but_for != verb else 0


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say(text: bytes) -> Ending:
    def ending(peer: socket.socket) -> bool:
        peer.sendall(text)
        return True

    return ending


# name of the domain · what its host does · reasons that say so · codes that may be shown (0: no reply)
HOSTS: list[tuple[str, Misbehave, set[str], set[int]]] = [
    ("quiet", quiet, {"timeout"}, {0, 421, 450, 451}),
    ("closes", close_at_once, {"connect", "protocol"}, {0, 421, 450, 451}),
    ("garbage", garbage, {"protocol", "connect"}, {0, 421, 450, 451}),
    ("endless", endless, {"protocol", "connect"}, {0, 421, 450, 451}),
    ("busy", always_421, {"throttle", "connect", "other"}, {421}),
    ("shut", no_greeting_554, {"connect", "policy", "other"}, {554}),
    ("refusing-hello", until("EHLO", always_421), {"throttle", "connect", "other"}, {421}),
    ("closing-at-mail", until("MAIL", close_at_once), {"connect", "protocol"}, {0, 421, 450, 451}),
    ("resetting-at-rcpt", until("RCPT", reset), {"connect", "protocol"}, {0, 421, 450, 451}),
    ("silent-at-data", until("DATA", quiet), {"timeout"}, {0, 421, 450, 451}),
    ("later-at-rcpt", until("RCPT", say(b"450 4.2.0 come again\r\n")), {"greylist", "other"}, {450}),
    ("full-at-dot", until("dot", say(b"452 4.3.1 no room\r\n")), {"throttle", "other", "mailbox-full"}, {452}),
    ("resetting-at-dot", until("dot", reset), {"uncertain"}, {0, 421, 450, 451}),
    ("closing-at-dot", until("dot", close_at_once), {"uncertain"}, {0, 421, 450, 451}),
    ("silent-at-dot", until("dot", quiet), {"uncertain"}, {0, 421, 450, 451}),
    ("garbage-at-dot", until("dot", say(b"\xff\xfe\r\n")), {"uncertain", "protocol"}, {0, 421, 450, 451}),
]


class Host:
    """Listens and misbehaves until `behave`, then hands everything to a good sink."""

    def __init__(self, misbehave: Misbehave, sink: RecordingSink) -> None:
        self.misbehave: Misbehave | None = misbehave
        self.sink = sink
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            if self.misbehave is not None:
                self.misbehave(peer)
                return
            with socket.create_connection(("127.0.0.1", self.sink.port)) as good:
                threading.Thread(target=pump, args=(good, peer), daemon=True).start()
                pump(peer, good)

    def behave(self) -> None:
        self.misbehave = None

    def close(self) -> None:
        self.listener.close()


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while octets := source.recv(65_536):
            target.sendall(octets)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    served = RecordingSink()
    yield served
    served.close()


def route_to(domain: str, port: int) -> str:
    return f'[[route]]\ndomain = "{domain}.test"\nhost = "[127.0.0.1]"\nport = {port}\n'


def send(site: Site, number: int, recipient: str, sender: str = "a@client.test") -> None:
    with Talk(site.port) as talk:
        octets = b"X-Number: %d\r\n" % number + content(f"number {number}")
        assert talk.mail(sender, [recipient], octets).startswith("250 2.0.0")


def test_every_kind_of_bad_host(tmp_path: Path, sink: RecordingSink) -> None:
    hosts = {name: Host(misbehave, sink) for name, misbehave, _, _ in HOSTS}
    rows = "".join(route_to(name, host.port) for name, host in hosts.items())
    rows += route_to("nobody-listens", free_port())
    names = [*hosts, "nobody-listens"]
    with running(tmp_path, RELAY + TIMEOUTS + rows) as site:
        for number, name in enumerate(names):
            send(site, number, f"b@{name}.test")
        wait_until(lambda: len(put_off(site)) == len(names), lambda: site.queue())
        waiting = put_off(site)
        for name, _, reasons, codes in HOSTS:
            entry = waiting[name]
            assert (entry["reason"] in reasons, entry["code"] in codes) == (True, True), (name, entry)
        assert waiting["nobody-listens"]["reason"] == "connect", waiting["nobody-listens"]
        for name in ("later-at-rcpt", "full-at-dot", "silent-at-dot"):
            assert str(waiting[name]["host"]).endswith(f":{hosts[name].port}"), waiting[name]
        assert not sink.numbers
        for host in hosts.values():
            host.behave()
        assert site.run("queue", "flush").returncode == 0
        wanted = set(range(len(hosts)))
        assert sink.wait_for(lambda: wanted <= sink.numbers.keys(), seconds=30), wanted - sink.numbers.keys()
        wait_until(lambda: len(site.queue()) == 1, lambda: site.queue())
    for host in hosts.values():
        host.close()
    assert all(count == 1 for count in sink.numbers.values()), sink.numbers


def put_off(site: Site) -> dict[str, dict[str, object]]:
    """Domain to entry, of those that were tried, or whose lane was, and that wait."""
    return {
        entry["recipient"].partition("@")[2].removesuffix(".test"): entry
        for entry in site.queue()
        if (entry["attempts"] or entry["reason"] != "other") and entry["state"] == "waiting"
    }


RELAY = """
[relay]
networks = ["127.0.0.0/8"]

[local]
domains = { "here.test" = "here" }
"""

REFUSALS = [
    ("at RCPT", until("RCPT", say(b"550 5.1.1 no such person\r\n")), "5.1.1", "no such person"),
    ("at DATA", until("DATA", say(b"554 5.7.1 not this\r\n")), "5.7.1", "not this"),
    ("at the dot", until("dot", say(b"554 5.6.0 not liked\r\n")), "5.6.0", "not liked"),
    ("without an enhanced code", until("RCPT", say(b"550 gone\r\n")), "5.", "gone"),
]


@pytest.mark.parametrize(("what", "behaviour", "status", "words"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_refused_mail_comes_back(
    tmp_path: Path, sink: RecordingSink, what: str, behaviour: Misbehave, status: str, words: str
) -> None:
    host = Host(behaviour, sink)
    reports = '[reports]\ncollect = "100ms"\n'
    with running(tmp_path, RELAY + reports + route_to("refusing", host.port)) as site:
        send(site, 1, "b@refusing.test", sender="sender@here.test")
        report = one_report(site)
        assert f"Status: {status}" in report, report
        assert "Action: failed" in report
        assert words in report
        assert "b@refusing.test" in report
        assert site.queue() == []
    host.close()


def test_a_report_that_cannot_be_delivered_goes_nowhere(tmp_path: Path) -> None:
    host = RecordingSink(refuse=lambda command: "550 5.1.1 no such person" if command[:4] == "RCPT" else None)
    with running(tmp_path, RELAY + '[reports]\ncollect = "100ms"\n' + route_to("refusing", host.port)) as site:
        send(site, 1, "b@refusing.test", sender="sender@refusing.test")
        send(site, 2, "b@refusing.test", sender="")
        wait_until(lambda: site.metric("angarium_failed_total") >= 3, lambda: site.facts())
        wait_until(lambda: site.queue() == [], lambda: site.queue())
    host.close()


def one_report(site: Site) -> str:
    """The only mail in the sender's mailbox."""
    wait_until(lambda: len(site.mails("here")) == 1, lambda: (site.queue(), site.facts()))
    (mail,) = site.mails("here")
    assert mail["Return-Path"] == "<>"
    assert mail.get_content_type() == "multipart/report"
    return mail.as_string()
