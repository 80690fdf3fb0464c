"""The Python face of the SMTP room: events, answers, errors. What the room does is proven in rust/core/smtp."""

from __future__ import annotations

import pytest
from angarium.errors import SmtpError
from angarium.smtp import (
    Auth,
    AuthResponse,
    Body,
    Broken,
    Chunk,
    Client,
    Data,
    Early,
    End,
    Etrn,
    Garbage,
    Hangup,
    Hello,
    Mail,
    Quit,
    Rcpt,
    Reply,
    Reset,
    Server,
    StartTls,
    Vrfy,
    Xclient,
    Xforward,
)
from hypothesis import given
from hypothesis import strategies as st

ENVELOPE = b"EHLO c.example\r\nMAIL FROM:<a@b.example> SIZE=7 SMTPUTF8\r\nRCPT TO:<postmaster>\r\nDATA\r\n"


def greeted(**settings) -> Server:
    server = Server("mx.example", **settings)
    server.greet()
    server.data_to_send()
    return server


def play(server: Server, data: bytes) -> list[object]:
    """All events of `data`, everything accepted."""
    events: list[object] = []
    server.receive_data(data)
    while (event := server.next_event()) is not None:
        events.append(event)
        if server.awaits:
            server.accept()
    return events


def test_a_whole_session():
    server = Server("mx.example", banner="hello")
    server.greet()
    assert server.data_to_send() == b"220 mx.example hello\r\n"
    events = play(server, ENVELOPE + b"Subject: x\r\n\r\n..y\r\n.\r\nVRFY joe\r\nRSET\r\nQUIT\r\n")
    assert [type(event).__name__.removeprefix("Smtp") for event in events] == [
        *("Hello", "Mail", "Rcpt", "Data", "Body", "Body", "End", "Vrfy", "Reset", "Quit")
    ]
    match events:
        case [
            Hello("c.example", True),
            Mail("a@b.example", 7, "7BIT", True),
            Rcpt("postmaster@mx.example", True),
            Data(),
            Body(b"Subject: x\r\n\r\n"),
            Body(b".y\r\n"),
            End(size=18, body="7BIT"),
            Vrfy("joe"),
            Reset(),
            Quit(),
        ]:
            pass
        case _:
            pytest.fail(str(events))
    assert server.is_closed
    assert b"354" in server.data_to_send()
    assert server.data_to_send() == b""


def test_events_are_values():
    one, two = (play(greeted(), ENVELOPE) for _ in range(2))
    assert one == two
    assert one[0] != one[1]
    assert repr(one[1]) == "Mail(sender='a@b.example', size=7, body='7BIT', smtputf8=True)"
    with pytest.raises(AttributeError):
        one[1].sender = "x"  # type: ignore[attr-defined]


def test_answers():
    server = greeted()
    server.receive_data(b"EHLO c.example\r\nNOOP\r\n")
    assert server.next_event() == play(greeted(), b"EHLO c.example\r\n")[0]
    assert server.awaits == "EHLO"
    assert server.next_event() is None, "nothing is read while an answer is owed"
    server.reply(550, "Not\nyou", enhanced="5.7.1")
    assert server.data_to_send() == b"550-5.7.1 Not\r\n550 5.7.1 you\r\n"
    assert server.next_event() is None
    assert server.data_to_send() == b"250 2.0.0 OK\r\n"
    assert (server.state, server.is_idle, server.errors) == ("fresh", True, 0)


