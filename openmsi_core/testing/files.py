"""Files for the tests of plugins, as the runtime would hand them over."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from openmsi_core.files.content import InMemory, OnDisk
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import FileVersion, Position, RelativePath

_CHUNK = 512 * 1024
MTIME_NS = 1_700_000_000_123_456_789


def data_file(
    source: Path | bytes,
    path: str | None = None,
    *,
    mtime_ns: int = MTIME_NS,
    user: dict[str, str | int | float] | None = None,
    workdir: Path | None = None,
) -> DataFile:
    """A whole, verified file with the content of ``source``: a local file, or the bytes themselves.

    ``path`` is where it stood below the sender's root; the local file's name if it is not given. The local file is
    only read.

    >>> data_file(b"a line", "run 7/log.txt").name
    'log.txt'
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    name = path if path is not None else ("file" if isinstance(source, bytes) else source.name)
    version = FileVersion(
        id=hashlib.sha256(name.encode("utf-8", "surrogateescape") + data).digest()[:16],
        path=RelativePath.parse(name),
        size=len(data),
        chunk=_CHUNK,
        mtime_ns=mtime_ns,
        user=user or {},
        sha256=hashlib.sha256(data).digest(),
    )
    content = InMemory([data]) if isinstance(source, bytes) else OnDisk(source.absolute(), ours=False)
    return DataFile(version, Position("a-topic", 0, 0), datetime.now(UTC), content, workdir)
