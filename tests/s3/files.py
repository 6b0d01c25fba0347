"""Whole files as the runtime hands them to a plugin."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from openmsi_core.files.content import InMemory
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import FileVersion, Position, RelativePath


def whole(path: str, data: bytes, *, promised: bytes | None = None, user: tuple[tuple[str, str], ...] = ()) -> DataFile:
    """A file of these bytes; ``promised``, the bytes that its digest is of, where they shall differ."""
    version = FileVersion(
        id=bytes(16),
        path=RelativePath(tuple(path.split("/"))),
        size=len(data),
        chunk=1 << 19,
        mtime_ns=1_767_225_600_123_456_789,
        sha256=hashlib.sha256(data if promised is None else promised).digest(),
        user=user,
    )
    return DataFile(version, Position("xrd", 0, 7), datetime.now(UTC), InMemory((data,)))
