"""The sender: files that are ready go in, acknowledged records come out.

::

    sender.start()                        # asks for the number of partitions
    while files:
        if sender.has_room: sender.offer(seen)
        sender.step(timeout)              # reads and produces a little, serves acknowledgements, reports endings
    sender.finish(seconds)

It works in small steps in its caller's thread. In each, every large file on its way gets one chunk and a
handful of small files are sent whole, so that neither holds up the other. Bytes that the broker has not
acknowledged are bounded: when it is away, reading stops and memory does not grow.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from openmsi_core import model
from openmsi_core.errors import FileChanged, NotDelivered
from openmsi_core.files.chunking import DEFAULT_CHUNK, abort_of, chunks
from openmsi_core.files.paths import partition_of
from openmsi_core.files.wire import encode
from openmsi_core.ports import Delivered, RecordSink
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.flight import Flight
from openmsi_core.sending.ledger import Journal
from openmsi_core.sending.reading import first_look, open_file
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.seen import Facts, Seen


@dataclass(frozen=True, slots=True)
class Limits:
    """What sending may take: bytes and records that are not acknowledged, large files open at once, files that wait.

    The bytes stay below the client's own queue (32 MiB), so that producing does not block.
    """

    in_flight_bytes: int = 24 * 1024 * 1024
    in_flight_records: int = 20_000
    open_files: int = 4
    waiting: int = 10_000
    small_per_step: int = 64
    small_bytes_per_step: int = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manner:
    """How files are sent: bytes of a chunk, what the user says about them, and who sends them."""

    chunk: int = DEFAULT_CHUNK
    user: Mapping[str, str | int | float] = field(default_factory=dict)
    source: str = field(default_factory=lambda: f"{socket.gethostname()} openmsi")


class Sender:
    """Sends files to one topic; see the module. ``report`` is called once for every file that was offered."""

    def __init__(
        self,
        sink: RecordSink,
        journal: Journal,
        report: Callable[[Report], None],
        manner: Manner | None = None,
        *,
        limits: Limits | None = None,
        opener: Callable[[str], BinaryIO] = open_file,
        wall_ns: Callable[[], int] = time.time_ns,
        new_id: Callable[[], bytes] = partial(os.urandom, 16),
    ) -> None:
        self.answers = 0
        self._sink = sink
        self._journal = journal
        self._report = report
        self._manner = manner or Manner()
        self._limits = limits or Limits()
        self._opener = opener
        self._wall_ns = wall_ns
        self._new_id = new_id
        self._partitions = 0
        self._small: deque[Seen] = deque()
        self._large: deque[Seen] = deque()
        self._lanes: deque[Flight] = deque()
        self._over: deque[Flight] = deque()
        self._flights: dict[bytes, Flight] = {}
        self._busy: set[bytes] = set()
        self._bytes = 0
        self._records = 0
        self._small_first = True

    def start(self) -> None:
        """Ask how many partitions there are. Raises BrokerError, TopicError."""
        self._partitions = self._sink.partitions()

    @property
    def has_room(self) -> bool:
        """True when another file may be offered."""
        return len(self._small) + len(self._large) < self._limits.waiting

    @property
    def is_idle(self) -> bool:
        """True when every file that was offered was reported and no record waits for its answer."""
        return not self._busy and not self._records

    @property
    def in_flight(self) -> int:
        """Bytes that were produced and are not answered yet."""
        return self._bytes

    def is_busy_with(self, key: bytes) -> bool:
        """True while a version of this path waits or is on its way; offer the next one after it."""
        return key in self._busy

    def offer(self, seen: Seen) -> None:
        """Send this file; whatever becomes of it is reported."""
        if seen.key in self._busy:
            raise ValueError(f"{seen.relative} is on its way already")
        self._busy.add(seen.key)
        (self._small if seen.facts.size <= self._manner.chunk else self._large).append(seen)

    def abandon(self, halves: Iterable[Entry]) -> None:
        """Give up what an earlier process left half sent: an ABORT for each in the topic.

        Raises BrokerError; what was not given up stays in the journal.
        """
        for entry in halves:
            if not 0 <= entry.partition < self._partitions:
                self._journal.remove(entry.key)  # the topic has fewer partitions now: it is another one
                continue
            records = max(entry.acknowledged, 1)
            value = encode(abort_of(entry.id, records, min(records * entry.chunk, entry.size)))
            self._produce(entry.partition, entry.key, value, partial(self._half_answered, entry, len(value)))

    def step(self, timeout: float) -> bool:
        """Read and produce a little, then serve acknowledgements and report endings; True when anything happened.

        Waits up to ``timeout`` seconds when there is nothing to produce. Raises BrokerError; call it again.
        """
        rounds = (self._send_small, self._send_large)
        self._small_first = not self._small_first
        moved = [turn() for turn in (rounds if self._small_first else reversed(rounds))]
        served = self._sink.serve(0.0 if any(moved) or self._over else timeout)
        return self._conclude() or any(moved) or served > 0

    def finish(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Stop: give up what is half produced, wait up to ``seconds`` for the rest, report all that is not sent.

        Raises BrokerError.
        """
        for seen in (*self._small, *self._large):
            self._end_unsent(seen, Ending.STOPPED, "stopped before it was begun")
        self._small.clear()
        self._large.clear()
        deadline = clock() + seconds
        while self._lanes:
            self._give_up(self._lanes.popleft(), Ending.STOPPED, "stopped before it was whole")
        self._conclude()
        while self._records and (left := deadline - clock()) > 0:
            self._sink.serve(min(left, 0.1))
            self._conclude()
        for flight in list(self._flights.values()):
            flight.ending, flight.reason = Ending.STOPPED, "stopped before the broker acknowledged it"
            self._forget(flight)
            self._report(flight.report())
        self._journal.flush()

    def _send_small(self) -> bool:
        """A handful of files that fit one record each."""
        budget = self._limits.small_bytes_per_step
        begun = 0
        while self._small and begun < self._limits.small_per_step and budget > 0:
            size = self._small[0].facts.size
            if not self._fits(size):
                break
            flight = self._begin(self._small.popleft())
            begun += 1
            budget -= size
            if flight is not None and not self._advance(flight):
                self._lanes.append(flight)
        return begun > 0

    def _send_large(self) -> bool:
        """One chunk of each large file on its way."""
        moved = False
        while self._large and len(self._lanes) < self._limits.open_files:
            flight = self._begin(self._large.popleft())
            moved = True
            if flight is not None:
                self._lanes.append(flight)
                self._journal.put(flight.entry(State.SENDING, self._wall_ns()))
                self._journal.flush()
        for _ in range(len(self._lanes)):
            if not self._fits(self._manner.chunk):
                break
            moved = True
            flight = self._lanes.popleft()
            try:
                done = self._advance(flight)
            except BaseException:
                self._lanes.appendleft(flight)
                raise
            if not done:
                self._lanes.append(flight)
        return moved

    def _fits(self, size: int) -> bool:
        """True when a record with that much payload may be produced now; one always may."""
        return not self._records or (
            self._bytes + size <= self._limits.in_flight_bytes and self._records < self._limits.in_flight_records
        )

    def _begin(self, seen: Seen) -> Flight | None:
        """Open a file; None when that ended it."""
        try:
            source = self._opener(seen.file)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            self._end_unsent(seen, Ending.VANISHED if gone else Ending.UNREADABLE, _reason(error))
            return None
        try:
            facts = first_look(source, seen)
        except (FileChanged, OSError) as error:
            source.close()
            changed = isinstance(error, FileChanged)
            self._end_unsent(seen, Ending.CHANGED if changed else Ending.UNREADABLE, _reason(error))
            return None
        version = self._version(seen, facts)
        pieces = chunks(source, version)
        place = partition_of(version.path, self._partitions)
        flight = self._flights[seen.key] = Flight(seen, facts, version, place, source, pieces)
        return flight

    def _version(self, seen: Seen, facts: Facts) -> model.FileVersion:
        return model.FileVersion(
            id=self._new_id(),
            path=seen.relative,
            size=facts.size,
            chunk=self._manner.chunk,
            mtime_ns=facts.mtime_ns,
            mode=facts.mode,
            sent_ns=self._wall_ns(),
            source=self._manner.source,
            user=self._manner.user,
        )

    def _advance(self, flight: Flight) -> bool:
        """Produce the next record of a flight; True when no more of it is to be produced."""
        if flight.ending is not None:
            self._abort(flight)
            return True
        try:
            value = flight.next_value()
        except FileChanged as error:
            self._give_up(flight, Ending.CHANGED, _reason(error))
            return True
        except OSError as error:
            self._give_up(flight, Ending.UNREADABLE, _reason(error))
            return True
        is_first = flight.produced == 0
        delivered = partial(self._answered, flight, len(value), is_first)
        try:
            self._produce(flight.partition, flight.seen.key, value, delivered)
        except NotDelivered as error:
            self._give_up(flight, Ending.REFUSED, _reason(error))
            return True
        flight.went_out()
        return flight.ending is not None
