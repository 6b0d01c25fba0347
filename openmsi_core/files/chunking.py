"""Cutting a file into chunks: the file is read once, and hashed while it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

from openmsi_core.errors import FileChanged
from openmsi_core.model import Chunk, FileVersion

DEFAULT_CHUNK = 512 * 1024


class Digest(Protocol):
    """A SHA-256 that is being computed, as hashlib makes them."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""
        ...

    def digest(self) -> bytes:
        """The digest of the bytes so far."""
        ...


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""
        ...


def chunks(source: Readable, version: FileVersion, digest: Digest | None = None) -> Iterator[Chunk]:
    """The chunks of ``version``, read from ``source`` in order; at least one, even of an empty file.

    Reads exactly ``version.size`` bytes and then looks for one more, before it yields the last chunk: raises
    FileChanged when the source ends early or has grown. ``source`` may be unbuffered. A new SHA-256 that is given as
    ``digest`` is at the end of each chunk when that is yielded.
    """
    digest = digest or hashlib.sha256()
    offset = sequence = 0
    while True:
        payload = _read(source, min(version.chunk, version.size - offset))
        if offset + len(payload) < min(offset + version.chunk, version.size):
            raise FileChanged(f"{version.path} ended at byte {offset + len(payload):,} of {version.size:,}")
        digest.update(payload)
        end = offset + len(payload)
        is_last = end == version.size
        if is_last and source.read(1):
            raise FileChanged(f"{version.path} grew beyond {version.size:,} bytes while it was read")
        yield Chunk(
            file_id=version.id,
            sequence=sequence,
            offset=offset,
            payload=payload,
            version=version if sequence == 0 else None,
            last=is_last,
            sha256=digest.digest() if is_last else None,
            size=version.size if is_last else None,
        )
        if is_last:
            return
        offset, sequence = end, sequence + 1


def abort_of(file_id: bytes, sequence: int, offset: int) -> Chunk:
    """The record that gives a version up after ``sequence`` records with ``offset`` bytes were sent."""
    return Chunk(file_id=file_id, sequence=sequence, offset=offset, payload=b"", abort=True)


def _read(source: Readable, count: int) -> bytes:
    """``count`` bytes, fewer only at the end: an unbuffered file may answer with less than was asked for."""
    data = source.read(count)
    if len(data) == count or not data:
        return data
    pieces = [data]
    missing = count - len(data)
    while missing and (data := source.read(missing)):
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)