def test_content_that_breaks():
    server = greeted()
    events = play(server, ENVELOPE + b"bare\nLF\r\n.\r\n")
    assert isinstance(events[-1], Broken)
    assert (events[-1].code, server.state) == (550, "ready")
    server.receive_data(b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n")
    while server.next_event() is not None:
        server.accept()
    server.refuse_content(452, "Full", enhanced="4.3.1")
    server.data_to_send()
    assert play(server, b"text\r\n.\r\n") == []
    assert server.data_to_send() == b"452 4.3.1 Full\r\n"


def test_the_ends():
    server = greeted(max_errors=1)
    assert isinstance(play(server, b"FROB\r\n")[0], Hangup)
    assert server.is_closed
    server = greeted()
    play(server, ENVELOPE + b"half")
    assert server.eof() == "content"
    server = greeted()
    server.close(421, "Stopping", enhanced="4.3.2")
    assert (server.is_closed, server.data_to_send()) == (True, b"421 4.3.2 Stopping\r\n")
    server = Server("mx.example")
    server.receive_data(b"EHLO early.example\r\n")
    assert isinstance(server.next_event(), Early)
    server.refuse(554, "You spoke first")
    assert (server.state, server.data_to_send()) == ("refused", b"554 You spoke first\r\n")


def test_our_mistakes_are_loud():
    server = greeted()
    for call in (server.accept, lambda: server.reply(250, "ok"), server.greet, lambda: server.refuse_content(550, "")):
        with pytest.raises(SmtpError):
            call()
    play(server, b"NOOP\r\n")
    server.receive_data(b"VRFY a\r\n")
    server.next_event()
    for bad in ((250, "a\r\nb", None), (99, "", None), (250, "", "5.0.0"), (250, "", "2.0")):
        with pytest.raises(ValueError, match=r"code|text"):
            server.reply(bad[0], bad[1], enhanced=bad[2])
    settings = (
        {"hostname": "not a host"},
        {"max_line": 999},
        {"banner": "a\r\nb"},
        {"extensions": ["FROB"]},
        {"bare_newline": "perhaps"},
    )
    for wrong in settings:
        with pytest.raises(ValueError, match=r"."):
            Server(**{"hostname": "mx.example", **wrong})  # type: ignore[arg-type]


def connected(*, ehlo: bytes = b"250-mx.example\r\n250-PIPELINING\r\n250-SIZE 100\r\n250 8BITMIME\r\n") -> Client:
    client = Client()
    client.receive_data(b"220 mx.example\r\n")
    assert client.next_event() == client_reply("greeting", 220, "mx.example")
    client.send("ehlo", "c.example")
    client.receive_data(ehlo)
    client.next_event()
    client.data_to_send()
    return client


def client_reply(command: str, code: int, text: str, enhanced: str | None = None) -> object:
    """The event, made the only way there is: by a reply."""
    client = Client()
    if command != "greeting":
        client.receive_data(b"220 x\r\n")
        client.send("HELO", "x")
        client.receive_data(b"250 x\r\n")
        client.send(command)
        client.next_event()
        client.next_event()
    client.receive_data(f"{code} {enhanced + ' ' if enhanced else ''}{text}\r\n".encode())
    return client.next_event()


def test_client_sends_a_message():
    client = connected()
    assert client.capabilities.extensions == ["PIPELINING", "SIZE", "8BITMIME"]
    assert (client.capabilities.hostname, client.capabilities.size) == ("mx.example", 100)
    client.send("MAIL", "a@b.example", size=9, eight_bit=True)
    client.send("RCPT", "c@d.example")
    client.send("DATA")
    assert (client.outstanding, client.awaits, client.may_send) == (3, "MAIL", False)
    assert client.data_to_send() == (
        b"MAIL FROM:<a@b.example> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"
    )
    client.receive_data(b"250 2.1.0 ok\r\n550 5.1.1 no\r\n354 go\r\n")
    replies = [client.next_event() for _ in range(3)]
    assert [(r.command, r.code, r.enhanced) for r in replies if isinstance(r, Reply)] == [
        ("MAIL", 250, "2.1.0"),
        ("RCPT", 550, "5.1.1"),
        ("DATA", 354, None),
    ]
    assert client.is_in_content
    client.body(b".a\r")
    client.body(b"\nb")
    client.end_body()
    client.send("QUIT")
    assert client.data_to_send() == b"..a\r\nb\r\n.\r\nQUIT\r\n"
    client.receive_data(b"250 2.0.0 kept\r\n221 2.0.0 bye\r\n")
    assert client.next_event() is not None
    assert client.next_event() == client_reply("QUIT", 221, "bye", "2.0.0")
    assert client.next_event() is None


def test_client_refuses():
    client = connected(ehlo=b"250 mx.example\r\n")
    with pytest.raises(SmtpError, match="8BITMIME"):
        client.send("MAIL", "a@b.example", eight_bit=True)
    with pytest.raises(SmtpError):
        client.send("RCPT", "a@b.example>\r\nRSET")
    with pytest.raises(SmtpError):
        client.body(b"x")
    with pytest.raises(ValueError, match="FROB"):
        client.send("FROB")
    client.send("RSET")
    with pytest.raises(SmtpError):
        client.send("RSET")
    assert client.data_to_send() == b"RSET\r\n"


def test_garbage_is_a_value():
    client = connected()
    client.send("RSET")
    client.receive_data(b"250 ok\r\n<html>\r\n")
    first, second = client.next_event(), client.next_event()
    assert (isinstance(first, Reply), isinstance(second, Garbage), client.next_event()) == (True, True, None)


@given(st.lists(st.sampled_from([b"a", b".", b"\r\n", b"\r", b"\n"]), max_size=20), st.integers(1, 5))
def test_what_a_client_sends_a_server_keeps(pieces: list[bytes], size: int):
    content = b"".join(pieces)
    client = connected()
    client.send("DATA")
    client.receive_data(b"354 go\r\n")
    client.data_to_send()
    try:
        for at in range(0, len(content), size):
            client.body(content[at : at + size])
        client.end_body()
    except SmtpError:
        assert b"\r" in content.replace(b"\r\n", b"") or b"\n" in content.replace(b"\r\n", b"")
        return
    server = greeted()
    play(server, ENVELOPE)
    events = play(server, client.data_to_send())
    kept = b"".join(event.data for event in events if isinstance(event, Body))
    assert isinstance(events[-1], End)
    whole = content.endswith(b"\r\n") or not content
    assert kept == (content if whole else content + b"\r\n")


EXTENSIONS = [
    *(
        "PIPELINING",
        "SIZE",
        "8BITMIME",
        "ENHANCEDSTATUSCODES",
        "SMTPUTF8",
        "STARTTLS",
        "AUTH",
        "CHUNKING",
        "BINARYMIME",
    ),
    *(
        "DSN",
        "DELIVERBY",
        "FUTURERELEASE",
        "MT-PRIORITY",
        "REQUIRETLS",
        "LIMITS",
        "ETRN",
        "PRDR",
        "XCLIENT",
        "XFORWARD",
    ),
]


def extended(**settings) -> Server:
    options = {
        "extensions": EXTENSIONS,
        "mechanisms": ["PLAIN", "SCRAM-SHA-256"],
        "limits": [("MAILMAX", 9)],
        **settings,
    }
    server = Server("mx.example", **options)
    server.set_now(1_795_608_000)
    server.greet()
    server.data_to_send()
    return server


def test_parameters_and_chunks():
    server = extended()
    mail = b"MAIL FROM:<> RET=HDRS ENVID=a+2Bb AUTH=<> BY=90;RT HOLDFOR=5 MT-PRIORITY=-2 REQUIRETLS PRDR\r\n"
    rcpt = b"RCPT TO:<c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y.example\r\n"
    events = play(server, b"EHLO c.example\r\n" + mail + rcpt + b"BDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\n")
    assert b"250-AUTH SCRAM-SHA-256 PLAIN\r\n" in server.data_to_send()
    match events[1:]:
        case [
            Mail(ret="HDRS", envid="a+b", auth="<>", by=(90, "return", True), hold_for=5, priority=-2, prdr=True),
            Rcpt(notify=["SUCCESS", "DELAY"], orcpt="rfc822;x@y.example"),
            Chunk(3, False, first=True),
            Body(b"a\r\n"),
            Chunk(3, True, first=False),
            Body(b"b\r\n"),
            End(6, "7BIT"),
        ]:
            pass
        case _:
            pytest.fail(str(events))
    assert repr(events[2]).endswith("notify=['SUCCESS', 'DELAY'], orcpt='rfc822;x@y.example')")


def test_a_login():
    server = extended(login_required=True)
    assert len(play(server, b"EHLO c.example\r\nMAIL FROM:<>\r\n")) == 1
    server.receive_data(b"AUTH PLAIN =\r\nAGEAYg==\r\n")
    assert server.next_event() == play(extended(), b"EHLO c.example\r\nAUTH PLAIN =\r\n")[1]
    server.challenge(b"go on")
    match server.next_event():
        case AuthResponse(b"\0a\0b"):
            server.accept()
        case other:
            pytest.fail(str(other))
    assert server.data_to_send().endswith(
        b"530 5.7.0 Authentication required; log in with AUTH\r\n334 Z28gb24=\r\n235 2.7.0 Authentication succeeded\r\n"
    )
    assert server.is_logged_in
    server.receive_data(b"NOOP\r\n")
    with pytest.raises(SmtpError):
        server.challenge(b"")
    cancelled = play(extended(), b"EHLO c.example\r\nAUTH PLAIN\r\n")
    assert isinstance(cancelled[1], Auth)


def test_starttls():
    server = extended()
    events = play(server, b"EHLO c.example\r\nSTARTTLS\r\n")
    assert isinstance(events[-1], StartTls)
    assert server.state == "securing"
    server.secured()
    assert (server.is_secure, server.state, "STARTTLS" in server.offered) == (True, "fresh", False)
    with pytest.raises(SmtpError):
        server.secured()
    assert isinstance(play(extended(), b"EHLO c.example\r\nSTARTTLS\r\nRSET\r\n")[-1], Hangup)


def test_lmtp_and_the_rest():
    server = extended(lmtp=True)
    server.receive_data(
        b"LHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\nx\r\n.\r\n"
    )
    while not isinstance(server.next_event(), End):
        if server.awaits:
            server.accept()
    with pytest.raises(SmtpError):
        server.reply_each([(250, "one", None)])
    server.data_to_send()
    server.reply_each([(250, "one", None), (552, "two", "5.2.2")])
    assert server.data_to_send() == b"250 one\r\n552 5.2.2 two\r\n"
    server = extended()
    events = play(
        server,
        b"EHLO c.example\r\nETRN @d.example\r\nXFORWARD NAME=[UNAVAILABLE] IDENT=a+2Bb\r\nXCLIENT ADDR=192.0.2.1\r\n",
    )
    match events[1:]:
        case [Etrn("d.example", scope="subdomains"), Xforward(forwarded), Xclient([("ADDR", "192.0.2.1")])]:
            assert forwarded == [("NAME", None), ("IDENT", "a+b")]
        case _:
            pytest.fail(str(events))
    server.withdraw(["XCLIENT"])
    server.offer_mechanisms([])
    assert not {"AUTH", "XCLIENT"} & set(server.offered)
    server.offer(["XCLIENT"])
    assert "XCLIENT" in server.offered
    for wrong in ({"mechanisms": ["FROB"]}, {"limits": [("FROB", 1)]}, {"extensions": ["BINARYMIME"]}):
        with pytest.raises(ValueError, match=r"."):
            extended(**wrong)


def test_client_extensions():
    lines = b"".join(b"250-%s\r\n" % word.encode() for word in EXTENSIONS if word not in {"AUTH", "LIMITS"})
    client = connected(ehlo=b"250-mx.example\r\n" + lines + b"250-AUTH PLAIN\r\n250 LIMITS RCPTMAX=3\r\n")
    assert (client.capabilities.mechanisms, client.capabilities.limits) == (["PLAIN"], [("RCPTMAX", 3)])
    client.auth("PLAIN", b"\0a\0b")
    client.receive_data(b"334 \r\n")
    assert client.is_in_exchange
    client.auth_response(b"x")
    client.receive_data(b"535 no\r\n")
    client.send(
        "MAIL", "", ret="FULL", envid="a b", by=(-5, "notify", True), hold_until=0, priority=3, binary=True, auth=""
    )
    client.send("RCPT", "c@d.example", notify=["NEVER"], orcpt="rfc822;x=y")
    client.bdat(2, last=True)
    assert client.chunk_left == 2
    client.chunk(b"\n\0")
    assert client.data_to_send() == (
        b"AUTH PLAIN AGEAYg==\r\neA==\r\n"
        b"MAIL FROM:<> BODY=BINARYMIME RET=FULL ENVID=a+20b AUTH=<> BY=-5;NT "
        b"HOLDUNTIL=1970-01-01T00:00:00Z MT-PRIORITY=3\r\n"
        b"RCPT TO:<c@d.example> NOTIFY=NEVER ORCPT=rfc822;x+3Dy\r\nBDAT 2 LAST\r\n\n\0"
    )
    client.receive_data(b"250 ok\r\n250 ok\r\n250 ok\r\n")
    client.xclient([("ADDR", "192.0.2.1"), ("NAME", "")])
    assert client.data_to_send() == b"XCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE]\r\n"
    client.receive_data(b"220 mx.example\r\n")
    assert client.capabilities.lines == []
    for wrong in ({"ret": "HALF"}, {"by": (1, "later", False)}, {"notify": ["ALWAYS"]}):
        with pytest.raises(ValueError, match=r"."):
            client.send("NOOP", **wrong)  # type: ignore[arg-type]


def test_client_hears_nothing_before_the_handshake():
    client = connected(ehlo=b"250-mx.example\r\n250 STARTTLS\r\n")
    client.send("STARTTLS")
    client.receive_data(b"220 go\r\n")
    assert isinstance(client.next_event(), Reply)
    assert client.is_securing
    client.secured()
    assert (client.is_secure, client.capabilities.lines) == (True, [])
    client = connected(ehlo=b"250-mx.example\r\n250 STARTTLS\r\n")
    client.send("STARTTLS")
    client.receive_data(b"220 go\r\n250 injected\r\n")
    assert [type(client.next_event()) for _ in range(3)] == [Reply, Garbage, type(None)]
