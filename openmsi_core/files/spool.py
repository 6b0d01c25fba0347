"""The folder where files that are not whole yet wait on disk.

One folder per process below the given root, ``spool-PID-RANDOM``, held by a lock beside it. At start only folders
whose lock is free are removed: what is in them is still in Kafka.

A disk that is full is no reason to end: what finds no room raises SpoolFull, and may be written again later.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from openmsi_core.errors import FolderError, SpoolFull
from openmsi_core.files.locks import FileLock, is_free

_PREFIX = "spool-"
_RESERVE_PART = 20  # one twentieth of the file system stays free, for everybody else on it
_RESERVE_MOST = 10 * 1024**3  # bytes; a twentieth of a large server would be terabytes

# The disk is in trouble, and may get out of it; anything else (a folder that was removed) needs a new start.
_TROUBLE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EIO", "EROFS", "ESTALE", "ENOTCONN", "EMFILE", "ENFILE")
    if hasattr(errno, name)
}


class Spool:
    """Makes files for bytes that wait; `__enter__` makes its folder and removes what dead processes left.

    ``free`` bytes of its file system are left to everybody else; by default a twentieth, and 10 GiB at most.
    """

    def __init__(self, root: Path, *, free: int | None = None) -> None:
        self._free = free
        self.root = root.absolute()  # a plugin may go to another folder
        self.folder = self.root / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        self._lock = FileLock(self.folder.with_suffix(".lock"))
        self._made = 0

    def __enter__(self) -> Self:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(self.root / "starting", waits=True):  # else one that is being made looks like a leftover
                remove_leftovers(self.root)
                self._lock.__enter__()
                self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise FolderError(
                f"the spool folder {self.root} cannot be used: {error.strerror or error}. Make it writable, or "
                "name another one (OPENMSI_STATE)."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)  # the next start removes what could not be removed now
        self._lock.__exit__(kind, error, trace)
        self._lock.path.unlink(missing_ok=True)

    def new_file(self) -> SpoolFile:
        """An empty file. Raises SpoolFull, and OSError for what waiting does not mend."""
        self._made += 1
        path = self.folder / f"{self._made:08d}"
        with _room_for(self.folder, 0, self._free):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return SpoolFile(path, self._free)


class SpoolFile:
    """Bytes at offsets in one file. It is opened for each call, so a thousand of them cost no descriptors."""

    __slots__ = ("_free", "path")

    def __init__(self, path: Path, free: int | None = None) -> None:
        self.path = path
        self._free = free

    def write(self, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``.

        Raises SpoolFull, after which the same may be written again, and OSError for what waiting does not mend.
        """
        with _room_for(self.path.parent, len(data), self._free), self.path.open("r+b", buffering=0) as file:
            file.seek(offset)
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]

    def read(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset``. Raises OSError."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset)
            pieces = []
            while count and (piece := file.read(count)):
                pieces.append(piece)
                count -= len(piece)
            return b"".join(pieces)

    def remove(self) -> None:
        """Remove the file; nothing happens when it is gone."""
        self.path.unlink(missing_ok=True)


@contextmanager
def _room_for(folder: Path, count: int, free: int | None = None) -> Iterator[None]:
    """Inside, ``count`` bytes are written below ``folder``. Raises SpoolFull before or instead of it."""
    try:
        usage = shutil.disk_usage(folder)
        kept = min(usage.total // _RESERVE_PART, _RESERVE_MOST) if free is None else free
        if usage.free - count < kept:
            raise SpoolFull(
                f"the spool in {folder.parent} has no room: {usage.free:,} bytes are free on its disk, and {kept:,} of "
                "them are kept for others (spool-free)"
            )
        yield
    except OSError as error:
        if error.errno not in _TROUBLE:
            raise
        raise SpoolFull(f"the spool in {folder.parent} cannot be written: {error.strerror}") from error


def remove_leftovers(root: Path) -> None:
    """Remove the spool folders below ``root`` whose processes are gone. Raises OSError."""
    for lock in root.glob(f"{_PREFIX}*.lock"):
        if not lock.is_symlink() and is_free(lock):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
