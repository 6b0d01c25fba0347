"""What happens to a record between the poll and a whole file: open, decode, skip what is finished, assemble.

Every record that is taken moves its partition's watermark; every version begins there at its first record and ends
by exactly one `Arrived` or `Ended`. A record for which the spool has no room is not taken: it waits here, and nothing
of it is known anywhere else, so it may come again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from openmsi_core.errors import BadRecord, SpoolFull
from openmsi_core.files.assembly import Assembler
from openmsi_core.files.decoding import decode
from openmsi_core.files.events import Aborted, Broken, Event, HeadCame, Ignored
from openmsi_core.files.opened import Span
from openmsi_core.model import Chunk, Outcome, Record, What
from openmsi_core.ports import Never, NotYet, Sealer
from openmsi_core.receiving.arrivals import Arrived, Begun
from openmsi_core.receiving.beginnings import why_headless
from openmsi_core.receiving.generations import OVERTAKEN, Generations
from openmsi_core.receiving.jobs import Assignment, Counts, Ended
from openmsi_core.receiving.parking import Parked, Parking, TooEarly

log = logging.getLogger(__name__)


_NAMED = 5
MAX_COPIED = 16 * 1024  # bytes of a bad record that its dead letter carries; the rest stays in the topic


class Intake:
    """Turns records into whole files and early outcomes. The poll loop calls it."""

    def __init__(
        self,
        assembler: Assembler,
        sealer: Sealer,
        counts: Counts,
        max_file_size: int,
        now_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self.now_ms = now_ms
        self.assembler = assembler
        self.parked = Parking()
        self.generations = Generations()
        self.waiting: deque[tuple[Record, Assignment]] = deque()
        self._sealer = sealer
        self.counts = counts
        self._max_file_size = max_file_size
        self._assigned: dict[int, Assignment] = {}

    def assign(self, assignment: Assignment) -> None:
        """Records of this partition may come now."""
        self._assigned[assignment.partition] = assignment

    def assignments(self) -> list[Assignment]:
        """The partitions that are ours."""
        return list(self._assigned.values())

    def unassign(self, partitions: set[int]) -> None:
        """Forget everything that lies on these partitions."""
        for partition in partitions & set(self._assigned):
            self._assigned.pop(partition).alive = False
        self.assembler.forget_partitions(partitions)
        for parked in self.parked:
            if not parked.assignment.alive:
                self.parked.take_out(parked)
        self.waiting = deque(each for each in self.waiting if each[1].alive)

    def take(self, record: Record) -> Arrived | Begun | Ended | None:
        """One record from the poll; while ``waiting`` has any, give none but those that were fetched already.

        Raises OSError when the spool is broken; when it is full the record waits until `offer` finds room.
        """
        self.counts.records += 1
        assignment = self._assigned.get(record.position.partition)
        if assignment is None:  # fetched before the partition was taken away: somebody else reads it now
            return None
        if self.waiting:
            self.waiting.append((record, assignment))
            return None
        try:
            return self._take(record, assignment)
        except SpoolFull as error:
            log.warning("%s; reading stops, and goes on when there is room", error)
            self.waiting.append((record, assignment))
            return None

    def offer(self) -> Iterator[Arrived | Begun | Ended]:
        """Take the waiting records, in their order, as far as the spool has room now."""
        while self.waiting:
            try:
                event = self._take(*self.waiting[0])
            except SpoolFull:
                return
            self.waiting.popleft()
            if not self.waiting:
                log.info("the spool has room again; reading goes on")
            if event is not None:
                yield event

    def reopen(self) -> Iterator[Arrived | Begun | Ended]:
        """Try the parked records again, in their order, as far as the spool has room."""
        for parked in self.parked:
            opened = self._sealer.open_value(parked.record.position.topic, parked.record.value or b"")
            if isinstance(opened, NotYet):
                continue
            try:
                result = self._opened(parked.record, parked.assignment, opened)
            except SpoolFull:
                return
            except TooEarly:
                continue
            self.parked.take_out(parked)
            if parked.record.position.offset not in self.assembler.first_offsets(parked.assignment.partition):
                self._finish_parked(parked, result)
            if result is not None:
                yield result

    def awaits_keys(self, since_ms: int) -> bool:
        """True when a record was parked at ``since_ms``, our clock, or later: its key may come soon."""
        return any(each.since_ms >= since_ms for each in self.parked)

    def say_unfinished(self) -> None:
        """Log what is still open: five files by name, and how many more."""
        for text in islice(self.assembler.unfinished(), _NAMED):
            log.info("not finished: %s", text)
        if len(self.assembler) > _NAMED:
            log.info("not finished: %d more files", len(self.assembler) - _NAMED)

    def unlock(self, before_ms: int) -> Iterator[Ended]:
        """End the parked records that were parked before ``before_ms``, our clock: their keys never came."""
        for parked in self.parked:
            if parked.since_ms >= before_ms:
                continue
            self.parked.take_out(parked)
            parked.assignment.watermark.finish(parked.record.position.offset)
            reason = f"no key came for it: key index {parked.key_index.hex()[:64]}"
            ended = self._bad(parked.record, parked.assignment, reason, What.UNREADABLE)
            if ended is not None:
                yield ended

    def expire(self, before_ms: int) -> Iterator[Ended]:
        """End the versions that got no record since ``before_ms``, and those beyond the limits."""
        for file_id in self.assembler.stale(before_ms):
            yield self._broken(self.assembler.drop(file_id, What.INCOMPLETE, "its other records never came"))

    def behead(self, before_ms: int) -> Iterator[Ended]:
        """End the versions whose first record did not come, and that got no other one since ``before_ms``.

        A sender's records keep their order, so what was in the log when we began in its middle had its first one before
        that: it was dealt with then, or was not asked for. One that is parked may still be opened.
        """
        for file_id in self.assembler.headless(before_ms):
            span = self.assembler.span_of(file_id)
            if any(self.parked.is_any_before(partition, run[0]) for partition, run in span.runs.items()):
                continue
            what, reason = why_headless(span, self._assigned)
            yield self._broken(self.assembler.drop(file_id, what, reason))

    def shed(self) -> Iterator[Ended]:
        """End the stalest versions while the assembler is beyond its limits."""
        for file_id in self.assembler.excess():
            reason = "given up: more files are open at once than open-versions and spool-limit allow"
            yield self._broken(self.assembler.drop(file_id, What.INCOMPLETE, reason))

    def give_up_stalest(self) -> Ended | None:
        """End the stalest open version, so that what it keeps from being recorded can be; None when none is open."""
        file_id = self.assembler.stalest()
        if file_id is None:
            return None
        reason = "given up: so many files are open that no commit could say which, and the finished ones waited for it"
        return self._broken(self.assembler.drop(file_id, What.INCOMPLETE, reason))

    def _take(self, record: Record, assignment: Assignment) -> Arrived | Begun | Ended | None:
        event = self._open(record, assignment)
        assignment.watermark.took(record.position.offset)
        return event

    def _open(self, record: Record, assignment: Assignment) -> Arrived | Begun | Ended | None:
        offset = record.position.offset
        if record.value is None:
            return self._bad(record, assignment, "a record without a value")
        opened = self._sealer.open_value(record.position.topic, record.value)
        if isinstance(opened, NotYet):
            if not assignment.watermark.start.is_finished(offset):
                assignment.watermark.begin(offset)
            self.parked.put(Parked(record, assignment, opened.key_index, self.now_ms()))
            return None
        try:
            return self._opened(record, assignment, opened)
        except TooEarly:
            self.parked.put(Parked(record, assignment, b"", self.now_ms()))
            return None

    def _opened(self, record: Record, assignment: Assignment, opened: object) -> Arrived | Begun | Ended | None:
        if isinstance(opened, Never):
            return self._bad(record, assignment, opened.reason, What.UNREADABLE)
        try:
            chunk = decode(getattr(opened, "data", None), self._max_file_size, record.timestamp_ms)
        except BadRecord as error:
            return self._bad(record, assignment, str(error))
        self.generations.saw(chunk)
        return self._chunk(record, assignment, chunk)

    def _chunk(self, record: Record, assignment: Assignment, chunk: Chunk) -> Arrived | Begun | Ended | None:
        offset, is_open = record.position.offset, chunk.file_id in self.assembler
        if not is_open and self.assembler.has_ended(chunk.file_id):
            self.counts.skipped += 1
            return None
        if not is_open and chunk.abort:
            self._skip(assignment, offset)
            return None
        run = self.assembler.span_of(chunk.file_id).runs.get(assignment.partition) if is_open else None
        # What began here before this run and is not unfinished has ended, everywhere: what opened it again in another
        # partition is a late duplicate.
        if run is None and assignment.watermark.start.is_finished(offset):
            self._skip(assignment, offset, may_begin=chunk.version is not None and chunk.sha512 is None)
            return None
        event = self.assembler.take(record, chunk, self.now_ms())
        if run is None:  # it begins, or goes on in another partition
            assignment.watermark.begin(offset)
        elif offset < run[0]:  # a record before its first one was parked until now
            assignment.watermark.begin(offset)
            assignment.watermark.finish(run[0])
        return None if event is None else self._event(event)

    def _skip(self, assignment: Assignment, offset: int, *, may_begin: bool = False) -> None:
        """Take no notice of a record, unless what it belongs to may have its beginning in one that is parked."""
        if not may_begin and self.parked.is_any_before(assignment.partition, offset):
            raise TooEarly
        self.counts.skipped += 1

    def _event(self, event: Event) -> Arrived | Begun | Ended:
        if isinstance(event, Broken):
            return self._broken(event)
        if isinstance(event, Aborted):
            self.counts.aborted += 1
            outcome = Outcome(What.ABORTED, reason="the sender gave this version up and sends the file anew")
            return Ended(outcome, self._offsets(event.span), event.span, event.version, event.file_id)
        if isinstance(event, Ignored):
            offsets = self._offsets(event.span)
            return Ended(Outcome(What.NOT_WANTED), offsets, event.span, event.version, event.version.id)
        assignments = tuple(self._assigned[partition] for partition in event.span.partitions)
        if isinstance(event, HeadCame):
            return Begun(event, assignments)
        if self.generations.is_overtaken(event):
            event.content.discard()
            outcome = Outcome(What.SUPERSEDED, reason=OVERTAKEN)
            return Ended(outcome, self._offsets(event.span), event.span, event.version, event.version.id)
        return Arrived(event, assignments)

    def _broken(self, event: Broken) -> Ended:
        outcome = Outcome(event.what, reason=event.reason)
        return Ended(outcome, self._offsets(event.span), event.span, event.version, event.file_id)

    def _bad(self, record: Record, assignment: Assignment, reason: str, what: What = What.BAD_RECORD) -> Ended | None:
        offset = record.position.offset
        if assignment.watermark.start.is_finished(offset):
            self.counts.skipped += 1
            return None
        assignment.watermark.begin(offset)
        span = Span()
        span.add(record.position)
        copy = replace(record, key=_cut(record.key), value=_cut(record.value))
        size = len(record.value) if record.value is not None else None
        return Ended(Outcome(what, reason=reason), ((assignment, offset),), span, record=copy, record_bytes=size)

    def _offsets(self, span: Span) -> tuple[tuple[Assignment, int], ...]:
        return tuple((self._assigned[partition], run[0]) for partition, run in span.runs.items())

    def _finish_parked(self, parked: Parked, result: Arrived | Begun | Ended | None) -> None:
        """A parked record held the watermark by itself; from now on its version does."""
        offset = parked.record.position.offset
        if isinstance(result, Ended) and any(each == offset for _, each in result.offsets):
            return
        if isinstance(result, Arrived) and result.whole.span.runs[parked.assignment.partition][0] == offset:
            return
        parked.assignment.watermark.finish(offset)


def _cut(data: bytes | None) -> bytes | None:
    return None if data is None else data[:MAX_COPIED]
