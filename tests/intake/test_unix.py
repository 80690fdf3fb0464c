"""Unix sockets: who may connect, that mail comes in over them, and that they go away with the server."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from angarium import intake
from angarium.errors import StartError
from angarium.settings import DomainPattern, Listen, ListenAddress, Local, Mailbox, Settings

from tests import house


def row(path: Path, **keys: object) -> Listen:
    return Listen(address=ListenAddress.parse(f"unix:{path}"), **keys)  # type: ignore[arg-type]


def opened(*rows: Listen) -> list[intake.Listening]:
    return intake.listen(Settings(listen=rows))


@pytest.mark.parametrize("mode", ["0660", "600", "0666"])
def test_a_socket_has_the_mode_of_its_row_and_goes_away(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "in.sock"
    (one,) = opened(row(path, mode=mode))
    assert one.address == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)
    intake.close([one])
    assert not path.exists()


def test_a_dead_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "in.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    living = opened(row(path))
    with pytest.raises(StartError, match="another server answers there"):
        opened(row(path))
    intake.close(living)


def test_a_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "in.sock"
    path.write_text("mine")
    with pytest.raises(StartError, match="Cannot listen on unix:"):
        opened(row(path))
    assert path.read_text() == "mine"


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"Cannot listen on unix:.*No such file"):
        opened(row(tmp_path / "no" / "in.sock"))


@pytest.mark.parametrize("profile", ["mx", "lmtp"])
async def test_mail_comes_in_over_one(tmp_path: Path, profile: str) -> None:
    path = tmp_path / "in.sock"
    local = Local(domains={DomainPattern("here.example"): Mailbox("here")})
    given = house.settings(tmp_path, listen=(row(path, profile=profile),), local=local)
    async with house.running(given) as server:
        assert server.addresses == (f"unix:{path}",)
        reply = await house.talk_unix(path, "LHLO" if profile == "lmtp" else "EHLO", "b@here.example")
        assert reply.startswith("250 "), reply
        await house.until(lambda: bool(list((given.mail_folder / "here" / "new").glob("*"))))
    assert not path.exists()
