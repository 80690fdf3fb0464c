"""angarium.toml: what is wrong is one sentence with file, key, what is wrong and what would be right."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from angarium import settings
from angarium.errors import SettingsError
from angarium.settings import Settings


def write(folder: Path, text: str) -> Path:
    path = folder / "angarium.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    return [str(problem).removeprefix(f"{path}: ") for problem in settings.check(path)]


def listen(keys: str, *, address: str = "127.0.0.1:2525") -> str:
    return f"[[listen]]\naddress = '{address}'\n{keys}\n"


LISTENERS = [
    (
        listen("", address="unix:relative"),
        ["listen[0].address: 'unix:relative' is not a whole path; it takes an address"],
    ),
    (
        listen("", address="unix:/" + "x" * 107),
        ["listen[0].address: this path is longer than the 107 octets of a unix socket; it takes"],
    ),
    (listen("mode = 'rw'"), ["listen[0].mode: 'rw' is not a file mode; it takes one like \"0660\""]),
    (listen("profile = 'lmtp'", address="0.0.0.0:25"), ["listen[0].address: LMTP may not use port 25; choose"]),
    (
        listen("proxy_networks = ['0.0.0.0/0']"),
        ["listen[0].proxy_networks: 0.0.0.0/0 is everybody, who could then claim any address"],
    ),
    (listen("xclient_networks = ['::/0']"), ["listen[0].xclient_networks: ::/0 is everybody"]),
    (
        listen("proxy_networks = ['here']"),
        ["listen[0].proxy_networks[0]: 'here' is not a network; it takes a network like"],
    ),
    (listen("tls = 'yes'"), ["listen[0].tls: 'yes' is not known here; known here: off, offered, required, implicit"]),
    (listen("tls_version = 'SSLv3'"), ["listen[0].tls_version: 'SSLv3' is not known here; known here: 1.2, 1.3"]),
    (listen("client_certificates = 'ask'"), ["listen[0].client_certificates: no authority is named"]),
    (
        listen("tls = 'off'\nclient_certificates = 'ask'"),
        ["listen[0].client_certificates: there is no TLS on this socket to show one in"],
    ),
    (listen("auth = ['PLAN']"), ["listen[0].auth[0]: 'PLAN' is not known here; did you mean PLAIN?"]),
    (
        listen("tls = 'off'\nlogin = 'offered'"),
        ["listen[0].login: nobody could log in: there is no TLS on this socket"],
    ),
    (
        listen("login = 'offered'\nauth = ['EXTERNAL']"),
        ["listen[0].auth: EXTERNAL needs a client certificate; set client_certificates"],
    ),
    (
        listen("login = 'offered'\nauth = ['XOAUTH2']"),
        ["listen[0].auth: XOAUTH2 needs somebody who knows tokens; set logins.source"],
    ),
    (listen("auth = ['PLAIN']"), ['listen[0].auth: nobody may log in here: login is "off"; set login = "offered"']),
    (listen("greet_delay = '2m'"), ["listen[0].greet_delay: this is longer than clients wait; it takes 1m at most"]),
    (listen("greet_delay = 'long'"), ["listen[0].greet_delay: 'long' is not a time"]),
    (
        listen("[listen.replies]\n550 = 'No'\n999 = 'x'"),
        ['listen[0].replies."999": this is no reply code; it takes one like'],
    ),
    (
        listen("[listen.replies]\n550 = 'No {hostnam}'"),
        ['listen[0].replies."550": there is no variable {hostnam}; known: {hostname}'],
    ),
    (listen("[listen.replies]\n550 = 'Nö'"), ['listen[0].replies."550": this is no line of a reply; 1 to']),
    (
        listen("[listen.limits.address]\nmessages = 'few'\nbytes = 'lots'\n[listen.limits.host]"),
        [
            "listen[0].limits.address.messages: this is a text; it takes a whole number from 0 to",
            "listen[0].limits.address.bytes: 'lots' is not a size; it takes a size like",
            "listen[0].limits.host: there is no such key; known here: address, network, login, tenant",
        ],
    ),
    ("[profile.mx]\nmax_sise = 1\n", ["profile.mx.max_sise: there is no such key; did you mean max_size?"]),
    (
        "[profile.public]\n",
        ["profile.public: there is no such key; known here: mx, submission, submissions, relay, lmtp"],
    ),
    (
        listen("") + "[profile.mx]\nlogin = 'offered'\nauth = ['EXTERNAL']\n",
        ["listen[0].auth: EXTERNAL needs a client certificate; set client_certificates"],
    ),
    ("[[tls.certificate]]\nkey = 'x'\n", ["tls.certificate[0].chain: this key is missing"]),
    (
        "[[tls.certificate]]\nchain = 'a.pem'\nkey = 'b.pem'\n",
        ["tls.certificate[0].chain: there is no file", "tls.certificate[0].key: there is no file"],
    ),
    ("[tls]\nclient_ca = 'a.pem'\n", ["tls.client_ca: there is no file"]),
    ("[tls]\nwatch = '1ms'\n", ["tls.watch: the number is out of range; it takes 100ms to 1d"]),
]
LOGINS = [
    ("[logins]\nsource = 'ldap'\n", ["logins.source: 'ldap' is not known here; known here: sqlite, file, dovecot"]),
    ("[logins]\nsource = 'dovecot'\n", ['logins.socket: this key is missing; source = "dovecot" needs it']),
    ("[logins]\nsource = 'http'\n", ['logins.url: this key is missing; source = "http" needs it']),
    ("[logins]\nsource = 'hook'\n", ["hooks.file: this key is missing; logins.source"]),
    ("[logins]\nsocket = '/x'\n", ['logins.socket: nobody asks there: source is "sqlite"; set source = "dovecot"']),
    ("[logins]\nsource = 'http'\nurl = 'ftp://x'\n", ["logins.url: 'ftp://x' is no address of the web"]),
    (
        "[logins]\nsource = 'http'\nurl = 'http://far.example/x'\n",
        ["logins.url: passwords would go over the network in the clear; use https"],
    ),
    ("[logins]\ndeadline = '1ms'\n", ["logins.deadline: the number is out of range"]),
    (
        "[logins]\nsource = 'dovecot'\nsocket = '/x'\n" + listen("login = 'offered'\nauth = ['SCRAM-SHA-256']"),
        ["listen[0].auth: SCRAM-SHA-256 needs accounts of ours, not source = 'dovecot'; leave it out"],
    ),
]
SMARTHOST = "[smarthost]\nhost = 'a.example'\n"
HOPS = [
    (
        SMARTHOST + "login = { user = 'u' }\n",
        ["smarthost.login: there is neither a password nor a token; it takes one"],
    ),
    (SMARTHOST + "login = { password = 'u' }\n", ["smarthost.login.user: this key is missing; it needs a text"]),
    (
        SMARTHOST + "login = { user = 'u', password = 'p', token = 't' }\n",
        ["smarthost.login: password and token are both there; it takes one of"],
    ),
    (SMARTHOST + "login = { user = 'u', password_file = 'no' }\n", ["smarthost.login.password_file: there is no file"]),
    (
        SMARTHOST + "tls = 'none'\nlogin = { user = 'u', password = 'p' }\n",
        ["smarthost.login: it is never used: there is no TLS to that host; set tls, or without_tls = true"],
    ),
    (SMARTHOST + "tls = 'none'\nimplicit_tls = true\n", ["smarthost.tls: implicit_tls is set, so there is TLS"]),
    (SMARTHOST + "tls = 'some'\n", ["smarthost.tls: 'some' is not known here; known here: none, opportunistic"]),
    (SMARTHOST + "roots = 'no.pem'\n", ["smarthost.roots: there is no file"]),
    (SMARTHOST + "certificate = { chain = 'no.pem' }\n", ["smarthost.certificate.chain: there is no file"]),
    ("[[route]]\nto = 'lmtp'\nsocket = 'run/x'\n", ["route[0].socket: this is no path of a unix socket; a whole path"]),
    ("[[route]]\nto = 'lmtp'\nsocket = '/x'\nhost = 'a.example'\n", ["route[0].host: there is a socket too"]),
    ("[[route]]\nto = 'mx'\nsocket = '/x'\n", ['route[0].socket: to = "mx" has no use for a socket; set to = "lmtp"']),
]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server]\nhostnam = 'x'\n", ["server.hostnam: there is no such key; did you mean hostname?"]),
        ("[servr]\n", ["servr: there is no such key; did you mean server?"]),
        ("[qqq]\n", ["qqq: there is no such key; known here: server, listen"]),
        (
            "[[listen]]\nprofile = 'mx'\n",
            ["listen[0].address: this key is missing; it needs an address with a port"],
        ),
        (
            "[[listen]]\naddress = 'example.org:25'\n",
            ["listen[0].address: 'example.org:25' is not an address with a port"],
        ),
        (
            "[[listen]]\naddress = '0.0.0.0:25'\nprofile = 'submision'\n",
            ["listen[0].profile: 'submision' is not known here; did you mean submission?"],
        ),
        ("listen = []\n", ["listen: there is no listening socket; add one [[listen]]"]),
        (
            "[listen]\naddress = '0.0.0.0:25'\n",
            ["listen: this is a table; it takes blocks, each with its name in [[ ]]"],
        ),
        (
            "[delivery]\nconnections = 0\n",
            ["delivery.connections: the number is out of range; it takes a whole number from 1 to 10000"],
        ),
        ("[delivery]\nexpire = '5 parsecs'\n", ["delivery.expire: '5 parsecs' is not a time; it takes a time like"]),
        ("[delivery]\nrate = 'fast'\n", ["delivery.rate: 'fast' is not a rate; it takes a rate like"]),
        ("[delivery.retry]\ndns = []\n", ["delivery.retry.dns: a wait is missing or zero"]),
        (
            "[authentication.actions]\n'spf=fale' = 'tag'\n'sfp=fail' = 'tag'\n'dmarc=temperror' = 'reject'\n",
            [
                "authentication.actions.\"spf=fale\": spf never says 'fale'; it says none, neutral, pass, fail",
                'authentication.actions."sfp=fail": \'sfp\' is no method; a row is "method=result", with arc, dkim',
                'authentication.actions."dmarc=temperror": a failure of DNS is for now',
            ],
        ),
        (
            "[authentication.actions]\n'spf=fail' = 'drop'\n",
            ["authentication.actions: 'drop' is not known here; known here: none, tag, quarantine, defer, reject"],
        ),
        (
            "[[signing]]\ndomain = 'example.org'\nselector = 's 1'\nsince = 2026-12-02\nuntil = 2026-12-01\n"
            "identity = '@example.net'\n[[signing]]\ndomain = 'example.org'\nselector = 's2'\nhook = true\n",
            [
                "signing[0].selector: 's 1' is no name in DNS; it takes one like",
                "signing[0].key: there is no file ",
                "signing[0].until: it ends before it begins; set a day after since",
                'signing[0].identity: it is not of this domain; it takes one like "@news.example.org"',
                "hooks.file: this key is missing; signing[1].hook needs a policy file with a function signing_key",
            ],
        ),
        (
            "[[signing]]\ndomain = 'example.org'\nselector = 's'\nhook = true\nsince = 'soon'\n",
            ["signing[0].since: "],
        ),
        ("[authentication]\nid = 'us; dmarc=pass'\n", ["authentication.id: this is no name"]),
        ("[limits]\nmemory = 'lots'\n", ["limits.memory: 'lots' is not a size; it takes a size like"]),
        ("[limits]\nsessions = '9'\n", ["limits.sessions: this is a text; it takes a whole number"]),
        ("[relay]\nnetworks = ['10.0.0.1/8']\n", ["relay.networks[0]: '10.0.0.1/8' is an address inside 10.0.0.0/8"]),
        ("[relay]\ndomains = ['*']\n", ["relay.domains: anybody could send to everybody through us"]),
        (
            "[control]\naddress = '0.0.0.0:8025'\n",
            ["control.address: 0.0.0.0:8025 is open to the network; it takes an address on loopback"],
        ),
        (
            "[control]\naddress = '127.0.0.1:2525'\n",
            ["control.address: 127.0.0.1:2525 is already used by listen[0].address"],
        ),
        ("[hooks]\nfile = 'no.py'\n", ["hooks.file: there is no file"]),
        ("[[route]]\nto = 'maildir'\n", ["route[0].mailbox: this key is missing"]),
        ("[[route]]\nto = 'lmtp'\n", ['route[0].host: this key is missing; to = "lmtp" needs a host or a socket']),
        ("[[route]]\ntag = 'x'\nto = 'mx'\n", ["route[0].tag: nothing gives the tag 'x'"]),
        ("[smarthost]\nport = 25\n", ["smarthost.host: this key is missing"]),
        ("[local.domains]\n'exa mple' = 'x'\n", ["local: 'exa mple' is not a domain"]),
        ("[local.domains]\n'*' = 'x'\n", ['local.domains."*": every domain would end here; use local.catch_all']),
        ("[local]\nrecipients = ['nobody']\n", ["local.recipients[0]: 'nobody' is not an address"]),
        ("[x\n", ["it is not TOML: "]),
        *LISTENERS,
        *LOGINS,
        *HOPS,
        (
            "[server]\nnod = 1\n[dns]\ntimeout = 'x'\n[spol]\n",
            [
                "server.nod: there is no such key; did you mean node?",
                "dns.timeout: 'x' is not a time",
                "spol: there is no such key",
            ],
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, says: list[str]) -> None:
    found = problems(tmp_path, text)
    assert len(found) == len(says), found
    for sentence, beginning in zip(sorted(found), sorted(says), strict=True):
        assert sentence.startswith(beginning), sentence
        assert "\n" not in sentence


def test_load_raises_what_check_says(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nhostnam = 'x'\n[dns]\nqueries = 0\n")
    with pytest.raises(SettingsError) as raised:
        settings.load(path)
    assert str(raised.value).splitlines() == [str(problem) for problem in settings.check(path)]


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    (problem,) = settings.check(tmp_path / "none.toml")
    assert str(problem).endswith("none.toml: there is no such file; `angarium init` writes one to start from")


def test_the_starter_file_is_good_and_is_the_first_run(tmp_path: Path) -> None:
    started = settings.load(write(tmp_path, settings.starter()))
    first = settings.first_run()
    assert started == first


def is_toml(line: str) -> bool:
    try:
        return bool(tomllib.loads(line))
    except tomllib.TOMLDecodeError:
        return False


def test_every_key_of_the_starter_file_is_known(tmp_path: Path) -> None:
    """What stands behind a comment sign is an example that must hold too."""
    kept: dict[tuple[str, int, str], str] = {}
    section, block = "", 0
    for line in settings.starter().splitlines():
        bare = line.removeprefix("# ")
        if not is_toml(bare):
            continue
        if bare.startswith("["):
            section, block = bare, block + 1
        # Alternatives for one key stand one behind the other; the last one holds.
        kept[section, block, bare.partition(" = ")[0]] = bare
    text = "\n".join(kept.values())
    assert len(kept) > 30
    key = "keys/dkim/example.org/202612-rsa.pem"
    for name in ("policy.py", "smarthost.password", "tls/fullchain.pem", "tls/privkey.pem", key):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert problems(tmp_path, text) == []


def test_without_a_file_nothing_leaves_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = settings.load(None)
    assert [row.address for row in first.listen] == ["127.0.0.1:2525"]
    assert first.control.address == "127.0.0.1:8025"
    assert first.local.catch_all == "catch-all"
    assert first.smarthost is None
    assert first.data_folder == tmp_path / "angarium"
    assert first.spool_folder == tmp_path / "angarium" / "spool"
    assert first.mail_folder == tmp_path / "angarium" / "mail"
    assert first.control_socket == tmp_path / "angarium" / "control.sock"


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text("")
    text = "[server]\ndata = 'state'\n[hooks]\nfile = 'policy.py'\n[spool]\nfolder = '/elsewhere'\n"
    loaded = settings.load(write(tmp_path, text))
    assert loaded.data_folder == tmp_path / "state"
    assert loaded.hooks_file == tmp_path / "policy.py"
    assert loaded.spool_folder == Path("/elsewhere")


def test_a_file_that_says_where_mail_goes_has_no_catch_all(tmp_path: Path) -> None:
    port = settings.load(write(tmp_path, "[[listen]]\naddress = '127.0.0.1:2600'\n"))
    assert port.local.catch_all == "catch-all"
    relay = settings.load(write(tmp_path, "[relay]\nnetworks = ['127.0.0.0/8']\n"))
    assert relay.local.catch_all == ""


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().server.hostname = "x"  # type: ignore[misc]


PROFILE_OF = {"mx": "offered", "submission": "required", "submissions": "implicit", "relay": "offered", "lmtp": "off"}


@pytest.mark.parametrize(("profile", "tls"), PROFILE_OF.items())
def test_a_profile_is_a_row_of_defaults(tmp_path: Path, profile: str, tls: str) -> None:
    text = listen(f"profile = '{profile}'")
    (row,) = settings.load(write(tmp_path, text)).listen
    assert (row.name, row.tls) == (profile, tls)
    assert bool(row.auth) == profile.startswith("submission")
    assert row.max_recipients == 1_000


def test_a_key_of_a_listener_stands_before_its_profile_and_that_before_ours(tmp_path: Path) -> None:
    text = f"""
