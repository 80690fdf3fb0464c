"""The extensions beside the way of a message, over real sockets: PROXY, XCLIENT, XFORWARD, ETRN, PRDR, LIMITS, VRFY,
EXPN, HELP, REQUIRETLS, and texts of the site's own."""

from __future__ import annotations

import re
import socket
import struct
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.extensions.far import Far, site_with
from tests.site import Site, relay, running, wait_until
from tests.talk import Talk, content

CLIENT = "198.51.100.7"
VERSION_1 = b"PROXY TCP4 198.51.100.7 127.0.0.1 4000 25\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXIED = 'profile = "mx"\nproxy_networks = ["127.0.0.0/8"]'
TRUSTED = 'xclient_networks = ["127.0.0.1"]'


def version_2(command: int, additions: bytes = b"") -> bytes:
    """A header for TCP over IPv4; command 0: LOCAL."""
    addresses = socket.inet_aton(CLIENT) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 4000, 25)
    body = addresses + additions
    return SIGNATURE + bytes([0x20 | command, 0x11]) + struct.pack("!H", len(body)) + body


def received(site: Site, mailbox: str = "here") -> str:
    """Our own Received field of the only message."""
    wait_until(lambda: bool(site.mails(mailbox)), site.queue)
    (mail,) = site.mails(mailbox)
    return " ".join(str(mail["Received"]).split())


# PROXY


def words(site: Site, first: bytes) -> bytes:
    """The first octets that come back; none when the connection ends, also by a reset."""
    with socket.create_connection(("127.0.0.1", site.port), 30) as client:
        client.sendall(first)
        try:
            return client.recv(100)
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("header", [VERSION_1, version_2(1)], ids=["v1", "v2"])
def test_the_client_behind_a_proxy_is_the_client(tmp_path: Path, header: bytes) -> None:
    with site_with(tmp_path, listen=PROXIED) as plain:
        with Talk(plain.port, first=header) as talk:
            assert talk.say("MAIL FROM:<a@far.test>").startswith("250")
            # The proxy's network may relay; the client's may not.
            assert talk.say("RCPT TO:<b@far.test>").startswith("550 5.7.1")
            assert talk.say("RCPT TO:<b@here.test>").startswith("250")
            talk.data()
            talk.send(content() + b".\r\n")
            assert talk.read().startswith("250")
        assert CLIENT in received(plain)


def test_a_health_check_is_quiet(tmp_path: Path) -> None:
    with site_with(tmp_path, listen=PROXIED, rest="") as site:
        before, figures = site.log(), site.metrics()
        socket.create_connection(("127.0.0.1", site.port), 20).close()
        with Talk(site.port, first=version_2(0)) as talk:
            assert talk.greeting.startswith("220")
        assert site.log() == before
        changed = {name for name, value in site.metrics().items() if value != figures.get(name) and "proxy" in name}
        assert not changed


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.test\r\n",
        b"PROXY TCP4 198.51.100.7\r\n",
        b"PROXY TCP4 198.51.100.7 127.0.0.1 4000 99999\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x31\x11\0\x0c" + b"\0" * 12,
    ],
)
def test_no_header_or_a_bad_one_ends_without_a_word(tmp_path: Path, header: bytes) -> None:
    with site_with(tmp_path, listen=PROXIED) as site:
        assert words(site, header) == b""


def test_words_of_a_proxy_add_no_lines_to_the_header(tmp_path: Path) -> None:
    """PP2_TYPE_SSL with a version and a cipher that hold line ends."""

    def addition(kind: int, value: bytes) -> bytes:
        return struct.pack("!BH", kind, len(value)) + value

    bad = b"TLSv1.3\r\nX-Bad: yes"
    tls = addition(0x20, bytes([1]) + struct.pack("!I", 0) + addition(0x21, bad) + addition(0x23, bad))
    with site_with(tmp_path, listen=PROXIED) as site:
        assert words(site, version_2(1, tls)) == b""
        good = addition(0x20, bytes([1]) + struct.pack("!I", 0) + addition(0x21, b"TLSv1.3"))
        with Talk(site.port, first=version_2(1, good)) as talk:
            assert talk.mail("a@far.test", ["b@here.test"], content()).startswith("250")
        assert "TLSv1.3" in received(site)


# XCLIENT and XFORWARD


def test_xclient_is_another_client(tmp_path: Path) -> None:
    with site_with(tmp_path, suspended=True, listen=TRUSTED) as site, Talk(site.port) as talk:
        assert talk.say(f"XCLIENT ADDR={CLIENT} HELO=other.test").startswith("220")
        talk.say("EHLO other.test")
        assert talk.say("MAIL FROM:<a@far.test>").startswith("250")
        assert talk.say("RCPT TO:<b@far.test>").startswith("550 5.7.1")


