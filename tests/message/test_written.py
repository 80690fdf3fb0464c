"""Messages built and changed from Python, read back by us and by the standard library."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime

import pytest
from angarium.message import Attachment, Mailbox, build, parse, rewrite, scan

PICTURE = Attachment(b"\x89PNG", "p.png", "image/png", "p@x")
FILE = Attachment(b"%PDF" * 100, "Übersicht 1.pdf", "application/pdf")
WHEN = datetime(2026, 11, 25, 8, 16, 40, tzinfo=UTC)


def built(**more: object) -> bytes:
    settings: dict[str, object] = {"from_": "Jörg <j@example.org>", "to": ["a@b.example", Mailbox("B", "b@b.example")]}
    return build(**{**settings, "subject": "Grüße", "date": WHEN, **more})  # type: ignore[arg-type]


def test_builds_what_others_read():
    data = built(text="Grüße\n", html='<img src="cid:p@x">', attachments=[PICTURE, FILE], headers={"X-A": "b"})
    assert data.isascii()
    theirs = email.message_from_bytes(data, policy=email.policy.default)
    assert (theirs["Subject"], theirs["X-A"], theirs["From"].addresses[0].display_name) == ("Grüße", "b", "Jörg")
    assert [part.get_content_type() for part in theirs.walk()] == [
        "multipart/mixed",
        "multipart/related",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    assert [part.get_filename() for part in theirs.iter_attachments()] == ["Übersicht 1.pdf"]
    ours = parse(data)
    assert (ours.text, ours.date, ours.scan.findings) == ("Grüße\r\n", WHEN, [])


def test_names_what_readers_take_differently():
    data = b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx\0"
    assert scan(data).findings == [("repeated-content-type", 0, 26), ("nul", 0, len(data) - 1)]


def test_changes_only_what_is_asked():
    data = built(text="see http://x.example/", attachments=[FILE])
    assert rewrite(data) == data
    changed = rewrite(data, add={"X-New": "1"}, remove=["To"], link=lambda found: found + "y", footer_text="-- f")
    ours = parse(changed)
    assert (ours.header("X-New"), ours.to) == ("1", ())
    assert ours.text == "see http://x.example/y\r\n-- f"
    assert ours.attachments[0].decode() == FILE.content
    assert rewrite(data, replace={"Subject": "new"}).replace(b"Subject: new", b"") in data.replace(
        data[data.index(b"Subject") : data.index(b"\r\n", data.index(b"Subject"))], b""
    )


def test_a_footer_shows_in_every_part_it_goes_to():
    data = built(text="Grüße\n", html="<body>Grüße</body>")
    changed = rewrite(data, footer_text="— Verein <e.V.>\n2. Zeile")
    ours = parse(changed)
    assert ours.text == "Grüße\r\n\r\n— Verein <e.V.>\r\n2. Zeile"
    assert ours.html == "<body>Grüße\r\n— Verein &lt;e.V.&gt;<br>\r\n2. Zeile</body>"
    theirs = email.message_from_bytes(changed, policy=email.policy.default)
    assert "— Verein <e.V.>" in theirs.get_body(("plain",)).get_content()
    assert changed.isascii()
    latin = b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nSch\xf6ne Worte ohne Zahl"
    assert rewrite(latin, footer_text="für") == (
        b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n"
        b"MIME-Version: 1.0\r\n\r\nSch=F6ne Worte ohne Zahl\r\nf=FCr"
    )


def test_signatures_of_untouched_parts_stay_valid():
    inner = b"Content-Type: multipart/signed; boundary=s; protocol=x\r\n\r\n--s\r\n\r\nsee http://x.example\r\n--s--"
    data = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhttp://x.example\r\n"
    data += b"--b\r\n" + inner + b"\r\n--b--\r\n"
    changed = rewrite(data, footer_text="foot", link=lambda _: "http://y.example", add={"X-A": "b"})
    assert inner in changed
    assert b"http://y.example\r\nfoot\r\n--b\r\n" in changed


def test_refuses_what_breaks_a_line():
    with pytest.raises(ValueError, match="line end"):
        rewrite(b"A: b\r\n\r\n", add={"X": "a\r\nb"})
    with pytest.raises(ValueError, match="no name"):
        rewrite(b"A: b\r\n\r\n", add={"X:": "a"})
    assert b"\r\nX: " not in built(subject="a\r\nX: b", text="")


def test_an_error_of_the_link_function_comes_through():
    with pytest.raises(ZeroDivisionError):
        rewrite(b"A: b\r\n\r\nhttp://x.example", link=lambda _: str(1 / 0))
