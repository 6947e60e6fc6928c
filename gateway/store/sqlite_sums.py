"""The sums of what was used, in the SQLite file of the store. Every function is called in a thread of the store's."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.store.sums import KEPT_DAYS, MAX_A_DAY, NAMES, NUMBERS, OTHER, SESSIONS_KEPT_DAYS, Query, Row

# ruff: noqa: S608 - statements are put together from constants only; values are parameters

SUMS_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS sums (
    {", ".join(f"{name} TEXT NOT NULL" for name in NAMES)},
    {", ".join(f"{name} INTEGER NOT NULL" for name in NUMBERS)},
    PRIMARY KEY ({", ".join(NAMES)})
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (name TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    day TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (day, kind, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen_counts (
    day TEXT NOT NULL, kind TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (day, kind)
) WITHOUT ROWID;
"""
BATCHES_KEPT_S = 86400.0
_ADD = f"""INSERT INTO sums VALUES ({", ".join("?" * (len(NAMES) + len(NUMBERS)))})
    ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in NUMBERS)}"""
_COUNTED = ", ".join(f"sum({name})" for name in NUMBERS)


def add_rows(db: sqlite3.Connection, batch: str, rows: Sequence[Row], now: float) -> None:
    """Add to rows in one transaction, unless this batch was added. Raises sqlite3.Error, and nothing is added then."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("INSERT OR IGNORE INTO batches VALUES (?,?)", (batch, now)).rowcount == 0:
            rows = ()
        for names, numbers in rows:
            db.execute(_ADD, (*_bounded(db, names), *numbers))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _bounded(db: sqlite3.Connection, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a row, with `other` in place of one that is one too many for its day."""
    found, day = list(names), names[0]
    for kind, most in MAX_A_DAY.items():
        name = found[place := NAMES.index(kind)]
        given = (day, kind, name)
        if not name or db.execute("SELECT 1 FROM seen WHERE day=? AND kind=? AND name=?", given).fetchone():
            continue
        row = db.execute("SELECT count FROM seen_counts WHERE day=? AND kind=?", (day, kind)).fetchone()
        if row is not None and row[0] >= most:
            found[place] = OTHER
            continue
        db.execute("INSERT INTO seen VALUES (?,?,?)", given)
        db.execute("INSERT INTO seen_counts VALUES (?,?,1) ON CONFLICT DO UPDATE SET count = count + 1", (day, kind))
    return tuple(found)


def read_rows(db: sqlite3.Connection, query: Query) -> list[Row]:
    """Return the sums by the names that are asked for."""
    assert all(name in NAMES for name in (*query.by, *(name for name, _ in query.where)))
    columns = ", ".join(query.by)
    conditions = ["day >= ?", "day <= ?", *(f"{name} = ?" for name, _ in query.where)]
    group = f"GROUP BY {columns} ORDER BY {columns}" if columns else "HAVING count(*) > 0"
    chosen = f"{columns}, {_COUNTED}" if columns else _COUNTED
    statement = f"SELECT {chosen} FROM sums WHERE {' AND '.join(conditions)} {group}"
    given: list[Any] = [query.since, query.until, *(value for _, value in query.where)]
    cut = len(query.by)
    return [(row[:cut], row[cut:]) for row in db.execute(statement, given).fetchall()]


def sweep_rows(db: sqlite3.Connection, now: float) -> None:
    """Delete what is too old, and fold the sessions of days that are a while ago."""
    today = datetime.fromtimestamp(now, UTC).date()
    oldest = (today - timedelta(KEPT_DAYS)).isoformat()
    folded = (today - timedelta(SESSIONS_KEPT_DAYS)).isoformat()
    yesterday = (today - timedelta(2)).isoformat()
    others = ", ".join("''" if name == "session" else name for name in NAMES)
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("DELETE FROM sums WHERE day < ?", (oldest,))
        where = "day < ? AND session != ''"
        if db.execute(f"SELECT 1 FROM sums WHERE {where} LIMIT 1", (folded,)).fetchone():
            grouped = f"SELECT {others}, {_COUNTED} FROM sums WHERE {where} GROUP BY {', '.join(NAMES[:-1])}"
            rows = db.execute(grouped, (folded,)).fetchall()
            db.execute(f"DELETE FROM sums WHERE {where}", (folded,))
            db.executemany(_ADD, rows)
        db.execute("DELETE FROM batches WHERE at < ?", (now - BATCHES_KEPT_S,))
        for table in ("seen", "seen_counts"):
            db.execute(f"DELETE FROM {table} WHERE day < ?", (yesterday,))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def read_file(path: Path, query: Query) -> list[Row]:
    """Return the sums in a file that a gateway may have open. Raises OSError if it cannot be read."""
    if not path.exists():
        return []
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return read_rows(db, query)
        finally:
            db.close()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # an older gateway's
            return []
        raise OSError(f"{path}: {error}") from None
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from None
