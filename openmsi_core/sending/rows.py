"""The ledger's SQLite file: WAL, synchronous=FULL, one connection in one thread.

A file of an older schema is migrated in one transaction. One that is damaged, or was written by a newer schema, is
renamed (``….sqlite.aside-N``) and begun anew, at the start and in the middle of the work alike.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from openmsi_core.errors import FolderError
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.tables import COLUMNS, Unusable, checksum_of, is_damage, opened

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_PUT = f"INSERT OR REPLACE INTO files ({COLUMNS}, checksum) VALUES ({', '.join('?' * 17)})"  # noqa: S608 - no foreign text
_PUT_FACT = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"
_OFFSET = "acknowledged-"  # and the partition
_NONE: Mapping[int, int] = {}
_SELECT = f"SELECT {COLUMNS}, checksum FROM files"  # noqa: S608 - no foreign text in it


class Rows:
    """Rows and facts in the SQLite file at ``file``; open with `open`, end with `close`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file, or a new one in the place of one that cannot be used. Raises FolderError."""
        try:
            self._db = opened(self.file)
        except Unusable as error:
            self._put_aside(str(error))
            self._db = self._new()
        except sqlite3.OperationalError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def find(self, key: bytes) -> Entry | None:
        """The row of a path."""
        found = self._run(lambda db: [_entry(row) for row in db.execute(f"{_SELECT} WHERE path = ?", (key,))])
        return found[0] if found else None

    def version(self, key: bytes) -> tuple[int, int, str, int] | None:
        """Size, time of change, state and inode in the row of a path: what a scan asks a hundred thousand times."""
        query = "SELECT size, mtime_ns, state, inode FROM files WHERE path = ?"
        found: tuple[int, int, str, int] | None = self._run(lambda db: db.execute(query, (key,)).fetchone())
        return found

    def sent_as(self, record_key: bytes) -> list[Entry]:
        """The rows whose files have this key in the topic: under their own path, or renamed."""
        query = f"{_SELECT} WHERE sent_as = ? OR (path = ? AND sent_as IS NULL)"
        return self._run(lambda db: [_entry(row) for row in db.execute(query, (record_key, record_key))])

    def in_state(self, state: State) -> list[Entry]:
        """The rows in one state."""
        return self._run(lambda db: [_entry(row) for row in db.execute(f"{_SELECT} WHERE state = ?", (state,))])

    def counts(self) -> dict[State, int]:
        """How many rows are in each state."""
        query = "SELECT state, count(*) FROM files GROUP BY state"
        return {State(state): count for state, count in self._run(lambda db: db.execute(query).fetchall())}

    def write(self, batch: Mapping[bytes, Entry | None], offsets: Mapping[int, int] = _NONE) -> None:
        """Write rows (None: delete) and ``offsets`` by partition in one durable transaction.

        Raises FolderError, and then none is written.
        """

        def change(db: sqlite3.Connection) -> None:
            with db:
                db.execute("BEGIN")
                db.executemany("DELETE FROM files WHERE path = ?", [(key,) for key in batch if batch[key] is None])
                db.executemany(_PUT, [_row(entry) for entry in batch.values() if entry is not None])
                db.executemany(_PUT_FACT, [(f"{_OFFSET}{number}", str(offset)) for number, offset in offsets.items()])

        self._run(change)

    def forget_all(self) -> None:
        """Delete every row."""

        def change(db: sqlite3.Connection) -> None:
            with db:
                db.execute("DELETE FROM files")
                db.execute(f"DELETE FROM facts WHERE name GLOB '{_OFFSET}*'")  # noqa: S608 - no foreign text in it

        self._run(change)

    def fact(self, name: str) -> str:
        """A fact about the whole ledger, "" when it was never set."""
        found = self._run(lambda db: db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone())
        return str(found[0]) if found else ""

    def offsets(self) -> dict[int, int]:
        """The offsets that were written, by partition."""
        query = f"SELECT name, value FROM facts WHERE name GLOB '{_OFFSET}*'"  # noqa: S608 - no foreign text in it
        found = self._run(lambda db: db.execute(query).fetchall())
        pairs = [(name.removeprefix(_OFFSET), value) for name, value in found]
        return {int(number): int(value) for number, value in pairs if number.isdigit() and value.lstrip("-").isdigit()}

    def set_fact(self, name: str, value: str) -> None:
        """Set a fact, durably."""

        def change(db: sqlite3.Connection) -> None:
            with db:
                db.execute(_PUT_FACT, (name, value))

        self._run(change)

    def _run(self, action: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do it; when the file turns out to be damaged, begin a new one and do it there."""
        if self._db is None:
            raise AssertionError("the ledger is not open")
        try:
            return action(self._db)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not is_damage(error):
                if isinstance(error, sqlite3.OperationalError):  # a full disk, a file system that went away
                    raise self._refused(error) from error
                raise
            self._put_aside(str(error))
            self._db = self._new()
            return action(self._db)

    def _new(self) -> sqlite3.Connection:
        try:
            return opened(self.file)
        except (sqlite3.Error, Unusable) as error:
            raise self._refused(error) from error

    def _put_aside(self, reason: str) -> None:
        self.close()
        number = 1
        while (aside := self.file.with_name(f"{self.file.name}.aside-{number}")).exists():
            number += 1
        try:
            self.file.rename(aside)
            for ending in ("-wal", "-shm"):
                self.file.with_name(self.file.name + ending).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from error
        _log.warning(
            "the ledger %s cannot be used (%s): it is kept as %s, and everything is sent again",
            self.file, reason, aside.name,
        )  # fmt: skip

    def _refused(self, error: Exception) -> FolderError:
        return FolderError(f"the ledger {self.file} cannot be written: {error}; make room there or make it writable")


def _row(entry: Entry) -> tuple[object, ...]:
    values = (
        entry.key, entry.size, entry.mtime_ns, str(entry.state), entry.inode, entry.id, entry.partition, entry.chunk,
        entry.acknowledged, entry.first_offset, entry.sha256, entry.reason, entry.since_ns,
        entry.sent_as or None, *(entry.span or (None, None)),
    )  # fmt: skip
    return *values, checksum_of(*values)


def _entry(row: tuple[object, ...]) -> Entry:
    """The row as an entry. Raises what SQLite raises for damage, because a flipped bit makes a valid row of it too."""
    *values, checksum = row
    if checksum != checksum_of(*values):
        raise sqlite3.DatabaseError("a row that is not what was written")
    key, size, mtime_ns, state, *rest, sent_as, start, stop = values
    span = None if start is None or stop is None else (start, stop)
    return Entry(key, size, mtime_ns, State(state), *rest, sent_as=sent_as or b"", span=span)  # type: ignore[arg-type, misc]
