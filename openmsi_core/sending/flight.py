"""One version of a file between its opening and its last acknowledgement."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import BinaryIO, Protocol, Self

from openmsi_core.errors import FileChanged, NotDelivered
from openmsi_core.files.chunking import Digest, abort_of, chunks
from openmsi_core.files.wire import encode
from openmsi_core.model import Chunk, FileVersion
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.reading import Window, first_look, second_look
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.seen import Facts, Seen


class _Sha256(Digest, Protocol):
    def copy(self) -> Self: ...


@dataclass(slots=True)
class Flight:
    """What the sender remembers of a version that is on its way.

    ``produced``, ``answered`` and ``acknowledged`` count records, ``offset`` is the bytes of payload produced;
    ``ending`` is how it will end when every record is answered, None while there is more to produce. ``quiet`` is how
    many records are to be read and not produced: those that an earlier process sent already, or all, to compare with
    ``before``, the ledger's row of a file of which only the time of change is another one.
    """

    seen: Seen
    facts: Facts
    version: FileVersion
    partition: int
    source: BinaryIO
    quiet: int = 0
    before: Entry | None = None
    produced: int = 0
    answered: int = 0
    acknowledged: int = 0
    offset: int = 0
    first_offset: int | None = None
    ending: Ending | None = None
    reason: str = ""
    is_aborted: bool = False
    is_noted: bool = False
    is_left: bool = False
    _window: Window = field(init=False)
    _digest: _Sha256 = field(init=False)
    _pieces: Iterator[Chunk] = field(init=False)
    _prefixes: deque[bytes] = field(default_factory=deque)  # digests up to the end of each unanswered record
    _prefix: bytes | None = None
    _chunk: Chunk | None = None
    _value: bytes = b""

    def __post_init__(self) -> None:
        self._window = Window(self.source, self.version.span)
        self._read_anew()

    def _read_anew(self) -> None:
        self._window.rewind()
        self._digest = sha256()
        self._pieces = chunks(self._window, self.version, self._digest)

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
    def needs_row(self) -> bool:
        """True when its first record must wait for its row in the ledger."""
        return self.is_large and not self.quiet and not self.is_noted

    @property
    def owes_abort(self) -> bool:
        """True when a part of it is, or may get, into the topic, and nothing there says that the rest will not come."""
        given_up = self.ending not in {None, Ending.SENT} and not self.is_left
        return given_up and not self.is_aborted and (self.acknowledged > 0 or self.answered < self.produced)

    def read_quietly(self) -> None:
        """Read a record that is not to be produced. Raises FileChanged, OSError."""
        chunk = next(self._pieces)
        self.quiet -= 1
        if self.before is not None and chunk.last:
            second_look(self.source, self.seen, self.facts)
            if chunk.sha256 == self.before.sha256:
                self.ending = Ending.UNCHANGED
                self.source.close()
            else:
                self._read_anew()
        elif self.before is None and not self.quiet and self._digest.digest() != self._prefix:
            raise FileChanged("what was sent of it before is no longer what it begins with")

    def next_value(self) -> bytes:
        """The next record's value; the same one until `went_out`.

        The last one exists only after a second look found the file unchanged. Raises FileChanged, OSError.
        """
        if self._chunk is None:
            chunk = next(self._pieces)
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
        elif self.is_large:
            self._prefixes.append(self._digest.copy().digest())

    def acknowledge(self, offset: int | None) -> None:
        """The broker has one more of its records."""
        if self.acknowledged == 0:
            self.first_offset = offset
        self.acknowledged += 1
        if self._prefixes:
            self._prefix = self._prefixes.popleft()

    def give_up(self, ending: Ending, reason: str) -> None:
        """Nothing more of it will be produced but its ABORT; the first reason stays."""
        self._chunk, self._value = None, b""
        self.source.close()
        if self.ending in {None, Ending.SENT}:
            self.ending, self.reason = ending, reason

    def go_on_after(self, entry: Entry) -> None:
        """An earlier process sent what ``entry`` says: that much is read and compared, and not produced again."""
        self.quiet = self.produced = self.answered = self.acknowledged = entry.acknowledged
        self.offset = entry.acknowledged * entry.chunk
        self.first_offset, self._prefix, self.is_noted = entry.first_offset, entry.sha256, True

    def abort_value(self) -> bytes:
        """The value of the record that gives it up in the topic."""
        return encode(abort_of(self.version.id, self.produced, self.offset))

    def entry(self, state: State, now_ns: int) -> Entry:
        """Its row in the ledger."""
        key = self.version.path.key
        return Entry(
            key=self.seen.key,
            size=self.facts.size,
            mtime_ns=self.version.mtime_ns,
            state=state,
            inode=self.facts.inode,
            id=self.version.id,
            partition=self.partition,
            chunk=self.version.chunk,
            acknowledged=self.acknowledged,
            first_offset=self.first_offset,
            sha256=self._prefix if state is State.SENDING else self.version.sha256,
            reason=self.reason,
            since_ns=now_ns,
            sent_as=b"" if key == self.seen.key else key,
            span=self.version.span,
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
    before: Entry | None,
) -> Flight:
    """Open a file that is to be sent. ``before`` is its row in the ledger: half sent, or sent as it was then.

    Raises OSError, and FileChanged when it is not what was seen.
    """
    source = opener(seen.file)
    try:
        facts = first_look(source, seen)
        version = version_of(seen, facts)
        half = before if before is not None and before.state is State.SENDING else None
        if half is not None:
            version = replace(version, id=half.id, chunk=half.chunk)
        flight = Flight(seen, facts, version, partition_of(version) if half is None else half.partition, source)
    except BaseException:
        source.close()
        raise
    if half is not None:
        flight.go_on_after(half)
        if (half.record_key, half.span) != (version.path.key, version.span):
            flight.give_up(Ending.CHANGED, "it was half sent under other settings")
    elif before is not None and _may_be_touched(before, flight):
        flight.before, flight.quiet = before, max(1, -(-version.size // version.chunk))
    return flight


def _may_be_touched(before: Entry, flight: Flight) -> bool:
    """True when nothing but the time of change speaks for another content than what was sent."""
    version = flight.version
    is_same = (before.size, before.record_key, before.span) == (flight.facts.size, version.path.key, version.span)
    return is_same and before.state in {State.SENT, State.DELIVERED} and before.sha256 is not None


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
