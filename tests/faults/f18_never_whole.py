"""F18: a million files begin and never end, with whole ones between them; half-way the process is killed."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from unittest.mock import patch

from openmsi_core.files import wire
from openmsi_core.files.assembly import Limits
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import Chunk, Commit, FileVersion, Outgoing, RelativePath, What
from openmsi_core.receiving import checkpoint
from openmsi_core.receiving.pace import Pace
from tests.fakes import Log
from tests.faults.model import Killed, finish, new_rig
from tests.faults.trial import Fault, Trial

_SMALL = 50_000
_LARGE = 1_000_000
_MEMORY = 256 * 1024 * 1024  # bytes; of the whole process, as it is promised
_PLANNING = 2.0  # seconds, for one checkpoint
# Due by time only: by count, a checkpoint would be planned at each turn while more than that many outcomes must wait.
_PACE = Pace(housekeeping=0.0)
_WHOLE = hashlib.sha256(b"whole").digest()
_CHUNK = bytes(wire.MIN_CHUNK)


class _Topic(Sequence[bytes]):
    """The records, made when they are asked for: a million of them would fill the memory that is measured."""

    def __init__(self, count: int, seed: int, whole: float) -> None:
        self._count, self._seed, self._whole = count, seed, whole

    def __len__(self) -> int:
        return self._count

    def is_whole(self, number: int) -> bool:
        """Whether record ``number`` is a whole file."""
        return random.Random(self._seed * self._count + number).random() < self._whole

    def __getitem__(self, number: int) -> bytes:  # type: ignore[override]
        file_id = number.to_bytes(16, "big")
        if self.is_whole(number):
            return wire.encode(_first(file_id, number, b"whole"))
        if number % 3:  # cheaper for who attacks: a record from the middle needs no content
            return wire.encode(Chunk(file_id, 1, wire.MIN_CHUNK, b"x"))
        return wire.encode(_first(file_id, number, _CHUNK))


def _first(file_id: bytes, number: int, payload: bytes) -> Chunk:
    is_last = len(payload) < wire.MIN_CHUNK
    size = len(payload) if is_last else 100_000
    version = FileVersion(file_id, RelativePath.parse(f"f{number}"), size, wire.MIN_CHUNK, 0)
    digest = _WHOLE if is_last else None
    return Chunk(file_id, 0, 0, payload, version, is_last, digest, size if is_last else None)


class _Counting:
    """A store that counts what is published instead of keeping it. ``results``: how often each number came."""

    def __init__(self, log: Log, count: int) -> None:
        self.log = log
        self.topics: Counter[str] = Counter()
        self.results = bytearray(count)

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        for each in outgoing:
            self.topics[each.topic if each.key is not None else f"{each.topic} without a name"] += 1
            if each.topic == "out" and each.key is not None:
                self.results[int(each.key[1:])] += 1
        self.log.commits |= {commit.partition: commit for commit in commits}


def run(trial: Trial) -> None:
    """One topic of them, read by two processes one after the other."""
    count = _LARGE if os.environ.get("OPENMSI_TEST_SCALE") in {"release", "tenth"} else _SMALL
    whole = [0.02, 0.5][trial.seed % 2]  # few: a commit can list what is open; many: it cannot
    topic = _Topic(count, trial.seed, whole)
    log = Log()
    log.partitions = [topic]  # type: ignore[list-item]
    store, planning, began = _Counting(log, count), [0.0], time.monotonic()
    plan = checkpoint.plan

    def timed(*arguments: object) -> checkpoint.Checkpoint:
        start = time.thread_time()  # others may have the processor meanwhile
        planned = plan(*arguments)  # type: ignore[arg-type]
        planning.append(time.thread_time() - start)
        trial.hits["held" if planned.held else "all-recorded"] += 1
        return planned

    with patch.object(checkpoint, "plan", timed):
        (most, first), (later, second) = [_run(trial, number, log, store, count) for number in (0, 1)]
    most, headless = max(most, later), first + second
    seconds = time.monotonic() - began
    trial.measured(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    wanted = sum(1 for number in range(count) if topic.is_whole(number))
    trial.equal(store.results.count(1), wanted, "whole files that came through once")
    trial.equal(store.results.count(0), count - wanted, "files that did not come through")
    begun = sum(1 for number in range(0, count, 3) if not topic.is_whole(number))
    trial.equal(store.topics["t.dlq"], begun, "letters of those that began and were given up")
    lone = store.topics["t.dlq without a name"] + headless
    trial.equal(lone, count - wanted - begun, "letters of lone records, and rests of what began before")
    trial.check(most <= Limits().open_versions + 1, f"{most:,} versions were open")
    trial.check(trial.peak_memory < _MEMORY, f"{trial.peak_memory:,} bytes of memory")
    trial.check(max(planning) < _PLANNING, f"a checkpoint was planned for {max(planning):.1f} s")
    trial.check(seconds < 60 + count * 0.002, f"{count:,} records took {seconds:.0f} s")


def _run(trial: Trial, number: int, log: Log, store: _Counting, count: int) -> tuple[int, int]:
    """Read half of it and die; the second one reads to the end.

    The most versions that were open at once, and how many were the rest of one that began before the run.
    """
    polls = most = 0

    def at_poll() -> None:
        nonlocal polls, most
        polls += 1
        most = max(most, len(rig.intake.assembler))
        if number == 0 and polls > count // 2:
            trial.killed("killed-half-way")
            raise Killed

    rig = new_rig(trial.folder, number, log, _handled, pace=_PACE)
    rig.store = store
    with suppress(Killed):
        finish(rig, at_poll, patience=3600.0)
    return most, rig.counts.by_outcome.get(What.HEADLESS, 0)


def _handled(file: DataFile) -> str:
    if file.read_bytes() != b"whole":
        raise ValueError("not what was sent")
    return "seen"


FAULT = Fault(
    "F18",
    "files that begin and never end",
    run,
    ci=2,
    release=6,
    serial=True,
    windows=("killed-half-way", "held", "all-recorded"),
    mutations=("nothing-is-given-up", "what-must-wait-is-published"),
)
