"""The tables of the ledger, and opening a file that may hold them, older ones, or nothing of ours.

Each row has a checksum over all its columns: SQLite finds damage to its own structure, and a bit that flipped in a
row's values is none. Every row is compared when the file is opened, those that are read whole at each reading.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from pathlib import Path

SCHEMA = 3

COLUMNS = (
    "path, size, mtime_ns, state, inode, id, partition, chunk, acknowledged, first_offset, sha256, reason, since_ns, "
    "sent_as, span_start, span_stop"
)
"""The columns of a row in the order of its checksum."""

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    path BLOB PRIMARY KEY,         -- relative path, parts joined by /, raw bytes
    size INTEGER NOT NULL,         -- bytes
    mtime_ns INTEGER NOT NULL,     -- epoch nanoseconds
    state TEXT NOT NULL,           -- sending, sent, delivered, failed, skipped
    inode INTEGER NOT NULL,
    id BLOB NOT NULL,              -- 16 bytes, the file version in the topic
    partition INTEGER NOT NULL,
    chunk INTEGER NOT NULL,        -- bytes of payload in every record but the last
    acknowledged INTEGER NOT NULL, -- records from the first on that the broker has
    first_offset INTEGER,          -- of the first record, when it is acknowledged
    sha256 BLOB,                   -- 32 bytes, of what is acknowledged; of all once it is sent
    reason TEXT NOT NULL,
    since_ns INTEGER NOT NULL,     -- epoch nanoseconds: when the state was reached, or the last record acknowledged
    sent_as BLOB,                  -- the record key, when it is not the path
    span_start INTEGER,            -- the first byte that is sent and the one after the last, when it is not all
    span_stop INTEGER,
    checksum INTEGER NOT NULL      -- see checksum_of
) WITHOUT ROWID;
CREATE INDEX unfinished ON files (state) WHERE state IN ('sending', 'failed');
CREATE INDEX renamed ON files (sent_as) WHERE sent_as IS NOT NULL;
"""
_MIGRATIONS = {  # from this schema to the next one
    1: """
ALTER TABLE files ADD COLUMN sent_as BLOB;
ALTER TABLE files ADD COLUMN span_start INTEGER;
ALTER TABLE files ADD COLUMN span_stop INTEGER;
CREATE INDEX renamed ON files (sent_as) WHERE sent_as IS NOT NULL;
UPDATE files SET sha256 = NULL WHERE state = 'sending';
""",
    2: f"""
ALTER TABLE files ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE files SET checksum = checksum_of({COLUMNS});
""",  # noqa: S608 - no foreign text in it
}
_DAMAGED = f"SELECT count(*) FROM files WHERE checksum IS NOT checksum_of({COLUMNS})"  # noqa: S608 - as above


class Unusable(Exception):
    """The file is there, and is no ledger of ours, or not what we wrote."""


def checksum_of(*values: object) -> int:
    """CRC-32 of the values of a row without its checksum, in the order of `COLUMNS`, as Python writes them in ASCII."""
    return zlib.crc32(ascii(values).encode())


def opened(file: Path) -> sqlite3.Connection:
    """The ledger at ``file`` with the tables of this schema, made if nothing is there.

    Reads all of it. Raises Unusable, and sqlite3.OperationalError when the disk or another process is to blame.
    """
    db = sqlite3.connect(file, isolation_level=None, timeout=5.0)
    with contextlib.ExitStack() as undo:
        undo.callback(db.close)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.create_function("checksum_of", -1, checksum_of, deterministic=True)
            _check(db)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not is_damage(error):
                raise
            raise Unusable(str(error)) from error
        undo.pop_all()
    return db


def is_damage(error: Exception) -> bool:
    """True when the bytes of the file are to blame, and not the disk, another process, or a mistake of ours.

    Flipped bits also make texts that are no UTF-8, and tables that have other columns than they had.
    """
    if isinstance(error, sqlite3.OperationalError):
        return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR
    return type(error) is sqlite3.DatabaseError or isinstance(error, UnicodeDecodeError)


def _check(db: sqlite3.Connection) -> None:
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if schema == 0 and not tables:
        db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
        return
    if not 0 < schema <= SCHEMA or not {"files", "facts"} <= tables:
        raise Unusable(f"it has schema {schema}, this openmsi has {SCHEMA}")
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise Unusable(str(verdict))
    for older in range(schema, SCHEMA):
        _migrate(db, older)
    (damaged,) = db.execute(_DAMAGED).fetchone()
    if damaged:
        raise Unusable(f"{damaged} of its rows are not what was written")


def _migrate(db: sqlite3.Connection, schema: int) -> None:
    try:
        db.executescript(f"BEGIN; {_MIGRATIONS[schema]} PRAGMA user_version = {schema + 1}; COMMIT;")
    except sqlite3.OperationalError as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if not is_damage(error):
            raise  # a full disk
        raise Unusable(f"it says that it has schema {schema}, and has not: {error}") from error
