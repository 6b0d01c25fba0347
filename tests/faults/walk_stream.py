"""A stream in a model of the world: every call to it fails once, or is the last one, or the first that is not made.

What the store writes is there wholly or not at all, as a transaction is. A process that dies takes its spool with it.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.files.assembly import Limits
from openmsi_core.files.content import OnDisk
from openmsi_core.files.spool import Spool, SpoolFile
from openmsi_core.model import Commit, Outgoing, Record
from openmsi_core.receiving.pace import Pace
from openmsi_core.receiving.workers import Workers
from tests.fakes import Log, LogStore, values_of
from tests.faults.model import Killed, Scattering, Seen, finish, new_rig
from tests.faults.trial import Trial
from tests.rig import Rig

CALLS = (
    *("poll", "positions", "write", "plugin", "flush", "answer"),
    *("spool-new", "spool-write", "spool-read", "spool-remove", "content-read", "content-discard"),
)
WAYS = ("fails", "last", "done")
_NEVER_FAIL = {"answer", "positions"}
_SIZES = {1: 0, 2: 100, 3: 50_000, 4: 40_000, 5: 18_000, 6: 70_000, 7: 60_000}
_CUT = 7  # the file that is not whole
_MANY = 40  # of each call; polls that find nothing come as often as time goes by
_PACE = Pace(longest=0.01, quiet=0.002, housekeeping=0.0, stop_wait=0.2)
_LIMITS = Limits(in_memory_file=20_000, memory=30_000)


class World:
    """Counts the calls of one process by name, and strikes at the ``nth`` of ``name``."""

    def __init__(self, name: str = "", nth: int = 0, how: str = "") -> None:
        self.target, self.how = (name, nth), how
        self.counts: Counter[str] = Counter()
        self.is_struck = self.is_dead = False

    def call(self, name: str, do: Callable[[], Any], *, spoil: Callable[[], Any] = lambda: None) -> Any:
        """One call; ``spoil`` is what one that fails does all the same. Raises Killed, and what such a call raises."""
        if self.is_dead:
            raise Killed
        self.counts[name] += 1
        if (name, self.counts[name]) != self.target:
            return do()
        self.is_struck = True
        if self.how == "fails":
            spoil()
            raise BrokerUnreachable("away") if name in {"poll", "write"} else OSError(errno.EIO, os.strerror(errno.EIO))
        if self.how == "done":
            do()
        self.is_dead = True
        raise Killed

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Meanwhile the calls to the spool, and the workers' answers, come through here."""
        with ExitStack() as stack:
            for name, owner, attribute in (
                ("spool-new", Spool, "new_file"),
                ("spool-write", SpoolFile, "write"),
                ("spool-read", SpoolFile, "read"),
                ("spool-remove", SpoolFile, "remove"),
                ("content-read", OnDisk, "read"),
                ("content-discard", OnDisk, "discard"),
                ("answer", Workers, "_say"),
            ):
                through = self._through(name, getattr(owner, attribute))
                stack.enter_context(patch.object(owner, attribute, through))
            yield

    def _through(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            def half() -> None:
                if name == "spool-write":
                    function(arguments[0], arguments[1], arguments[2][: len(arguments[2]) // 2])

            return self.call(name, lambda: function(*arguments), spoil=half)

        return called


class _Source(Scattering):
    world: World

    def poll(self, timeout: float) -> Record | None:
        record: Record | None = self.world.call("poll", lambda: super(_Source, self).poll(timeout))
        return record

    def positions(self) -> Any:
        return self.world.call("positions", super().positions)


class _Store(LogStore):
    world: World

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        self.world.call("write", lambda: super(_Store, self).write(outgoing, commits, size=size))


def walk(trial: Trial) -> None:
    """First a run in which nothing happens, to count the calls; then one for each of them, in each way."""
    flushes = trial.seed % 2 == 0
    partitions = _topic(trial)
    counts = World()
    _run(trial, counts, Log(), partitions, flushes)
    for name, count in sorted(counts.counts.items()):
        for nth in range(1, min(count, _MANY) + 1):
            for how in WAYS:
                if name in _NEVER_FAIL and how == "fails":
                    continue
                _strike(trial, World(name, nth, how), partitions, flushes)


def _topic(trial: Trial) -> list[list[bytes | None]]:
    """Whole files in memory and on disk, one without its middle, one record that is damaged; on two partitions."""
    lines = [values_of(f"f{n}", trial.chance.randbytes(_SIZES[n]), file_id=_id(n)) for n in _SIZES]
    lines[-1].pop(1)
    lines[3].reverse()
    placed = [[(number % 2, value) for value in values] for number, values in enumerate([*lines, [b"OMSI damaged"]])]
    log = Log(2)
    while placed := [each for each in placed if each]:
        partition, value = trial.chance.choice(placed).pop(0)
        log.put(value, partition=partition)
    return log.partitions


def _id(number: int) -> bytes:
    return bytes([number]) * 16


def _run(trial: Trial, world: World, log: Log, partitions: list[list[bytes | None]], flushes: bool) -> Rig:
    """One process in ``world``; whatever ends it, it is gone afterwards."""
    log.partitions = partitions
    seen = Seen(trial)
    more: dict[str, object] = {"flush": lambda: world.call("flush", lambda: None)} if flushes else {}
    with world.watching():
        plugin = partial(world.call, "plugin")
        folder = Path(tempfile.mkdtemp(dir=trial.folder))
        rig = new_rig(folder, 0, log, lambda file: plugin(partial(seen, file)), limits=_LIMITS, pace=_PACE, **more)
        rig.source = _Source(log, rig.stream, trial.chance)
        rig.store = _Store(log)
        rig.source.world = rig.store.world = world
        try:
            finish(rig, patience=20.0)
        except Killed:
            trial.kills += 1
        except (BrokerUnreachable, OSError) as error:
            trial.check(world.how == "fails", f"the run ended by itself: {error!r}")
    shutil.rmtree(folder)
    return rig


def _strike(trial: Trial, world: World, partitions: list[list[bytes | None]], flushes: bool) -> None:
    """A run that is struck, one after it that is not, and what must hold then."""
    log = Log()
    _run(trial, world, log, partitions, flushes)
    if not world.is_struck:
        return
    name, nth = world.target
    trial.hit(name)
    rig = _run(trial, World(), log, partitions, flushes)
    what = f"{name} {nth} {world.how}"
    letters = rig.letters()
    Seen(trial).check(letters)
    done = Counter(result["file"]["id"] for result in rig.results())
    trial.equal(done, Counter(_id(n).hex() for n in _SIZES if n != _CUT), f"{what}: results")
    told = sorted((letter["what"], letter["file"] and letter["file"]["id"]) for letter in letters)
    trial.equal(told, [("bad-record", None), ("incomplete", _id(_CUT).hex())], f"{what}: letters")
    receipts = Counter(receipt["id"] for receipt in rig.receipts())
    trial.equal(receipts, Counter(_id(n).hex() for n in _SIZES), f"{what}: receipts")
