"""The embedded store: one SQLite file for one gateway. A response is on the disk before `put` returns.

Two threads, each with a connection of its own. One writes, in order. One reads: in WAL mode a reader does not block
the writer, so loading a long conversation holds up no `put`. aiosqlite is not used: it hands single calls to its
thread, while the writer here takes a whole batch.

New responses are written by group commit. A commit is durable only after an fsync, which takes milliseconds however
little was written; one commit for each response would bound the gateway to a few hundred responses a second. So
`put` appends its row to `_waiting` and awaits a future. If no commit runs, one starts at once with this row alone;
rows that arrive while it runs wait, and go into the next transaction together. The batches grow with the load by
themselves: an idle gateway adds no delay, a busy one shares each fsync among many rows, and no timer is needed.
Every `put` returns only after the commit that holds its row. If a batch fails, it is rolled back and each row is
written again alone, so that a bad row fails only its own `put`.
"""

# ruff: noqa: S608 - statements are put together from constants of this file only

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from attrs import define, field

from gateway.store.protocol import (
    MAX_LINKS,
    RUNNING,
    ChainTooLong,
    Conversation,
    Link,
    StoreDown,
    StoredResponse,
    StoreFull,
)
from gateway.store.sqlite_file import open_file
from gateway.store.sqlite_sums import add_rows, read_rows, sweep_rows
from gateway.store.sums import Query, Row

RESERVE = 16 * 1024 * 1024  # bytes of the disk that `put` leaves free: deleting needs room for the WAL
SWEPT_AT_ONCE = 100  # rows of one DELETE; writes that wait get their turn between two
_Row = tuple[Any, ...]
_COLUMNS = "owner, id, previous, status, created, expires, maker, items, input, output, body, lease, last"
_LINK = "one.id, one.previous, one.status, one.maker, one.items, one.input, one.output"
_PUT = f"INSERT INTO responses ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
_IS_THERE = "SELECT 1 FROM responses WHERE owner=? AND id=?"
_REPLACE = f"""UPDATE responses SET status=?, expires=?, maker=?, items=?, output=?, body=?, lease=?, last=?
    WHERE owner=? AND id=? AND NOT hidden AND status IN {RUNNING}"""
_GET = f"SELECT {_COLUMNS} FROM responses WHERE owner=? AND id=? AND expires>? AND NOT hidden"
# Walks from a response back to the first of its chain. length() of a BLOB comes from the row's header: the content
# is not loaded.
_LINKS = f"""WITH RECURSIVE links(id, previous, depth, size) AS (
        SELECT id, previous, 1, length(input) + length(output) FROM responses
            WHERE owner=:owner AND id=:id AND expires>:now AND NOT hidden
        UNION ALL SELECT one.id, one.previous, depth + 1, size + length(one.input) + length(one.output)
            FROM responses one JOIN links ON one.id = links.previous
            WHERE one.owner=:owner AND one.expires>:now AND depth <= {MAX_LINKS} AND size <= :most
    )"""
_WALK = f"{_LINKS} SELECT previous, depth, size FROM links ORDER BY depth DESC LIMIT 1"
_CHAIN = f"""{_LINKS} SELECT {_LINK} FROM links JOIN responses one ON one.id = links.id
    WHERE one.owner=:owner ORDER BY depth DESC"""
_TOUCH = f"""{_LINKS} UPDATE responses SET expires=:expires
    WHERE owner=:owner AND expires<:expires AND id IN (SELECT id FROM links)"""
_HOLDER = f"""SELECT {_LINK} FROM responses one WHERE owner=? AND expires>? AND NOT hidden
    AND id=(SELECT response FROM items WHERE owner=? AND id=?)"""
_HIDE = """UPDATE responses SET hidden=1 WHERE owner=? AND id=? AND expires>? AND NOT hidden
    AND EXISTS (SELECT 1 FROM responses next WHERE next.owner=responses.owner AND next.previous=responses.id)"""
