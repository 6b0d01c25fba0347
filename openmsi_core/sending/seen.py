"""A file as one look at the file system found it."""

from __future__ import annotations

import os
from typing import NamedTuple

from openmsi_core.model import RelativePath

_LARGEST = (1 << 63) - 1


class Facts(NamedTuple):
    """What tells two states of a file apart: bytes, time of change in epoch ns, inode (0: the platform has none)."""

    size: int
    mtime_ns: int
    inode: int
    mode: int


class Seen(NamedTuple):
    """A regular file that was seen: ``file`` is where it is read from, ``key`` its relative path as a record key.

    A tuple because a scan makes a hundred thousand of them a second.
    """

    file: str
    key: bytes
    facts: Facts

    @property
    def relative(self) -> RelativePath:
        """Where it stands below the root."""
        return RelativePath.from_key(self.key)


def facts_of(stat: os.stat_result) -> Facts:
    """The facts in ``stat``, within what the ledger and the wire can hold (a broken clock can write any time)."""
    mtime_ns = stat.st_mtime_ns
    if not -_LARGEST <= mtime_ns <= _LARGEST:
        mtime_ns = max(-_LARGEST, min(mtime_ns, _LARGEST))
    return Facts(stat.st_size, mtime_ns, stat.st_ino & _LARGEST, stat.st_mode & 0o7777)
