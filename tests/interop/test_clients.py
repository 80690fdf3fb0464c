"""The clients of the matrix against one running server: every client in every case that it has words for.

Each cell of the table in docs/interop.md is a test here; the last test holds the table (ANGARIUM_WRITE=1 writes it).
What arrives is compared octet by octet. A case whose extension this server does not offer is skipped and named.
"""

from __future__ import annotations

import functools
import re
import smtplib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from tests import outside
from tests.harness import ServerProcess, free_port
from tests.interop import clients
from tests.interop.clients import CLIENTS, Client, Job, NotSent
from tests.interop.pages import hold_table
from tests.site import angarium, wait_until

CRLF = "\r\n"
PASSWORD = "correct horse battery"
LOGIN = "alice@here.example"

CONFIGURATION = """
[server]
hostname = "mx.here.example"
data = "data"

[[listen]]
address = "127.0.0.1:{mx}"

[[listen]]
address = "127.0.0.1:{submission}"
profile = "submission"
auth = ["SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"]

[[listen]]
address = "127.0.0.1:{submissions}"
profile = "submissions"

[[listen]]
address = "127.0.0.1:{proxied}"
name = "proxied"
proxy_networks = ["127.0.0.1"]

[[tls.certificate]]
chain = "chain.pem"
key = "key.pem"

[local]
domains = {{ "here.example" = "here" }}

[limits]
sessions_per_address = 500

[control]
address = "127.0.0.1:{control}"
"""


@dataclass
class House:
    """The running server."""

    folder: Path
    ports: dict[str, int]
    ca: Path

    def arrived(self, subject: str) -> list[bytes]:
        """The messages of this subject, as they lie in the mailbox."""
        wanted = f"Subject: {subject}\n".encode()
        files = (self.folder / "data" / "mail" / "here" / "new").glob("*")
        return [content for file in files if wanted in (content := file.read_bytes().replace(b"\r\n", b"\n"))]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("clients")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("localhost", "127.0.0.1", "mx.here.example")
    (folder / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "key.pem").chmod(0o600)
    ports = {name: free_port() for name in ("mx", "submission", "submissions", "proxied", "control")}
    server = ServerProcess(folder, CONFIGURATION.format(**ports))
    own = ("--address", LOGIN, "--address", "bücher@here.example")
    made = angarium("user", "add", LOGIN, *own, "--cram-md5", folder=folder, text=PASSWORD)
    assert made.returncode == 0, made.stderr
    server.start(ports["mx"])
    yield House(folder, ports, folder / "ca.pem")
    server.stop()


