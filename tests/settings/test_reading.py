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
            "[[listen]]\naddress = '0.0.0.0:25'\nprofile = 'realy'\n",
            ["listen[0].profile: 'realy' is not known here; did you mean relay?"],
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
        ("[[route]]\nto = 'lmtp'\n", ["route[0].host: this key is missing"]),
        ("[[route]]\ntag = 'x'\nto = 'mx'\n", ["route[0].tag: nothing gives the tag 'x'"]),
        ("[smarthost]\nport = 25\n", ["smarthost.host: this key is missing"]),
        ("[local.domains]\n'exa mple' = 'x'\n", ["local: 'exa mple' is not a domain"]),
        ("[local.domains]\n'*' = 'x'\n", ['local.domains."*": every domain would end here; use local.catch_all']),
        ("[local]\nrecipients = ['nobody']\n", ["local.recipients[0]: 'nobody' is not an address"]),
        ("[x\n", ["it is not TOML: "]),
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
    (tmp_path / "policy.py").write_text("")
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
