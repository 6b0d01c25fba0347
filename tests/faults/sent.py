"""What senders put into a topic, told by struct, msgpack and hashlib and nothing of ours; and folders that change."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import sqlite3
import struct
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgpack

from tests.faults.trial import Trial
from tests.kafka.oracle import digests

_HEAD = struct.Struct(">4sBBH16sIQIII")
_FIRST, _LAST, _ABORT = 1, 2, 4


@dataclass
class Sent:
    """What is in a topic, by path: the digests of whole versions in the order of their first records.

    ``unfinished`` are versions of which records are missing and that nobody gave up; ``wrong`` says what no reader
    should ever see: a digest that does not hold, two records of one number that differ, a gap.
    """

    whole: dict[bytes, list[str]] = field(default_factory=dict)
    unfinished: list[bytes] = field(default_factory=list)
    aborted: int = 0
    again: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass
class _Version:
    path: bytes = b""
    pieces: dict[int, bytes] = field(default_factory=dict)
    last: int = -1
    promised: bytes = b""
    is_aborted: bool = False


def sent(records: Iterable[tuple[bytes | None, bytes | None]]) -> Sent:
    """Go through keys and values of all partitions, each in its order."""
    found, versions = Sent(), dict[bytes, _Version]()
    for key, value in records:
        if key is None or value is None:
            found.wrong.append("a record without a key or a value")
            continue
        magic, _, flags, length, file_id, number, _, size, _, _ = _HEAD.unpack_from(value)
        payload = value[_HEAD.size + length :]
        if magic != b"OMSI" or len(payload) != size:
            found.wrong.append(f"a record that is none: {value[:60]!r}")
            continue
        version = versions.setdefault(file_id, _Version(key))
        if flags & _ABORT:
            version.is_aborted = True
            continue
        if number in version.pieces:
            found.again += 1
            if version.pieces[number] != payload:
                found.wrong.append(f"{key!r}: two records {number} that differ")
        version.pieces[number] = payload
        if flags & _LAST:
            version.last = number
            version.promised = msgpack.unpackb(value[_HEAD.size : _HEAD.size + length])["sha256"]
    for file_id, version in versions.items():
        _judge(found, file_id, version)
    return found


def _judge(found: Sent, file_id: bytes, version: _Version) -> None:
    is_whole = version.last >= 0 and set(version.pieces) == set(range(version.last + 1))
    if is_whole:
        digest = hashlib.sha256(b"".join(version.pieces[each] for each in sorted(version.pieces)))
        if digest.digest() != version.promised:
            found.wrong.append(f"{version.path!r}: its digest does not hold")
        found.whole.setdefault(version.path, []).append(digest.hexdigest())
    elif version.is_aborted:
        found.aborted += 1
    else:
        found.unfinished.append(file_id)


def acknowledged(state: Path) -> dict[bytes, str]:
    """Path and digest of what the ledger below ``state`` calls sent, read by SQLite alone."""
    rows: dict[bytes, str] = {}
    for file in (state / "ledgers").glob("*.sqlite"):
        with closing(sqlite3.connect(file)) as db:
            rows |= {
                path: digest.hex()
                for path, digest in db.execute("SELECT path, sha256 FROM files WHERE state IN ('sent', 'delivered')")
            }
    return rows


def check_sent(trial: Trial, root: Path, found: Sent, *, once: bool = True) -> None:
    """Every file that exists is there in its last version; nothing wrong, nothing half; no version twice in a row."""
    trial.equal(found.wrong, [], "what no reader should see")
    trial.equal(found.unfinished, [], "versions that nobody finished or gave up")
    trial.equal({path: found.whole.get(path, [""])[-1] for path in digests(root)}, digests(root), "last versions")
    if once:
        twice = {path: each for path, each in found.whole.items() if any(a == b for a, b in itertools.pairwise(each))}
        trial.equal(twice, {}, "files that were sent twice unchanged")


class Folder:
    """A folder in which things happen, decided by ``chance``; every file has content that no other one has."""

    def __init__(self, root: Path, chance: random.Random, *, largest: int = 3_000_000) -> None:
        self.root = root
        self.history: dict[bytes, set[str]] = {}
        self._chance = chance
        self._largest = largest
        self._count = 0
        root.mkdir(parents=True, exist_ok=True)

    def files(self) -> list[Path]:
        """What is there now."""
        return [Path(where, name) for where, _, names in os.walk(self.root) for name in sorted(names)]

    def add(self, count: int) -> None:
        """So many new files in nested folders, one in ten of several records, some empty."""
        for _ in range(count):
            self._count += 1
            depth = self._chance.randrange(4)
            folder = self.root.joinpath(*(f"d{self._chance.randrange(3)}" for _ in range(depth)))
            folder.mkdir(parents=True, exist_ok=True)
            self.write(folder / f"f{self._count}")

    def write(self, file: Path) -> None:
        """New content, written in place, or beside it and renamed."""
        kind = self._chance.random()
        size = self._chance.randrange(self._largest) if kind < 0.1 else self._chance.randrange(3_000)
        content = b"" if kind > 0.97 else b"%d of %d " % (self._count, self._chance.getrandbits(64)) + bytes(size)
        if self._chance.random() < 0.5:
            file.write_bytes(content)
        else:
            beside = file.with_name(f"{file.name}.part")
            beside.write_bytes(content)
            beside.rename(file)
        self._note(file, content)

    def _note(self, file: Path, content: bytes) -> None:
        key = os.fsencode(file.relative_to(self.root))
        self.history.setdefault(key, set()).add(hashlib.sha256(content).hexdigest())

    def change(self, share: float, *, deletes: bool = True) -> None:
        """Modify, touch, rename or delete about this share of the files."""
        files = self.files()
        for file in self._chance.sample(files, int(len(files) * share)):
            what = self._chance.choice(
                ["write", "write", "append", "touch", "rename", "delete" if deletes else "write"]
            )
            if what == "write":
                self._count += 1
                self.write(file)
            elif what == "append":
                with file.open("ab") as out:
                    out.write(b"more")
                self._note(file, file.read_bytes())
            elif what == "touch":
                os.utime(file)
            elif what == "rename":
                self._count += 1
                other = file.with_name(f"r{self._count}")
                file.rename(other)
                self._note(other, other.read_bytes())
            else:
                file.unlink()
