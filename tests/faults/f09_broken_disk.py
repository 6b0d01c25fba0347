"""F9: any call of the disk sink and of the spool fails now and then: EIO, EROFS, ESTALE, also half way through a write.

A spooled file that cannot be read ends the run, and the next start goes on, as a service does. What a failed sync did
not write is lost, whatever the next sync says (so does Linux): no file may stand under its final name with such bytes.
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import stat
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from openmsi_plugins.disk import staging
from tests.faults.storing import (
    StoringRig,
    check_stored,
    check_whole,
    each_call,
    impatient,
    interleaved,
    some_files,
)
from tests.faults.trial import Fault, Trial

_CALLS = ("open", "write", "mkdir", "link", "replace", "utime", "stat", "dup")
_SYNCS = ("fsync", "syncfs")
_ERRORS = (errno.EIO, errno.EIO, errno.EIO, errno.EROFS, errno.ESTALE)
_STARTS = 8


class _Breaker:
    """Lets so many calls fail, each kind in turn where chance wants it."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.left = trial.chance.randrange(1, 12)
        # calls that a trial has few of would seldom be hit by chance alone
        self.favourite = trial.chance.choice([*_CALLS, "spool-write", "spool-read", *(_SYNCS * 5)])
        self._rate = 0.0 if self.favourite in _SYNCS else trial.chance.choice([0.01, 0.05, 0.2])
        self._lock = threading.Lock()
        self.sinks: list[Any] = []
        self.lost: dict[tuple[int, int], int] = {}  # device and inode -> a descriptor, so that the number is not reused

    def lose(self, *paths: Path) -> None:
        """What these files hold never reaches the disk."""
        for path in paths:
            status = path.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size:
                self.lost.setdefault((status.st_dev, status.st_ino), _descriptor(path))

    def __call__(self, name: str) -> None:
        with self._lock:
            rate = 0.5 if name == self.favourite else self._rate
            if not self.left or self.trial.chance.random() >= rate or not _is_ours():
                return
            self.left -= 1
            self.trial.hit(name)
            number = self.trial.chance.choice(_ERRORS)
        raise OSError(number, os.strerror(number))


def _descriptor(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def _is_ours() -> bool:
    """Not while a sink or a spool is opened or closed: that is the start or the end of a run."""
    return not _STARTING.is_set()


_STARTING = threading.Event()


class _Raw(io.FileIO):
    """A spool file whose writes may fail half way."""

    breaks: Any = None

    def write(self, data: Any) -> int:
        try:
            self.breaks("spool-write")
        except OSError:
            super().write(data[: len(data) // 2])
            raise
        return super().write(data)

    def read(self, count: int | None = -1) -> bytes:
        self.breaks("spool-read")
        return super().read(-1 if count is None else count)


def run(trial: Trial) -> None:
    """Files through runs on a broken disk, until one ends well."""
    chance = trial.chance
    breaks = _Breaker(trial)
    files = some_files(chance, 12, 120_000)
    if breaks.favourite in _SYNCS:
        files |= {f"large-{number}": chance.randbytes(1_100_000) for number in range(5)}  # these get a second name
    root, log = trial.folder / "root", interleaved(chance, files)
    with ExitStack() as stack:
        stack.enter_context(impatient(trial.folder))
        few = {"syncfs": 0, "fsync": 1000}.get(breaks.favourite, 4)
        stack.enter_context(patch.object(staging, "_FEW", few))  # so many files are synced one by one
        stack.enter_context(patch.object(staging, "_find_syncfs", _syncfs_that_breaks(breaks)))
        told: list[str] = []
        for start in range(_STARTS):
            is_last = start == _STARTS - 1
            rig = StoringRig(trial, log, root, spool=trial.folder / "spool" if chance.random() < 0.5 else None)
            ended = _run(rig, breaks if not is_last else None)
            check_whole(trial, root, files)
            if ended is None:
                break
            told.append(str(ended))
            trial.hit("run-ended")
        trial.check(ended is None, f"the run never ended well: {told}")
        check_stored(trial, rig, root, files)
        for path in files:
            status = (root / path).stat()
            trial.check((status.st_dev, status.st_ino) not in breaks.lost, f"{path} counts, and its sync had failed")
    for descriptor in breaks.lost.values():
        os.close(descriptor)


def _syncfs_that_breaks(breaks: _Breaker) -> Any:
    real = staging._find_syncfs()

    def syncfs(descriptor: int | None) -> int:
        try:
            breaks("syncfs")
        except OSError as error:
            own = next(sink for sink in breaks.sinks if sink._tree.root.descriptor == descriptor)
            breaks.lose(*(path for path in own._staging._folder.iterdir() if path.name.isdigit()))
            ctypes.set_errno(error.errno or errno.EIO)
            return -1
        return real(descriptor)

    return lambda: syncfs if real is not None else None


def _run(rig: StoringRig, breaks: _Breaker | None) -> OSError | None:
    """One run; what ended it, if not the end of the topic."""
    if breaks is None:
        rig.run()
        return None
    _Raw.breaks, breaks.sinks = breaks, rig.sinks
    owners: dict[tuple[Any, str], str] = {(os, name): name for name in _CALLS}
    real_open = Path.open

    def opened(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if path.is_relative_to(rig.spool.folder) and mode in {"r+b", "rb"}:
            return _Raw(path, mode)
        return real_open(path, mode, *arguments, **named)

    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        try:
            breaks("fsync")
        except OSError:
            breaks.lose(Path(f"/proc/self/fd/{descriptor}"))
            raise
        real_fsync(descriptor)

    with each_call(owners, breaks), patch.object(Path, "open", opened), patch.object(os, "fsync", fsync):
        try:
            rig.stream.run(rig.source, rig.store, until_caught_up=True)
        except OSError as error:
            return error
        finally:
            _STARTING.set()
            rig.stack.close()
            _STARTING.clear()
    return None


FAULT = Fault(
    "F9",
    "EIO on any call of the disk",
    run,
    ci=60,
    release=500,
    windows=("open", "stat", "write", "mkdir", *_SYNCS, "spool-write"),
    mutations=("short-writes-count-as-whole", "a-failed-sync-counts", "a-failed-sync-is-tried-again"),
)
