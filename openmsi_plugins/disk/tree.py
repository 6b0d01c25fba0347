"""The folder that files are stored in, entered part by part so that no symbolic link leads out of it."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .names import spelled_out

RELATIVE = hasattr(os, "O_NOFOLLOW") and {os.open, os.mkdir, os.rename, os.stat, os.unlink} <= os.supports_dir_fd
"""True where files can be opened relative to an open folder (POSIX)."""

_KEPT_OPEN = 32  # folders, for each worker
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True)
class Place:
    """One folder: held open where the platform can, else known by its path."""

    descriptor: int | None
    path: Path

    def at(self, name: str) -> bytes | str:
        """How the system is told of ``name`` in this folder, beside ``dir_fd=descriptor``.

        The same bytes as on the wire on POSIX, whatever the locale is.
        """
        if self.descriptor is None:
            return os.fspath(self.path / name)
        return name.encode("utf-8", "surrogateescape")

    def status(self, name: str) -> os.stat_result | None:
        """What is called ``name`` here, a link not followed; None if nothing is."""
        try:
            return os.stat(self.at(name), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Everything in this folder."""
        return os.listdir(self.path if self.descriptor is None else self.descriptor)  # noqa: PTH208 - by descriptor

    def open(self, name: str, flags: int, mode: int = 0o666) -> int:
        """A descriptor of the file ``name``; a link is refused."""
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        return os.open(self.at(name), flags, mode, dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove the file ``name``, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(self.at(name), dir_fd=self.descriptor)


class Tree:
    """The folders below a root. `close` lets go of those held open, `forget` makes it look again.

    ``folds``: case does not count here; a folder whose name differs from an existing one in case only gets a name
    of its own. ``relative``: hold folders open and go from one to the next. ``made`` are the folders in which new ones
    were made; who syncs them empties it.
    """

    def __init__(self, root: Path, *, folds: bool = False, relative: bool | None = None) -> None:
        self.folds = folds
        self.is_relative = RELATIVE if relative is None else relative
        self.root = Place(os.open(root, _FOLDER & ~getattr(os, "O_NOFOLLOW", 0)) if self.is_relative else None, root)
        self.made: set[tuple[str, ...]] = set()
        self._places: OrderedDict[tuple[str, ...], Place] = OrderedDict()

    def folder(self, names: Sequence[str]) -> Place:
        """The folder ``names`` below the root; it is made if it is missing. Good until the next call of anything.

        Raises OSError: ELOOP for a link on the way, ENOTDIR for a file.
        """
        key = tuple(names)
        depth = next((end for end in range(len(key), 0, -1) if key[:end] in self._places), 0)
        place = self._places[key[:depth]] if depth else self.root
        for end in range(1, depth + 1):  # what is on the way is let go of last
            if key[:end] in self._places:
                self._places.move_to_end(key[:end])
        for end in range(depth + 1, len(key) + 1):
            place = self._places[key[:end]] = self._made(place, key[:end])
            while len(self._places) > _KEPT_OPEN:
                self._let_go(self._places.popitem(last=False)[1])
        return place

    def _made(self, parent: Place, key: tuple[str, ...]) -> Place:
        name = self._own(parent, key[-1])
        if parent.status(name) is None:
            with suppress(FileExistsError):  # another worker was faster
                os.mkdir(parent.at(name), dir_fd=parent.descriptor)
            self.made.add(key[:-1])
        return self._enter(parent, name)

    def forget(self) -> None:
        """Let go of every folder but the root: somebody may have moved or removed them meanwhile."""
        while self._places:
            self._let_go(self._places.popitem()[1])

    def close(self) -> None:
        """Let go of everything."""
        self.forget()
        self._let_go(self.root)

    def _own(self, parent: Place, name: str) -> str:
        return spelled_out(name) if self.folds and is_twin(parent, name) else name

    def _enter(self, parent: Place, name: str) -> Place:
        status = parent.status(name)
        if status is not None and is_link(status):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(parent.path / name))
        if parent.descriptor is not None:  # what was looked at may have changed since: the kernel looks again
            opened = os.open(parent.at(name), _FOLDER, dir_fd=parent.descriptor)
            return Place(opened, parent.path / name)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(parent.path / name))
        return Place(None, parent.path / name)

    @staticmethod
    def _let_go(place: Place) -> None:
        if place.descriptor is not None:
            os.close(place.descriptor)


def is_link(status: os.stat_result) -> bool:
    """True for symbolic links, and for the junctions of Windows."""
    return stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_reparse_tag", 0))


def is_twin(place: Place, name: str) -> bool:
    """True when ``name`` is there under another spelling (case, or another way to write an accent)."""
    return place.status(name) is not None and name not in place.names()
