"""F19: our clock jumps, records carry absurd timestamps, files were changed in the future or before 1970."""

from __future__ import annotations

import io
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

from openmsi_core.files import wire
from openmsi_core.files.chunking import chunks
from openmsi_core.model import FileVersion, Record, RelativePath
from tests.fakes import Log
from tests.faults.model import Scattering, Seen, finish, new_rig
from tests.faults.trial import Fault, Trial
from tests.rig import Rig

_DAY = 24 * 3600.0
_JUMPS = {"forwards": [3600.0, _DAY, 10 * _DAY, 400 * _DAY], "backwards": [-3600.0, -_DAY, -10 * _DAY, -400 * _DAY]}
_TIMES = {
    "mtime-negative": [-1, -1_000_000_001, -(10**18), -(1 << 63)],
    "mtime-future": [4_102_444_800_123_456_789, (1 << 63) - 1],
    "mtime-plain": [0, 1, 999, 1_700_000_000_123_456_789],
}
_STAMPS = [-1, 0, 1, -(10**15), 1_767_225_600_000, 4_102_444_800_000, (1 << 62)]


class _Absurd(Scattering):
    """A source whose answers come late now and then, and whose records carry any timestamp."""

    def __init__(self, log: Log, listener: object, chance: random.Random) -> None:
        super().__init__(log, listener, chance)  # type: ignore[arg-type]
        self.chance = chance

    def poll(self, timeout: float) -> Record | None:
        self.timestamp_ms = self.chance.choice(_STAMPS)
        if self._positions and self.chance.random() < 0.1:
            self.before_poll()
            return None
        return super().poll(timeout)


def run(trial: Trial) -> None:
    """Some files, several of them without their end; the clock of the wall jumps at any time, the steady one does not.

    The last record of some comes only after everything else was read: their sender is slow.
    """
    log = Log(trial.chance.randrange(1, 3))
    times, unfinished, slow = _topic(trial, log)
    seen = Seen(trial)
    rig = new_rig(trial.folder, 0, log, seen)
    rig.source = _Absurd(log, rig.stream, trial.chance)
    rig.now += timedelta(days=trial.chance.choice([0, 0, 30_000, -20_000]))
    steady = [0]
    rig.intake.now_ms = lambda: steady[0]

    def at_poll() -> None:
        steady[0] += trial.chance.randrange(1000)
        if trial.chance.random() < 0.2:
            kind = trial.chance.choice(sorted(_JUMPS))
            jump = timedelta(seconds=trial.chance.choice(_JUMPS[kind]))
            if abs((rig.now + jump).year - 2026) < 400:
                rig.now += jump
                trial.hit(kind)

    def wait_a_day() -> None:
        if slow and trial.chance.random() < 0.02:
            partition, value = slow.pop()
            log.put(value, partition=partition)
            trial.hit("slow-sender")
        elif not slow:
            steady[0] += 25 * 3600 * 1000

    left = finish(rig, at_poll, patience=20.0, wait_a_day=wait_a_day)
    trial.equal(left, 0, "open versions at the end")
    seen.check(rig.letters())
    _check(trial, rig, times, unfinished)


def _topic(trial: Trial, log: Log) -> tuple[dict[str, int], set[str], list[tuple[int, bytes]]]:
    """Times of change by id, the ids of files without their end, and the records that come late."""
    chance = trial.chance
    times: dict[str, int] = {}
    unfinished: set[str] = set()
    lines, slow = [], []
    for number in range(chance.randrange(4, 12)):
        values, version = _file(trial, number)
        times[version.id.hex()] = version.mtime_ns
        if chance.random() < 0.3 and len(values) > 1:
            values.pop()
            unfinished.add(version.id.hex())
        partition = chance.randrange(len(log.partitions))
        if len(values) > 1 and chance.random() < 0.3:
            slow.append((partition, values.pop()))
        lines.append([(partition, value) for value in values])
    while lines := [each for each in lines if each]:
        partition, value = chance.choice(lines).pop(0)
        log.put(value, partition=partition)
    return times, unfinished, slow


def _check(trial: Trial, rig: Rig, times: dict[str, int], unfinished: set[str]) -> None:
    letters = rig.letters()
    trial.equal({letter["file"]["id"] for letter in letters}, unfinished, "files that were given up")
    trial.check({letter["what"] for letter in letters} <= {"incomplete"}, "letters of another kind")
    done = Counter(result["file"]["id"] for result in rig.results())
    trial.equal(done, Counter(set(times) - unfinished), "files that were done")
    for result in rig.results():
        wanted = times[result["file"]["id"]]
        trial.equal(_microseconds(result["file"]["mtime"]), wanted // 1000, "time of change in the envelope")
        trial.equal(result["metadata"]["mtime_ns"], wanted, "time of change for the plugin")
    for letter in letters:
        if "mtime" in letter["file"]:
            wanted = times[letter["file"]["id"]] // 1000
            trial.equal(_microseconds(letter["file"]["mtime"]), wanted, "time of change in the letter")


def _file(trial: Trial, number: int) -> tuple[list[bytes], FileVersion]:
    """The record values of a file with a time of change that nobody expects."""
    chance = trial.chance
    kind = chance.choice(sorted(_TIMES))
    trial.hit(kind)
    data = chance.randbytes(chance.choice([0, 100, 40_000]))
    version = FileVersion(
        id=chance.randbytes(16),
        path=RelativePath.parse(f"f{number}"),
        size=len(data),
        chunk=wire.MIN_CHUNK,
        mtime_ns=chance.choice(_TIMES[kind]),
        sent_ns=chance.choice(_TIMES[kind]),
    )
    return [wire.encode(each) for each in chunks(io.BytesIO(data), version)], version


def _microseconds(text: str) -> int:
    """Since 1970, reckoned without floats."""
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


FAULT = Fault(
    "F19",
    "clock jumps, absurd timestamps, times of change in the future or before 1970",
    run,
    ci=20,
    release=200,
    windows=(*_JUMPS, *_TIMES, "slow-sender"),
    mutations=("jumps-age-files", "timestamps-are-believed", "times-lose-their-sign"),
)
