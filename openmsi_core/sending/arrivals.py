"""Arrivals: how far each file of a ledger is, from its rows and its receipts; the answer to "did everything arrive?".

A version that the broker has whole is *delivered* when every run that must have it says that it is done with it, with
the digest that was sent; *failed* when one of them says that it is not. Which runs must have it: those that were
named; else those that ever put a file of this ledger somewhere (sinks); else any one that said anything. When no run
was named, the failure of any run counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from openmsi_core.model import RelativePath
from openmsi_core.sending.receiptbook import ReceiptBook
from openmsi_core.sending.seen import Seen


class Stage(StrEnum):
    """How far a file is on its way."""

    WAITING = "waiting"  # it is in the folder, and this version of it was not begun
    SENDING = "sending"  # its first record may be out
    SENT = "sent"  # the broker has all of it
    DELIVERED = "delivered"  # receipts say that it arrived
    FAILED = "failed"  # the broker refused it, or a receipt says that it did not arrive


@dataclass(frozen=True, slots=True)
class Shared:
    """What is said of the files of one stage: how many, their bytes, and which has been there for longest."""

    files: int = 0
    bytes: int = 0
    oldest: RelativePath | None = None
    since_ns: int = 0


@dataclass(frozen=True, slots=True)
class RunShare:
    """What one run said about the versions that the ledger knows; ``at`` is when it said the last of it."""

    run: str
    arrived: int
    failed: int
    at: str
    is_needed: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run says of one file; ``differs`` when the digest there is not the one here."""

    run: str
    outcome: str
    location: str
    reason: str
    plugin: str
    at: str
    sha256: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file: ``since_ns`` is when it reached its stage (waiting: when it was written), epoch nanoseconds.

    ``sha256`` is that of what was sent: of the bytes ``span`` of the file, where only those were.
    """

    path: RelativePath
    stage: Stage
    size: int
    since_ns: int
    id: str
    sha256: str
    reason: str
    answers: Sequence[Answer] = field(default=())
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Arrivals:
    """All of it: ``needed`` are the runs that must have each file, ``skipped`` files were never to be sent."""

    stages: Mapping[Stage, Shared]
    needed: Sequence[str]
    skipped: int

    @property
    def files(self) -> int:
        """How many files there are, but for the skipped ones."""
        return sum(shared.files for shared in self.stages.values())

    def stages_by_name(self) -> Mapping[str, Shared]:
        """Every stage under its name, in the order of the way."""
        return {str(stage): self.stages[stage] for stage in Stage}

    @property
    def is_complete(self) -> bool:
        """True when everything arrived."""
        return self.stages[Stage.DELIVERED].files == self.files


_GOOD = "(r.outcome = 'superseded' OR (r.outcome = 'done' AND r.sha256 = f.sha256))"
# f is a file, `needed` the runs that must have it; a row of `waiting` hides that of an older version in `files`.
# Grouped by id, which is the order of an index that has all that is asked for here, and of the receipts.
_STAGED = f"""
SELECT f.path AS path, f.size AS size, f.since_ns AS since_ns,
    CASE WHEN f.state NOT IN ('sent', 'delivered') THEN f.state
        WHEN sum(NOT {_GOOD} AND (:all OR r.run IN (SELECT run FROM needed))) THEN 'failed'
        WHEN sum({_GOOD} AND (:any OR r.run IN (SELECT run FROM needed))) >= :need THEN 'delivered'
        ELSE 'sent' END AS stage
