"""The tables of the receipt book, and getting at the ledger in which they are."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from openmsi_core.errors import FolderError

BUSY_SECONDS = 3.0
_SCHEMA = "1"

_TABLES = (
    """
CREATE {temp} TABLE IF NOT EXISTS receipts (
    id BLOB NOT NULL,          -- 16 bytes: the file version
    run TEXT NOT NULL,
    path BLOB NOT NULL,        -- its path in the topic, as a record key
    outcome TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,      -- of what the run had; empty when it never had it whole
    location TEXT NOT NULL,
    reason TEXT NOT NULL,
    plugin TEXT NOT NULL,      -- its name and version
    at TEXT NOT NULL,          -- ISO 8601, by the run's clock
    offset INTEGER NOT NULL,   -- of the receipt in its partition
    taken_ns INTEGER NOT NULL, -- epoch nanoseconds: when it was written here
    PRIMARY KEY (id, run)
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS {schema}.receipts_incomplete ON receipts (path, run) WHERE outcome = 'incomplete'",
    "CREATE {temp} TABLE IF NOT EXISTS receipt_places (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL)",
)


class NoLedger(FolderError):
    """There is no ledger where one was looked for."""


def fact_in(file: Path, name: str) -> str:
    """A fact of the ledger at ``file``, "" when it was never set. Raises FolderError."""
    try:
        with contextlib.closing(opened(file)) as db:
            found = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    except sqlite3.DatabaseError as error:
        raise FolderError(f"the ledger {file} cannot be read: {error}") from error
    return str(found[0]) if found else ""


def opened(file: Path) -> sqlite3.Connection:
    """A connection to a ledger that is there. Raises NoLedger, sqlite3.DatabaseError."""
    if not file.is_file():
        raise NoLedger(f"there is no ledger {file}; it is made by `openmsi watch`")
    where = f"{file.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(where, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        tables = _tables(db)
    except sqlite3.OperationalError:
        # whoever may not write to the folder cannot make the files that SQLite shares between processes; without
        # them nobody writes just now, and the file is whole
        db.close()
        if Path(f"{file}-wal").exists():
            raise
        db = sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
        tables = _tables(db)
    except BaseException:
        db.close()
        raise
    if not {"files", "facts"} <= tables:
        db.close()
        raise NoLedger(f"{file} is no ledger (yet); it is made by `openmsi watch`")
    return db


def _tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def may_write(db: sqlite3.Connection) -> bool:
    """False when the file is not ours to write, or somebody does not let go of it."""
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    try:
        db.execute("INSERT OR REPLACE INTO facts VALUES ('receipts-schema', '')")  # a lock alone may be had
    except sqlite3.OperationalError:
        return False
    finally:
        db.execute("ROLLBACK")
    return True


def prepare(db: sqlite3.Connection) -> None:
    """Our tables, empty when those of another openmsi were there."""
    db.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is read again from the topic
    with db:
        db.execute("BEGIN IMMEDIATE")
        found = db.execute("SELECT value FROM facts WHERE name = 'receipts-schema'").fetchone()
        if found != (_SCHEMA,):
            db.execute("DROP TABLE IF EXISTS receipts")
            db.execute("DROP TABLE IF EXISTS receipt_places")
            db.execute("INSERT OR REPLACE INTO facts VALUES ('receipts-schema', ?)", (_SCHEMA,))
        for statement in _TABLES:
            db.execute(statement.format(temp="", schema="main"))
        # covering, so that the whole is counted without a look at the rows: half a second less for 100,000 files
        db.execute("CREATE INDEX IF NOT EXISTS files_by_id ON files (id, state, sha256, size, since_ns)")


def copy_of(db: sqlite3.Connection) -> None:
    """Temporary tables in memory that hide the real ones."""
    db.execute("PRAGMA temp_store = MEMORY")
    found = db.execute("SELECT value FROM facts WHERE name = 'receipts-schema'").fetchone()
    for statement in _TABLES:
        db.execute(statement.format(temp="TEMP", schema="temp"))
    db.execute("CREATE TEMP TABLE facts AS SELECT * FROM main.facts")
    db.execute("CREATE UNIQUE INDEX temp.facts_name ON facts (name)")
    if found == (_SCHEMA,) and {"receipts", "receipt_places"} <= _tables(db):
        db.execute("INSERT INTO temp.receipts SELECT * FROM main.receipts")
        db.execute("INSERT INTO temp.receipt_places SELECT * FROM main.receipt_places")