def test_xclient_brings_the_limits_of_its_client(tmp_path: Path) -> None:
    listen = f"{TRUSTED}\n[listen.limits.address]\nsessions = 1\n"
    with site_with(tmp_path, suspended=True, listen=listen) as site, Talk(site.port) as one, Talk(site.port) as two:
        assert one.say(f"XCLIENT ADDR={CLIENT}").startswith("220")
        assert two.say(f"XCLIENT ADDR={CLIENT}").startswith("421 4.7.0 Too many sessions at once of your address")


def test_a_login_by_xclient_sends_as_itself(tmp_path: Path) -> None:
    listen = f'{TRUSTED}\nsenders = "envelope"'
    with site_with(tmp_path, suspended=True, listen=listen) as site, Talk(site.port) as talk:
        assert talk.say(f"XCLIENT ADDR={CLIENT} LOGIN=ann@here.test").startswith("220")
        talk.say("EHLO other.test")
        assert talk.say("MAIL FROM:<bob@here.test>").startswith("553 5.7.1")
        assert talk.say("MAIL FROM:<ann@here.test>").startswith("250")
        assert talk.say("RCPT TO:<b@far.test>").startswith("250")


@pytest.mark.parametrize("verb", ["XCLIENT", "XFORWARD"])
def test_line_ends_in_what_a_proxy_says_are_refused(tmp_path: Path, verb: str) -> None:
    with site_with(tmp_path, suspended=True, listen=TRUSTED) as site, Talk(site.port) as talk:
        assert talk.say(f"{verb} HELO=a+0D+0AX-Bad:+20yes").startswith("501")


def test_xforward_shows_in_the_journal(tmp_path: Path) -> None:
    with site_with(tmp_path, suspended=True, listen=TRUSTED) as site, Talk(site.port) as talk:
        assert talk.say(f"XFORWARD ADDR={CLIENT} PORT=4000 HELO=origin.test").startswith("250")
        assert talk.mail("a@far.test", ["b@far.test"], content()).startswith("250")
        assert talk.mail("a@far.test", ["c@far.test"], content()).startswith("250")
        # It counts for the next message alone.
        wait_until(lambda: len(site.facts()) == 2, site.facts)
        peers = [str(fact["about"]["peer"]).rpartition(":")[0] for fact in site.facts()]
        assert peers == [CLIENT, "127.0.0.1"]


# ETRN


@pytest.mark.parametrize(("word", "domain"), [("far.test", "far.test"), ("@far.test", "sub.far.test")])
def test_etrn_tries_a_domain_again(tmp_path: Path, word: str, domain: str) -> None:
    answers = iter(["451 4.2.0 later"])

    def once(line: str) -> str | None:
        return next(answers, None) if line.startswith("RCPT") else None

    with Far(refuse=once) as far, site_with(tmp_path, far.port, listen='with = ["ETRN"]') as site:
        with Talk(site.port) as talk:
            assert "ETRN" in talk.capabilities
            assert talk.mail("a@here.test", [f"b@{domain}"], content()).startswith("250")
            wait_until(lambda: [row["attempts"] for row in site.queue()] == [1], site.queue)
            assert talk.say("ETRN other.test").startswith("250")
            assert talk.say("ETRN #queue").startswith("504")
            assert talk.say(f"ETRN {word}").startswith("250")
        wait_until(lambda: bool(far.messages), site.queue)


def test_etrn_is_not_for_strangers(tmp_path: Path) -> None:
    with (
        site_with(tmp_path, listen=f'{PROXIED}\nwith = ["ETRN", "EXPN"]') as site,
        Talk(site.port, first=VERSION_1) as talk,
    ):
        assert "ETRN" not in talk.capabilities
        assert talk.say("ETRN far.test").startswith("502")
        assert talk.say("EXPN b@here.test").startswith("502")


# PRDR, LIMITS, VRFY, EXPN, HELP


def test_prdr_answers_for_each_recipient(tmp_path: Path) -> None:
    with site_with(tmp_path, suspended=True, listen='with = ["PRDR"]') as site, Talk(site.port) as talk:
        assert "PRDR" in talk.capabilities
        assert talk.say("MAIL FROM:<a@here.test> PRDR").startswith("250")
        for name in "bc":
            assert talk.say(f"RCPT TO:<{name}@far.test>").startswith("250")
        talk.data()
        talk.send(content() + b".\r\n")
        assert [talk.read()[:3] for _ in range(4)] == ["353", "250", "250", "250"]
        assert talk.say("NOOP").startswith("250")


