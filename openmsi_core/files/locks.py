"""A lock on a file that dies with its process, on every platform."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

if sys.platform == "win32":  # pragma: no cover - not run by the tests
    import msvcrt

    def _try_lock(descriptor: int, *, waits: bool = False) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if waits else msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int, *, waits: bool = False) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))


class FileLock:
    """An exclusive lock on ``path``, held from `__enter__` to `__exit__` or to the end of the process, even by kill -9.

    `__enter__` raises BlockingIOError when another process (or another FileLock) holds it; the file then tells
    by its text which process that is. With ``waits`` it waits for the other instead. Raises OSError too when
    something else than a file of its own stands there, such as a link that leads to somebody's file.
    """

    def __init__(self, path: Path, *, waits: bool = False) -> None:
        self.path = path
        self._waits = waits
        self._descriptor = -1

    def __enter__(self) -> Self:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # it is emptied below
            os.close(descriptor)
            raise OSError(errno.EEXIST, f"{self.path} is no lock file: remove it", os.fspath(self.path))
        try:
            _try_lock(descriptor, waits=self._waits)
        except OSError as error:
            os.close(descriptor)
            raise BlockingIOError(f"{self.path} is locked by process {holder(self.path)}") from error
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def holder(path: Path) -> str:
    """The process id that the lock file at ``path`` names, "?" when it names none."""
    try:
        return path.read_text("ascii", "replace").strip() or "?"
    except OSError:  # Windows refuses to read a locked range: the lock holds all the same
        return "?"


def is_free(path: Path) -> bool:
    """True when no living process holds the lock at ``path``."""
    try:
        with FileLock(path):
            return True
    except BlockingIOError:
        return False
