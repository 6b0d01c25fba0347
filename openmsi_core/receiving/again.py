"""The way back from a dead letter: its file is read again, handed to the plugin again, and the letter is resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event

from openmsi_core.errors import NotWhole
from openmsi_core.files.assembly import Assembler
from openmsi_core.files.events import Broken, Whole
from openmsi_core.model import Commit, Outcome, Outgoing, Record, What
from openmsi_core.ports import OutcomeStore, RecordReader, Sealer
from openmsi_core.receiving.attempts import Again
from openmsi_core.receiving.jobs import Ended, RunFacts, job_of
from openmsi_core.receiving.letters import Letter, resolved
from openmsi_core.receiving.outcomes import Outgoings
from openmsi_core.receiving.results import let_go, size_of
from openmsi_core.receiving.survey import SUPERSEDED, Newest, Survey, chunk_of
from openmsi_core.receiving.workers import Workers


@dataclass(frozen=True, slots=True)
class Retried:
    """How one letter fared: ``outcome`` is None when its file could not be put together, for the ``reason``."""

    letter: Letter
    outcome: Outcome | None
    reason: str

    @property
    def is_resolved(self) -> bool:
        """True when the letter is resolved now."""
        return self.outcome is not None and not self.outcome.what.is_letter


class Retry:
    """Hands the files of letters to a plugin again, one after the other. One thread calls it.

    What ends well is published in one write of ``store``: results, receipt, and the record that resolves the letter.
    What fails again publishes nothing: its letter is there already.
    """

    def __init__(
        self,
        run: RunFacts,
        workers: Workers,
        store: OutcomeStore,
        newest: Newest,
        *,
        stopping: Event | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._run = run
        self._workers = workers
        self._store = store
        self._newest = newest
        self._stopping = stopping or Event()
        self._now = now

    def each(self, letters: Iterable[Letter], read: Callable[[Letter], Whole]) -> Iterator[Retried]:
        """How each letter fares, once that is durable; ``read`` gets its file. Ends early when we are stopping.

        Raises what `retry` and ``read`` raise, but for NotWhole.
        """
        for letter in letters:
            if self._stopping.is_set():
                return
            try:
                whole = read(letter)
            except NotWhole as error:
                yield Retried(letter, None, str(error))
                continue
            outcome = self.retry(letter, whole)
            if outcome is None:
                return
            yield Retried(letter, outcome, outcome.reason)

    def retry(self, letter: Letter, whole: Whole) -> Outcome | None:
        """What became of it; None when we are stopping: then nothing was published.

        Blocks until the plugin has answered and the broker has acknowledged. Raises BrokerError; `dlq list` then tells
        whether the letter is resolved.
        """
        first = whole.span.first
        if self._newest.is_superseded(whole.version.path, first.partition, first.offset):
            whole.content.discard()
            outcome = Outcome(What.SUPERSEDED, reason=SUPERSEDED)
        else:
            answered = self._answered(whole)
            if answered is None or answered.what.is_letter:
                return answered
            outcome = answered
        ended = Ended(outcome, (), whole.span, whole.version, whole.version.id)
        now = self._now()
        last = resolved(letter, whole.version, outcome, self._run, now)
        try:
            self._store.write(Outgoings((ended,), self._run, now, (last,)), (), size=size_of(outcome.results))
        finally:
            let_go(outcome.results)
        return outcome

    def _answered(self, whole: Whole) -> Outcome | None:
        """What the plugin made of it, after as many tries as the policy of the workers allows."""
        job = job_of(whole, (), self._run, self._now())
        self._workers.submit(job)
        while not self._stopping.is_set():
            for answer in self._workers.answers(0.2):
                if isinstance(answer.answer, Outcome):
                    job.file.release()
                    return answer.answer
                if isinstance(answer.answer, Again):
                    self._stopping.wait(answer.answer.seconds)
                    self._workers.submit(job)
        return None  # a worker may have the file still; it goes with the spool


class InOrder:
    """An OutcomeStore that writes one record after the other is acknowledged, where there are no transactions."""

    def __init__(self, store: OutcomeStore) -> None:
        self._store = store

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        """Each record in turn, then the commits. Raises BrokerError; then the later ones do not exist."""
        for each in outgoing:
            self._store.write((each,), (), size=size)
        if commits:
            self._store.write((), commits)


def whole_of(letter: Letter, reader: RecordReader, assembler: Assembler, sealer: Sealer) -> Whole:
    """The file of a letter, read again from the positions that it names; its digest matches.

    Raises NotWhole when it cannot be put together, BrokerError, OSError when the spool cannot be written.
    """
    if not letter.file_id:
        raise NotWhole(
            f"letter {letter.id} is about a record that belongs to no file ({letter.what} at {letter.subject}): there "
            "is nothing to put together. `openmsi dlq save` writes the record itself."
        )
    ends = reader.ends()
    ranges = _ranges(letter, ends)
    came = 0
    for record in reader.between(ranges):
        chunk = chunk_of(record, sealer) if record is not None else None
        if record is None or chunk is None or chunk.file_id != letter.file_id:
            continue
        came += 1
        event = assembler.take(record, chunk)
        if isinstance(event, Whole):
            return event
        if event is not None:
            why = event.reason if isinstance(event, Broken) else "its sender gave it up"
            raise NotWhole(f"{letter.subject} of letter {letter.id} cannot be whole: {why}. Send the file again.")
    if letter.file_id in assembler:
        assembler.drop(letter.file_id, What.INCOMPLETE, "")
    if not came:
        raise NotWhole(
            f"none of the records of {letter.subject} stands where letter {letter.id} says: was the topic "
            f"{letter.topic} deleted and made anew? Send the file again."
        )
    raise NotWhole(
        f"{letter.subject} of letter {letter.id} is not whole: only {came:,} of its records are in {letter.topic}. "
        "Send the file again."
    )


def record_of(letter: Letter, reader: RecordReader) -> Record:
    """The record that a letter without a file is about. Raises NotWhole, BrokerError."""
    partition = min(letter.positions)
    first = letter.positions[partition][0]
    _refuse_removed(letter, reader.ends())
    for record in reader.between({partition: (first, first + 1)}):
        if record is not None:
            return record
    raise NotWhole(f"there is no record at {letter.topic}[{partition}]@{first}, where letter {letter.id} says it is.")


def look_for_newer(
    letters: Sequence[Letter], reader: RecordReader, survey: Survey, is_stopping: Callable[[], bool]
) -> Newest:
    """Which of the files of ``letters`` have a later whole version: one look from the first of them to the present end.

    Raises BrokerError, OSError.
    """
    newest, begins = Newest(), dict[int, int]()
    for letter in letters:
        for partition, (first, _, _) in letter.positions.items():
            if letter.path is not None:
                newest.watch(letter.path, partition, first)
                begins[partition] = min(first, begins.get(partition, first))
    ends = reader.ends()
    ranges = {
        partition: (max(first, ends[partition][0]), ends[partition][1])
        for partition, first in begins.items()
        if partition in ends
    }
    for found in survey.through(reader.between(ranges), is_stopping):
        newest.saw(found)
    return newest


def removed(letter: Letter, ends: Mapping[int, tuple[int, int]]) -> list[str]:
    """Which offsets of a letter are not in the topic any more, for a person."""
    gone = []
    for partition, (first, last, _) in sorted(letter.positions.items()):
        low = ends.get(partition, (last + 1, 0))[0]
        if first < low:
            gone.append(f"{letter.topic}[{partition}]@{first} to {min(last, low - 1)}")
    return gone


def _ranges(letter: Letter, ends: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    _refuse_removed(letter, ends)
    # what was missing may have come since
    to_the_end = letter.what == What.INCOMPLETE
    return {
        partition: (first, ends[partition][1] if to_the_end else last + 1)
        for partition, (first, last, _) in letter.positions.items()
    }


def _refuse_removed(letter: Letter, ends: Mapping[int, tuple[int, int]]) -> None:
    missing = sorted(set(letter.positions) - set(ends))
    if missing:
        raise NotWhole(
            f"letter {letter.id} names partition {missing[0]} of {letter.topic}, which has {len(ends)} partitions."
        )
    beyond = [number for number, (_, last, _) in sorted(letter.positions.items()) if last >= ends[number][1]]
    if beyond:
        number = beyond[0]
        raise NotWhole(
            f"letter {letter.id} names {letter.topic}[{number}]@{letter.positions[number][1]}, and that partition ends "
            f"at {ends[number][1]}: was the topic deleted and made anew? Send the file again."
        )
    gone = removed(letter, ends)
    if gone:
        raise NotWhole(
            f"the bytes of {letter.subject} of letter {letter.id} are gone: retention removed {', '.join(gone)}. Send "
            "the file again."
        )
