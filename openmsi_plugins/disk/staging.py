"""Where files stand before they have their final names, and how they become durable.

Below the root lies one hidden folder, ``.openmsi``; in it each running sink has a folder of its own, with a lock that
dies with its process. A sink that starts removes the folders whose lock is free: what is in them was never
acknowledged, so it comes again.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import secrets
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from openmsi_core import DataFile

from .names import OURS, Rules
from .tree import Place, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

if sys.platform == "win32":  # pragma: no cover - not run by the tests
    import msvcrt

    def _lock(descriptor: int, *, wait: bool) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, *, wait: bool) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


_PREFIX = "store-"
_LOCK = "lock"
_FEW = 4  # so many files are faster one by one than with everything else on that file system
_IN_ONE_PIECE = 1 << 20  # bytes


class Staging:
    """One sink's own folder. `open` makes it, `close` removes it and what is left in it. Raises OSError.

    Set ``is_sync_trusted`` to False when a sync failed: the system may have thrown away what it could not write and
    call the next sync of the same file a success, so spooled files get no second name any more but are written anew.
    """

    def __init__(self, root: Path, tree: Tree) -> None:
        self._hidden = root / OURS
        self._tree = tree
        self._folder = self._hidden / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        self._descriptor = -1
        self._mode = 0o644
        self._count = 0
        self.place: Place = Place(None, self._folder)
        self.is_sync_trusted = True

    def open(self) -> None:
        """Remove what dead processes left, make the folder and take its lock."""
        self._hidden.mkdir(mode=0o700, exist_ok=True)
        with _alone(self._hidden / "starting"):
            _remove_leftovers(self._hidden)
            self._folder.mkdir(mode=0o700)
            self._descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            with suppress(OSError):  # a file system without locks: nobody else can take it for a leftover either
                _lock(self._descriptor, wait=False)
        self._mode = os.fstat(self._descriptor).st_mode & 0o777  # 0o666 less the umask, which only setting it tells
        if self._tree.is_relative:
            self.place = Place(os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW), self._folder)

    def close(self) -> None:
        """Remove the folder."""
        if self.place.descriptor is not None:
            os.close(self.place.descriptor)
            self.place = Place(None, self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)  # what cannot be removed now the next start removes
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def is_there(self) -> bool:
        """False when somebody removed our folder, or another one stands in its place. Raises OSError."""
        try:
            lock = (self._folder / _LOCK).stat()
        except FileNotFoundError:
            return False
        held = os.fstat(self._descriptor)
        return (lock.st_dev, lock.st_ino) == (held.st_dev, held.st_ino)

    def folds_case(self) -> bool:
        """True when names here that differ in case only are the same file."""
        return self.place.status(_LOCK.upper()) is not None

    def add(self, file: DataFile) -> str:
        """Write ``file`` under a new temporary name, with its time of change; not durable yet. The name."""
        self._count += 1
        name = f"{self._count}"
        try:
            if file.size <= _IN_ONE_PIECE:
                self._write(name, file.read_bytes())
            elif not self.is_sync_trusted:
                self._write_anew(name, file)
            else:
                file.save_to(self._folder / name)
                os.chmod(self.place.at(name), self._mode, dir_fd=self.place.descriptor)
            times = (file.mtime_ns, file.mtime_ns)
            os.utime(self.place.at(name), ns=times, dir_fd=self.place.descriptor)
        except BaseException:
            self.drop(name)
            raise
        return name

    def publish(self, name: str, place: Place, final: str) -> None:
        """Rename the staged file ``name`` to its final name, replacing a file there."""
        os.replace(self.place.at(name), place.at(final), src_dir_fd=self.place.descriptor, dst_dir_fd=place.descriptor)

    def drop(self, name: str) -> None:
        """Remove a staged file."""
        with suppress(OSError):  # it lies in our own folder, which `close` or the next start removes
            self.place.remove(name)

    def _write_anew(self, name: str, file: DataFile) -> None:
        """Write a spooled file from what can be read of it, which must be what it was."""
        digest = hashlib.sha256()
        with os.fdopen(self.place.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as out, file.open() as source:
            while piece := source.read(_IN_ONE_PIECE):
                digest.update(piece)
                out.write(piece)
        if digest.hexdigest() != file.sha256:
            raise OSError(errno.EIO, "the disk lost bytes of a spooled file")

    def _write(self, name: str, data: bytes) -> None:
        descriptor = self.place.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Inside, no other sink starts: a folder without a lock is a leftover, and not one that is just being made."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with suppress(OSError):  # a file system without locks
            _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(hidden: Path) -> None:
    for folder in hidden.glob(f"{_PREFIX}*"):
        if not folder.is_symlink() and _is_free(folder / _LOCK):
            shutil.rmtree(folder, ignore_errors=True)


def _is_free(lock: Path) -> bool:
    """True when the process that made ``lock`` is gone."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        _lock(descriptor, wait=False)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


class Durability:
    """Makes files and names survive a power cut: all at once by syncfs on Linux, or one by one.

    syncfs writes what everybody has pending on that file system, and reports errors since Linux 5.8.
    """

    def __init__(self, root: Place) -> None:
        self._root = root
        self._syncfs = _find_syncfs() if root.descriptor is not None else None

    def everything(self, count: int) -> bool:
        """Sync everything on the file system, if that is possible and ``count`` things are enough for it to be
        faster; False when nothing was done. Raises OSError.
        """
        if self._syncfs is None or count <= _FEW:
            return False
        if self._syncfs(self._root.descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(self._root.path))
        return True

    def file(self, place: Place, name: str) -> None:
        """Sync content and attributes of one file. Raises OSError."""
        _fsync(place.open(name, os.O_RDONLY if os.name == "posix" else os.O_RDWR))

    def folder(self, place: Place) -> None:
        """Sync the names in one folder. Raises OSError."""
        if os.name == "posix":  # Windows has no way to do it
            _fsync(os.open(place.path, os.O_RDONLY) if place.descriptor is None else os.dup(place.descriptor))


def _fsync(descriptor: int) -> None:
    try:
        if sys.platform == "darwin":  # fsync alone leaves it in the drive's cache there
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find_syncfs() -> Callable[[int | None], int] | None:
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int]
    return lambda descriptor: int(function(descriptor))


def rules_of(root: Path, *, folds: bool) -> Rules:
    """What names the file system of ``root`` can store."""
    longest = os.pathconf(root, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    return Rules(windows=sys.platform == "win32", folds=folds, longest=longest if longest > 0 else 255)
