"""A look through a stretch of a data topic: which whole versions stand in it, and which of a path is the newest.

Nothing of a file's content is kept; what is held is bounded by the assembler's limits and by the paths that are
watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from openmsi_core.errors import BadRecord
from openmsi_core.files.assembly import Assembler
from openmsi_core.files.decoding import decode
from openmsi_core.files.events import Ignored
from openmsi_core.files.opened import Span
from openmsi_core.model import Chunk, FileVersion, Record, RelativePath, What
from openmsi_core.ports import Opened, Sealer

SUPERSEDED = "a later version of this path is whole in the topic"
"""The reason of a version that is not run again because of `Newest`."""


@dataclass(frozen=True, slots=True)
class Found:
    """A whole version. ``sent_ms`` is the timestamp of its first record."""

    version: FileVersion
    span: Span
    sent_ms: int


class Survey:
    """Goes through records in their order. ``assembler`` must want nothing, so that it keeps no bytes.

    ``asks`` says which versions are asked about, by their first record. ``headless`` counts those without it;
    ``unfinished`` those that were asked about and are without an end.
    """

    def __init__(self, assembler: Assembler, sealer: Sealer, asks: Callable[[FileVersion], bool]) -> None:
        self.headless = 0
        self.unfinished = 0
        self._assembler = assembler
        self._sealer = sealer
        self._asks = asks
        self._sent: dict[bytes, int] = {}

    def through(self, records: Iterable[Record | None], is_stopping: Callable[[], bool]) -> Iterator[Found]:
        """Every whole version that is asked about, as it becomes whole; ends early when we are stopping.

        Raises OSError from the spool.
        """
        for record in records:
            if is_stopping():
                return
            found = self._take(record) if record is not None else None
            if found is not None:
                yield found
        while (file_id := self._assembler.stalest()) is not None:
            self._give_up(file_id)

    def _take(self, record: Record) -> Found | None:
        chunk = chunk_of(record, self._sealer)
        if chunk is None or not self._belongs(chunk):
            return None
        if chunk.version is not None:
            self._sent.setdefault(chunk.file_id, record.timestamp_ms)
        event = self._assembler.take(record, chunk)
        for file_id in self._assembler.excess():
            self._give_up(file_id)
        if event is None:
            return None
        sent = self._sent.pop(chunk.file_id, -1)
        if not isinstance(event, Ignored) or not self._asks(event.version):
            return None
        return Found(event.version, event.span, sent)

    def _belongs(self, chunk: Chunk) -> bool:
        if self._assembler.has_ended(chunk.file_id):
            return False
        if chunk.version is not None or chunk.file_id in self._assembler:
            return True
        self.headless += chunk.last
        return False

    def _give_up(self, file_id: bytes) -> None:
        broken = self._assembler.drop(file_id, What.INCOMPLETE, "its other records are not there")
        self._sent.pop(file_id, None)
        self.unfinished += broken.version is not None and self._asks(broken.version)


class Newest:
    """For each path that is watched, where its newest whole version begins in its partition."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, bytes], int] = {}

    def watch(self, path: RelativePath, partition: int, first: int) -> None:
        """Versions of ``path`` matter; one begins at ``first``."""
        key = (partition, path.key)
        self._first[key] = max(first, self._first.get(key, -1))

    def saw(self, found: Found) -> None:
        """A version is whole."""
        first = found.span.first
        key = (first.partition, found.version.path.key)
        if key in self._first:
            self._first[key] = max(first.offset, self._first[key])

    def is_superseded(self, path: RelativePath, partition: int, first: int) -> bool:
        """True when a version of ``path`` that began in that partition after ``first`` is whole."""
        return self._first.get((partition, path.key), -1) > first


def chunk_of(record: Record, sealer: Sealer) -> Chunk | None:
    """What a file record carries; None for what is none, or cannot be opened."""
    opened = sealer.open_value(record.position.topic, record.value) if record.value is not None else None
    if not isinstance(opened, Opened):
        return None
    try:
        return decode(opened.data, timestamp_ms=record.timestamp_ms)
    except BadRecord:  # its dead letter was written by the run that met it
        return None
