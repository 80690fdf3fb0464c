"""Where accounts of our own are kept: a SQLite file, or a text file with one JSON object a line.

Both are files that only their owner may read, both are read by the running server and changed by `angarium user` while
it runs. Everything here blocks and is called in threads. What cannot be read raises `StoreBroken`; an account that is
not there is None. A text file is read anew when it has changed; a SQLite file is asked each time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Protocol

import apsw
import msgspec

from ..errors import AngariumError
from ..settings.prints import look
from .accounts import Account, login_key

# How long a change waits for another one, in milliseconds.
PATIENCE = 5_000
SCHEMA = 1
TABLE = "CREATE TABLE accounts (login TEXT PRIMARY KEY, account TEXT NOT NULL) STRICT, WITHOUT ROWID"

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Account).decode
Change = Callable[[Account | None], Account | None]


class StoreBroken(AngariumError):  # noqa: N818
    """The accounts cannot be read or written."""


class Store(Protocol):
    """Accounts by the key of their login (`login_key`)."""

    def find(self, key: str) -> Account | None:
        """Raises `StoreBroken`."""

    def all(self) -> Sequence[Account]:
        """By login. Raises `StoreBroken`."""

    def change(self, key: str, change: Change) -> None:
        """Gives what is there (or None) to `change` and keeps what it returns (None: nothing), durably."""

    def prepare(self) -> None:
        """Makes an empty store where there is none. Raises `StoreBroken`."""


def open_store(source: str, path: Path) -> Store:
    return SqliteStore(path) if source == "sqlite" else TextStore(path)


class SqliteStore:
    """One row per account; asked each time, so that nothing goes stale."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, key: str) -> Account | None:
        with self._opened(apsw.SQLITE_OPEN_READONLY) as database:
            row = next(database.execute("SELECT account FROM accounts WHERE login = ?", (key,)), None)
            return None if row is None else self._account(row[0])

    def all(self) -> Sequence[Account]:
        with self._opened(apsw.SQLITE_OPEN_READONLY) as database:
            return [self._account(row[0]) for row in database.execute("SELECT account FROM accounts ORDER BY login")]

    def change(self, key: str, change: Change) -> None:
        self.prepare()
        with self._opened(apsw.SQLITE_OPEN_READWRITE) as database:
            database.execute("BEGIN IMMEDIATE")
            row = next(database.execute("SELECT account FROM accounts WHERE login = ?", (key,)), None)
            kept = change(None if row is None else self._account(row[0]))
            if kept is None:
                database.execute("DELETE FROM accounts WHERE login = ?", (key,))
            else:
                database.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?)", (key, encode(kept).decode()))
            database.execute("COMMIT")

    def prepare(self) -> None:
        make_private(self.path)
        with self._opened(apsw.SQLITE_OPEN_READWRITE) as database:
            database.execute("BEGIN IMMEDIATE")
            if database.pragma("user_version") == 0:
                database.execute(TABLE)
                database.pragma("user_version", SCHEMA)
            database.execute("COMMIT")

    @contextmanager
    def _opened(self, flags: int) -> Iterator[apsw.Connection]:
        try:
            with closing(apsw.Connection(str(self.path), flags=flags)) as database:
                database.set_busy_timeout(PATIENCE)
                yield database
        except apsw.Error as error:
            raise StoreBroken(f"{self.path}: the accounts cannot be used: {error}") from None

    def _account(self, text: object) -> Account:
        try:
            return decode(str(text))
        except msgspec.DecodeError as error:
            raise StoreBroken(f"{self.path}: an account cannot be read: {error}") from None


class TextStore:
    """All accounts in memory, as the file stood when it was last looked at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, Account] = {}
        self._print: tuple[int, int, int] | None = None
        # Threads look at once; one of them reads.
        self._lock = Lock()

    def find(self, key: str) -> Account | None:
        return self._accounts().get(key)

    def all(self) -> Sequence[Account]:
        accounts = self._accounts()
        return [accounts[key] for key in sorted(accounts)]

    def change(self, key: str, change: Change) -> None:
        self.prepare()
        with self._alone():
            accounts = dict(self._accounts())
            kept = change(accounts.pop(key, None))
            if kept is not None:
                accounts[key] = kept
            self._write([accounts[one] for one in sorted(accounts)])

    def prepare(self) -> None:
        make_private(self.path)

    def _accounts(self) -> dict[str, Account]:
        with self._lock:
            try:
                looked = look(self.path)
                if looked is None or looked != self._print:
                    self._read, self._print = self._parse(self.path.read_bytes()), looked
            except OSError as error:
                raise StoreBroken(f"{self.path}: the accounts cannot be read: {error.strerror}") from None
            return self._read

    def _parse(self, content: bytes) -> dict[str, Account]:
        accounts: dict[str, Account] = {}
        for number, line in enumerate(content.splitlines(), 1):
            if not line.strip():
                continue
            try:
                account = decode(line)
            except msgspec.DecodeError as error:
                raise StoreBroken(f"{self.path}:{number}: this is no account: {error}") from None
            key = login_key(account.login)
            if not key or key in accounts:
                raise StoreBroken(
                    f"{self.path}:{number}: the login {account.login!r} is no login or stands there twice"
                )
            accounts[key] = account
        return accounts

    def _write(self, accounts: Sequence[Account]) -> None:
        beside = self.path.with_name(self.path.name + ".new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(encode(account) + b"\n" for account in accounts)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise StoreBroken(f"{self.path}: the accounts cannot be written: {error.strerror}") from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One change at a time, over all processes."""
        try:
            with self.path.with_name(self.path.name + ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise StoreBroken(f"{self.path}: the accounts cannot be locked: {error.strerror}") from None


def make_private(path: Path) -> None:
    """An empty file for its owner alone, unless there is one."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreBroken(f"{path}: the accounts cannot be used: {error.strerror}") from None


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
