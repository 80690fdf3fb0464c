"""`angarium user …`: accounts made, listed, changed and removed; passwords never come from the command line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
from angarium.identity.accounts import Verifier
from angarium.identity.stores import open_store

from tests.cli.test_first_run import assert_one_sentence
from tests.harness import COMMAND
from tests.site import angarium

PASSWORD = "correct horse"
SOURCES = {"sqlite": "accounts.db", "file": "accounts.jsonl"}


@pytest.fixture(params=SOURCES, ids=str)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    text = f'[server]\ndata = "data"\n[logins]\nsource = "{request.param}"\n'
    (tmp_path / "angarium.toml").write_text(text)
    return tmp_path


def user(folder: Path, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return angarium("user", *arguments, folder=folder, text=text)


def done(folder: Path, *arguments: str, text: str | None = None) -> list[dict[str, Any]]:
    ended = user(folder, *arguments, "--json", text=text)
    assert (ended.returncode, ended.stderr) == (0, "")
    return [json.loads(line) for line in ended.stdout.splitlines()]


def opens(folder: Path, login: str, password: str) -> bool:
    source = "sqlite" if (folder / "data" / "accounts.db").exists() else "file"
    store = open_store(source, folder / "data" / SOURCES[source])
    return Verifier().opens(store.find(login), password)


def test_the_life_of_an_account(folder: Path) -> None:
    assert user(folder, "list").stdout == "no account yet\n"
    made = user(folder, "add", "a@example.org", text=f"{PASSWORD}\n")
    assert (made.returncode, made.stdout) == (0, "a@example.org made\n")
    assert opens(folder, "a@example.org", PASSWORD)
    assert not opens(folder, "a@example.org", "wrong horse")
    assert user(folder, "disable", "A@example.org").stdout == "a@example.org is disabled\n"
    assert not opens(folder, "a@example.org", PASSWORD)
    assert done(folder, "list")[0]["disabled"] is True
    assert done(folder, "enable", "a@example.org")[0]["disabled"] is False
    assert opens(folder, "a@example.org", PASSWORD)
    (changed,) = done(folder, "passwd", "a@example.org", "--generate")
    assert opens(folder, "a@example.org", changed["password"])
    assert not opens(folder, "a@example.org", PASSWORD)
    assert user(folder, "remove", "a@example.org").returncode == 0
    assert done(folder, "list") == []


def test_what_an_account_may_do_is_kept(folder: Path) -> None:
    arguments = ("--address", "@example.org", "--address", "b@EXAMPLE.net", "--tenant", "acme", "--priority", "bulk")
    (made,) = done(folder, "add", "robot", *arguments, "--generate", "--cram-md5")
    assert len(made.pop("password")) == 20
    wanted = {
        "login": "robot",
        "addresses": ["@example.org", "b@example.net"],
        "tenant": "acme",
        "priority": "bulk",
        "disabled": False,
        "mechanisms": ["PLAIN", "SCRAM-SHA-256", "CRAM-MD5"],
    }
    assert made == wanted
    assert done(folder, "list") == [wanted]
    done(folder, "passwd", "robot", text=PASSWORD)
    assert done(folder, "list") == [wanted]


def test_the_file_is_for_its_owner(folder: Path) -> None:
    done(folder, "add", "a@example.org", text=PASSWORD)
    for file in (folder / "data").glob("accounts*"):
        assert file.stat().st_mode & 0o077 == 0 or file.suffix == ".lock", file
        assert PASSWORD.encode() not in file.read_bytes()


WRONG = [
    (("add", "a b"), PASSWORD, "'a b' is no login"),
    (("add", "a@example.org"), "", "there is no password on standard input"),
    (("add", "a@example.org"), "short", "a password has 8 characters at least"),
    (("add", "a@example.org"), "pass\x07word", "a character in it"),
    (("add", "there@example.org"), PASSWORD, "there is an account there@example.org already"),
    (("add", "THERE@example.org"), PASSWORD, "already"),
    (("add", "x", "--address", "nowhere"), PASSWORD, "--address: 'nowhere' is not an address"),
    (("passwd", "nobody"), PASSWORD, "there is no account nobody"),
    (("disable", "nobody"), None, "there is no account nobody"),
    (("remove", "nobody"), None, "there is no account nobody"),
]


@pytest.mark.parametrize(("arguments", "text", "words"), WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_what_cannot_be_done(folder: Path, arguments: tuple[str, ...], text: str | None, words: str) -> None:
    done(folder, "add", "there@example.org", text=PASSWORD)
    ended = user(folder, *arguments, text=text)
    assert_one_sentence(ended)
    assert words in ended.stderr
    assert [row["login"] for row in done(folder, "list")] == ["there@example.org"]
    assert opens(folder, "there@example.org", PASSWORD)


def test_a_password_is_no_argument(folder: Path) -> None:
    for arguments in (("add", "a@example.org", PASSWORD), ("add", "a@example.org", "--password", PASSWORD)):
        assert_one_sentence(user(folder, *arguments, text=PASSWORD), code=2)
    assert done(folder, "list") == []


@pytest.mark.parametrize(
    ("second", "code", "words"), [(PASSWORD, 0, "made"), ("another one", 1, "the two passwords differ")]
)
def test_a_prompt_asks_twice_and_shows_nothing(tmp_path: Path, second: str, code: int, words: str) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [COMMAND, "user", "add", "a@example.org"]
    # A terminal of its own, because a prompt speaks to the terminal of the session.
    asking = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment, start_new_session=True
    )
    os.close(theirs)
    said = until(ours, "Password: ")
    os.write(ours, PASSWORD.encode() + b"\n")
    said += until(ours, "Once more: ")
    os.write(ours, second.encode() + b"\n")
    said += until(ours, "\n", after=words)
    assert asking.wait(30) == code
    os.close(ours)
    assert PASSWORD not in said


def until(terminal: int, end: str, *, after: str = "") -> str:
    """What comes over a terminal up to `end` (behind `after`)."""
    said = ""
    while end not in said.partition(after)[2] if after else end not in said:
        try:
            piece = os.read(terminal, 4_096)
        except OSError:  # its other end is closed
            break
        assert piece, said
        said += piece.decode()
    return said


def test_accounts_that_are_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "angarium.toml").write_text('[logins]\nsource = "dovecot"\nsocket = "/run/dovecot/auth"\n')
    ended = user(tmp_path, "list")
    assert_one_sentence(ended)
    assert 'logins.source is "dovecot"' in ended.stderr


@pytest.mark.parametrize(("source", "content"), [("sqlite", b"no database" * 100), ("file", b'{"login": 1}\n')])
def test_a_store_that_cannot_be_read(tmp_path: Path, source: str, content: bytes) -> None:
    (tmp_path / "angarium.toml").write_text(f'[logins]\nsource = "{source}"\nfile = "mine"\n')
    (tmp_path / "mine").write_bytes(content)
    for arguments in (("list",), ("add", "a@example.org")):
        ended = user(tmp_path, *arguments, text=PASSWORD)
        assert_one_sentence(ended)
        assert "mine" in ended.stderr
    assert (tmp_path / "mine").read_bytes() == content
