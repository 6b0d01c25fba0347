"""F12: two senders on one path, their generations interleaved, the same file sent again; restarts in between.

The order of a path is the order in which its versions became whole; what became whole last stands at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from openmsi_core.files.datafile import DataFile
from openmsi_core.plugins.loader import build
from openmsi_core.plugins.running import PluginRunner
from openmsi_core.ports import Handled
from openmsi_core.receiving.attempts import RetryPolicy
from tests.disk_fakes import tree
from tests.fakes import Call, Log, values_of
from tests.faults.model import Killed, Seen, finish, new_rig
from tests.faults.trial import Fault, Trial
from tests.rig import Rig

_PATIENT = RetryPolicy(delays=(0.0,) * 12, retry_for=0.5)
_Make = Callable[[], "PluginRunner | Call"]


@dataclass(slots=True)
class _Version:
    """One version, and the offset of the record that made it whole."""

    id: bytes
    path: str
    data: bytes
    end: int = -1


class _Shaky:
    """A runner in front of the real one: remembers the order, and fails now and then before the real one is called."""

    def __init__(self, runner: PluginRunner | Call, trial: Trial, order: list[bytes]) -> None:
        self.facts, self.flushes = runner.facts, runner.flushes
        self.open, self.close, self.spool_folder = runner.open, runner.close, runner.spool_folder
        self._runner, self._trial, self._order = runner, trial, order
        self._flushed = 0

    def handle(self, file: DataFile) -> Handled:
        if self._trial.chance.random() < 0.15:
            self._trial.hit("plugin-failed")
            raise OSError("not now")
        handled = self._runner.handle(file)
        self._order.append(file.version.id)
        return handled

    def flush(self) -> None:
        if self._trial.chance.random() < 0.1:
            self._trial.hit("flush-failed")
            del self._order[self._flushed :]  # each of these comes once more
            raise OSError("not now")
        self._runner.flush()
        self._flushed = len(self._order)


def run(trial: Trial) -> None:
    """Versions of a few paths, mixed, through one process after the other; half of the trials store on a real disk."""
    chance, log = trial.chance, Log(trial.chance.randrange(1, 3))
    versions = _topic(trial, log)
    root = trial.folder / "root"
    is_disk, is_alone = chance.random() < 0.6, chance.random() < 0.5
    trial.hit("disk" if is_disk else "extractor")
    seen, runs = Seen(trial), 1 if is_alone else chance.randrange(2, 5)
    for number in range(runs):
        orders: list[list[bytes]] = []
        make: _Make = _runner(root) if is_disk else (lambda: Call(seen))

        def call(*_: object, make: _Make = make, orders: list[list[bytes]] = orders, **__: object) -> _Shaky:
            orders.append([])
            return _Shaky(make(), trial, orders[-1])

        failing = chance.choice([0, 0, 2])
        rig = new_rig(trial.folder, number, log, seen, call=call, workers=2, failing=failing, policy=_PATIENT)
        polls = chance.randrange(1, 80) if number < runs - 1 else -1
        waits = chance.random() < 0.5  # for something to be durable before the kill

        with suppress(Killed):
            finish(rig, _killer(trial, rig, polls, waits=waits))
        for order in orders:  # each worker has its own paths
            _check_order(trial, versions, order)
    seen.check(rig.letters())
    trial.equal(rig.letters(), [], "letters")
    done = Counter(receipt["id"] for receipt in rig.receipts() if receipt["outcome"] == "done")
    trial.equal(done, Counter(each.id.hex() for each in versions), "receipts of done versions")
    if is_disk:
        last = {each.path: each.data for each in sorted(versions, key=lambda each: each.end)}
        trial.check(tree(root) == last, "what became whole last does not stand on the disk")
        if is_alone:
            _check_unchanged(trial, versions, rig.receipts())


def _killer(trial: Trial, rig: Rig, polls: int, *, waits: bool) -> Callable[[], None]:
    """What kills a run after so many polls, -1: never. With ``waits`` they count from the first checkpoint on."""

    def at_poll() -> None:
        nonlocal polls
        if waits and not rig.store.checkpoints > 1:  # the first one says only where the run began
            return
        polls -= 1
        if polls == 0:
            trial.killed("killed")
            raise Killed

    return at_poll


def _runner(root: Path) -> Callable[[], PluginRunner]:
    make = build("disk", {"folder": str(root)})
    return lambda: make(None)


def _topic(trial: Trial, log: Log) -> list[_Version]:
    """Two senders, each with its generations one after the other; both write at once."""
    chance = trial.chance
    versions: list[_Version] = []
    lines: list[list[tuple[_Version, bytes]]] = [[], []]
    paths = [f"p{number}/f" for number in range(chance.randrange(1, 3))]
    contents = [chance.randbytes(size) for size in (0, 50, 20_000, chance.randrange(70_000))]
    for _ in range(chance.randrange(3, 12)):
        if not versions or chance.random() < 0.6:  # else the last one is sent again, by the same sender
            path, data, sender = chance.choice(paths), chance.choice(contents), chance.randrange(2)
        version = _Version(chance.randbytes(16), path, data)
        versions.append(version)
        values = values_of(version.path, version.data, file_id=version.id)
        lines[sender] += [(version, value) for value in values]
    counts = [Counter(version.path for version, _ in line) for line in lines]
    if set(counts[0]) & set(counts[1]):
        trial.hit("two-senders")
    if max(Counter((each.path, each.data) for each in versions).values()) > 1:
        trial.hit("sent-again")
    before: bytes = b""
    while lines := [each for each in lines if each]:
        version, value = chance.choice(lines).pop(0)
        partition = paths.index(version.path) % len(log.partitions)
        version.end = len(log.partitions[partition])
        log.put(value, partition=partition)
        if before != version.id and version.data and before:
            trial.hit("interleaved")
        before = version.id
    return versions


def _check_order(trial: Trial, versions: list[_Version], order: list[bytes]) -> None:
    """Within one run the versions of a path come in their order."""
    known = {each.id: each for each in versions}
    last: dict[str, int] = {}
    for file_id in order:
        version = known[file_id]
        trial.check(last.get(version.path, -1) <= version.end, f"{version.path}: an earlier version came later")
        last[version.path] = version.end


def _check_unchanged(trial: Trial, versions: list[_Version], receipts: list[dict[str, object]]) -> None:
    """A version that equals the one before it on its path leaves the disk alone, and says so."""
    standing: dict[str, bytes] = {}
    told = {str(receipt["id"]): receipt["unchanged"] for receipt in receipts}
    for each in sorted(versions, key=lambda each: each.end):
        if standing.get(each.path) == each.data:
            trial.hit("unchanged")
            trial.equal(told[each.id.hex()], True, "unchanged")
        standing[each.path] = each.data


FAULT = Fault(
    "F12",
    "two senders on one path, generations interleaved, the same file again",
    run,
    ci=40,
    release=1_000,
    windows=(
        *("two-senders", "interleaved", "sent-again", "unchanged", "disk", "extractor", "killed"),
        *("plugin-failed", "flush-failed"),
    ),
    mutations=("paths-lose-their-order", "equal-content-is-stored-again", "commit-is-skipped"),
)
