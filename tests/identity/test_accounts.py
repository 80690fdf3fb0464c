"""Accounts of our own: what is kept of a password, what opens an account, and what time it takes when nothing does."""

from __future__ import annotations

import base64
import statistics
import time
from pathlib import Path

import pytest
from angarium.identity.accounts import (
    Account,
    AccountError,
    Verifier,
    generate_password,
    login_key,
    prepare,
    scram_keys,
    with_password,
)
from angarium.identity.stores import Store, StoreBroken, open_store
from hypothesis import given
from hypothesis import strategies as st

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def account() -> Account:
    return with_password(Account(login="a@example.org"), PASSWORD)


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


def test_a_password_opens_its_account_only(account: Account, verifier: Verifier) -> None:
    assert verifier.opens(account, PASSWORD)
    assert not verifier.opens(account, PASSWORD + "!")
    assert not verifier.opens(account, "")
    assert not verifier.opens(None, PASSWORD)
    assert not verifier.opens(Account(login="empty"), "")
    assert not verifier.opens(Account(login="nonsense", password="$argon2id$v=19$nonsense"), PASSWORD)


def test_a_disabled_account_does_not_open(account: Account, verifier: Verifier) -> None:
    disabled = Account(login=account.login, password=account.password, disabled=True)
    assert not verifier.opens(disabled, PASSWORD)


def test_nothing_of_a_password_is_kept_or_shown(account: Account) -> None:
    assert account.password.startswith("$argon2id$")
    assert account.cram_secret is None
    assert "argon2" not in repr(account)
    assert with_password(account, PASSWORD, keep_for_cram=True).cram_secret == PASSWORD.encode()


def test_scram_keys_are_those_of_the_standard() -> None:
    """RFC 7677 3: the example of SCRAM-SHA-256."""
    keys = scram_keys("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4_096)
    assert base64.b64encode(keys.stored_key) == b"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    assert base64.b64encode(keys.server_key) == b"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="


def test_nobody_there_costs_as_much_as_a_wrong_password(account: Account, verifier: Verifier) -> None:
    """Medians of many, interleaved, so that a busy machine slows both; a factor that no network would show."""
    cases = {"wrong": account, "nobody": None, "disabled": Account(login="b", password=account.password, disabled=True)}
    took: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(15):
        for name, asked in cases.items():
            began = time.thread_time()
            assert not verifier.opens(asked, "wrong horse")
            took[name].append(time.thread_time() - began)
    medians = [statistics.median(times) for times in took.values()]
    assert max(medians) < 2 * min(medians), took


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013 3
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("no\u00a0break", "no break"),
        ("ünïcode", "ünïcode"),
    ],
)
def test_prepares_as_the_standard_says(text: str, prepared: str) -> None:
    assert prepare(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u06271", "a\u0627", "\ue000", "\u200e"])
def test_what_may_not_be_is_refused(text: str) -> None:
    with pytest.raises(AccountError):
        prepare(text)


@pytest.mark.parametrize(
    ("login", "key"),
    [("A@Example.ORG", "a@example.org"), ("Straße", "strasse"), ("a b", ""), ("", ""), ("a\0", ""), ("x" * 255, "")],
)
def test_logins_have_no_case_and_no_spaces(login: str, key: str) -> None:
    assert login_key(login) == key


@given(st.text())
def test_any_text_is_a_login_or_none(text: str) -> None:
    key = login_key(text)
    assert login_key(key) == key


@pytest.mark.parametrize("password", ["short", "x" * 1_001, "pass\x00word"])
def test_passwords_that_are_not_taken(password: str) -> None:
    with pytest.raises(AccountError):
        with_password(Account(login="a"), password)


def test_made_passwords_differ_and_are_taken() -> None:
    made = {generate_password() for _ in range(50)}
    assert len(made) == 50
    assert {len(password) for password in made} == {20}


# --- stores -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    opened = open_store(request.param, tmp_path / "deep" / "accounts")
    opened.prepare()
    return opened


def put(store: Store, account: Account) -> None:
    store.change(login_key(account.login), lambda _: account)


def test_a_store_keeps_what_it_is_given(store: Store, account: Account) -> None:
    whole = Account(
        login="Z@example.org",
        password=account.password,
        scram=account.scram,
        cram_secret=b"\x00secret",
        addresses=("@example.org",),
        tenant="acme",
        priority="bulk",
        disabled=True,
    )
    for one in (whole, account):
        put(store, one)
    assert store.find("z@example.org") == whole
    assert store.find("nobody") is None
    assert store.all() == [account, whole]
    store.change("z@example.org", lambda found: None)
    assert store.all() == [account]


def test_another_process_sees_a_change(store: Store, account: Account) -> None:
    other = open_store("sqlite" if type(store).__name__ == "SqliteStore" else "file", store.path)  # type: ignore[attr-defined]
    assert other.find("a@example.org") is None
    put(store, account)
    assert other.find("a@example.org") == account
    put(other, Account(login="b@example.org"))
    assert [one.login for one in store.all()] == ["a@example.org", "b@example.org"]


def test_what_changes_nothing_leaves_the_store(store: Store, account: Account) -> None:
    put(store, account)

    def refuse(found: Account | None) -> Account | None:
        raise AccountError("no")

    with pytest.raises(AccountError):
        store.change("a@example.org", refuse)
    assert store.all() == [account]
    put(store, account)


def test_a_store_that_is_gone_or_spoilt_is_broken(store: Store, account: Account) -> None:
    put(store, account)
    path: Path = store.path  # type: ignore[attr-defined]
    path.unlink()
    with pytest.raises(StoreBroken):
        store.find("a@example.org")
    path.write_bytes(b'{"login": "a", "surplus": 1}\n' * 200)
    with pytest.raises(StoreBroken):
        store.find("a@example.org")
