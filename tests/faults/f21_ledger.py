"""F21: the ledger is deleted, cut off, flipped, written by an older or a newer schema, or in use by somebody else.

Whatever it was: the next sender ends well without a person, every file is in the topic in its last version, and what
the ledger calls sent then is there. Where the ledger was left whole, nothing is sent again.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from openmsi_core.errors import FolderError
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.tables import SCHEMA
from tests.faults.sent import Folder, acknowledged, check_sent
from tests.faults.trial import Fault, Trial
from tests.faults.watching import Topic, once

_ROUNDS = 4
_DAMAGE = ("deleted", "truncated", "flipped", "one-bit", "older", "newer", "garbage", "held", "wal-lost", "left-alone")


def run(trial: Trial) -> None:
    """Files come and change; between two senders something happens to the ledger."""
    root, topic = trial.folder / "in", Topic()
    folder = Folder(root, random.Random(trial.seed), largest=100_000)
    file = ledger_file(trial.folder / "state", root, "t")
    folder.add(60)
    once(trial, root, topic)
    for _ in range(_ROUNDS):
        what = trial.chance.choice(_DAMAGE)
        trial.hit(what)
        before = sum(map(len, topic.found().whole.values()))
        changed = trial.chance.random() < 0.5
        if changed:
            folder.add(10)
            folder.change(0.1)
        _damage(trial, what, file, root)
        once(trial, root, topic)
        found = topic.found()
        check_sent(trial, root, found, once=False)
        if what in {"left-alone", "older", "held"} and not changed:
            trial.equal(sum(map(len, found.whole.values())), before, f"versions after a ledger was {what}")
        missing = {
            path: digest
            for path, digest in acknowledged(trial.folder / "state").items()
            if digest not in found.whole.get(path, [])
        }
        trial.equal(missing, {}, "what the ledger calls sent and the topic does not have")
    trial.equal(once(trial, root, topic), 0, "files sent again with a ledger that was not touched")


def _damage(trial: Trial, what: str, file: Path, root: Path) -> None:
    chance = trial.chance
    if what == "deleted":
        file.unlink()
    elif what in {"truncated", "flipped", "garbage"}:
        file.write_bytes(_spoilt(what, bytearray(file.read_bytes()), chance))
    elif what == "one-bit":
        _flip_in_a_digest(file, chance)
    elif what == "older":
        _write_as_first_schema(file)
    elif what == "newer":
        with closing(sqlite3.connect(file)) as db:
            db.execute(f"PRAGMA user_version = {SCHEMA + 1 + chance.randrange(5)}")
    elif what == "wal-lost":
        file.with_name(f"{file.name}-wal").write_bytes(chance.randbytes(4096))
    elif what == "held":
        with Ledger(file, root=root, topic="t"):
            try:
                with Ledger(file, root=root, topic="t"):
                    trial.check(False, "two held one ledger")
            except FolderError as error:
                trial.check("already sending" in str(error), f"an error that says what to do: {error}")


def _spoilt(what: str, data: bytearray, chance: random.Random) -> bytes:
    if what == "garbage":
        return chance.randbytes(chance.randrange(1, 50_000))
    if what == "truncated":
        return data[: chance.randrange(len(data))]
    for _ in range(chance.choice([1, 3, 30, 300])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _flip_in_a_digest(file: Path, chance: random.Random) -> None:
    """What no structure of SQLite shows."""
    with closing(sqlite3.connect(file)) as db, db:
        rows = db.execute("SELECT path, sha256 FROM files WHERE state = 'sent' ORDER BY path").fetchall()
        path, digest = chance.choice(rows)
        flipped = bytes([digest[0] ^ 1 << chance.randrange(8)]) + digest[1:]
        db.execute("UPDATE files SET sha256 = ? WHERE path = ?", (flipped, path))


def _write_as_first_schema(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        (schema,) = db.execute("PRAGMA user_version").fetchone()
        if schema == SCHEMA:
            db.executescript(_DOWN)


_DOWN = """
BEGIN;
CREATE TABLE first (path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, state TEXT NOT NULL,
    inode INTEGER NOT NULL, id BLOB NOT NULL, partition INTEGER NOT NULL, chunk INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL, first_offset INTEGER, sha256 BLOB, reason TEXT NOT NULL, since_ns INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO first SELECT path, size, mtime_ns, state, inode, id, partition, chunk, acknowledged, first_offset, sha256,
    reason, since_ns FROM files;
DROP TABLE files;
ALTER TABLE first RENAME TO files;
CREATE INDEX unfinished ON files (state) WHERE state IN ('sending', 'failed');
PRAGMA user_version = 1;
COMMIT;
"""

FAULT = Fault(
    "F21",
    "ledger deleted, truncated, flipped, of another schema, held",
    run,
    ci=20,
    release=300,
    windows=_DAMAGE,
    mutations=("damage-is-believed", "rows-are-believed"),
)
