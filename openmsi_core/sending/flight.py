"""One version of a file between its opening and its last acknowledgement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from openmsi_core.errors import FileChanged, NotDelivered
from openmsi_core.files.chunking import abort_of, chunks
from openmsi_core.files.wire import encode
from openmsi_core.model import Chunk, FileVersion
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.reading import first_look, second_look
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.seen import Facts, Seen


@dataclass(slots=True)
class Flight:
    """What the sender remembers of a version that is on its way.

    ``produced``, ``answered`` and ``acknowledged`` count records, ``offset`` is the bytes of payload produced;
    ``ending`` is how it will end when every record is answered, None while there is more to produce.
    """

    seen: Seen
    facts: Facts
    version: FileVersion
    partition: int
    source: BinaryIO
    pieces: Iterator[Chunk]
    produced: int = 0
    answered: int = 0
    acknowledged: int = 0
    offset: int = 0
    first_offset: int | None = None
    ending: Ending | None = None
    reason: str = ""
    is_aborted: bool = False
    _chunk: Chunk | None = None
    _value: bytes = b""

    @property
    def is_large(self) -> bool:
        """True when it takes more than one record, so that a part of it may arrive without the rest."""
        return self.version.size > self.version.chunk

    @property
    def arrived(self) -> int:
        """Bytes of it that the broker has, about."""
        return min(self.acknowledged * self.version.chunk, self.version.size)

    @property
    def is_over(self) -> bool:
        """True when nothing more will be produced and everything was answered."""
        return self.ending is not None and self.answered == self.produced

    @property
    def owes_abort(self) -> bool:
        """True when a part of it is, or may get, into the topic, and nothing there says that the rest will not come."""
        given_up = self.ending not in {None, Ending.SENT}
        return given_up and not self.is_aborted and (self.acknowledged > 0 or self.answered < self.produced)

    def next_value(self) -> bytes:
        """The next record's value; the same one until `went_out`.

        The last one exists only after a second look found the file unchanged. Raises FileChanged, OSError.
        """
        if self._chunk is None:
            chunk = next(self.pieces)
            if chunk.last:
                second_look(self.source, self.seen, self.facts)
            self._chunk, self._value = chunk, encode(chunk)
        return self._value

    def went_out(self) -> None:
        """The value was produced. After the last one, the version ends as sent unless the broker refuses something."""
        chunk, self._chunk, self._value = self._chunk, None, b""
        if chunk is None:
            raise AssertionError("no value was asked for")
        self.produced += 1
        self.offset += len(chunk.payload)
        if chunk.last:
            self.version = replace(self.version, sha256=chunk.sha256)
            self.ending = self.ending or Ending.SENT
            self.source.close()

    def give_up(self, ending: Ending, reason: str) -> None:
        """Nothing more of it will be produced but its ABORT; the first reason stays."""
        self._chunk, self._value = None, b""
        self.source.close()
        if self.ending in {None, Ending.SENT}:
            self.ending, self.reason = ending, reason

    def abort_value(self) -> bytes:
        """The value of the record that gives it up in the topic."""
        return encode(abort_of(self.version.id, self.produced, self.offset))

    def entry(self, state: State, now_ns: int) -> Entry:
        """Its row in the ledger."""
        return Entry(
            key=self.seen.key,
            size=self.version.size,
            mtime_ns=self.version.mtime_ns,
            state=state,
            inode=self.facts.inode,
            id=self.version.id,
            partition=self.partition,
            chunk=self.version.chunk,
            acknowledged=self.acknowledged,
            first_offset=self.first_offset,
            sha256=self.version.sha256,
            reason=self.reason,
            since_ns=now_ns,
        )

    def report(self) -> Report:
        """What is said at its end."""
        return Report(
            seen=self.seen,
            ending=self.ending or Ending.STOPPED,
            size=self.version.size,
            id=self.version.id,
            partition=self.partition,
            offset=self.first_offset,
            sha256=self.version.sha256,
            reason=self.reason,
        )


def departure(
    seen: Seen,
    opener: Callable[[str], BinaryIO],
    version_of: Callable[[Seen, Facts], FileVersion],
    partition_of: Callable[[FileVersion], int],
) -> Flight:
    """Open a file that is to be sent. Raises OSError, and FileChanged when it is not what was seen."""
    source = opener(seen.file)
    try:
        facts = first_look(source, seen)
    except BaseException:
        source.close()
        raise
    version = version_of(seen, facts)
    return Flight(seen, facts, version, partition_of(version), source, chunks(source, version))


def ending_of(error: FileChanged | OSError | NotDelivered) -> Ending:
    """How a version ends whose reading or producing raised ``error``."""
    if isinstance(error, FileChanged):
        return Ending.CHANGED
    if isinstance(error, NotDelivered):
        return Ending.REFUSED
    return Ending.VANISHED if isinstance(error, FileNotFoundError) else Ending.UNREADABLE


def reason_of(error: Exception) -> str:
    """The reason in words."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__
