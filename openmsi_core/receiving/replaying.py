"""Choosing files of a topic and handing them to a run again, without its group."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from openmsi_core.model import Claim, Commit, Outcome, Outgoing, Record, What
from openmsi_core.ports import Listener, OutcomeStore, RecordReader, Sealer
from openmsi_core.receiving.choosing import MAX_FILES, Where, too_many
from openmsi_core.receiving.jobs import Ended, RunFacts
from openmsi_core.receiving.outcomes import records_of
from openmsi_core.receiving.survey import SUPERSEDED, Found, Newest, Survey, chunk_of

_AT_ONCE = 500


@dataclass(slots=True)
class Chosen:
    """The files that a replay takes: ``running``, and those that end as superseded. The rest are counts."""

    running: list[Found] = field(default_factory=list)
    superseded: list[Found] = field(default_factory=list)
    headless: int = 0
    unfinished: int = 0

    def ranges(self) -> dict[int, tuple[int, int]]:
        """For each partition from where to where the running ones lie."""
        found: dict[int, tuple[int, int]] = {}
        for each in self.running:
            for partition, (first, last, _) in each.span.runs.items():
                low, high = found.get(partition, (first, last + 1))
                found[partition] = (min(low, first), max(high, last + 1))
        return found


def choose(
    reader: RecordReader,
    survey: Survey,
    where: Where,
    ids: Collection[bytes] | None,
    *,
    force: bool = False,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Chosen:
    """The whole files that ``where`` wants, and of ``ids`` unless that is None; in the order of their ends.

    Reads from the time that is wanted to the present end. With ``force`` nothing is superseded. Raises UsageError when
    there are too many, BrokerError, OSError.
    """
    newest, candidates = Newest(), list[Found]()
    for found in survey.through(reader.between(_stretch(reader, where)), is_stopping):
        newest.saw(found)
        if not where.wants_time(found) or not (ids is None or found.version.id in ids):
            continue
        first = found.span.first
        newest.watch(found.version.path, first.partition, first.offset)
        candidates.append(replace(found, version=replace(found.version, user={}, extra={})))
        if len(candidates) > MAX_FILES:
            raise too_many(MAX_FILES)
    chosen = Chosen(headless=survey.headless, unfinished=survey.unfinished)
    for found in candidates:
        first = found.span.first
        is_old = newest.is_superseded(found.version.path, first.partition, first.offset)
        (chosen.superseded if is_old and not force else chosen.running).append(found)
    return chosen


def superseded(chosen: Chosen, run: RunFacts, now: datetime) -> Iterator[list[Outgoing]]:
    """The receipts of the superseded ones, some hundred at a time."""
    outcome = Outcome(What.SUPERSEDED, reason=SUPERSEDED)
    for at in range(0, len(chosen.superseded), _AT_ONCE):
        batch = chosen.superseded[at : at + _AT_ONCE]
        yield [
            outgoing
            for found in batch
            for outgoing in records_of(Ended(outcome, (), found.span, found.version, found.version.id), run, now)
        ]


class ChosenSource:
    """The RecordSource of chosen files alone: their partitions are ours from the first poll to the end."""

    def __init__(self, reader: RecordReader, chosen: Chosen, sealer: Sealer, listener: Listener) -> None:
        self._reader = reader
        self._sealer = sealer
        self._listener = listener
        self._ids = {found.version.id for found in chosen.running}
        self._ranges = chosen.ranges()
        self._records: Iterator[Record | None] | None = None
        self._positions: dict[int, int] = {}
        self._is_paused = False

    def poll(self, timeout: float) -> Record | None:
        """The next record of a chosen file, or None after ``timeout`` seconds. Raises BrokerError."""
        if self._records is None:
            claims = [Claim(number, first, "", first, until) for number, (first, until) in self._ranges.items()]
            self._positions = dict(self._listener.assigned(claims))
            self._records = iter(self._reader.between(self._ranges))
        ends = time.monotonic() + timeout
        while not self._is_paused:
            try:
                record = next(self._records)
            except StopIteration:
                self._positions = {number: until for number, (_, until) in self._ranges.items()}
                break
            if record is not None:
                self._positions[record.position.partition] = record.position.offset + 1
                chunk = chunk_of(record, self._sealer)
                if chunk is not None and chunk.file_id in self._ids:
                    return record
            if time.monotonic() >= ends:
                return None
        threading.Event().wait(max(0.0, ends - time.monotonic()))  # as a poll that nothing came for
        return None

    def partitions(self) -> int:
        """How many partitions have chosen files: all of them are ours."""
        return len(self._ranges)

    def positions(self) -> Mapping[int, int]:
        """For each partition the offset of the next record to come."""
        return dict(self._positions)

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._is_paused = True

    def resume(self) -> None:
        """Read again."""
        self._is_paused = False


class WithoutCommits:
    """The OutcomeStore of a replay: what its stream would commit is nobody's, and is left out."""

    def __init__(self, store: OutcomeStore) -> None:
        self._store = store

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:  # noqa: ARG002
        """Everything but the commits. Raises BrokerError."""
        self._store.write(outgoing, (), size=size)


def _stretch(reader: RecordReader, where: Where) -> dict[int, tuple[int, int]]:
    ends = reader.ends()
    if where.after_ms is None:
        return dict(ends)
    begins = reader.since(where.after_ms)
    return {number: (max(first, ends[number][0]), ends[number][1]) for number, first in begins.items()}
