"""F20: keys that are missing, late or rotated: sealed records wait for them, and end with a word when they never come.

Encryption itself comes with its own room; the sealer here is a stand-in that knows the same three answers.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from openmsi_core.ports import Never, NotYet, Opened
from openmsi_core.receiving.pace import Pace
from tests.fakes import Log, values_of
from tests.faults.model import Killed
from tests.faults.trial import Fault, Trial
from tests.rig import Rig

_KEYS = 4


class Sealer:
    """A sealed value is the number of its key, then the bytes. ``known`` keys open, ``gone`` ones never will."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.gone: set[int] = set()

    def open_value(self, _topic: str, data: bytes) -> Opened | NotYet | Never:
        number = data[0]
        if number in self.gone:
            return Never(f"key {number} was destroyed")
        return Opened(data[1:]) if number in self.known else NotYet(bytes([number]))


def run(trial: Trial) -> None:
    """Files sealed with several keys, some in mid-file; keys come late, are destroyed, or never come; with restarts."""
    chance, log = trial.chance, Log()
    fates = {number: chance.choice(["late", "late", "missing", "destroyed"]) for number in range(_KEYS)}
    readable: dict[str, bytes] = {}
    touched: dict[str, set[int]] = {}
    for number in range(12):
        path, data = f"f{number}", chance.randbytes(chance.randrange(60_000))
        first = chance.randrange(_KEYS)
        touched[path] = set()
        for value in values_of(path, data):
            key = first if chance.random() < 0.7 else chance.randrange(_KEYS)  # rotated in mid-file
            touched[path].add(key)
            log.put(bytes([key]) + value)
        if all(fates[key] == "late" for key in touched[path]):
            readable[path] = data
    for key in set(fates.values()):
        trial.hit(key)
    found: list[tuple[str, bytes]] = []
    for attempt in range(3):
        _one(trial, log, fates, found, attempt, is_last=attempt == 2)
    trial.equal(sorted(path for path, _ in found), sorted(readable), "files that could be read, once each")
    trial.equal(dict(found), readable, "what stood in them")
    receipts = [path for path in touched if path not in readable]
    trial.check(bool(log.values("t.dlq")) or not receipts, "what could not be read ended without a word")
    trial.equal(log.commits[0].offset, len(log.partitions[0]), "where the group stands at the end")


def _one(
    trial: Trial, log: Log, fates: dict[int, str], found: list[tuple[str, bytes]], attempt: int, *, is_last: bool
) -> None:
    folder = trial.folder / str(attempt)
    folder.mkdir()
    sealer, chance, polls = Sealer(), trial.chance, [0]
    pace = Pace(longest=0.02, housekeeping=0.0, stop_wait=0.2, unreadable_after=3600.0)
    mine: list[tuple[str, bytes]] = []
    rig = Rig(
        folder, log, lambda file: mine.append((str(file.path), file.read_bytes())) or "done", sealer=sealer, pace=pace
    )

    def before() -> None:
        polls[0] += 1
        late = [key for key, fate in fates.items() if fate == "late" and key not in sealer.known]
        if late and (chance.random() < 0.02 or polls[0] > 300):
            sealer.known.add(late[0])
            trial.hit("a-key-came")
        if polls[0] > 150:
            sealer.gone |= {key for key, fate in fates.items() if fate == "destroyed"}
        if polls[0] > 320 and (rig.intake.parked or len(rig.intake.assembler)):
            rig.now += timedelta(days=2)
        if not is_last and polls[0] > 60 and chance.random() < 0.02:
            trial.killed("killed")
            raise Killed
        waiting = (
            len(rig.intake.parked),
            len(rig.intake.assembler),
            len(rig.stream._dispatch),
            len(rig.stream._outcomes),
        )
        if polls[0] > 340 and not any(waiting):
            rig.stream.stopping.set()
        if polls[0] > 20_000:
            rig.stream.stopping.set()

    rig.source.before_poll = before
    with suppress(Killed), rig.stack:
        rig.stream.run(rig.source, rig.store)
    done = {each.key.decode() for each in log.published if each.topic == "out" and each.key}
    found[:] = [*found, *(each for each in mine if each[0] in done and each[0] not in dict(found))]
    results = [each.key for each in log.published if each.topic == "out"]
    trial.equal(len(set(results)), len(results), "results of different files")


FAULT = Fault(
    "F20",
    "keys missing, late, destroyed, rotated in mid-file (stand-in sealer)",
    run,
    ci=10,
    release=100,
    windows=("late", "missing", "destroyed", "a-key-came", "killed"),
    mutations=("keys-are-waited-for-for-ever",),
)
