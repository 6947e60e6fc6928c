"""Opens the file of an SQLite store, and refuses it if another process has it, or it is damaged or not ours."""

import fcntl
import os
import sqlite3
from pathlib import Path

from gateway.store.private_file import touch_private
from gateway.store.protocol import RUNNING, StoreUnusable
from gateway.store.sqlite_sums import SUMS_SCHEMA

# ruff: noqa: S608 - statements are put together from constants of this file only

APPLICATION = 0x4C4C4D67  # "LLMg" in ASCII; SQLite keeps it in the file's header
VERSION = 3  # of the schema; a file of an earlier one gets what it lacks
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=5000",
    "journal_size_limit=8388608",
)
# The triggers keep `items` in step with `responses`: one INSERT writes both, and is atomic without a transaction.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS responses (
    owner TEXT NOT NULL, id TEXT NOT NULL, previous TEXT, status TEXT NOT NULL, created INTEGER NOT NULL,
    expires REAL NOT NULL, maker TEXT NOT NULL, items TEXT NOT NULL, input BLOB NOT NULL, output BLOB NOT NULL,
    body BLOB NOT NULL, lease REAL NOT NULL, last INTEGER NOT NULL, hidden INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, id)
);
CREATE INDEX IF NOT EXISTS responses_expires ON responses (expires);
CREATE INDEX IF NOT EXISTS responses_previous ON responses (owner, previous) WHERE previous IS NOT NULL;
CREATE TABLE IF NOT EXISTS items (
    owner TEXT NOT NULL, id TEXT NOT NULL, response TEXT NOT NULL, PRIMARY KEY (owner, id) ON CONFLICT REPLACE
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_response ON items (owner, response);
CREATE TRIGGER IF NOT EXISTS items_come AFTER INSERT ON responses BEGIN
    INSERT INTO items SELECT new.owner, value, new.id FROM json_each(new.items);
END;
CREATE TRIGGER IF NOT EXISTS items_change AFTER UPDATE OF items ON responses BEGIN
    INSERT INTO items SELECT new.owner, value, new.id FROM json_each(new.items);
END;
CREATE TRIGGER IF NOT EXISTS items_go AFTER DELETE ON responses BEGIN
    DELETE FROM items WHERE owner = old.owner AND response = old.id;
END;
CREATE TABLE IF NOT EXISTS conversations (
    owner TEXT NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL, expires REAL NOT NULL, metadata BLOB NOT NULL,
    head TEXT, gone TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (owner, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conversations_expires ON conversations (expires);
{SUMS_SCHEMA}
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


def claim_file(path: Path) -> int:
    """Lock the file for this gateway, whose workers open it; return the descriptor to hand on. Raises StoreUnusable."""
    writing, reading, lock, _ = open_file(path)
    writing.close()
    reading.close()
    return lock


def open_file(path: Path, held: int | None = None) -> tuple[sqlite3.Connection, sqlite3.Connection, int, int]:
    """Return a connection to write, one to read, the lock's descriptor, and the file's inode. Raises StoreUnusable.

    `held` is the descriptor of the lock, if the process above this one has claimed the file.
    """
    try:
        lock = _lock(path) if held is None else held
    except OSError as error:
        raise StoreUnusable(f"{path}: {error.strerror}") from None
    opened: list[sqlite3.Connection] = []
    try:
        touch_private(path)
        opened += [_connect(path), _connect(path)]
        writing, reading = opened
        _check(writing)
        for pragma in _PRAGMAS:
            writing.execute(f"PRAGMA {pragma}")
        if any(payload != "ok" for (payload,) in writing.execute("PRAGMA quick_check")):
            raise sqlite3.DatabaseError("the file is damaged")
        writing.executescript(_SCHEMA)
        reading.execute("PRAGMA query_only=ON")
        reading.execute("PRAGMA busy_timeout=5000")
        if held is None:  # no gateway runs these responses any more: end their leases
            writing.execute(f"UPDATE responses SET lease = 0 WHERE status IN {RUNNING}")
    except (OSError, sqlite3.Error, StoreUnusable) as error:
        for connection in opened:
            connection.close()
        os.close(lock)
        if isinstance(error, sqlite3.Error):
            raise StoreUnusable(f"{path}: {error}: move it away, or restore it") from None
        raise error if isinstance(error, StoreUnusable) else StoreUnusable(f"{path}: {error.strerror}") from None
    return writing, reading, lock, path.stat().st_ino


def _lock(path: Path) -> int:
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StoreUnusable(f"{path}: another gateway has it open: to share a store, use redis://…") from None
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _check(db: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError if another program or a later version of the schema made the file."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == APPLICATION and version > VERSION:
        raise sqlite3.DatabaseError(f"it was made by another version of the gateway (schema {version}, not {VERSION})")
    if tables and application != APPLICATION:
        raise sqlite3.DatabaseError("it belongs to another program")
