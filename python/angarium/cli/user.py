"""`angarium user …`: the accounts of our own; needs no running server, and a running one sees every change.

A password comes from a prompt, from standard input, or is made here; never from the command line, where others could
read it.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from typing import Annotated

import msgspec
from cyclopts import Parameter
from msgspec.structs import replace

from ..errors import AngariumError
from ..identity.accounts import Account, AccountError, generate_password, login_key, with_password
from ..identity.stores import Store, open_store
from ..settings import AddressPattern, load, locate
from ..settings.faces import Priority
from .show import columns, json_line

# Of --address and --tenant.
LONGEST_TENANT = 64


class Shown(msgspec.Struct, frozen=True):
    """An account for people and programs: without what proves it."""

    login: str
    addresses: tuple[str, ...]
    tenant: str
    priority: str
    disabled: bool
    mechanisms: tuple[str, ...]


def add(
    login: str,
    /,
    *,
    address: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    tenant: str = "",
    priority: Priority | None = None,
    generate: Annotated[bool, Parameter(negative=())] = False,
    cram_md5: Annotated[bool, Parameter(negative=())] = False,
    config: str | None = None,
    json: bool = False,
) -> None:
    """Make an account. The password is asked for, or read from standard input when that is no terminal.

    Parameters
    ----------
    login
        What the client logs in with; usually a mail address.
    address
        What it may send as: "a@example.org", "@example.org" for a whole domain, "*" for everything. May be given more
        than once. Default: the login itself.
    tenant
        Whose mail it is, for limits and reports.
    priority
        Of its mail, instead of what the listener says.
    generate
        Make the password here and show it once.
    cram_md5
        Also let it log in by CRAM-MD5, for which the password itself must be kept.
    json
        One JSON object.
    """
    store, key = open_accounts(config), key_of(login)
    if len(tenant) > LONGEST_TENANT or not tenant.isprintable():
        raise AngariumError(f"{tenant!r} is no name of a tenant: {LONGEST_TENANT} printable characters at most")
    made = Account(login=login, addresses=patterns(address), tenant=tenant, priority=priority or "")
    absent(store.find(key), login)
    password = new_password(generate=generate)
    whole = with_password(made, password, keep_for_cram=cram_md5)

    def keep(account: Account | None) -> Account:
        absent(account, login)
        return whole

    store.change(key, keep)
    tell(whole, "made", password if generate else "", json=json)


def passwd(
    login: str,
    /,
    *,
    generate: Annotated[bool, Parameter(negative=())] = False,
    config: str | None = None,
    json: bool = False,
) -> None:
    """Give an account another password. The old one stops working within seconds.

    Parameters
    ----------
    login
        As `angarium user list` shows it.
    generate
        Make the password here and show it once.
    json
        One JSON object.
    """
    store = open_accounts(config)
    present(store.find(key_of(login)), login)
    password = new_password(generate=generate)

    def change(account: Account) -> Account:
        return with_password(account, password, keep_for_cram=account.cram_secret is not None)

    tell(changed(store, login, change), "has another password", password if generate else "", json=json)


def disable(login: str, /, *, config: str | None = None, json: bool = False) -> None:
    """Keep an account but let nobody log in with it.

    Parameters
    ----------
    login
        As `angarium user list` shows it.
    json
        One JSON object.
    """
    account = changed(open_accounts(config), login, lambda account: replace(account, disabled=True))
    tell(account, "is disabled", json=json)


def enable(login: str, /, *, config: str | None = None, json: bool = False) -> None:
    """Let a disabled account log in again.

    Parameters
    ----------
    login
        As `angarium user list` shows it.
    json
        One JSON object.
    """
    account = changed(open_accounts(config), login, lambda account: replace(account, disabled=False))
    tell(account, "is enabled", json=json)


def remove(login: str, /, *, config: str | None = None, json: bool = False) -> None:
    """Remove an account for good.

    Parameters
    ----------
    login
        As `angarium user list` shows it.
    json
        One JSON object.
    """
    removed: list[Account] = []
    open_accounts(config).change(key_of(login), lambda account: removed.append(present(account, login)))
    tell(removed[0], "is removed", json=json)


def list_users(*, config: str | None = None, json: bool = False) -> None:
    """List the accounts.

    Parameters
    ----------
    json
        One JSON object per line.
    """
    rows = [shown(account) for account in open_accounts(config).all()]
    if json:
        for row in rows:
            json_line(row)
        return
    cells = [
        (
            row.login,
            "disabled" if row.disabled else "enabled",
            ",".join(row.addresses) or "itself",
            row.tenant,
            row.priority,
        )
        for row in rows
    ]
    columns(("LOGIN", "STATE", "SENDS AS", "TENANT", "PRIORITY"), cells, nothing="no account yet")


def open_accounts(config: str | None) -> Store:
    settings = load(locate(config))
    given = settings.logins
    if given.source not in ("sqlite", "file"):
        raise AngariumError(f'the accounts are not ours: logins.source is "{given.source}"; change them there')
    store = open_store(given.source, settings.accounts_file)
    store.prepare()
    return store


def key_of(login: str) -> str:
    key = login_key(login)
    if not key:
        raise AngariumError(f"{login!r} is no login; it has no spaces and 254 characters at most")
    return key


def patterns(given: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(str(AddressPattern.parse(address)) for address in given)
    except ValueError as error:
        raise AngariumError(f"--address: {error}; it takes {AddressPattern.right}") from None


def absent(account: Account | None, login: str) -> None:
    if account is not None:
        raise AccountError(f"there is an account {login} already; angarium user passwd gives it another password")


def present(account: Account | None, login: str) -> Account:
    if account is None:
        raise AccountError(f"there is no account {login}; angarium user list shows those that are there")
    return account


def changed(store: Store, login: str, change: Callable[[Account], Account]) -> Account:
    """Changes an account that is there and gives it as it is then."""
    done: list[Account] = []

    def once(account: Account | None) -> Account:
        done.append(change(present(account, login)))
        return done[-1]

    store.change(key_of(login), once)
    return done[-1]


def new_password(*, generate: bool) -> str:
    """Made here, typed twice at a prompt, or the first line of standard input."""
    if generate:
        return generate_password()
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        if not line.rstrip("\r\n"):
            raise AngariumError("there is no password on standard input; give one there, or use --generate")
        return line.rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise AngariumError("the two passwords differ; nothing was changed")
    return password


def shown(account: Account) -> Shown:
    ways = {"PLAIN": account.password, "SCRAM-SHA-256": account.scram, "CRAM-MD5": account.cram_secret}
    return Shown(
        login=account.login,
        addresses=account.addresses,
        tenant=account.tenant,
        priority=account.priority,
        disabled=account.disabled,
        mechanisms=tuple(way for way, kept in ways.items() if kept),
    )


def tell(account: Account, what: str, password: str = "", *, json: bool) -> None:
    if json:
        json_line({**msgspec.to_builtins(shown(account)), **({"password": password} if password else {})})
        return
    print(f"{account.login} {what}" + (f"; its password is {password}" if password else ""))
