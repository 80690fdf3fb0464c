"""Who may log in: every source, what it says, and that a source that is down is never a wrong password."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anycorn
import msgspec
import pytest
import structlog
import trio
import trio.testing
from angarium.engine import Identity, Verdict
from angarium.errors import StartError
from angarium.identity import Account, Identities, open_store
from angarium.identity.accounts import with_password
from angarium.policy import Login, defer, reject
from angarium.settings import Duration, Logins, Server, Settings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

PASSWORD = "correct horse"


@dataclass
class Credentials:
    mechanism: str = "PLAIN"
    kind: str = "password"
    login: str = "a@example.org"
    authzid: str = ""
    secret: bytes = PASSWORD.encode()
    certificate: bytes = b""


@dataclass
class Question:
    credentials: Credentials
    phase: str = "auth"
    peer: tuple[str, int] = ("192.0.2.1", 40_000)
    listener: int = 0
    session: int = 1
    trusted: bool = False
    tls: str = "TLSv1.3 TLS_AES_256_GCM_SHA384"


def login(**given: Any) -> Login:
    return Login(Question(Credentials(**given)))  # type: ignore[arg-type]


def settings(folder: Path, **given: Any) -> Settings:
    own = {"file": str(folder / "accounts")} if given.get("source", "sqlite") in ("sqlite", "file") else {}
    table = Logins(domain="our.example", **own, **given)
    return Settings(server=Server(hostname="mx.our.example", data=str(folder)), logins=table)


def is_refused(verdict: Verdict) -> bool:
    return (verdict.decision, verdict.code, verdict.enhanced) == ("reject", 535, "5.7.8")


def is_down(verdict: Verdict) -> bool:
    return (verdict.decision, verdict.code, verdict.enhanced) == ("defer", 454, "4.7.0")


# --- accounts of our own ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accounts() -> list[Account]:
    return [
        with_password(Account(login="a@example.org"), PASSWORD),
        with_password(
            Account(login="robot", addresses=("@example.net",), tenant="acme", priority="bulk"),
            PASSWORD,
            keep_for_cram=True,
        ),
        with_password(Account(login="gone@example.org", disabled=True), PASSWORD, keep_for_cram=True),
    ]


@pytest.fixture(params=["sqlite", "file"])
def own(request: pytest.FixtureRequest, tmp_path: Path, accounts: list[Account]) -> Identities:
    store = open_store(request.param, tmp_path / "accounts")
    for account in accounts:
        store.change(account.login, lambda _, account=account: account)
    return Identities(settings(tmp_path, source=request.param), None)


async def test_the_right_password_gives_the_account(own: Identities) -> None:
    verdict = await own.judge(login(login="A@example.ORG"))
    assert verdict == Verdict(identity=Identity(login="a@example.org", addresses=("a@example.org",)))
    verdict = await own.judge(login(login="robot", authzid="ROBOT"))
    assert verdict.identity == Identity(login="robot", addresses=("@example.net",), tenant="acme", class_=3)


REFUSED = {
    "a wrong password": {"secret": b"wrong horse"},
    "no password": {"secret": b""},
    "octets": {"secret": b"\xff\xfe\x00"},
    "a long password": {"secret": b"x" * 12_000},
    "nobody": {"login": "nobody@example.org"},
    "no login": {"login": ""},
    "a login that is none": {"login": "a b\x00"},
    "disabled": {"login": "gone@example.org"},
    "as somebody else": {"authzid": "robot"},
    "a token": {"kind": "token", "mechanism": "XOAUTH2"},
    "a certificate of nobody": {"kind": "external", "mechanism": "EXTERNAL", "certificate": b"no DER"},
    "keys of nobody": {"kind": "keys", "mechanism": "SCRAM-SHA-256", "login": "nobody"},
    "keys of a disabled one": {"kind": "keys", "mechanism": "SCRAM-SHA-256", "login": "gone@example.org"},
    "a secret that is not kept": {"kind": "secret", "mechanism": "CRAM-MD5"},
    "a secret of a disabled one": {"kind": "secret", "mechanism": "CRAM-MD5", "login": "gone@example.org"},
}


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
async def test_everything_else_is_refused_in_the_same_words(own: Identities, given: dict[str, Any]) -> None:
    refused = await own.judge(login(**given))
    assert is_refused(refused)
    assert refused == await own.judge(login(secret=b"wrong horse"))


async def test_keys_for_scram_and_the_secret_for_cram(own: Identities, accounts: list[Account]) -> None:
    verdict = await own.judge(login(kind="keys", mechanism="SCRAM-SHA-256", secret=b""))
    assert verdict.decision == "accept"
    kept = accounts[0].scram
    assert kept is not None
    assert verdict.identity is not None
    assert verdict.identity.keys is not None
    assert verdict.identity.keys.stored_key == kept.stored_key
    assert verdict.identity.cram_secret is None
    verdict = await own.judge(login(kind="secret", mechanism="CRAM-MD5", login="robot", secret=b""))
    assert verdict.identity is not None
    assert (verdict.identity.cram_secret, verdict.identity.keys) == (PASSWORD.encode(), None)


def certificate(name: str, *addresses: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    if addresses:
        built = built.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(one) for one in addresses]), False)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("shown", "authzid", "who"),
    [
        (certificate("robot"), "", "robot"),
        (certificate("nobody", "a@example.org"), "", "a@example.org"),
        (certificate("robot", "a@example.org"), "", "a@example.org"),
        (certificate("robot", "a@example.org"), "robot", "robot"),
        (certificate("robot"), "a@example.org", None),
        (certificate("gone@example.org"), "", None),
        (certificate("stranger"), "", None),
    ],
)
async def test_a_certificate_stands_for_the_account_that_it_names(
    own: Identities, shown: bytes, authzid: str, who: str | None
) -> None:
    asked = login(kind="external", mechanism="EXTERNAL", login="", authzid=authzid, secret=b"", certificate=shown)
    verdict = await own.judge(asked)
    assert is_refused(verdict) if who is None else verdict.identity is not None and verdict.identity.login == who


async def test_a_broken_store_is_down_and_told_once(own: Identities, tmp_path: Path) -> None:
    kept = (tmp_path / "accounts").read_bytes()
    (tmp_path / "accounts").write_bytes(b"nonsense" * 2_000)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert is_down(await own.judge(login()))
        (tmp_path / "accounts").write_bytes(kept)
        assert (await own.judge(login())).identity is not None
    assert [entry["event"] for entry in logs] == ["logins cannot be checked", "logins are checked again"]
    assert PASSWORD not in repr(logs)


async def test_a_changed_account_makes_the_engine_forget(
    own: Identities, tmp_path: Path, accounts: list[Account], nursery: trio.Nursery, autojump_clock: trio.testing.Clock
) -> None:
    forgotten = trio.Event()
    nursery.start_soon(own.watch, forgotten.set)
    await trio.sleep(10)
    assert not forgotten.is_set(), "nothing has changed"
    source = "sqlite" if (tmp_path / "accounts").read_bytes().startswith(b"SQLite") else "file"
    open_store(source, tmp_path / "accounts").change(
        "robot", lambda account: None if account is None else replace(account, disabled=True)
    )
    with trio.fail_after(10):
        await forgotten.wait()


# --- the site's function ------------------------------------------------------------------------------------------


async def by_hook(tmp_path: Path, answer: object) -> Verdict:
    seen: list[Login] = []

    async def auth(login: Login) -> Any:
        await trio.lowlevel.checkpoint()
        seen.append(login)
        if isinstance(answer, Exception):
            raise answer
        return answer

    verdict = await Identities(settings(tmp_path, source="hook"), auth).judge(login(login="robot"))
    assert (seen[0].name, seen[0].password, seen[0].address) == ("robot", PASSWORD, "192.0.2.1")
    return verdict


async def test_the_sites_function(tmp_path: Path) -> None:
    assert is_refused(await by_hook(tmp_path, None))
    assert is_refused(await by_hook(tmp_path, reject()))
    assert is_down(await by_hook(tmp_path, defer()))
    given = await by_hook(tmp_path, Identity(tenant="acme"))
    assert given.identity == Identity(login="robot", addresses=("robot@our.example",), tenant="acme")
    for mistake in ("yes", ValueError("the site's own mistake")):
        with pytest.raises(Exception, match=r"mistake|yes"):
            await by_hook(tmp_path, mistake)


def test_a_function_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="needs async def auth"):
        Identities(settings(tmp_path, source="hook"), None)


# --- HTTP ---------------------------------------------------------------------------------------------------------


@dataclass
class Service:
    """An ASGI application that answers what it is told and remembers what it was asked."""

    status: int = 200
    body: bytes = b"{}"
    asked: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = (await receive())["body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((headers, msgspec.json.decode(body)))
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"location", b"/elsewhere")]})
        await send({"type": "http.response.body", "body": self.body})


@asynccontextmanager
async def served(service: Service) -> AsyncIterator[str]:
    config = anycorn.Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = config.shutdown_timeout = 1
    config.accesslog = config.errorlog = None
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        serving = partial(anycorn.serve, shutdown_trigger=stop.wait, mode="asgi")
        (bound,) = await nursery.start(serving, service, config)
        yield bound
        stop.set()


async def by_http(tmp_path: Path, service: Service, *asked: Login) -> list[Verdict]:
    (tmp_path / "token").write_text("s3cret\n")
    async with served(service) as url:
        identities = Identities(settings(tmp_path, source="http", url=url, token_file=str(tmp_path / "token")), None)
        verdicts = [await identities.judge(one) for one in asked]
        await identities.close()
    return verdicts


async def test_a_service_is_asked_and_believed(tmp_path: Path) -> None:
    service = Service(
        body=b'{"login": "a@example.org", "addresses": ["@Example.org"], "tenant": "t", "priority": "high"}'
    )
    (verdict,) = await by_http(tmp_path, service, login(login="alias", authzid="b"))
    assert verdict.identity == Identity(login="a@example.org", addresses=("@example.org",), tenant="t", class_=1)
    ((headers, asked),) = service.asked
    assert headers["authorization"] == "Bearer s3cret"
    assert asked == {
        "login": "alias",
        "password": PASSWORD,
        "mechanism": "PLAIN",
        "address": "192.0.2.1",
        "tls": True,
        "authzid": "b",
    }


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_service_that_says_no(tmp_path: Path, status: int) -> None:
    (verdict,) = await by_http(tmp_path, Service(status=status), login())
    assert is_refused(verdict)


DOWN = [
    (500, b""),
    (302, b""),
    (200, b"yes"),
    (200, b'{"addresses": ["nonsense"]}'),
    (200, b"{}" + b" " * 70_000),
    (204, b""),
]


@pytest.mark.parametrize(("status", "body"), DOWN)
async def test_a_service_that_cannot_tell(tmp_path: Path, status: int, body: bytes) -> None:
    (verdict,) = await by_http(tmp_path, Service(status=status, body=body), login())
    assert is_down(verdict)


async def test_no_service_and_no_keys_from_one(tmp_path: Path) -> None:
    identities = Identities(settings(tmp_path, source="http", url="http://127.0.0.1:9/login"), None)
    assert is_down(await identities.judge(login()))
    assert is_refused(await identities.judge(login(kind="keys", mechanism="SCRAM-SHA-256")))
    await identities.close()


async def test_a_service_that_is_silent(tmp_path: Path) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    given = settings(tmp_path, source="http", url=f"http://127.0.0.1:{port}/", deadline=Duration(200))
    with trio.fail_after(20):
        assert is_down(await Identities(given, None).judge(login()))
    for listener in listeners:
        await listener.aclose()


# --- Dovecot ------------------------------------------------------------------------------------------------------

GREETING = b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tXOAUTH2\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n"


@asynccontextmanager
async def dovecot(folder: Path, *answers: str, greeting: bytes = GREETING) -> AsyncIterator[tuple[str, list[str]]]:
    """Speaks the protocol on a unix socket: a connection for each answer but those that begin with "+", which go on."""
    path = str(folder / "auth")
    said: list[str] = []
    left = list(answers)
    bound = trio.socket.socket(trio.socket.AF_UNIX)
    await bound.bind(path)
    bound.listen()

    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(greeting)
        received = b""
        async for piece in stream:
            received += piece
            while b"\n" in received:
                line, _, received = received.partition(b"\n")
                said.append(line.decode())
                if line.startswith((b"AUTH", b"CONT")):
                    number = line.split(b"\t")[1].decode()
                    answer = left.pop(0)
                    if not answer:
                        return
                    await stream.send_all(answer.lstrip("+").replace("#", number).encode())
                    if not answer.startswith("+"):
                        return

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await talk(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [trio.SocketListener(bound)])
        yield path, said
        nursery.cancel_scope.cancel()


async def by_dovecot(
    tmp_path: Path, *answers: str, greeting: bytes = GREETING, deadline: int = 20_000, **given: Any
) -> tuple[Verdict, list[str]]:
    async with dovecot(tmp_path, *answers, greeting=greeting) as (path, said):
        table = settings(tmp_path, source="dovecot", socket=path, deadline=Duration(deadline))
        verdict = await Identities(table, None).judge(login(**given))
    return verdict, said


async def test_dovecot_says_yes(tmp_path: Path) -> None:
    verdict, said = await by_dovecot(tmp_path, "OK\t#\tuser=canon@example.org\n")
    assert verdict.identity == Identity(login="canon@example.org", addresses=("canon@example.org",))
    assert said[0] == "VERSION\t1\t1"
    assert said[2] == (
        "AUTH\t1\tPLAIN\tservice=smtp\trip=192.0.2.1\tnologin\tsecured\tresp=AGFAZXhhbXBsZS5vcmcAY29ycmVjdCBob3JzZQ=="
    )


DOVECOT = [
    ("FAIL\t#\tuser=a\n", is_refused),
    ("FAIL\t#\tuser=a\tuser_disabled\n", is_refused),
    ("FAIL\t#\ttemp\treason=no\x011database\n", is_down),
    ("FAIL\t#\tcode=temp_fail\n", is_down),
    ("", is_down),
    ("nonsense\n", is_down),
    ("x" * 10_000, is_down),
]


@pytest.mark.parametrize(("answer", "holds"), DOVECOT, ids=[row[0][:20] for row in DOVECOT])
async def test_dovecot_says_no_or_cannot_tell(tmp_path: Path, answer: str, holds: Callable[[Verdict], bool]) -> None:
    verdict, _ = await by_dovecot(tmp_path, answer)
    assert holds(verdict)


async def test_a_bad_token_ends_the_exchange(tmp_path: Path) -> None:
    verdict, said = await by_dovecot(
        tmp_path, "+CONT\t#\te30=\n", "FAIL\t#\n", kind="token", mechanism="XOAUTH2", secret=b"token"
    )
    assert is_refused(verdict)
    assert said[-1].startswith("CONT\t1\t")


@pytest.mark.parametrize(
    "greeting", [b"VERSION\t2\t0\n", b"220 mx ESMTP\r\n", b"MECH\tX\n" * 100, b"VERSION\t1\t1\nDONE\n"]
)
async def test_something_else_on_the_socket_is_down(tmp_path: Path, greeting: bytes) -> None:
    verdict, _ = await by_dovecot(tmp_path, "OK\t#\n", greeting=greeting, deadline=300)
    assert is_down(verdict)


async def test_a_connection_is_used_again_and_a_dead_one_replaced(tmp_path: Path) -> None:
    answers = ("+OK\t#\tuser=a\n", "+FAIL\t#\n", "", "+OK\t#\tuser=a\n")
    async with dovecot(tmp_path, *answers) as (path, said):
        identities = Identities(settings(tmp_path, source="dovecot", socket=path), None)
        verdicts = [await identities.judge(login()) for _ in range(3)]
        await identities.close()
    assert [verdict.decision for verdict in verdicts] == ["accept", "reject", "accept"]
    assert [line.split("\t")[1] for line in said if line.startswith("AUTH")] == ["1", "2", "3", "1"]


async def test_no_dovecot(tmp_path: Path) -> None:
    assert is_down(
        await Identities(settings(tmp_path, source="dovecot", socket=str(tmp_path / "x")), None).judge(login())
    )
