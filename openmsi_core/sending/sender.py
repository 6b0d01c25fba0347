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

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from openmsi_core.errors import BrokerError, FileChanged, NotDelivered
from openmsi_core.files.paths import partition_of
from openmsi_core.ports import RecordSink
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.flight import Flight, departed, ending_of, reason_of
from openmsi_core.sending.halves import give_up_halves
from openmsi_core.sending.ledger import Journal
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.outlet import Budget, Outlet
from openmsi_core.sending.readers import Readers
from openmsi_core.sending.reading import open_file
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.seen import Seen

_log = logging.getLogger(__name__)

_WAITING, _OPEN_FILES = 10_000, 8
_SMALL_FILES, _SMALL_BYTES = 64, 2 * 1024 * 1024


class Sender:
    """Sends files to one topic; see the module. ``report`` is called once for every file that was offered."""

    def __init__(
        self,
        sink: RecordSink,
        journal: Journal,
        report: Callable[[Report], None],
        manner: Manner | None = None,
        *,
        budget: Budget | None = None,
        opener: Callable[[str], BinaryIO] = open_file,
        readers: Readers | None = None,
    ) -> None:
        self.outlet = Outlet(sink, budget or Budget())
        self._sink = sink
        self._journal = journal
        self._report = report
        self._manner = manner or Manner()
        self._opener = opener
        self._readers = readers or Readers()
        self._partitions = 0
        self._small: deque[Seen] = deque()
        self._large: deque[Seen] = deque()
        self._lanes: deque[Flight] = deque()  # there is more to produce of these
        self._flights: dict[bytes, Flight] = {}  # those in the lanes, and those that wait for answers
        self._halves: dict[bytes, Entry] = {}
        self._over: deque[Flight] = deque()
        self._busy: set[bytes] = set()
        self._small_first = True

    def start(self) -> None:
        """Ask how many partitions there are. Raises BrokerError, TopicError."""
        self._partitions = self._sink.partitions()

    @property
    def has_room(self) -> bool:
        """True when another file may be offered."""
        return len(self._small) + len(self._large) < _WAITING

    @property
    def is_idle(self) -> bool:
        """True when every file that was offered was reported and no record waits for its answer."""
        return not self._busy and not self.outlet.records

    def under_way(self) -> int:
        """Bytes that the broker has of files that it does not have whole."""
        return sum(flight.arrived for flight in self._flights.values())

    def is_busy_with(self, key: bytes) -> bool:
        """True while a version of this path waits or is on its way; offer the next one after it."""
        return key in self._busy

    def offer(self, seen: Seen) -> None:
        """Send this file; whatever becomes of it is reported."""
        if seen.key in self._busy:
            raise ValueError(f"{seen.relative} is on its way already")
        self._busy.add(seen.key)
        (self._small if seen.facts.size <= self._manner.chunk else self._large).append(seen)

    def go_on(self, seen: Seen, half: Entry) -> None:
        """Send the rest of this file, of which an earlier process sent a part; whatever becomes of it is reported."""
        self._halves[seen.key] = half
        self._busy.add(seen.key)
        self._large.append(seen)

    def abandon(self, halves: Iterable[Entry]) -> int:
        """Give up what an earlier process left half sent, before any file is offered; how many. Raises BrokerError."""
        return give_up_halves(halves, self.outlet, self._journal, self._partitions, self._busy)

    def step(self, timeout: float) -> bool:
        """Read and produce a little, then serve acknowledgements and report endings; True when anything happened.

        Waits up to ``timeout`` seconds when there is nothing to produce. Raises BrokerError; it may be called again.
        """
        self._small_first = not self._small_first  # whoever comes first may use up the budget
        sends = (self._send_small, self._send_large) if self._small_first else (self._send_large, self._send_small)
        moved = sum(send() for send in sends) > 0
        served = self.outlet.serve(0.0 if moved or self._over else timeout)
        return self._conclude() or moved or served > 0

    def finish(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Stop: give up what is half produced, wait up to ``seconds`` for the rest, report all that is not sent."""
        for seen in (*self._small, *self._large):
            self._end_unsent(seen, Ending.STOPPED, "stopped before it was begun")
        self._small.clear()
        self._large.clear()
        for flight in self._lanes:
            flight.is_left = flight.ending is None and flight.is_noted and flight.produced > 0 and self._journal.is_kept
            flight.give_up(Ending.STOPPED, "stopped before it was whole")
        self._over.extend(self._lanes)
        self._lanes.clear()
        why = "stopped before the broker acknowledged it"
        try:
            self._drain(clock() + seconds, clock)
        except BrokerError as error:
            why = f"stopped, and the broker cannot be used: {error}"
        for flight in self._flights.values():  # the ledger goes on calling them `sending`
            flight.ending, flight.reason = Ending.STOPPED, why
            self._report(flight.report())
        self._flights.clear()
        self._busy.clear()
        self._journal.flush()

    def _drain(self, deadline: float, clock: Callable[[], float]) -> None:
        self._conclude()
        while self.outlet.records and (left := deadline - clock()) > 0:
            self.outlet.serve(min(left, 0.1))
            self._conclude()

    def _send_small(self) -> bool:
        """A handful of files that fit one record each."""
        batch: list[Seen] = []
        size = 0
        while self._small and len(batch) < _SMALL_FILES and size < _SMALL_BYTES:
            size += self._small[0].facts.size
            if not self.outlet.fits(size, len(batch) + 1):
                break
            batch.append(self._small.popleft())
        self._fly(self._begin(batch))
        return bool(batch)

    def _send_large(self) -> bool:
        """One chunk of each file of several records; its row is durable before its first record goes out."""
        batch = [self._large.popleft() for _ in range(min(len(self._large), _OPEN_FILES - len(self._lanes)))]
        self._lanes.extend(self._begin(batch))
        self._note_begun()
        count = len(self._lanes)
        while count and not self.outlet.fits(count * self._manner.chunk, count):
            count -= 1
        self._fly([self._lanes.popleft() for _ in range(count)])
        return bool(batch) or count > 0

    def _note_begun(self) -> None:
        new = [flight for flight in self._lanes if flight.needs_row]
        if not new:
            return
        self._conclude()  # offsets that were noted are written together with the rows that say what of
        for flight in new:
            self._journal.put(flight.entry(State.SENDING, self._manner.wall_ns()))
            flight.is_noted = True
        self._journal.flush()

    def _begin(self, batch: Sequence[Seen]) -> list[Flight]:
        """Open files, and read what comes first of them; those that could not be opened are reported."""
        halves = [self._halves.pop(seen.key, None) for seen in batch]
        befores = [half or self._journal.entry(seen.key) for seen, half in zip(batch, halves, strict=True)]
        departed = self._readers.each(self._depart, list(zip(batch, befores, strict=True)))
        begun = []
        for seen, half, flight in zip(batch, halves, departed, strict=True):
            if isinstance(flight, Flight):
                self._flights[seen.key] = flight
                begun.append(flight)
                continue
            if half is not None:
                self._busy.discard(seen.key)
                self.abandon([half])
            self._end_unsent(seen, ending_of(flight), reason_of(flight), is_free=half is None)
        return begun

    def _depart(self, pair: tuple[Seen, Entry | None]) -> Flight | FileChanged | OSError:
        return departed(*pair, self._opener, self._manner.version, lambda v: partition_of(v.path, self._partitions))

    def _fly(self, flights: Sequence[Flight]) -> None:
        """Produce the next record of each; it goes (back) to the lanes unless nothing more is to be produced."""
        self._readers.each(Flight.read_ahead, flights)
        waiting = deque(flights)
        try:
            while waiting:
                if waiting[0].ending is None:
                    self._advance(waiting[0])
                flight = waiting.popleft()
                if flight.ending is None:
                    self._lanes.append(flight)
                else:
                    self._may_be_over(flight)
        finally:
            self._lanes.extend(waiting)  # the same records are produced at the next step

    def _advance(self, flight: Flight) -> None:
        try:
            value = flight.next_value()
            if value is None:
                return
            delivered = partial(self._answered, flight)
            self.outlet.produce(flight.partition, flight.version.path.key, value, delivered)
        except (FileChanged, NotDelivered, OSError) as error:
            flight.give_up(ending_of(error), reason_of(error))
        else:
            flight.went_out()

    def _answered(self, flight: Flight, offset: int | None, reason: str) -> None:
        flight.answered += 1
        if reason and not flight.is_aborted:
            flight.give_up(Ending.REFUSED, reason)
        elif not reason:
            flight.acknowledge(offset)
            if offset is not None:
                self._journal.acknowledged(flight.partition, offset)
            if flight.is_noted and not flight.is_over:
                self._journal.put(flight.entry(State.SENDING, self._manner.wall_ns()))
        self._may_be_over(flight)

    def _may_be_over(self, flight: Flight) -> None:
        if flight.is_over or flight.owes_abort:
            self._over.append(flight)

    def _conclude(self) -> bool:
        """Abort what must be, report what has ended; True when anything has. May find a flight twice."""
        ended = False
        while self._over:
            flight = self._over[0]
            if self._flights.get(flight.seen.key) is flight:
                if flight.owes_abort:
                    self._abort(flight)
                if flight.is_over:
                    self._land(flight)
                    ended = True
            self._over.popleft()
        return ended

    def _abort(self, flight: Flight) -> None:
        delivered = partial(self._answered, flight)
        try:
            self.outlet.produce(flight.partition, flight.version.path.key, flight.abort_value(), delivered)
        except NotDelivered as error:
            _log.warning("%s: it was not given up in the topic: %s", flight.seen.relative, error)
        else:
            flight.produced += 1
        flight.is_aborted = True

    def _land(self, flight: Flight) -> None:
        del self._flights[flight.seen.key]
        self._busy.discard(flight.seen.key)
        now_ns = self._manner.wall_ns()
        if flight.ending is Ending.SENT:
            self._journal.put(flight.entry(State.SENT, now_ns))
        elif flight.ending is Ending.REFUSED:
            self._journal.put(flight.entry(State.FAILED, now_ns))
        elif flight.ending is Ending.UNCHANGED and flight.before is not None:
            facts = flight.facts
            self._journal.put(replace(flight.before, mtime_ns=facts.mtime_ns, inode=facts.inode))
        elif flight.is_left:
            self._journal.put(flight.entry(State.SENDING, now_ns))
        elif flight.is_noted:
            self._journal.remove(flight.seen.key)
        self._report(flight.report())

    def _end_unsent(self, seen: Seen, ending: Ending, reason: str, *, is_free: bool = True) -> None:
        if is_free:
            self._busy.discard(seen.key)
        self._report(Report(seen, ending, seen.facts.size, reason=reason))
