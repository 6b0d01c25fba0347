"""F8: the disk of the spool, of the target, or of both fills at any write, and has room again later.

Disks are small tmpfs with a ballast file. Where nobody may mount, the calls that write raise ENOSPC instead
(window ``patched``).
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from openmsi_core.files import spool as spool_module
from openmsi_core.files.spool import Spool, SpoolFile
from openmsi_plugins.disk.sink import Disk
from tests.faults.storing import (
    StoringRig,
    check_stored,
    check_whole,
    each_call,
    impatient,
    interleaved,
    small_disk,
    some_files,
)
from tests.faults.trial import Fault, Trial

_SIZE = 4 * 1024 * 1024
_CALLS: dict[tuple[Any, str], str] = {
    (os, "open"): "open",
    (os, "write"): "write",
    (os, "mkdir"): "mkdir",
    (os, "link"): "link",
    (os, "replace"): "rename",
    (os, "utime"): "utime",
    (SpoolFile, "write"): "spool-write",
    (Spool, "new_file"): "spool-file",
}
_BALLAST = "ballast"


class _Filler:
    """Fills a disk at chosen calls, and frees it once the run has noticed so often, or after a while."""

    def __init__(self, trial: Trial, disk: Path, is_mounted: bool, look: Callable[[], None]) -> None:
        self.trial, self.is_mounted, self._look = trial, is_mounted, look
        self._ballast = disk / _BALLAST
        self._at = sorted(trial.chance.randrange(1, 120) for _ in range(3))
        self._left = [trial.chance.choice([0, 0, 4096, 60_000, 250_000]) for _ in self._at]
        self._noticed = trial.chance.randrange(1, 6)
        self._lock = threading.RLock()
        self._calls = self._seen = 0
        self._since: float | None = None
        self._usage = spool_module.shutil.disk_usage

    def called(self, name: str) -> None:
        """Before every call that needs room."""
        with self._lock:
            self._calls += 1
            if self._at and self._calls >= self._at[0]:
                self._at.pop(0)
                self.trial.hit(f"at-{name}")
                self._fill(self._left.pop(0))
            if self._since is not None and time.monotonic() - self._since > 1.0:
                self.free()  # what needed little room found it
            if self._since is not None and not self.is_mounted and name == "write":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def usage(self, folder: Path) -> object:
        """What a full disk says of itself, where none could be mounted."""
        if self._since is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._usage(folder)

    def noticed(self, how: str) -> None:
        """The run saw that the disk is full."""
        with self._lock:
            self.trial.hit(how)
            self._seen += 1
            if self._seen >= self._noticed:
                self.free()

    def free(self) -> None:
        """There is room again."""
        if self._since is not None:
            self._look()
        self._ballast.unlink(missing_ok=True)
        self._since, self._seen = None, 0

    def _fill(self, left: int) -> None:
        self._since = time.monotonic()
        if not self.is_mounted:
            return
        status = os.statvfs(self._ballast.parent)
        with self._ballast.open("ab") as file:
            size = status.f_bavail * status.f_frsize + file.tell() - left
            while size > 0:
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                except OSError as error:  # another thread was faster
                    if error.errno != errno.ENOSPC:
                        raise
                    size -= 16_384
                else:
                    return


def run(trial: Trial) -> None:
    """Files of every size through a whole run, on a disk that is full now and then."""
    chance = trial.chance
    where = chance.choice(["spool", "target", "both"])
    trial.hit(where)
    files = some_files(chance, 14, 180_000)
    root, spool = trial.folder / "root", trial.folder / "spool"
    disk = spool if where == "spool" else root
    with ExitStack() as stack:
        is_mounted = stack.enter_context(small_disk(disk, _SIZE))
        trial.hit("mounted" if is_mounted else "patched")
        stack.enter_context(impatient(trial.folder))
        rig = StoringRig(trial, interleaved(chance, files), root, spool=None if where == "both" else spool)
        ballast = frozenset({_BALLAST.encode()})
        filler = _Filler(trial, disk, is_mounted, lambda: check_whole(trial, root, files, ballast))
        if not is_mounted:
            stack.enter_context(patch.object(spool_module.shutil, "disk_usage", filler.usage))
        stack.enter_context(patch.object(Disk, "_wait", _told(Disk._wait, filler, "sink-waited")))
        stack.enter_context(patch.object(rig.intake, "offer", _offered(rig, filler)))
        with each_call(_CALLS, filler.called):
            left_open = rig.run()
        filler.free()
        trial.equal(left_open, 0, "versions left open")
        check_stored(trial, rig, root, files)


def _told(function: Any, filler: _Filler, how: str) -> Any:
    def wait(disk: Disk, text: str) -> Any:
        filler.noticed(how)
        return function(disk, text)

    return wait


def _offered(rig: StoringRig, filler: _Filler) -> Any:
    real = rig.intake.offer

    def offer() -> Any:
        if rig.intake.waiting:
            filler.noticed("record-waited")
        yield from real()

    return offer


FAULT = Fault(
    "F8",
    "disk full at any write",
    run,
    ci=30,
    release=500,
    windows=("spool", "both", "sink-waited", "record-waited", "at-write", "at-spool-write", "at-rename"),
    mutations=("short-writes-count-as-whole", "a-record-without-room-counts-as-taken", "a-full-disk-is-a-failure"),
)