FROM files f LEFT JOIN receipts r ON r.id = f.id
WHERE f.state != 'skipped' AND NOT EXISTS (SELECT 1 FROM waiting w WHERE w.path = f.path) GROUP BY f.id
UNION ALL SELECT path, size, since_ns, 'waiting' FROM waiting
"""  # noqa: S608 - no foreign text in it
_SHARED = f"SELECT stage, count(*), sum(size), min(since_ns), path FROM ({_STAGED}) GROUP BY stage"  # noqa: S608
_FILES = f"SELECT path, size, since_ns FROM ({_STAGED}) WHERE stage = :stage ORDER BY since_ns LIMIT :limit"  # noqa: S608
_RUNS = f"""
SELECT r.run, sum({_GOOD}), sum(NOT {_GOOD}), max(r.at), r.run IN (SELECT run FROM needed)
FROM files f JOIN receipts r ON r.id = f.id WHERE f.state IN ('sent', 'delivered') GROUP BY r.run ORDER BY r.run
"""  # noqa: S608
_OURS = (
    "CREATE TEMP TABLE IF NOT EXISTS waiting (path BLOB PRIMARY KEY, size INTEGER, since_ns INTEGER) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS needed (run TEXT PRIMARY KEY) WITHOUT ROWID",
)
_SINKS = "SELECT DISTINCT run FROM receipts WHERE outcome = 'done' AND location != ''"
_ANSWERS = f"""
SELECT r.run, r.outcome, r.location, r.reason, r.plugin, r.at, r.sha256, r.outcome = 'done' AND NOT {_GOOD}
FROM receipts r JOIN files f ON f.id = r.id WHERE f.path = ? ORDER BY r.run
"""  # noqa: S608


Version = tuple[bytes, int, int]
"""A version as the ledger tells it from others: record key, bytes, time of change in epoch nanoseconds."""


def unknown(there: Iterable[Seen], known: Collection[Version]) -> list[Seen]:
    """What is in the folder and not, or not as it is now, in the ledger."""
    return [seen for seen in there if (seen.key, seen.facts.size, seen.facts.mtime_ns) not in known]


class Account:
    """Looks at the files and receipts of an open ``book``. ``runs`` are the runs that were named.

    A run is named by its group, or by what follows ``openmsi-`` in it. Every method raises FolderError when
    the database cannot be used.
    """

    def __init__(self, book: ReceiptBook, runs: Sequence[str] = ()) -> None:
        self._book = book
        self._db = book.db
        self._runs = runs
        self._has_spans = False

    def known(self) -> Collection[Version]:
        """Every version in the ledger."""
        with self._book.told():
            return set(self._db.execute("SELECT path, size, mtime_ns FROM files"))

    def wait_for(self, waiting: Iterable[Seen]) -> None:
        """Before everything else: these are in the folder and not, or not as they are, in the ledger (`unknown`)."""
        rows = [(seen.key, seen.facts.size, seen.facts.mtime_ns) for seen in waiting]
        with self._book.told(), self._db:
            self._db.execute("PRAGMA temp_store = MEMORY")
            for statement in _OURS:
                self._db.execute(statement)
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM waiting")
            self._db.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", rows)
            self._has_spans = "span_stop" in {row[1] for row in self._db.execute("PRAGMA table_info(files)")}

    def arrivals(self) -> Arrivals:
        """The whole."""
        with self._book.told():
            values = self._need()
            stages = dict.fromkeys(Stage, Shared())
            for stage, files, size, since_ns, path in self._db.execute(_SHARED, values):
                stages[Stage(stage)] = Shared(files, size, RelativePath.from_key(path), since_ns)
            (skipped,) = self._db.execute("SELECT count(*) FROM files WHERE state = 'skipped'").fetchone()
            return Arrivals(stages, self._needed(), skipped)

    def runs(self) -> Sequence[RunShare]:
        """Every run that said something, and those that must have each file."""
        with self._book.told():
            self._need()
            found = [
                RunShare(run, arrived, failed, at, bool(is_needed))
                for run, arrived, failed, at, is_needed in self._db.execute(_RUNS)
            ]
            heard = {each.run for each in found}
            return [*found, *(RunShare(run, 0, 0, "", True) for run in self._needed() if run not in heard)]

    def files(self, stages: Sequence[Stage] = tuple(Stage), limit: int = -1) -> Iterator[Arrival]:
        """The files in some stages, the oldest of a stage first; ``limit`` of each stage at most."""
        with self._book.told():
            values = self._need()
            for stage in stages:
                for key, size, since_ns in self._db.execute(_FILES, values | {"stage": stage, "limit": limit}):
                    yield self._arrival(key, stage, size, since_ns)

    def _arrival(self, key: bytes, stage: Stage, size: int, since_ns: int) -> Arrival:
        if stage is Stage.WAITING:  # what the ledger knows of its path is about an older version
            return Arrival(RelativePath.from_key(key), stage, size, since_ns, "", "", "")
        query = "SELECT id, sha256, reason FROM files WHERE path = ?"
        file_id, sha256, reason = self._db.execute(query, (key,)).fetchone()
        return Arrival(
            path=RelativePath.from_key(key),
            stage=stage,
            size=size,
            since_ns=since_ns,
            id=file_id.hex(),
            sha256=sha256.hex() if sha256 else "",
            reason=reason,
            answers=self._answers(key),
            span=self._span(key),
        )

    def _span(self, key: bytes) -> tuple[int, int] | None:
        if not self._has_spans:  # of an older openmsi, and no watch has opened it since
            return None
        found = self._db.execute("SELECT span_start, span_stop FROM files WHERE path = ?", (key,)).fetchone()
        return found if found is not None and None not in found else None

    def _answers(self, key: bytes) -> list[Answer]:
        return [
            Answer(run, outcome, location, reason, plugin, at, sha256.hex(), bool(differs))
            for run, outcome, location, reason, plugin, at, sha256, differs in self._db.execute(_ANSWERS, (key,))
        ]

    def _need(self) -> dict[str, object]:
        """Fill the table of the runs that must have each file; how many, and whose word counts."""
        if self._runs:
            needed = {self._named(name) for name in self._runs}
        else:
            needed = {run for (run,) in self._db.execute(_SINKS)}
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM needed")
            self._db.executemany("INSERT INTO needed VALUES (?)", [(run,) for run in needed])
        return {"all": not self._runs, "any": not needed, "need": len(needed) or 1}

    def _named(self, name: str) -> str:
        known = {run for (run,) in self._db.execute("SELECT DISTINCT run FROM receipts")}
        return name if name in known or f"openmsi-{name}" not in known else f"openmsi-{name}"

    def _needed(self) -> list[str]:
        return [run for (run,) in self._db.execute("SELECT run FROM needed ORDER BY run")]
