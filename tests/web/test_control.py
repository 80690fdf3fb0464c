"""The control API over its two sockets: who may ask, and that every route answers sanely whatever it is asked."""

from __future__ import annotations

import json
import random
import socket
import stat
import string
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_queue import send
from tests.site import PATIENCE, Site, UnixConnection, relay, running

# Rounds of nonsense against each route.
ROUNDS = 40


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("control"), relay(9, suspended=True)) as started:
        send(started, "b@one.test", "c@two.test")
        yield started


def token(site: Site) -> str:
    return (site.data / "control.token").read_text().strip()


def ask(site: Site, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    """(status, decoded JSON) over the unix socket, which is open to whoever may open the file."""
    connection = UnixConnection(site.data / "control.sock")
    try:
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        octets = answer.read()
        is_json = (answer.getheader("Content-Type") or "").startswith(("application/json", "application/vnd.oai"))
        return answer.status, json.loads(octets) if is_json and octets else octets
    finally:
        connection.close()


def test_files_are_for_their_owner(site: Site) -> None:
    for name, mode in (("control.sock", 0o600), ("control.token", 0o600), (".", 0o700)):
        assert stat.S_IMODE((site.data / name).stat().st_mode) == mode, name
    assert len(token(site)) >= 32


@pytest.mark.parametrize("path", ["/metrics", "/health"])
def test_open_to_monitoring(site: Site, path: str) -> None:
    assert site.get(path)[0] == 200


def test_health_tells_that_mail_is_taken(site: Site) -> None:
    assert json.loads(site.get("/health")[1]) == {"accepting": True}


@pytest.mark.parametrize("path", ["/v1/status", "/v1/queue", "/v1/journal", "/schema/openapi.json", "/", "/no/such"])
def test_the_rest_needs_the_token(site: Site, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": token(site)}, {"Cookie": token(site)}):
        status, body = site.get(path, **headers)
        assert status == 401, (headers, body)
        assert "control.token" in json.loads(body)["error"]
    assert site.get(path, Authorization=f"Bearer {token(site)}")[0] in (200, 404)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8025", "10.0.0.1", "", "mx.site.test"])
def test_a_web_page_gets_nothing(site: Site, host: str) -> None:
    """DNS rebinding: the name in the Host field is the page's own."""
    for path in ("/v1/status", "/metrics", "/health"):
        status, _ = site.get(path, Authorization=f"Bearer {token(site)}", Host=host)
        assert status in (400, 403), (path, host, status)


def test_the_token_stays_the_same_over_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        first = token(site)
        site.server.kill()
        site.start()
        assert token(site) == first
        assert site.run("status").returncode == 0, "the socket that a killed server left is replaced"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/v1/queue?limit=0", None, 400, "limit"),
        ("GET", "/v1/queue?limit=1001", None, 400, "limit"),
        ("GET", "/v1/queue?limit=ten", None, 400, "limit"),
        ("GET", "/v1/queue?state=asleep", None, 400, "state"),
        ("GET", "/v1/queue?after=zz", None, 400, "'zz' is no place in a listing"),
        ("GET", "/v1/queue?after=00", None, 400, ""),
        ("GET", "/v1/queue/7ZZZZZZZZZZZZZZZZZZZZZZZZZ", None, 404, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        ("GET", "/v1/queue/nonsense", None, 400, "nonsense"),
        ("POST", "/v1/queue/shred", b"{}", 404, "there is no order 'shred'"),
        ("POST", "/v1/queue/hold", b"{}", 400, "the filter is empty"),
        ("POST", "/v1/queue/hold", b"", 400, ""),
        ("POST", "/v1/queue/hold", b"{", 400, ""),
        ("POST", "/v1/queue/hold", b"[]", 400, ""),
        ("POST", "/v1/queue/hold", b'{"where": {"colour": "red"}}', 400, "colour"),
        ("POST", "/v1/queue/hold", b'{"where": {"state": "asleep"}}', 400, ""),
        ("POST", "/v1/queue/cancel", b'{"where": {"ids": "all"}}', 400, ""),
        ("POST", "/v1/queue/cancel", b'{"where": {"ids": ["nonsense"]}}', 400, "nonsense"),
        ("POST", "/v1/queue/lift", b'{"rule": 4711}', 404, "no standing rule 4711"),
        ("POST", "/v1/queue/lift", b'{"where": {"domain": "free.test"}}', 404, "no standing rule"),
        ("GET", "/v1/queue?before=9999999999999999999999", None, 400, "before"),
        ("GET", "/v1/journal?since=-1", None, 400, "since"),
        ("GET", "/v1/journal?after=zz", None, 400, "'zz' is no place"),
        ("GET", "/v1/journal?last=0", None, 400, "last"),
        ("GET", "/v1/nothing", None, 404, ""),
        ("DELETE", "/v1/queue", None, 405, ""),
    ],
)
def test_wrong_questions_get_one_sentence(
    site: Site, method: str, path: str, body: bytes | None, status: int, words: str
) -> None:
    given, answer = ask(site, method, path, body)
    assert given == status, answer
    assert set(answer) == {"error"}
    assert words in answer["error"]
    assert "\n" not in answer["error"]
    assert len(site.queue(state="waiting")) == 2


def test_pages_meet_without_a_gap(tmp_path: Path) -> None:
    with running(tmp_path, relay(9, suspended=True)) as site:
        send(site, *[f"r{number}@d{number % 5}.test" for number in range(95)])
        seen: list[str] = []
        path = "/v1/queue?limit=10"
        for _ in range(11):
            status, page = ask(site, "GET", path)
            assert status == 200
            seen += [entry["id"] for entry in page["entries"]]
            if page["next"] is None:
                break
            path = f"/v1/queue?limit=10&after={page['next']}"
        assert len(seen) == len(set(seen)) == 95
        facts: list[int] = []
        path = "/v1/journal?limit=10"
        while True:
            status, page = ask(site, "GET", path)
            assert status == 200
            facts += [fact["lsn"] for fact in page["facts"]]
            if page["end"]:
                break
            path = f"/v1/journal?limit=10&after={page['next']}"
        assert facts == sorted(set(facts))


# --- the OpenAPI document, and every route in it -------------------------------------------------------------------


def openapi(site: Site) -> dict[str, Any]:
    status, document = ask(site, "GET", "/schema/openapi.json")
    assert status == 200
    assert isinstance(document, dict)
    return document


def routes(site: Site) -> list[tuple[str, str, dict[str, Any]]]:
    paths = openapi(site)["paths"]
    return [(method.upper(), path, what) for path, row in paths.items() for method, what in row.items()]


def test_the_document_names_every_route(site: Site) -> None:
    document = openapi(site)
    assert document["openapi"].startswith("3.")
    assert set(document["paths"]) == {
        "/health", "/metrics", "/v1/status", "/v1/queue", "/v1/queue/{id}", "/v1/queue/{action}", "/v1/queue/rules",
        "/v1/journal", "/v1/journal/followers", "/v1/journal/followers/{name}",
    }  # fmt: skip
    for method, path, what in routes(site):
        assert what.get("summary") or what.get("description"), (method, path)


WORDS = [
    "",
    "0",
    "-1",
    "1",
    "999999999999999999999",
    "true",
    "null",
    "waiting",
    "held",
    "a@b.test",
    "*",
    "%00",
    "ä",
    "💌",
    "'--",
]


def nonsense(chance: random.Random) -> str:
    """A value as clients with mistakes, or with intent, would send it."""
    if chance.random() < 0.6:
        return chance.choice(WORDS)
    alphabet = string.printable if chance.random() < 0.5 else string.hexdigits
    return "".join(chance.choice(alphabet) for _ in range(chance.choice([1, 8, 26, 300])))


def quoted(text: str) -> str:
    return "".join(f"%{octet:02x}" for octet in text.encode("utf-8", "replace"))


def test_every_route_answers_sanely(site: Site) -> None:
    """Any values for any parameter: an answer of the document, or one sentence; never a 500, never silence."""
    chance = random.Random(3)
    for method, path, what in routes(site):
        for _ in range(ROUNDS):
            asked, body = question(chance, path, what)
            status, answer = ask(site, method, asked, body)
            assert status in (200, 400, 404, 405, 413), (method, asked, body, status, answer)
            if status != 200:
                assert set(answer) == {"error"}, (method, asked, answer)
    assert site.status()["accepting"] is True
    assert "Traceback" not in site.log()
    assert len(site.queue()) == 2, "nonsense cancels nothing"


def question(chance: random.Random, path: str, what: dict[str, Any]) -> tuple[str, bytes | None]:
    """A path with its parameters filled in, and a body where one is wanted."""
    query = []
    for parameter in what.get("parameters", []):
        if parameter["in"] == "path":
            value = chance.choice(["hold", "flush", quoted(nonsense(chance)) or "x"])
            path = path.replace("{" + parameter["name"] + "}", value)
        elif chance.random() < 0.4:
            query.append(f"{parameter['name']}={quoted(nonsense(chance))}")
    body = None
    if "requestBody" in what:
        keys = ["where", "why", "until", "tag", "ids", "domain", "state", "before"]
        where: dict[str, object] = {
            chance.choice(keys[4:]): chance.choice([nonsense(chance), 7, None, [nonsense(chance)], {}])
        }
        body = json.dumps({"where": where, chance.choice(keys[1:4]): nonsense(chance)}).encode()
        if chance.random() < 0.2:
            body = body[: chance.randrange(len(body))]
    return path + ("?" + "&".join(query) if query else ""), body


def test_many_at_once(site: Site) -> None:
    """Listings, orders and metrics side by side, over both sockets."""
    failures: list[object] = []

    def work(number: int) -> None:
        for _ in range(5):
            kind = ["/v1/queue", "/v1/status", "/v1/journal", "/metrics"][number % 4]
            status, answer = ask(site, "GET", kind)
            if status != 200:
                failures.append((kind, status, answer))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []


def test_connections_that_hang_do_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    with (
        running(tmp_path) as site,
        socket.create_connection(("127.0.0.1", site.control)),
        socket.socket(socket.AF_UNIX) as half,
    ):
        half.connect(str(site.data / "control.sock"))
        half.sendall(b"GET /v1/status HTTP/1.1\r\nHost: local")
        assert site.server.stop() == 0