def message(subject: str, body: str) -> bytes:
    fields = (
        "From: alice@here.example",
        "To: b@here.example",
        f"Subject: {subject}",
        f"Message-ID: <{subject}@here.example>",
        "Date: Wed, 25 Nov 2026 08:00:00 +0000",
    )
    return f"{CRLF.join(fields)}\r\n\r\n{body}".encode()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A column of the table. `offers`: keywords that the server must offer at that port for it."""

    title: str
    port: str = "mx"
    tls: str = "none"
    login: bool = False
    mechanism: str = ""
    body: str = "Hello.\r\n.dot\r\n..\r\n"
    sender: str = LOGIN
    recipients: tuple[str, ...] = ("b@here.example",)
    offers: tuple[str, ...] = ()


CASES = {
    "plain": Case(title="clear"),
    "starttls": Case(title="STARTTLS", tls="starttls", offers=("STARTTLS",)),
    "login": Case(title="login", port="submission", tls="starttls", login=True, offers=("STARTTLS", "AUTH")),
    "cram": Case(
        title="CRAM-MD5",
        port="submission",
        tls="starttls",
        login=True,
        mechanism="CRAM-MD5",
        offers=("STARTTLS", "AUTH"),
    ),
    "implicit": Case(
        title="implicit TLS and login", port="submissions", tls="implicit", login=True, offers=("IMPLICIT", "AUTH")
    ),
    "pipelined": Case(title="pipelined"),
    "eight": Case(title="8-bit", body="Grüße, 世界.\r\n" * 20),
    "utf8": Case(title="UTF-8 address", sender="bücher@here.example", recipients=("grüße@here.example",)),
    "large": Case(title="large (3 MB)", body=("x" * 70 + "\r\n") * 42_000),
    "many": Case(title="100 recipients", recipients=tuple(f"b{number}@here.example" for number in range(100))),
}
# openssl has no way but TLS; its other cases go over STARTTLS.
OVER_TLS = frozenset({"openssl s_client"})
CELLS = [(client, name) for client in CLIENTS for name in CASES if name not in client.cannot]


@functools.cache
def offered(port: int, way: str) -> frozenset[str]:
    """What the server offers at a port; IMPLICIT when it speaks TLS from the first octet. Asked once."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        if way == "implicit":
            with smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=context) as client:
                client.ehlo()
                return frozenset({"IMPLICIT", *map(str.upper, client.esmtp_features)})
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.ehlo()
            found = set(client.esmtp_features)
            if "starttls" in found:
                client.starttls(context=context)
                client.ehlo()
                found |= set(client.esmtp_features)
            return frozenset(map(str.upper, found))
    except (OSError, smtplib.SMTPException):
        return frozenset()


def job(house: House, name: str, subject: str, folder: Path, *, always_tls: bool = False) -> Job:
    case = CASES[name]
    tls = "starttls" if always_tls and case.tls == "none" else case.tls
    offers = (*case.offers, *(("STARTTLS",) if tls == "starttls" else ()))
    missing = [word for word in dict.fromkeys(offers) if word not in offered(house.ports[case.port], tls)]
    if missing:
        pytest.skip(f"the server does not offer {', '.join(missing)} at this port yet")
    return Job(
        port=house.ports[case.port],
        content=message(subject, case.body),
        sender=case.sender,
        recipients=case.recipients,
        ca=house.ca,
        folder=folder,
        tls=tls,
        login=LOGIN if case.login else "",
        password=PASSWORD if case.login else "",
        mechanism=case.mechanism,
    )


def assert_arrived(house: House, given: Job, subject: str) -> list[bytes]:
    """Every recipient's copy, octet by octet behind the header that the server put in front."""
    wait_until(lambda: len(house.arrived(subject)) >= len(given.recipients), lambda: len(house.arrived(subject)))
    found = house.arrived(subject)
    assert len(found) == len(given.recipients)
    body = given.content.replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    for content in found:
        assert content.partition(b"\n\n")[2].rstrip(b"\n") == body.rstrip(b"\n")
    return found


@pytest.mark.parametrize(("client", "name"), CELLS, ids=[f"{client.name}, {name}" for client, name in CELLS])
def test_a_client_in_a_case(house: House, tmp_path: Path, client: Client, name: str) -> None:
    subject = re.sub(r"\W+", "-", f"{client.name} {name}")
    given = job(house, name, subject, tmp_path, always_tls=client.name in OVER_TLS)
    send: Callable[[Job], None] = (
        clients.by_swaks_pipelined if (client.name, name) == ("swaks", "pipelined") else client.send
    )
    send(given)
    content = assert_arrived(house, given, subject)[0]
    received = content.partition(b"Subject:")[0].decode("utf-8", "replace")
    # RFC 3848: what the Received field calls the way.
    wanted = "ESMTP" + ("S" if given.tls != "none" else "") + ("A" if given.login else "")
    assert re.search(rf"with (UTF8SMTP|ESMTP){wanted.removeprefix('ESMTP')}\b", received), received


