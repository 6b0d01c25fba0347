"""One file version whose records are still coming."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass, field
from typing import Any

from openmsi_core.errors import BadVersion
from openmsi_core.files.content import Content, InMemory, OnDisk
from openmsi_core.files.spool import Spool, SpoolFile
from openmsi_core.model import Chunk, FileVersion, Position, Record

_BEYOND_MEMORY = 400  # bytes, of what is known about one record that came before those in front of it


@dataclass(slots=True)
class Span:
    """Where the records of one version stand: per partition the first offset, the last one, and how many."""

    topic: str = ""
    runs: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def add(self, position: Position) -> None:
        """Count one record."""
        first, last, count = self.runs.get(position.partition, (position.offset, position.offset, 0))
        self.topic = position.topic
        self.runs[position.partition] = (min(first, position.offset), max(last, position.offset), count + 1)

    def copy(self) -> Span:
        """The same, as it is now."""
        return Span(self.topic, dict(self.runs))

    @property
    def partitions(self) -> set[int]:
        """The partitions that carry records of the version."""
        return set(self.runs)

    @property
    def first(self) -> Position:
        """The first record (in the lowest partition, where a version lies on several)."""
        partition = min(self.runs)
        return Position(self.topic, partition, self.runs[partition][0])


class OpenVersion:
    """Collects chunks in any order and hashes them as the gap-free beginning grows.

    ``memory`` and ``spooled`` are the bytes held in memory and on disk; ``facts`` estimates what its
    metadata and its list of records cost; ``last_ms`` is when its newest record came, epoch milliseconds of our clock.
    """

    def __init__(self, file_id: bytes) -> None:
        self.file_id = file_id
        self.span = Span()
        self.version: FileVersion | None = None
        self.promised: bytes | None = None
        self.memory = 0
        self.spooled = 0
        self.facts = 2048
        self.last_ms = -1
        self.ignored = False
        self._end: int | None = None  # sequence number after the last record, once that came
        self._sums = array("I")  # checksums of the records 0, 1, ... without a gap
        self._beyond: dict[int, tuple[int, int, int]] = {}  # sequence -> checksum, offset, length after the gap
        self._pieces: dict[int, bytes] = {}  # sequence -> payload, while in memory
        self._file: SpoolFile | None = None
        self._hash = hashlib.sha256()
        self._sha512: Any = None  # beside it for a version that OpenMSIStream sent
        self._prefix = 0  # bytes of the gap-free beginning
        self._is_begun = False

    @property
    def is_whole(self) -> bool:
        """True when every record came."""
        return self._end is not None and len(self._sums) == self._end

    def add(self, record: Record, chunk: Chunk, spool: Spool, in_memory: int) -> None:
        """Take one record; an equal duplicate changes nothing. ``in_memory``: bytes above which it is spooled.

        Raises BadVersion; SpoolFull, as if the record had never come; OSError when the spool is broken.
        """
        try:
            is_new = not chunk.abort and not self._has(chunk)
            if is_new:
                self._check(chunk)
        except BadVersion:
            self.span.add(record.position)
            raise
        if is_new:
            if chunk.sha512 is not None and self._sha512 is None:
                self._sha512 = hashlib.sha512()
            self._keep(chunk, spool, in_memory)  # what may find no room comes first
            self._learn(chunk)
            self._advance(chunk)
        self.span.add(record.position)

    def ignore(self) -> None:
        """Keep no bytes of it from now on, only count its records."""
        self.discard()
        self._file = None
        self.memory = self.spooled = 0
        self.ignored = True

    def head(self, count: int) -> bytes | None:
        """The first ``count`` bytes of a larger file, once, as soon as they are there; else None. Raises OSError."""
        version = None if self._sha512 else self.version  # whose size may be too large until the last record
        if self._is_begun or self.ignored or version is None or not 0 < count < version.size or self._prefix < count:
            return None
        self._is_begun = True
        if self._file:
            return self._file.read(0, count)
        needed = -(-count // version.chunk)
        return b"".join(self._pieces[number] for number in range(needed))[:count]

    def digest(self) -> bytes:
        """SHA-256 of the gap-free beginning."""
        return self._hash.digest()

    def proof(self) -> bytes:
        """What must be ``promised``: SHA-256, or SHA-512 where OpenMSIStream was the sender."""
        return bytes(self._sha512.digest()) if self._sha512 else self.digest()

    def content(self) -> Content:
        """The bytes of a whole version; they belong to the caller now."""
        if self._file:
            return OnDisk(self._file.path, ours=True)
        return InMemory([self._pieces[number] for number in sorted(self._pieces)] or [b""])

    def spill(self, spool: Spool) -> None:
        """Move what is in memory to a spool file. Raises SpoolFull, OSError; then it is in memory still."""
        file = spool.new_file()
        chunk = self.version.chunk if self.version else 0
        try:
            for number, payload in sorted(self._pieces.items()):
                beyond = self._beyond.get(number)
                file.write(beyond[1] if beyond else number * chunk, payload)
        except BaseException:
            file.remove()
            raise
        self._file = file
        self.spooled, self.memory = self.memory, 0
        self._pieces.clear()

    def discard(self) -> None:
        """Free all that is held."""
        self._pieces.clear()
        if self._file:
            self._file.remove()

    def _is_large(self, chunk: Chunk, in_memory: int) -> bool:
        version = chunk.version or self.version
        size = version.size if version else chunk.size
        return (size is not None and size > in_memory) or self.memory + len(chunk.payload) > in_memory

    def _has(self, chunk: Chunk) -> bool:
        """True for a record that came before. Raises BadVersion when it came with other content."""
        number = chunk.sequence
        if number < len(self._sums):
            known = self._sums[number]
        elif number in self._beyond:
            known = self._beyond[number][0]
        else:
            return False
        if known != chunk.checksum:
            raise BadVersion(f"two records with sequence number {number} and different content")
        return True

    def _check(self, chunk: Chunk) -> None:
        if self._end is not None and (chunk.last or chunk.sequence >= self._end):
            raise BadVersion(f"record {chunk.sequence} comes after the last one, {self._end - 1}")
        if chunk.last and any(number > chunk.sequence for number in self._beyond):
            raise BadVersion(f"record {chunk.sequence} calls itself the last one, but later ones came")
        if chunk.sha512 is not None:
            self._check_alike(chunk)
            return
        version = chunk.version or self.version
        if version is None:
            return
        self._check_place(version, chunk.sequence, chunk.offset, len(chunk.payload), is_last=chunk.last)
        if chunk.version:  # records that came before their first one could not be checked until now
            for number, (_, offset, length) in self._beyond.items():
                is_last = self._end is not None and number == self._end - 1
                self._check_place(version, number, offset, length, is_last=is_last)

    def _check_alike(self, chunk: Chunk) -> None:
        """Its place was checked against what it says of the version itself; so all must say the same."""
        known, said = self.version, chunk.version
        if known is not None and said is not None and known.chunk != said.chunk:
            raise BadVersion(
                f"record {chunk.sequence} is of chunks of {said.chunk:,} bytes, others of {known.chunk:,}: the file "
                "was sent twice, in chunks of different sizes"
            )

    @staticmethod
    def _check_place(version: FileVersion, number: int, offset: int, length: int, *, is_last: bool) -> None:
        expected = version.size - offset if is_last else version.chunk
        if offset != number * version.chunk or length != expected or offset + length > version.size:
            raise BadVersion(
                f"record {number} carries {length:,} bytes at offset {offset:,} of a file of {version.size:,} bytes "
                f"in chunks of {version.chunk:,}"
            )
        if not is_last and offset + length == version.size:
            raise BadVersion(f"record {number} carries the end of the file and does not say so")

    def _learn(self, chunk: Chunk) -> None:
        if chunk.version and (self.version is None or chunk.last):
            self.facts += chunk.version.memory
            self.version = chunk.version
        if chunk.last:
            self.promised, self._end = chunk.sha512 or chunk.sha256, chunk.sequence + 1

    def _keep(self, chunk: Chunk, spool: Spool, in_memory: int) -> None:
        if self.ignored:
            return
        if not self._file and self._is_large(chunk, in_memory):
            self.spill(spool)
        if self._file:
            self._file.write(chunk.offset, chunk.payload)
            self.spooled += len(chunk.payload)
        else:
            self._pieces[chunk.sequence] = chunk.payload
            self.memory += len(chunk.payload)

    def _advance(self, chunk: Chunk) -> None:
        """Hash what is gap-free now; bytes that came early are read back from where they wait."""
        if chunk.sequence != len(self._sums):
            self._beyond[chunk.sequence] = (chunk.checksum, chunk.offset, len(chunk.payload))
            self.facts += _BEYOND_MEMORY
            return
        self._count(chunk.checksum, chunk.payload)
        while (early := self._beyond.pop(len(self._sums), None)) is not None:
            checksum, offset, length = early
            self.facts -= _BEYOND_MEMORY
            self._count(checksum, self._early(len(self._sums), offset, length))

    def _count(self, checksum: int, payload: bytes) -> None:
        if not self.ignored:
            self._hash.update(payload)
            if self._sha512:
                self._sha512.update(payload)
        self._sums.append(checksum)
        self._prefix += len(payload)

    def _early(self, number: int, offset: int, length: int) -> bytes:
        if self.ignored:
            return b""
        return self._file.read(offset, length) if self._file else self._pieces[number]
