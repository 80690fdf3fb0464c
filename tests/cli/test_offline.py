"""Commands without a server, and command lines that are wrong: one sentence, an exit code, never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_first_run import assert_one_sentence
from tests.harness import COMMAND
from tests.site import angarium

ASKING = [
    ("status",),
    ("status", "--json"),
    ("queue", "list"),
    ("queue", "show", "0123456789ABCDEFGHJKMNPQRS"),
    ("queue", "hold", "--all"),
    ("queue", "release", "0123456789ABCDEFGHJKMNPQRS"),
    ("queue", "cancel", "--domain", "a.test"),
    ("queue", "retry", "--state", "waiting"),
    ("queue", "flush"),
    ("queue", "confirm-clock"),
    ("journal", "tail"),
    ("journal", "tail", "--follow"),
]


@pytest.mark.parametrize("arguments", ASKING, ids=" ".join)
def test_no_server_runs(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = angarium(*arguments, folder=tmp_path)
    assert_one_sentence(ended)
    assert "is `angarium serve` running?" in ended.stderr


@pytest.mark.parametrize("what", ["nobody listens", "no socket at all", "a folder", "somebody who is no server"])
def test_a_socket_that_is_not_the_servers(tmp_path: Path, what: str) -> None:
    data = tmp_path / "state" / "angarium"
    data.mkdir(parents=True)
    path = data / "control.sock"
    with socket.socket(socket.AF_UNIX) as stranger:
        if what == "nobody listens":
            stranger.bind(str(path))
        elif what == "no socket at all":
            path.write_text("text")
        elif what == "a folder":
            path.mkdir()
        else:
            stranger.bind(str(path))
            stranger.listen()
            # Whoever connects is in the backlog, gets nothing and sees the end when this process closes it.
            asking = subprocess.Popen(
                [COMMAND, "status"],
                cwd=tmp_path,
                env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            peer, _ = stranger.accept()
            peer.recv(65_536)
            peer.sendall(b"220 mx.test ESMTP\r\n")
            peer.close()
            output, errors = asking.communicate(timeout=30)
            assert_one_sentence(subprocess.CompletedProcess([], asking.returncode, output, errors))
            return
        assert_one_sentence(angarium("status", folder=tmp_path))


MISUSED = [
    (("brew",), 'Unknown command "brew"'),
    (("queue", "brew"), 'Unknown command "brew"'),
    (("queue", "show"), "MESSAGE requires an argument"),
    (("queue", "list", "--state", "asleep"), 'Choose from: "waiting", "held", "leased", "owing"'),
    (("queue", "list", "--limit", "many"), "unable to convert"),
    (("queue", "list", "--limit", "0"), "--limit"),
    (("mail", "list", "--limit", "-1"), "--limit"),
    (("journal", "tail", "--limit", "1000000"), "--limit"),
    (("queue", "list", "--no-such-option"), "--no-such-option"),
    (("journal", "tail", "surplus"), "surplus"),
]


@pytest.mark.parametrize(("arguments", "words"), MISUSED, ids=[" ".join(row[0]) for row in MISUSED])
def test_a_wrong_command_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    ended = angarium(*arguments, folder=tmp_path)
    assert_one_sentence(ended, code=2)
    assert words in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("queue", "cancel"), "say which"),
        (("queue", "hold"), "say which"),
        (("queue", "hold", "--all", "--until", "soon"), "'soon' is not a time"),
        (("queue", "list", "--older-than", "long"), "'long' is not a time"),
        (("journal", "tail", "--since", "long"), "'long' is not a time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_asked_wrongly_needs_no_server(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    ended = angarium(*arguments, folder=tmp_path)
    assert_one_sentence(ended)
    assert words in ended.stderr


@pytest.mark.parametrize("arguments", [(), ("queue",), ("journal",), ("mail",)])
def test_help_says_what_each_command_does(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = angarium(*arguments, folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Usage: angarium" in ended.stdout
    commands = [line.strip("│ ").split(maxsplit=1) for line in ended.stdout.splitlines() if line.startswith("│ ")]
    assert commands
    assert all(len(command) == 2 for command in commands), ended.stdout


def test_mail_is_read_without_a_server(tmp_path: Path) -> None:
    assert angarium("mail", "list", folder=tmp_path).stdout == "no mail yet\n"
    folder = tmp_path / "state" / "angarium" / "mail" / "catch-all" / "new"
    folder.mkdir(parents=True)
    (folder / "0A.1").write_bytes(
        b"Subject: =?utf-8?q?gr=C3=BCn\x1b[2J?=\nFrom: \x1b]0;title\x07a@b.test\n\n\x1b[31mred\n"
    )
    (folder / "0B.1").write_bytes(b"Content-Type: text/plain; charset=no-such\n\n\xe4\xff\n")
    (folder / "0C.1").write_bytes(
        b"Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\nAAAA\n"
    )
    (folder / "0D.1").write_bytes(bytes(range(256)) * 3)
    (folder / "0E.1").write_bytes(b"")
    for arguments in (("list",), ("show", "0a"), ("show", "0B.1"), ("show", "0C"), ("show", "0D"), ("show", "0E")):
        shown = angarium("mail", *arguments, folder=tmp_path)
        assert (shown.returncode, shown.stderr) == (0, ""), arguments
        assert "\x1b" not in shown.stdout
        assert "\x07" not in shown.stdout
    ended = angarium("mail", "show", "0", folder=tmp_path)
    assert_one_sentence(ended)
    assert "5 mails begin with '0'" in ended.stderr


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "angarium" / "mail" / "catch-all" / "new"
    folder.mkdir(parents=True)
    (folder / "0A.1").write_bytes(b"Subject: long\n\n" + b"line\n" * 200_000)
    command = f'"{sys.executable}" -m angarium mail show 0A | head -n 1; echo "${{PIPESTATUS[0]}}"'
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("Subject: long\n0\n", "")
