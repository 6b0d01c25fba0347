"""The receipt book: receipts for the files of one ledger, kept in the ledger's own database.

It has its own connection and its own tables, so the sender's thread and `openmsi status` in another process may use the
ledger at the same time. All of it can be had again by reading the topic from its beginning: when the ledger is lost, or
the tables are of another openmsi, that is what happens.

Kept are receipts for the versions that the ledger knows, as long as it knows them; the others (other senders share
the topic) for ten minutes, because a receipt may be quicker than the row of its file; and those that say ``incomplete``
for thirty days, because they are counted. Whoever may read the ledger and not write to it gets a copy in memory.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from openmsi_core.errors import FolderError
from openmsi_core.model import What
from openmsi_core.sending.receipts import SILENT, Receipt
from openmsi_core.sending.receipttables import copy_of, may_write, opened, prepare

TRIES = 3
_UNKNOWN_NS = 600 * 1_000_000_000
_INCOMPLETE_NS = 30 * 24 * 3600 * 1_000_000_000
_STALE_MS = 24 * 3600 * 1000
_PRUNED = 5000

_TAKE = """
INSERT OR REPLACE INTO receipts
SELECT :id, :run, :path, :outcome, :size, :sha256, :location, :reason, :plugin, :at, :offset, :now
WHERE :fresh OR :outcome = 'incomplete' OR EXISTS (SELECT 1 FROM files WHERE id = :id)
"""
_MENDED = "DELETE FROM receipts WHERE outcome = 'incomplete' AND path = :path AND run = :run AND offset < :offset"
_USELESS = """
SELECT id, run FROM receipts WHERE taken_ns < CASE outcome WHEN 'incomplete' THEN :incomplete ELSE :unknown END
AND NOT EXISTS (SELECT 1 FROM files WHERE files.id = receipts.id)
"""
_INCOMPLETE = """
SELECT f.path, f.id, r.run, r.reason,
    (SELECT count(*) FROM receipts c WHERE c.outcome = 'incomplete' AND c.path = r.path AND c.run = r.run)
FROM receipts r JOIN files f ON f.id = r.id
WHERE r.outcome = 'incomplete' AND f.state IN ('sent', 'delivered')
"""


@dataclass(frozen=True, slots=True)
class Lost:
    """A version that the run never had whole: the ``number``-th of its path in a row."""

    key: bytes
    id: bytes
    run: str
    reason: str
    number: int


class ReceiptBook:
    """The receipts in the ledger at ``file``; use it in a ``with``, in one thread.

    ``__enter__`` raises NoLedger when there is none; every method FolderError when the database cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.is_copy = False
        self._db: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        with self.told():
            db = opened(self.file)
            try:
                self.is_copy = not may_write(db)
                if self.is_copy:
                    copy_of(db)
                else:
                    prepare(db)
            except BaseException:
                db.close()
                raise
        self._db = db
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
        self._db = None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, for queries over files and receipts."""
        if self._db is None:
            raise RuntimeError("ReceiptBook is used outside its `with`")
        return self._db

    def places(self, topic_id: str) -> Mapping[int, int]:
        """For each partition of the receipts topic with this id ("": unknown) the offset to read on from.

        Of another topic of that name everything is forgotten.
        """
        with self.told(), self._change():
            before = self.fact("receipts-topic-id")
            if topic_id and before != topic_id:
                if before:
                    self.db.execute("DELETE FROM receipts")
                    self.db.execute("DELETE FROM receipt_places")
                self._set_fact("receipts-topic-id", topic_id)
            return dict(self.db.execute("SELECT partition, next FROM receipt_places").fetchall())

    def take(self, receipts: Iterable[tuple[Receipt, int]], places: Mapping[int, int]) -> None:
        """Write receipts, each with its record's time in epoch milliseconds, and how far was read: both or neither."""
        now_ns = time.time_ns()
        rows = [
            _row(receipt, at_ms, now_ns) | ({"fresh": True} if self.is_copy else {})
            for receipt, at_ms in receipts
            if receipt.outcome not in SILENT
        ]
        with self.told(), self._change():
            self.db.executemany(_TAKE, rows)
            if self.db.execute("SELECT 1 FROM receipts WHERE outcome = 'incomplete' LIMIT 1").fetchone():
                self.db.executemany(_MENDED, [row for row in rows if row["outcome"] == What.DONE])
            self.db.executemany("INSERT OR REPLACE INTO receipt_places VALUES (?, ?)", list(places.items()))
            self._set_fact("receipts-read-ns", str(now_ns))

    def prune(self) -> None:
        """Forget receipts that are no longer of use; the sender's writes are held up by a few thousand at a time."""
        now_ns = time.time_ns()
        ages = {"unknown": now_ns - _UNKNOWN_NS, "incomplete": now_ns - _INCOMPLETE_NS}
        with self.told():
            useless = self.db.execute(_USELESS, ages).fetchall()
        for first in range(0, len(useless), _PRUNED):
            with self.told(), self._change():
                self.db.executemany("DELETE FROM receipts WHERE id = ? AND run = ?", useless[first : first + _PRUNED])

    def incomplete(self) -> list[Lost]:
        """The versions that count as sent, and that a run never had whole."""
        with self.told():
            return [Lost(*row) for row in self.db.execute(_INCOMPLETE)]

    def read_ns(self) -> int | None:
        """When the topic was read last, epoch nanoseconds."""
        with self.told():
            text = self.fact("receipts-read-ns")
        return int(text) if text.isdecimal() else None

    def fact(self, name: str) -> str:
        """A fact of the ledger, "" when it was never set."""
        found = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else ""

    def _set_fact(self, name: str, value: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """All of it or nothing; the lock is taken at once, so that waiting for the sender's write is orderly."""
        with self.db:
            self.db.execute("BEGIN" if self.is_copy else "BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What SQLite raises inside as FolderError."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise FolderError(
                f"the receipts in the ledger {self.file} cannot be used: {error}; make room there or make it "
                "writable. A ledger that is damaged is begun anew by the next `openmsi watch`"
            ) from error


def _row(receipt: Receipt, at_ms: int, now_ns: int) -> dict[str, object]:
    return {
        "id": receipt.id,
        "run": receipt.run,
        "path": receipt.key,
        "outcome": receipt.outcome,
        "size": receipt.size,
        "sha256": receipt.sha256,
        "location": receipt.location,
        "reason": receipt.reason,
        "plugin": receipt.plugin,
        "at": receipt.at,
        "offset": receipt.offset,
        "now": now_ns,
        "fresh": at_ms < 0 or now_ns // 1_000_000 - at_ms < _STALE_MS,
    }