def test_limits_are_told_and_kept(tmp_path: Path) -> None:
    rest = "[limits]\ntransactions_per_session = 1\n"
    with site_with(tmp_path, suspended=True, listen="max_recipients = 2", rest=rest) as site, Talk(site.port) as talk:
        assert "LIMITS MAILMAX=1 RCPTMAX=2" in talk.capabilities
        talk.envelope("a@here.test", "b@far.test", "c@far.test")
        assert talk.say("RCPT TO:<d@far.test>").startswith("452 4.5.3")
        talk.data()
        talk.send(content() + b".\r\n")
        assert talk.read().startswith("250")
        assert talk.say("MAIL FROM:<a@here.test>").startswith("421")
        assert talk.is_closed()


WITH = 'with = ["VRFY", "EXPN"]'


@pytest.mark.parametrize(
    ("listen", "line", "says"),
    [
        (WITH, "VRFY b@here.test", "250 2.1.5 <b@here.test>"),
        (WITH, "VRFY nobody@here.test", "550 5.1.1"),
        (WITH, "VRFY b@far.test", "252"),
        (WITH, "EXPN <b@here.test>", "250 2.1.5 <b@here.test>"),
        (WITH, "EXPN nobody@here.test", "550 5.1.1"),
        (WITH, "EXPN list@far.test", "550 5.7.1"),
        ("", "VRFY nobody@here.test", "252"),
        ("", "EXPN b@here.test", "502"),
        ("", "HELP", "214"),
        ("", "HELP MAIL", "214"),
    ],
)
def test_questions_about_addresses(tmp_path: Path, listen: str, line: str, says: str) -> None:
    with running_with_one(tmp_path, listen) as site, Talk(site.port) as talk:
        assert talk.say(line).startswith(says)


def running_with_one(folder: Path, listen: str) -> AbstractContextManager[Site]:
    local = '[local]\ndomains = { "here.test" = "here" }\nrecipients = ["b@here.test"]\n'
    return running(folder, relay(9, suspended=True) + local, listen=listen)


# REQUIRETLS


def test_requiretls_is_for_tls_and_reaches_no_host_without_it(tmp_path: Path) -> None:
    with Far() as far, site_with(tmp_path, far.port) as site, Talk(site.port) as talk:
        assert "REQUIRETLS" not in talk.capabilities
        assert talk.say("MAIL FROM:<a@here.test> REQUIRETLS").startswith("555")
        talk.starttls()
        assert "REQUIRETLS" in talk.capabilities
        assert talk.say("MAIL FROM:<a@here.test> REQUIRETLS").startswith("250")
        assert talk.say("RCPT TO:<b@far.test>").startswith("250")
        talk.data()
        talk.send(content() + b".\r\n")
        assert talk.read().startswith("250")
        wait_until(lambda: any(fact["kind"] in ("settled", "slept") for fact in site.facts()), site.facts)
        assert not far.messages
        assert not far.lines


# Texts and names


def test_texts_of_the_site_reach_every_reply(tmp_path: Path) -> None:
    replies = """replies = { "221" = "{hostname} says bye", "500" = "{text}? Ask {hostname} ({id})", \
"503" = "Not now", "550 5.7.1" = "Write to help@here.test about {id}", "250" = "Fine" }"""
    with site_with(tmp_path, listen=f"{PROXIED}\n{replies}") as site, Talk(site.port, first=VERSION_1) as talk:
        assert talk.greeting.startswith("220 mx.site.test ")
        assert talk.capabilities.startswith("250-mx.site.test\n")
        assert talk.say("DATA") == "503 5.5.1 Not now"
        unknown = talk.say("NONSENSE")
        named = re.fullmatch(r"500 5\.5\.1 .+\? Ask mx\.site\.test \(([0-9a-f]+)\)", unknown)
        assert named, unknown
        assert talk.say("NOOP") == "250 2.0.0 Fine"
        assert talk.say("MAIL FROM:<a@far.test>") == "250 2.1.0 Fine"
        reply = talk.say("RCPT TO:<b@far.test>")
        assert re.fullmatch(r"550 5\.7\.1 Write to help@here\.test about \w+", reply), reply
        assert talk.say("QUIT") == "221 2.0.0 mx.site.test says bye"


def test_a_session_has_one_name_in_replies_and_the_journal(tmp_path: Path) -> None:
    with site_with(tmp_path, listen=PROXIED) as site, Talk(site.port, first=VERSION_1) as talk:
        assert talk.say("MAIL FROM:<a@far.test>").startswith("250")
        refused = talk.say("RCPT TO:<b@far.test>")
        talk.say("RSET")
        assert talk.mail("a@far.test", ["b@here.test"], content()).startswith("250")
        wait_until(lambda: bool(site.facts(kind="received")), site.facts)
        about = site.facts(kind="received")[0]["about"]
        assert refused.startswith("550 5.7.1")
        assert refused.endswith(f"[{about['session']}]")
