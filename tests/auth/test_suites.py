"""The outside suites of authentication: every case passes (docs/authentication.md tells how they are read)."""

from __future__ import annotations

import importlib

import pytest

from tests.outside import suite


@pytest.mark.parametrize(("name", "cases"), [("spf", 203), ("arc", 171 + 17), ("dkim", 37), ("dkim2", 47)])
def test_suite(name: str, cases: int) -> None:
    result = importlib.import_module(f"tests.suites.{name}").run(suite(name))
    assert result.of == cases
    assert not result.misses, str(result)