_DELETE = "DELETE FROM responses WHERE owner=? AND id=? AND expires>? AND NOT hidden"
_PREVIOUS = "SELECT previous FROM responses WHERE owner=? AND id=?"
_DELETE_HIDDEN = """DELETE FROM responses WHERE owner=? AND id=? AND hidden
    AND NOT EXISTS (SELECT 1 FROM responses next WHERE next.owner=responses.owner AND next.previous=responses.id)"""
_SWEEP = f"DELETE FROM responses WHERE rowid IN (SELECT rowid FROM responses WHERE expires<=? LIMIT {SWEPT_AT_ONCE})"
_CONVERSATION = "owner, id, created, expires, metadata, head, gone, version"
_NAME = f"INSERT OR IGNORE INTO conversations ({_CONVERSATION}) VALUES (?,?,?,?,?,?,?,?)"
_RENAME = """UPDATE conversations SET expires=?, metadata=?, head=?, gone=?, version=?
    WHERE owner=? AND id=? AND version=?"""
_NAMED = f"SELECT {_CONVERSATION} FROM conversations WHERE owner=? AND id=? AND expires>?"
_UNNAME = "DELETE FROM conversations WHERE owner=? AND id=? AND expires>?"
_SWEEP_NAMES = f"""DELETE FROM conversations WHERE (owner, id) IN
    (SELECT owner, id FROM conversations WHERE expires<=? LIMIT {SWEPT_AT_ONCE})"""
Answered = TypeVar("Answered")
Waiting = tuple[_Row, asyncio.Future[bool]]


