"""One version of a file between its opening and its last acknowledgement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from openmsi_core.files.wire import encode
from openmsi_core.model import Chunk, FileVersion
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.reading import second_look
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.seen import Facts, Seen


@dataclass(slots=True)
class Flight:
    """What the sender remembers of a version that is on its way.

    ``produced`` and ``answered`` count records; ``offset`` is the bytes of payload produced; ``value`` is a record that
    was read and could not be produced yet; ``ending`` is how it will end when every record is answered.
    """

    seen: Seen
    facts: Facts
    version: FileVersion
    partition: int
    source: BinaryIO
    pieces: Iterator[Chunk]
    value: bytes = b""
    produced: int = 0
    answered: int = 0
    acknowledged: int = 0
    offset: int = 0
    first_offset: int | None = None
    ending: Ending | None = None
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """True when nothing more will be produced and everything was answered."""
        return self.ending is not None and self.answered == self.produced

    def next_value(self) -> bytes:
        """The next record's value; asked again before `went_out`, the same one.

        The last one exists only after a second look at the file. Raises FileChanged, OSError.
        """
        if not self.value:
            chunk = next(self.pieces)
            if chunk.last:
                second_look(self.source, self.seen, self.facts)
                self.version = replace(self.version, sha256=chunk.sha256)
            self.value = encode(chunk)
            self.offset = chunk.offset + len(chunk.payload)
        return self.value

    def went_out(self) -> None:
        """The value was produced; after the last one the version is on its way to `Ending.SENT`."""
        self.produced += 1
        self.value = b""
        if self.version.sha256 is not None:
            self.ending = Ending.SENT
            self.source.close()

    def give_up(self, ending: Ending, reason: str) -> None:
        """Nothing more of it will be produced but its ABORT."""
        self.ending, self.reason, self.value = ending, reason, b""
        self.source.close()

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