[profile.submission]
auth = ["SCRAM-SHA-256"]
max_size = "1MiB"
{listen("profile = 'submission'")}
max_size = "2MiB"
{listen("profile = 'submission'", address="127.0.0.1:2526")}
{listen("", address="127.0.0.1:2527")}
"""
    first, second, other = settings.load(write(tmp_path, text)).listen
    assert (first.auth, first.max_size, first.tls) == (("SCRAM-SHA-256",), 2 << 20, "required")
    assert (second.auth, second.max_size, second.tls) == (("SCRAM-SHA-256",), 1 << 20, "required")
    assert (other.auth, other.max_size) == ((), 50 << 20)


def test_files_of_hops_logins_and_certificates_count_from_the_file(tmp_path: Path) -> None:
    for name in ("secret", "a.pem"):
        (tmp_path / name).write_text("pass word \nmore")
    text = """
[smarthost]
host = "a.example"
roots = "a.pem"
login = { user = "u", password_file = "secret" }
certificate = { chain = "a.pem" }
[[tls.certificate]]
chain = "a.pem"
"""
    loaded = settings.load(write(tmp_path, text))
    assert loaded.smarthost is not None
    assert loaded.smarthost.login is not None
    assert loaded.smarthost.login.secret() == ("pass word", "")
    assert loaded.smarthost.roots == loaded.tls.certificate[0].chain == str(tmp_path / "a.pem")
    assert "pass word" not in repr(loaded)
    assert loaded.accounts_file == loaded.data_folder / "accounts.db"
