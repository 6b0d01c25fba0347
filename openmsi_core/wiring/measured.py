"""Source, store and sink as they are, and told to `Vitals` on the way: the loops themselves know nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from openmsi_core.errors import BrokerError, BrokerUnreachable
from openmsi_core.model import Commit, Outgoing, Record
from openmsi_core.ports import Delivered, OutcomeStore, RecordSink, RecordSource
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Counts, Ended
from openmsi_core.receiving.stream import Stream
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.wiring.observing import Watched

_LOOK_SECONDS = 0.5
_SILENCE_SECONDS = 30.0


class Lagging(RecordSource, Protocol):
    """A source that knows how much is left to read."""

    def lag(self) -> int:
        """Records of our partitions that were not read yet, as far as the broker told."""
        ...


class MeasuredSource:
    """A RecordSource; each poll is a beat of the loop, and twice a second the numbers of the run are looked at."""

    def __init__(self, source: Lagging, run: RunNumbers, watched: Watched) -> None:
        self._source = source
        self._run = run
        self._vitals = watched.vitals
        self._due = 0.0

    def poll(self, timeout: float) -> Record | None:
        """The next record."""
        record = self._source.poll(timeout)
        if record is not None:
            self._run.took(record)
            self._vitals.moved()
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _LOOK_SECONDS
            self._run.look(self._source, self._vitals.beat)
        return record

    def partitions(self) -> int:
        """How many partitions there are."""
        return self._source.partitions()

    def positions(self) -> Mapping[int, int]:
        """Where reading stands."""
        return self._source.positions()

    def pause(self) -> None:
        """Fetch nothing."""
        self._source.pause()

    def resume(self) -> None:
        """Fetch again."""
        self._source.resume()


class RunNumbers:
    """What a run counts, beside its `Counts`."""

    def __init__(self, counts: Counts, intake: Intake, stream: Stream) -> None:
        self.record_bytes = self.checkpoints = self.checkpoints_failed = 0
        self._counts = counts
        self._intake = intake
        self._stream = stream

    def took(self, record: Record) -> None:
        """One record came."""
        self.record_bytes += len(record.key or b"") + len(record.value or b"")

    def counts(self) -> Mapping[str, int]:
        """What only grows; any thread may ask."""
        counts = self._counts
        return {
            "files": counts.files,
            "bytes": counts.bytes,
            "records": counts.records,
            "record_bytes": self.record_bytes,
            "results": counts.results,
            "letters": counts.letters,
            "unchanged": counts.unchanged,
            "checkpoints": self.checkpoints,
            "checkpoints_failed": self.checkpoints_failed,
        }

    def outcomes(self) -> Mapping[str, int]:
        """Files by what became of them; any thread may ask."""
        return {str(what): count for what, count in list(self._counts.by_outcome.items())}

    def look(self, source: Lagging, beat: Callable[..., None]) -> None:
        """Look at what comes and goes; in the thread of the loop."""
        intake, dispatch, outcomes = self._intake, self._stream.dispatch, self._stream.outcomes
        lag, oldest = source.lag(), intake.assembler.oldest_ms
        self._counts.lag = lag
        waiting = len(dispatch) - dispatch.running + len(outcomes)
        beat(
            running=dispatch.running,
            waiting=lag + waiting,
            lag=lag,
            partitions=len(intake.assignments()),
            open_files=len(intake.assembler),
            parked=len(intake.parked),
            running_files=dispatch.running,
            waiting_files=waiting,
            memory=dispatch.memory + outcomes.bytes + intake.parked.bytes,
            oldest_open=max(0.0, (intake.now_ms() - oldest) / 1000) if oldest is not None else 0.0,
            in_a_row=outcomes.breaker.in_a_row,
        )


class MeasuredStore:
    """An OutcomeStore; each checkpoint is timed."""

    def __init__(self, store: OutcomeStore, run: RunNumbers, watched: Watched) -> None:
        self._store = store
        self._run = run
        self._watched = watched

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        """One checkpoint."""
        begun = time.monotonic()
        self._watched.vitals.writing(is_writing=True)
        try:
            self._store.write(outgoing, commits, size=size)
        except BrokerError:
            self._run.checkpoints_failed += 1
            self._watched.vitals.broker_away(is_away=True)
            raise
        finally:
            self._watched.vitals.writing(is_writing=False)
        self._run.checkpoints += 1
        self._watched.metrics.checkpoint_took(time.monotonic() - begun)
        self._watched.vitals.broker_away(is_away=False)
        self._watched.vitals.moved()


def aged(watched: Watched, durable: Sequence[Ended]) -> None:
    """Note how old the files were that a checkpoint made durable."""
    now = time.time()
    for ended in durable:
        if ended.version is not None and ended.outcome.what == "done":
            watched.metrics.file_aged(now - ended.version.mtime_ns / 1e9)


class SenderNumbers:
    """What a sender counts, from the reports of its files."""

    def __init__(self) -> None:
        self.files = self.bytes = self.failed = self.records = self.record_bytes = 0

    def noting(self, report: Callable[[Report], None], watched: Watched) -> Callable[[Report], None]:
        """``report``, which is noted here first."""

        def noted(ended: Report) -> None:
            self._note(ended, watched)
            report(ended)

        return noted

    def _note(self, report: Report, watched: Watched) -> None:
        if report.ending is Ending.SENT:
            self.files += 1
            self.bytes += report.size
            watched.metrics.file_aged(time.time() - report.seen.facts.mtime_ns / 1e9)
        elif report.state == "failed":
            self.failed += 1

    def counts(self) -> Mapping[str, int]:
        """What only grows; any thread may ask."""
        return {
            "files": self.files,
            "bytes": self.bytes,
            "failed": self.failed,
            "records": self.records,
            "record_bytes": self.record_bytes,
        }


class MeasuredSink:
    """A RecordSink; serving acknowledgements is the beat of a sender's loop."""

    def __init__(self, sink: RecordSink, sender: SenderNumbers, watched: Watched) -> None:
        self._sink = sink
        self._sender = sender
        self._vitals = watched.vitals
        self._answered = time.monotonic()
        self._due = 0.0

    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self._sink.partitions()

    def produce(self, partition: int, key: bytes, value: bytes, delivered: Delivered) -> None:
        """Queue one record."""
        size = len(key) + len(value)

        def answered(offset: int | None, reason: str) -> None:
            if offset is not None or not reason:
                self._sender.records += 1
                self._sender.record_bytes += size
            delivered(offset, reason)

        try:
            self._sink.produce(partition, key, value, answered)
        except BrokerUnreachable:
            self._silent()
            raise

    def serve(self, timeout: float) -> int:
        """Call the delivery callbacks that are due."""
        try:
            served = self._sink.serve(timeout)
        except BrokerUnreachable:
            self._silent()
            raise
        now = time.monotonic()
        if served:
            self._answered = now
            self._vitals.moved()
        if now >= self._due or served:
            self._due = now + _LOOK_SECONDS
            self._look(now)
        return served

    def pending(self) -> int:
        """How many records are not acknowledged yet."""
        return self._sink.pending()

    def _silent(self) -> None:
        """Nobody answers, and the loop goes round all the same."""
        self._vitals.broker_away(is_away=True)
        self._vitals.beat(running=0, waiting=self._sink.pending())

    def _look(self, now: float) -> None:
        pending = self._sink.pending()
        if not pending:
            self._answered = now
        self._vitals.broker_away(is_away=now - self._answered > _SILENCE_SECONDS)
        self._vitals.beat(running=0, waiting=pending, pending=pending)


def measured(
    stream: Stream, intake: Intake, source: Lagging, store: OutcomeStore, watched: Watched
) -> tuple[MeasuredSource, MeasuredStore]:
    """The source and the store of a run, whose numbers `Vitals` has from now on."""
    run = RunNumbers(stream.counts, intake, stream)
    watched.vitals.counting(run.counts, run.outcomes)
    return MeasuredSource(source, run, watched), MeasuredStore(store, run, watched)
