"""A whole run in this process, driven to its end: what came is dealt with, what never came is given up."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from openmsi_core.files.datafile import DataFile
from openmsi_core.model import Record
from openmsi_core.ports import Listener
from tests.fakes import Log, LogSource
from tests.faults.trial import Trial, Violation
from tests.rig import Rig

for _name in ("openmsi_core", "openmsi"):  # warnings are what a fault plan is about
    logging.getLogger(_name).addHandler(logging.NullHandler())

_PATIENCE = 60.0  # seconds without an end after which a run counts as stuck
A_DAY = timedelta(hours=25)  # longer than incomplete-after


@dataclass(slots=True)
class Seen:
    """A plugin that remembers what it got: the facts of each file and the digest of what it read itself."""

    trial: Trial
    calls: Counter[bytes] = field(default_factory=Counter)
    paths: dict[str, list[bytes]] = field(default_factory=dict)
    files: list[tuple[str, int, str]] = field(default_factory=list)

    def __call__(self, file: DataFile) -> dict[str, object]:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest != file.sha256:
            raise _WrongFile(f"{file.path} reached the plugin with {digest}, promised was {file.sha256}")
        self.calls[file.version.id] += 1
        self.paths.setdefault(str(file.path), []).append(file.version.id)
        self.files.append((str(file.path), file.mtime_ns, digest))
        return {"sha256": digest, "mtime_ns": file.mtime_ns}

    def check(self, letters: list[dict[str, object]]) -> None:
        """Raises Violation when any file was wrong, ever: the plugin could only say so through a dead letter."""
        wrong = [letter for letter in letters if "_WrongFile" in str(letter["why"])]
        self.trial.check(not wrong, f"a wrong file reached the plugin: {wrong[:1]}")


class _WrongFile(Exception):
    """What Seen raises."""


def finish(
    rig: Rig,
    at_poll: Callable[[], None] = lambda: None,
    patience: float = _PATIENCE,
    wait_a_day: Callable[[], None] | None = None,
) -> int:
    """Run until everything is dealt with, then a day more; how many versions are open after that.

    ``at_poll`` is called before each poll, ``wait_a_day`` when only time can end what is open.
    Raises Violation when the run does not come to its end.
    """
    ends = time.monotonic() + patience

    def later() -> None:
        rig.now += A_DAY

    wait_a_day = wait_a_day or later

    def before() -> None:
        at_poll()
        stream = rig.stream
        if time.monotonic() > ends:
            rig.stream.stopping.set()
        if len(rig.source.positions()) < len(rig.log.partitions) or not stream._is_caught_up(rig.source):
            return
        if len(rig.intake.assembler) or len(rig.intake.parked):
            wait_a_day()
        else:
            stream.stopping.set()

    rig.source.before_poll = before
    with rig.stack:
        left = rig.stream.run(rig.source, rig.store)
    if time.monotonic() > ends:
        raise Violation(f"not at its end after {patience} s: {left} versions are open")
    return left


def new_rig(folder: Path, number: int, log: Log, plugin: Callable[[DataFile], object], **more: object) -> Rig:
    """A rig with a spool of its own, as a process on another host would have."""
    place = folder / f"run-{number}"
    place.mkdir()
    return Rig(place, log, plugin, **more)


class Killed(BaseException):
    """The process ends here; nothing but a kill is like it."""


class Scattering(LogSource):
    """A source that takes its records from any of its partitions, as a broker answers."""

    def __init__(self, log: Log, listener: Listener, chance: random.Random) -> None:
        super().__init__(log, listener)
        self._chance = chance

    def poll(self, timeout: float) -> Record | None:
        if len(self._positions) > 1:
            some = list(self._positions.items())
            self._chance.shuffle(some)
            self._positions = dict(some)
        return super().poll(timeout)

    @property
    def own(self) -> list[int]:
        """The partitions that are ours."""
        return sorted(self._positions)

    def lose(self, partitions: Sequence[int]) -> None:
        """As when the group gave them away without asking."""
        self.listener.lost(partitions)
        for partition in partitions:
            del self._positions[partition]