@pytest.mark.parametrize("client", [one for one in CLIENTS if "login" not in one.cannot], ids=lambda one: one.name)
def test_a_wrong_password_is_told(house: House, tmp_path: Path, client: Client) -> None:
    given = job(house, "login", "wrong-password", tmp_path)
    wrong = replace(given, password="wrong horse")
    with pytest.raises(NotSent, match=r"535|5\.7\.8|uthentication|AUTH|denied|credentials"):
        client.send(wrong)
    assert house.arrived("wrong-password") == []


# --- Postfix as a client, and haproxy in front ---------------------------------------------------------------------

POSTFIX = ("plain", "pipelined", "eight", "utf8", "large", "many")


@pytest.fixture(scope="module")
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that Postfix's own users may enter."""
    folder = tmp_path_factory.mktemp("postfix")
    for part in (folder, *list(folder.parents)[:3]):
        if part.name.startswith(("postfix", "pytest-")):
            part.chmod(0o755)
    return folder


@pytest.mark.parametrize("way", ["clear", "with a login over TLS"])
def test_postfix(house: House, tmp_path: Path, open_folder: Path, way: str) -> None:
    is_secured = way != "clear"
    port = house.ports["submission" if is_secured else "mx"]
    if is_secured and not {"STARTTLS", "AUTH"} <= offered(port, "starttls"):
        pytest.skip("the server does not offer STARTTLS and AUTH at this port yet")
    main = open_folder / f"main-{is_secured}"
    main.write_text(SECURED.format(port=port, ca=house.ca, login=LOGIN, password=PASSWORD) if is_secured else "")
    settings = {"POSTFIX_RELAY": f"127.0.0.1:{port}", "POSTFIX_MAIN": str(main)}
    with outside.service("postfix", free_port(), open_folder / f"postfix-{is_secured}", **settings) as (
        _,
        postfix_port,
    ):
        # Postfix writes the sender of "utf8" as `"b\\ücher"@…`, which is the login's own all the same.
        for name in POSTFIX:
            given = job(house, name, f"postfix-{is_secured}-{name}", tmp_path)
            inside = Job(
                **{**{field: getattr(given, field) for field in given.__dataclass_fields__}, "port": postfix_port}
            )
            clients.by_smtplib(inside)
            assert_arrived(house, given, f"postfix-{is_secured}-{name}")


SECURED = """smtp_tls_security_level = encrypt
smtp_tls_CAfile = {ca}
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = inline:{{ {{ [127.0.0.1]:{port} = {login}:{password} }} }}
"""


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_in_front(house: House, tmp_path: Path, version: str) -> None:
    """The client's own address stands in Received, not the proxy's port."""
    settings = {"HAPROXY_TO": f"127.0.0.1:{house.ports['proxied']}"}
    with outside.service("haproxy", free_port(), tmp_path / "haproxy", **settings) as (_, port):
        through = port + (1 if version == "v2" else 0)
        if not is_greeted(through):
            pytest.skip("the server does not take PROXY headers yet")
        for name in ("plain", "eight", "large", "many"):
            given = job(house, name, f"haproxy-{version}-{name}", tmp_path)
            clients.by_smtplib(replace(given, port=through))
            assert_arrived(house, given, f"haproxy-{version}-{name}")


def is_greeted(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=10):
            return True
    except (OSError, smtplib.SMTPException):
        return False


# --- the table ----------------------------------------------------------------------------------------------------


def rendered() -> str:
    """The table as it must stand in docs/interop.md."""
    heads = ["client", *(case.title for case in CASES.values())]
    rows = [heads, ["---"] * len(heads)]
    rows += [[client.name, *("no" if name in client.cannot else "yes" for name in CASES)] for client in CLIENTS]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    whys = [
        f"- {client.name}: " + "; ".join(f"{CASES[name].title}: {why}" for name, why in client.cannot.items()) + "."
        for client in CLIENTS
        if client.cannot
    ]
    return "\n".join([*lines, "", "What stands as no:", "", *whys]) + "\n"


def test_the_table_is_what_runs() -> None:
    hold_table("clients", rendered())
