"""The policy file: which hooks are found, and how its mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from angarium.errors import HookError
from angarium.policy import load_hooks


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.py"
    path.write_text(text)
    return path


def test_hooks_are_found_by_name(tmp_path: Path) -> None:
    text = "async def rcpt(envelope, recipient):\n    pass\nasync def message(m):\n    pass\ndef other(): pass\n"
    assert sorted(load_hooks(write(tmp_path, text))) == ["message", "rcpt"]
    assert load_hooks(None) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n\nraise RuntimeError('no')\n", "policy.py:3: RuntimeError: no"),
        ("async def message(m:\n", "policy.py:1: SyntaxError"),
        ("import not_there_at_all\n", "policy.py:1: ModuleNotFoundError"),
        ("def message(m):\n    pass\n", "message must be an async function"),
        ("async def rcpt(envelope):\n    pass\n", "write it as async def rcpt(envelope, recipient)"),
        ("x = 1\n", "there is no hook in it"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(HookError) as raised:
        load_hooks(write(tmp_path, text))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