@define
class SqliteResponses:
    """Responses in a file that this gateway alone has open: one process, or its workers."""

    path: Path
    writing: sqlite3.Connection
    _reading: sqlite3.Connection
    _lock: int  # the descriptor of the lock file; open for as long as we hold the lock
    _inode: int
    _writer: ThreadPoolExecutor = field(factory=lambda: ThreadPoolExecutor(1, "sqlite-writer"), init=False)
    _reader: ThreadPoolExecutor = field(factory=lambda: ThreadPoolExecutor(1, "sqlite-reader"), init=False)
    _waiting: list[Waiting] = field(factory=list, init=False)
    _committing: asyncio.Future[list[bool | StoreDown]] | None = field(default=None, init=False)

    @classmethod
    async def open(cls, url: str, file: Path | None, held: int | None = None) -> "SqliteResponses":
        """Open or make the file. Raises StoreUnusable if it is damaged, in use, or not of this gateway and version.

        `held` is the descriptor of its lock, if the process above this one has claimed it.
        """
        assert file is not None
        writing, reading, lock, inode = await asyncio.to_thread(open_file, file, held)
        return cls(file, writing, reading, lock, inode)

    async def put(self, stored: StoredResponse, *, only_running: bool = False) -> bool:
        items = msgspec.json.encode(stored.items).decode()
        end = (stored.output, stored.body, stored.lease, stored.last)
        if only_running:
            row: _Row = (stored.status, stored.expires, stored.maker, items, *end, stored.owner, stored.id)
            return await self._write(self._replace, row)
        row = (stored.owner, stored.id, stored.previous, stored.status, stored.created, stored.expires, stored.maker)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(((*row, items, stored.input, *end), done))
        if self._committing is None:
            self._commit()
        return await done

    async def get(self, owner: str, name: str, now: float) -> StoredResponse | None:
        rows = await self._read(_GET, (owner, name, now))
        return _stored(rows[0]) if rows else None

    async def chain(self, owner: str, name: str, now: float, expires: float, most: int) -> list[Link]:
        given = {"owner": owner, "id": name, "now": now, "expires": expires, "most": most}
        found = await self._ask(self._reader, self._follow, given)
        if found and expires:
            with suppress(StoreFull):  # the chain was read; only its new expiry is not stored
                await self._write(self._change, _TOUCH, given)
        return [_link(row) for row in found]

    async def holder(self, owner: str, item: str, now: float) -> Link | None:
        rows = await self._read(_HOLDER, (owner, now, owner, item))
        return _link(rows[0]) if rows else None

    async def delete(self, owner: str, name: str, now: float) -> bool:
        return await self._write(self._delete, owner, name, now)

    async def put_conversation(self, conversation: Conversation, now: float) -> bool:
        one = conversation
        end = (one.expires, one.metadata, one.head, msgspec.json.encode(one.gone).decode(), one.version)
        if one.version == 1:
            return await self._write(self._put_name, _NAME, (one.owner, one.id, one.created, *end))
        return await self._write(self._put_name, _RENAME, (*end, one.owner, one.id, one.version - 1))

    async def get_conversation(self, owner: str, name: str, now: float) -> Conversation | None:
        rows = await self._read(_NAMED, (owner, name, now))
        return _conversation(rows[0]) if rows else None

    async def delete_conversation(self, owner: str, name: str, now: float) -> bool:
        return await self._write(self._change, _UNNAME, (owner, name, now)) > 0

    async def add_sums(self, batch: str, rows: Sequence[Row]) -> None:
        await self._write(self._add_sums, batch, rows)

    async def read_sums(self, query: Query) -> list[Row]:
        return await self._ask(self._reader, read_rows, self._reading, query)

    async def sweep(self, now: float) -> None:
        """Delete what has expired, SWEPT_AT_ONCE at a time; then cut the WAL file to size."""
        await self._write(sweep_rows, self.writing, now)
        swept = False
        for statement in (_SWEEP, _SWEEP_NAMES):
            while await self._write(self._change, statement, (now,)):
                swept = True  # between two statements the writer thread serves others
        if swept:
            await self._write(self._change, "PRAGMA wal_checkpoint(TRUNCATE)", ())

    async def check(self) -> None:
        await self._read("SELECT 1", ())
        await self._write(self._check_room)

    async def close(self) -> None:
        while self._committing is not None:
            await asyncio.wait({self._committing})
        await self._ask(self._reader, self._reading.close)
        await self._ask(self._writer, self.writing.close)
        self._reader.shutdown()
        self._writer.shutdown()
        os.close(self._lock)

    async def _read(self, statement: str, given: Any) -> list[Any]:
        return await self._ask(self._reader, lambda: self._reading.execute(statement, given).fetchall())

    async def _write(self, do: Callable[..., Answered], *given: Any) -> Answered:
        return await self._ask(self._writer, do, *given)

    async def _ask(self, thread: ThreadPoolExecutor, do: Callable[..., Answered], *given: Any) -> Answered:
        """Call `do` in a thread. Raises StoreDown, StoreFull."""
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, do, *given)
        except sqlite3.Error as error:
            raise self._fault(error) from None
        except (RuntimeError, OverflowError, ValueError) as error:  # thread ended, or a value that SQLite cannot store
            raise StoreDown(f"{self.path}: {error}") from None

    def _commit(self) -> None:
        """Start one transaction for all rows that wait; `_committed` ends it in the event loop."""
        batch, self._waiting = self._waiting, []
        rows = [row for row, _ in batch]
        self._committing = asyncio.get_running_loop().run_in_executor(self._writer, self._insert, rows)
        self._committing.add_done_callback(partial(self._committed, batch))

    def _committed(self, batch: list[Waiting], written: asyncio.Future[list[bool | StoreDown]]) -> None:
        fault = written.exception()
        answers: Sequence[bool | StoreDown]
        answers = written.result() if fault is None else [StoreDown(f"{self.path}: {fault}")] * len(batch)
        for (_, done), answer in zip(batch, answers, strict=True):
            if done.done():  # the task that waited was cancelled
                continue
            if isinstance(answer, StoreDown):
                done.set_exception(answer)
            else:
                done.set_result(answer)
        self._committing = None
        if self._waiting:
            self._commit()

    # The methods from here on run in the writer's thread, `_follow` in the reader's.

    def _insert(self, rows: Sequence[_Row]) -> list[bool | StoreDown]:
        """Insert all rows in one transaction. On the disk when this returns.

        Return one entry for each row: True when it was written, False when its `previous` is missing, or the fault.
        """
        try:
            self._check_room()
            if len(rows) == 1 and rows[0][2] is None:
                return [self._insert_one(rows[0])]  # one statement commits by itself
            self.writing.execute("BEGIN IMMEDIATE")
            answers: list[bool | StoreDown] = [self._insert_one(row) for row in rows]
            self.writing.execute("COMMIT")
        except (sqlite3.Error, StoreDown, ValueError, OverflowError) as error:  # the last two: a value is not storable
            if self.writing.in_transaction:
                self.writing.execute("ROLLBACK")
            if len(rows) > 1:
                return [answer for row in rows for answer in self._insert([row])]
            if isinstance(error, StoreDown):
                return [error]
            return [self._fault(error)]
        return answers

    def _insert_one(self, row: _Row) -> bool:
        owner, _, previous, *_ = row
        if previous is not None and self.writing.execute(_IS_THERE, (owner, previous)).fetchone() is None:
            return False
        self.writing.execute(_PUT, row)
        return True

    def _replace(self, row: _Row) -> bool:
        self._check_room()
        return self._change(_REPLACE, row) > 0

    def _add_sums(self, batch: str, rows: Sequence[Row]) -> None:
        self._check_room()
        add_rows(self.writing, batch, rows, time.time())

    def _put_name(self, statement: str, row: _Row) -> bool:
        self._check_room()
        return self._change(statement, row) > 0

    def _check_room(self) -> None:
        """Raise StoreFull when less than RESERVE is left on the disk, StoreDown when the file was moved or deleted.

        SQLite would write on into a deleted file without an error, and everything would be lost at the next start.
        """
        try:
            is_there = self.path.stat().st_ino == self._inode
        except OSError:
            is_there = False
        if not is_there:
            raise StoreDown(f"{self.path}: the file is gone: restart the gateway")
        try:
            disk = os.statvfs(self.path)
        except OSError as error:
            raise StoreDown(f"{self.path}: {error.strerror}") from None
        if disk.f_bavail * disk.f_frsize < RESERVE:
            raise StoreFull(f"{self.path}: less than {RESERVE >> 20} MiB of the disk are left")

    def _follow(self, given: Any) -> list[Any]:
        self._reading.execute("BEGIN")  # one snapshot for both queries: what was measured is what is loaded
        try:
            walked = self._reading.execute(_WALK, given).fetchone()
            if walked is None:
                return []
            previous, depth, size = walked
            if depth > MAX_LINKS or size > given["most"]:
                raise ChainTooLong
            return [] if previous is not None else self._reading.execute(_CHAIN, given).fetchall()
        finally:
            self._reading.execute("COMMIT")

    def _change(self, statement: str, given: Any) -> int:
        return self.writing.execute(statement, given).rowcount

    def _delete(self, owner: str, name: str, now: float) -> bool:
        """Delete a response and the hidden ones before it that no other needs; or hide it, if a later one needs it."""
        given = (owner, name, now)
        if self._change(_HIDE, given) > 0:
            return True
        self.writing.execute("BEGIN IMMEDIATE")
        try:
            row = self.writing.execute(_PREVIOUS, (owner, name)).fetchone()
            is_gone = self._change(_DELETE, given) > 0
            while is_gone and row is not None and row[0] is not None:
                name = row[0]
                row = self.writing.execute(_PREVIOUS, (owner, name)).fetchone()
                if self._change(_DELETE_HIDDEN, (owner, name)) == 0:
                    break
        finally:
            self.writing.execute("COMMIT")
        return is_gone

    def _fault(self, error: Exception) -> StoreDown:
        kind = StoreFull if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL" else StoreDown
        return kind(f"{self.path}: {error}")


def _stored(row: Any) -> StoredResponse:
    owner, name, previous, status, created, expires, maker, items, *rest = row
    return StoredResponse(owner, name, previous, status, created, expires, maker, _ids(items), *rest)


def _link(row: Any) -> Link:
    name, previous, status, maker, items, given, output = row
    return Link(name, previous, status, maker, _ids(items), given, output)


def _conversation(row: Any) -> Conversation:
    owner, name, created, expires, metadata, head, gone, version = row
    return Conversation(owner, name, created, expires, metadata, head, _ids(gone), version)


def _ids(items: str) -> tuple[str, ...]:
    return msgspec.json.decode(items, type=tuple[str, ...])
