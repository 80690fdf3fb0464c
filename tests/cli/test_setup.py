"""`angarium init` and `angarium check-config`: a file to start from, and what is wrong with one, in sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trustme

from tests.cli.test_first_run import assert_one_sentence
from tests.harness import ServerProcess, free_port
from tests.site import angarium


def test_init_writes_a_file_that_is_good_and_starts(tmp_path: Path) -> None:
    written = angarium("init", folder=tmp_path)
    assert written.returncode == 0, written.stderr
    assert "angarium serve --config angarium.toml" in written.stdout
    checked = angarium("check-config", folder=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "angarium.toml is good\n")
    text = (tmp_path / "angarium.toml").read_text()
    port = free_port()
    text = text.replace("127.0.0.1:2525", f"127.0.0.1:{port}").replace("127.0.0.1:8025", f"127.0.0.1:{free_port()}")
    server = ServerProcess(tmp_path, text)
    server.start(port)
    assert server.stop() == 0


def test_init_leaves_a_file_alone(tmp_path: Path) -> None:
    (tmp_path / "angarium.toml").write_text("mine")
    ended = angarium("init", folder=tmp_path)
    assert_one_sentence(ended)
    assert "already there" in ended.stderr
    assert (tmp_path / "angarium.toml").read_text() == "mine"


def test_init_under_another_name(tmp_path: Path) -> None:
    assert angarium("init", "mail.toml", folder=tmp_path).returncode == 0
    assert angarium("check-config", "mail.toml", folder=tmp_path).returncode == 0
    ended = angarium("init", "no/such/folder.toml", folder=tmp_path)
    assert_one_sentence(ended)
    assert "cannot be written" in ended.stderr


# what · the file · key · what is wrong · what would be right
WRONG = [
    ("a key misspelt", '[server]\nhostnam = "x"\n', "server.hostnam", "there is no such key", "did you mean hostname?"),
    ("a table misspelt", "[smart_host]\n", "smart_host", "there is no such key", "did you mean smarthost?"),
    ("a text for a number", '[[listen]]\naddress = "127.0.0.1:25"\nmax_recipients = "many"\n',
     "listen[0].max_recipients", "this is a text", "it takes a whole number from 1"),
    ("a number out of range", "[smarthost]\nhost = \"a.test\"\nport = 70000\n",
     "smarthost.port", "the number is out of range", "a whole number from 1 to 65535"),
    ("a word that is not known", '[[listen]]\naddress = "127.0.0.1:25"\nprofile = "relais"\n',
     "listen[0].profile", "'relais' is not known here", "did you mean relay?"),
    ("an address without a port", '[[listen]]\naddress = "127.0.0.1"\n',
     "listen[0].address", "'127.0.0.1' is not an address with a port", '"127.0.0.1:2525"'),
    ("a network with host bits", '[relay]\nnetworks = ["192.0.2.1/24"]\n',
     "relay.networks[0]", "is an address inside 192.0.2.0/24", '"192.0.2.0/24"'),
    ("a time that is none", '[delivery]\nexpire = "5 moons"\n', "delivery.expire", "'5 moons' is not a time", '"5d"'),
    ("a size that is none", '[[listen]]\naddress = "127.0.0.1:25"\nmax_size = "big"\n',
     "listen[0].max_size", "'big' is not a size", '"50MB"'),
    ("a key that is missing", "[smarthost]\nport = 25\n", "smarthost.host", "this key is missing", "it needs a host"),
    ("an open relay", '[relay]\ndomains = ["*"]\n', "relay.domains", "anybody could send to everybody", "name domains"),
    ("control open to the network", '[control]\naddress = "0.0.0.0:8025"\n',
     "control.address", "is open to the network", "an address on loopback"),
    ("two sockets on one port", '[[listen]]\naddress = "127.0.0.1:8025"\n',
     "control.address", "is already used by listen[0].address", "its own port"),
    ("a hooks file that is not there", '[hooks]\nfile = "gone.py"\n',
     "hooks.file", "there is no file", "leave the key out"),
    ("not TOML", "[server\n", "", "it is not TOML", "toml.io"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "text", "key", "wrong", "right"), WRONG, ids=[row[0] for row in WRONG])
def test_check_config_says_file_key_wrong_and_right(
    tmp_path: Path, what: str, text: str, key: str, wrong: str, right: str
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    checked = angarium("check-config", "mine.toml", folder=tmp_path)
    assert (checked.returncode, checked.stderr) == (1, ""), what
    (line,) = checked.stdout.splitlines()
    assert line.startswith(f"mine.toml: {key}: " if key else "mine.toml: ")
    assert wrong in line
    assert right in line
    (problem,) = map(json.loads, angarium("check-config", "mine.toml", "--json", folder=tmp_path).stdout.splitlines())
    assert (problem["file"], problem["key"]) == ("mine.toml", key)
    assert wrong in problem["wrong"]
    served = angarium("serve", "--config", "mine.toml", folder=tmp_path)
    assert (served.returncode, served.stderr) == (1, f"angarium: {line}\n")


def test_check_config_tells_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "angarium.toml").write_text('[server]\nhostnam = "x"\n[delivery]\nexpire = "soon"\nconnections = 0\n')
    checked = angarium("check-config", folder=tmp_path)
    assert [line.split(": ")[1] for line in checked.stdout.splitlines()] == [
        "server.hostnam",
        "delivery.expire",
        "delivery.connections",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check-config",), "there is no angarium.toml here"),
        (("serve", "--config", "gone.toml"), "gone.toml: there is no such file"),
        (("status", "--config", "gone.toml"), "gone.toml: there is no such file"),
        (("mail", "list", "--config", "."), "it cannot be read"),
    ],
)
def test_a_file_that_is_not_there(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    ended = angarium(*arguments, folder=tmp_path)
    assert_one_sentence(ended)
    assert words in ended.stderr


def test_a_file_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text("[server]\nhostnam = 1\n")
    ended = angarium("check-config", folder=tmp_path, ANGARIUM_CONFIG="elsewhere.toml")
    assert ended.stdout.startswith("elsewhere.toml: server.hostnam: ")


def test_check_config_reads_certificates(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("mx.example.org")
    (tmp_path / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "key.pem").chmod(0o600)
    text = '[server]\nhostname = "{}"\n[[tls.certificate]]\nchain = "chain.pem"\nkey = "{}"\n'
    config = tmp_path / "angarium.toml"
    config.write_text(text.format("mx.example.org", "key.pem"))
    assert angarium("check-config", folder=tmp_path).stdout == "angarium.toml is good\n"
    config.write_text(text.format("mx.example.net", "key.pem"))
    warned = angarium("check-config", folder=tmp_path)
    assert warned.returncode == 0
    warning, good = warned.stdout.splitlines()
    assert warning.startswith("warning: angarium.toml: tls.certificate: no certificate names mx.example.net")
    assert good == "angarium.toml is good"
    config.write_text(text.format("mx.example.org", "chain.pem"))
    checked = angarium("check-config", folder=tmp_path)
    assert checked.returncode == 1
    assert checked.stdout.startswith(
        "angarium.toml: tls.certificate[0].key: there is no key in this file; it takes PEM"
    )
    served = angarium("serve", folder=tmp_path)
    assert_one_sentence(served)
    assert "tls.certificate[0].key: there is no key in this file" in served.stderr
