"""The folder that files are stored in, entered part by part so that no symbolic link leads out of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

_KEPT_OPEN = 64
_SLOW_SECONDS = 1.0


class Tree(Protocol):
    """What the sink needs of a folder. Names are as stored, the last one is the file's."""

    def status(self, names: Sequence[str]) -> os.stat_result | None:
        """What stands there (a link is not followed), or None."""
        ...

    def reader(self, names: Sequence[str]) -> BinaryIO:
        """A reader of the file there."""
        ...

    def publish(self, file: Path, names: Sequence[str]) -> None:
        """Rename ``file`` to its final name, replacing a file; folders are made. Raises OSError."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class PosixTree:
    """Folders are opened relative to one another, never through a symbolic link."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._open: OrderedDict[tuple[str, ...], int] = OrderedDict()

    def status(self, names: Sequence[str]) -> os.stat_result | None:
        """What stands there, or None."""
        try:
            folder = self._folder(tuple(names[:-1]), make=False)
            return os.stat(names[-1], dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def reader(self, names: Sequence[str]) -> BinaryIO:
        """A reader of the file there."""
        folder = self._folder(tuple(names[:-1]), make=False)
        return os.fdopen(os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb")

    def publish(self, file: Path, names: Sequence[str]) -> None:
        """Rename ``file`` to its final name."""
        try:
            os.rename(file, names[-1], dst_dir_fd=self._folder(tuple(names[:-1]), make=True))
        except FileNotFoundError:  # somebody removed the folder that we hold open: make it again
            self._forget()
            os.rename(file, names[-1], dst_dir_fd=self._folder(tuple(names[:-1]), make=True))

    def close(self) -> None:
        """Close every folder."""
        self._forget()
        os.close(self._root)

    def _folder(self, names: tuple[str, ...], *, make: bool) -> int:
        if not names:
            return self._root
        known = self._open.get(names)
        if known is not None:
            self._open.move_to_end(names)
            return known
        parent = self._folder(names[:-1], make=make)
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(names[-1], dir_fd=parent)
        opened = os.open(names[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        self._open[names] = opened
        if len(self._open) > _KEPT_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return opened

    def _forget(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])


class PathTree:
    """For platforms that cannot open relative to a folder (Windows): each folder on the way is looked at."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def status(self, names: Sequence[str]) -> os.stat_result | None:
        """What stands there, or None."""
        try:
            return self._path(names, make=False).lstat()
        except FileNotFoundError:
            return None

    def reader(self, names: Sequence[str]) -> BinaryIO:
        """A reader of the file there."""
        return self._path(names, make=False).open("rb")

    def publish(self, file: Path, names: Sequence[str]) -> None:
        """Rename ``file`` to its final name."""
        file.replace(self._path(names, make=True))

    def close(self) -> None:
        """Nothing is open."""

    def _path(self, names: Sequence[str], *, make: bool) -> Path:
        path = self._root
        for name in names[:-1]:
            path /= name
            if path.is_symlink():
                raise NotADirectoryError(20, "a symbolic link stands where a folder should be", str(path))
            if make:
                path.mkdir(exist_ok=True)
        return path / names[-1]


def tree_of(root: Path) -> Tree:
    """The tree for this platform."""
    return PosixTree(root) if os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") else PathTree(root)


class Durability:
    """Makes written files durable: one syncfs for all of them on Linux, an fsync for each elsewhere.

    syncfs writes what everybody has pending on that file system; when it takes over a second, others are busy
    there and fsync is used from then on.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._syncfs = _syncfs() if sys.platform == "linux" else None

    def sync(self, files: Sequence[Path]) -> None:
        """Content and attributes of ``files`` survive a power cut after this. Raises OSError."""
        if self._syncfs is not None:
            self._sync_all()
            return
        for file in files:
            _fsync(file, os.O_RDWR)

    def sync_names(self, folders: Sequence[Path]) -> None:
        """The entries of ``folders`` survive a power cut after this. Raises OSError."""
        if self._syncfs is not None:
            self._sync_all()
        elif os.name == "posix":  # Windows has no way to sync a folder
            for folder in folders:
                _fsync(folder, os.O_RDONLY)

    def _sync_all(self) -> None:
        descriptor = os.open(self._root, os.O_RDONLY)
        began = time.monotonic()
        try:
            if self._syncfs is None or self._syncfs(descriptor) != 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error), str(self._root))
        finally:
            os.close(descriptor)
        if time.monotonic() - began > _SLOW_SECONDS:
            self._syncfs = None


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        if sys.platform == "darwin":  # fsync alone leaves it in the drive's cache there
            import fcntl  # noqa: PLC0415 - not there on Windows

            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _syncfs() -> Callable[[int], int] | None:
    function: Any = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is not None:
        function.argtypes = [ctypes.c_int]
    found: Callable[[int], int] | None = function
    return found
