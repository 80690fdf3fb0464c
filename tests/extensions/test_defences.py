"""The named attacks of the last ten years against the running server: smuggling, chunks, injection, odd orders.

One server takes them all; behind each the session, or the next one, must work, and nothing but what is meant may lie in
the mailbox.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import Site, running, wait_until
from tests.talk import Talk, content

TABLES = """
[local]
domains = { "here.test" = "here" }
recipients = ["b@here.test", "postmaster@here.test"]

[limits]
sessions_per_address = 1000
"""
LISTEN = 'profile = "mx"\nmax_size = "64KiB"\nauthenticate = "off"'
EVIL = b"MAIL FROM:<evil@here.test>\r\nRCPT TO:<b@here.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("defences"), TABLES, listen=LISTEN) as site:
        yield site


def delivered(site: Site, subject: str) -> None:
    """A message sent now arrives, and no smuggled one before it."""
    with Talk(site.port) as talk:
        assert talk.mail("a@far.test", ["b@here.test"], content(subject)).startswith("250")
    wait_until(lambda: subject in subjects(site), lambda: subjects(site))
    assert "smuggled" not in subjects(site)


def subjects(site: Site) -> list[str]:
    return [str(mail["Subject"]) for mail in site.mails("here")]


ENDINGS = {
    "lf-dot-lf": b"\n.\n",
    "lf-dot-crlf": b"\n.\r\n",
    "crlf-dot-lf": b"\r\n.\n",
    "cr-dot-cr": b"\r.\r",
    "cr-dot-crlf": b"\r.\r\n",
    "crlf-dot-cr": b"\r\n.\r",
    "crlf-nul-dot-crlf": b"\r\n\0.\r\n",
    "crlf-dot-nul-crlf": b"\r\n.\0\r\n",
    "crcrlf-dot-crcrlf": b"\r\r\n.\r\r\n",
    "lf-dots-crlf": b"\n..\r\n",
    "lfcr-dot-lfcr": b"\n\r.\n\r",
}


@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_no_ending_but_one_ends_a_message(site: Site, ending: bytes, split: bool) -> None:
    with Talk(site.port) as talk:
        talk.envelope("a@far.test", "b@here.test")
        talk.data()
        octets = content("smuggler") + b"first" + ending + EVIL
        for piece in (bytes([octet]) for octet in octets) if split else (octets,):
            talk.send(piece)
        assert talk.read().startswith("550 5.6.0")
        assert talk.say("NOOP").startswith("250")
    delivered(site, f"behind {ending!r} {split}")
    assert "smuggler" not in subjects(site)


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_no_ending_ends_a_chunk(site: Site, ending: bytes) -> None:
    with Talk(site.port) as talk:
        talk.envelope("a@far.test", "b@here.test")
        octets = content("smuggler") + b"first" + ending + EVIL
        talk.send(b"BDAT %d LAST\r\n" % len(octets) + octets)
        assert talk.read().startswith("550 5.6.0")
        # A chunk before, DATA behind it: dots count again and nothing else does.
        talk.envelope("a@far.test", "b@here.test")
        talk.data()
        talk.send(octets)
        assert talk.read().startswith("550 5.6.0")
    delivered(site, f"behind a chunk {ending!r}")


# BDAT


def test_a_last_chunk_of_nothing(site: Site) -> None:
    with Talk(site.port) as talk:
        talk.envelope("a@far.test", "b@here.test")
        octets = content("in two chunks")
        talk.send(b"BDAT %d\r\n" % len(octets) + octets + b"BDAT 0 LAST\r\n")
        assert [talk.read()[:3], talk.read()[:3]] == ["250", "250"]
    wait_until(lambda: "in two chunks" in subjects(site), lambda: subjects(site))


def test_octets_of_refused_chunks_are_no_commands(site: Site) -> None:
    with Talk(site.port) as talk:
        assert talk.say("MAIL FROM:<a@far.test>").startswith("250")
        assert talk.say("RCPT TO:<nobody@here.test>").startswith("550")
        talk.send(b"BDAT %d LAST\r\n" % len(EVIL) + EVIL)
        assert talk.read()[0] == "5"
        assert talk.say("NOOP").startswith("250")
    delivered(site, "behind a refused chunk")


def test_chunks_and_data_do_not_mix(site: Site) -> None:
    with Talk(site.port) as talk:
        talk.envelope("a@far.test", "b@here.test")
        talk.send(b"BDAT 4\r\nx: y")
        assert talk.read().startswith("250")
        assert talk.say("DATA").startswith("503")
        assert talk.say("RSET").startswith("250")
        talk.send(b"BDAT 4 LAST\r\nQUIT")
        assert talk.read().startswith("503")
        assert talk.say("NOOP").startswith("250")


def test_reset_between_chunks_forgets_them(site: Site) -> None:
    with Talk(site.port) as talk:
        talk.envelope("a@far.test", "b@here.test")
        talk.send(b"BDAT 19\r\nSubject: smuggled\r\nRSET\r\n")
        assert [talk.read()[:3], talk.read()[:3]] == ["250", "250"]
        talk.envelope("a@far.test", "b@here.test")
        octets = content("behind a reset")
        talk.send(b"BDAT %d LAST\r\n" % len(octets) + octets)
        assert talk.read().startswith("250")
    wait_until(lambda: "behind a reset" in subjects(site), lambda: subjects(site))
    assert "smuggled" not in subjects(site)


@pytest.mark.parametrize("size", ["65537", "18446744073709551615", "99999999999999999999999", "-1", "0x10", ""])
def test_sizes_beyond_the_limit(site: Site, size: str) -> None:
    with Talk(site.port) as talk:
        talk.envelope("a@far.test", "b@here.test")
        talk.send(
            f"BDAT {size} LAST\r\n".encode() + b"x" * 65_537 if size == "65537" else f"BDAT {size} LAST\r\n".encode()
        )
        if size == "18446744073709551615":
            # As large as numbers are: it is read on and on, and nothing of it is a command.
            talk.send(EVIL)
            talk.reset()
        else:
            assert talk.read()[:3] in ("552", "501")
    delivered(site, f"behind BDAT {size}")


def test_pipelined_chunks_are_answered_in_their_order(site: Site) -> None:
    with Talk(site.port) as talk:
        octets = content("many chunks")
        chunks = b"".join(b"BDAT 1\r\n" + bytes([octet]) for octet in octets)
        talk.send(b"MAIL FROM:<a@far.test>\r\nRCPT TO:<b@here.test>\r\n" + chunks + b"BDAT 0 LAST\r\nNOOP\r\n")
        assert [talk.read()[:3] for _ in range(len(octets) + 4)] == ["250"] * (len(octets) + 4)
    wait_until(lambda: "many chunks" in subjects(site), lambda: subjects(site))


# Injection


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<a\r@far.test>",
        b"MAIL FROM:<a\0@far.test>",
        b"MAIL FROM:<a@far.test\n>",
        b"MAIL FROM:<\xe9@far.test>",
        b'MAIL FROM:<"a\r"@far.test>',
        b"MAIL FROM:<" + b"a" * 65 + b"@far.test>",
        b"MAIL FROM:<a@" + b"b." * 130 + b"test>",
        b"MAIL FROM:<a@far.test> ENVID=a+0D+0Ab",
        b"MAIL FROM:<a@far.test> ENVID=a+zz",
        b"MAIL FROM:<a@far.test> AUTH=a+0Ab",
        b"MAIL FROM:<a@far.test> SIZE=1 SIZE=2",
        b"MAIL FROM:<a@far.test> BODY=8BITMIME\0",
        b"MAIL FROM:<@evil.test,@b.test:a@far.test> X=Y",
        b"MAIL FROM:<a@far.test>RET=FULL",
        b"MAIL FROM: <a@far.test> <b@far.test>",
    ],
)
def test_mail_that_holds_what_it_may_not(site: Site, line: bytes) -> None:
    with Talk(site.port) as talk:
        assert talk.say(line)[0] == "5"
        assert talk.say("QUIT")[:3] in ("221", "500")


@pytest.mark.parametrize(
    "path",
    [
        b"b%far.test@here.test",
        b"far.test!b@here.test",
        b'"b@far.test"@here.test',
        b"@here.test:b@far.test",
        b"b@far.test@here.test",
        b"b@here.test> ORCPT=rfc822;a+0D+0Ab",
        b"b@here.test> ORCPT=rfc822",
        b"b@here.test> NOTIFY=NEVER,SUCCESS",
        b"b\r@here.test",
        b"b\n@here.test",
    ],
)
def test_no_way_around_who_may_be_sent_to(site: Site, path: bytes) -> None:
    with Talk(site.port) as talk:
        assert talk.say("MAIL FROM:<a@far.test>").startswith("250")
        assert talk.say(b"RCPT TO:<" + path + (b"" if b">" in path else b">"))[0] == "5"


@pytest.mark.parametrize("line", ["AUTH PLAIN =", "AUTH PLAIN !!!!", "AUTH \0", "AUTH PLAIN " + "A" * 13_000, "AUTH"])
def test_auth_where_there_is_none(site: Site, line: str) -> None:
    with Talk(site.port) as talk:
        assert talk.say(line)[0] == "5"
        assert talk.say("NOOP").startswith("250")


# Odd


def test_commands_behind_data_wait_for_its_answer(site: Site) -> None:
    """What is pipelined behind DATA is content (RFC 2920 3.1), whatever it looks like."""
    with Talk(site.port) as talk:
        talk.send(b"MAIL FROM:<a@far.test>\r\nRCPT TO:<b@here.test>\r\nDATA\r\nRSET\r\nQUIT\r\n\r\n.\r\nNOOP\r\n")
        assert [talk.read()[:3] for _ in range(5)] == ["250", "250", "354", "250", "250"]


def test_a_refused_sender_takes_what_is_pipelined_with_it(site: Site) -> None:
    with Talk(site.port) as talk:
        talk.send(b"MAIL FROM:<a b>\r\nRCPT TO:<b@here.test>\r\nDATA\r\nNOOP\r\n")
        assert [talk.read()[0] for _ in range(4)] == ["5", "5", "5", "2"]


def test_a_client_that_never_reads_is_let_go(site: Site) -> None:
    with Talk(site.port) as talk:
        talk.socket.settimeout(5)
        with pytest.raises((TimeoutError, OSError)):
            for _ in range(10_000):
                talk.socket.sendall(b"NOOP\r\n" * 1_000)
        talk.reset()
    wait_until(lambda: sessions(site) == 0, lambda: site.metrics())


def test_half_closed_in_every_state(site: Site) -> None:
    for said in (b"", b"EHLO c.test\r\n", b"EHLO c.test\r\nMAIL FROM:<a@far.test>\r\n", b"NOO"):
        with socket.create_connection(("127.0.0.1", site.port), 20) as client:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
    wait_until(lambda: sessions(site) == 0, lambda: site.metrics())


def sessions(site: Site) -> float:
    return site.metrics()["angarium_sessions"]


def test_many_idle_sessions_cost_nobody_a_greeting(site: Site, tmp_path: Path) -> None:
    """As many as the descriptors of a test allow; the bench takes more."""
    idle = [Talk(site.port) for _ in range(200)]
    delivered(site, "between the idle")
    assert all(talk.say("NOOP").startswith("250") for talk in idle)
    for talk in idle:
        talk.close()
