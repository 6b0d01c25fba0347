"""Opening a file to be sent, and the second look that decides whether it is still the same."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from openmsi_core.errors import FileChanged
from openmsi_core.sending.seen import Facts, Seen, facts_of

# O_NOFOLLOW: the scanner has resolved links, so a link here was put in place after the look.
# O_NONBLOCK: a pipe that took the file's place must not hold us.
_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT"):
    _FLAGS |= getattr(os, _name, 0)


def open_file(file: str) -> BinaryIO:
    """An unbuffered reader of a regular file. Raises OSError."""
    return os.fdopen(os.open(file, _FLAGS), "rb", buffering=0)


class Window:
    """The bytes of ``source`` from ``start`` up to ``stop`` (all of it without), as if there were no others."""

    def __init__(self, source: BinaryIO, span: tuple[int, int] | None = None) -> None:
        self._source = source
        self._span = span
        self._left = -1
        self.rewind()

    def rewind(self) -> None:
        """Read from the beginning again. Raises OSError."""
        start, stop = self._span or (0, 0)
        self._left = stop - start if self._span else -1
        if self._source.tell() != start:
            self._source.seek(start)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes."""
        if self._left < 0:
            return self._source.read(size)
        data = self._source.read(min(size, self._left))
        self._left -= len(data)
        return data


def first_look(source: BinaryIO, seen: Seen) -> Facts:
    """What the open file is now. Raises FileChanged when that is not what was seen."""
    now = os.fstat(source.fileno())
    if not stat.S_ISREG(now.st_mode):
        raise FileChanged("it is no longer a regular file")
    facts = facts_of(now)
    _compare(facts, seen.facts, "before it was opened", inodes=bool(seen.facts.inode))
    return facts


def second_look(source: BinaryIO, seen: Seen, before: Facts) -> None:
    """Raises FileChanged when the file is not what it was at the first look, or another stands at its path.

    A file that was deleted meanwhile is whole in our hands, and is sent.
    """
    _compare(facts_of(os.fstat(source.fileno())), before, "while it was read", inodes=True)
    try:
        there = facts_of(os.stat(seen.file, follow_symlinks=False))  # noqa: PTH116 - once per file, counted in microseconds
    except FileNotFoundError:
        return
    if before.inode and there.inode != before.inode:
        raise FileChanged("it was replaced by another file while it was read")


def _compare(now: Facts, before: Facts, when: str, *, inodes: bool) -> None:
    if now.size != before.size:
        raise FileChanged(f"it went from {before.size:,} to {now.size:,} bytes {when}")
    if now.mtime_ns != before.mtime_ns:
        raise FileChanged(f"it was written to {when}")
    if inodes and now.inode != before.inode:
        raise FileChanged(f"it was replaced by another file {when}")
