"""The poll loop of a run.

::

    while not asked to stop:
        take what the workers answered      -> outcomes that wait for their checkpoint
        if there is room, poll one record   -> intake -> whole file -> dispatch -> worker
        checkpoint when it is due           -> results, receipts, dead letters, then the commit

One thread does all of this and nothing else does any of it; it never runs a plugin's code. What is promised: a
commit never passes a version that is not dealt with. Results may be published twice after a kill (at least once),
unless the OutcomeStore writes them and the commit in one transaction.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.model import Claim, Record
from openmsi_core.ports import OutcomeStore, RecordSource
from openmsi_core.receiving.arrivals import Arrived, Begun
from openmsi_core.receiving.beginnings import cut_of
from openmsi_core.receiving.deadlines import Deadlines
from openmsi_core.receiving.dispatch import Dispatch
from openmsi_core.receiving.heads import Heads
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Assignment, Ended, RunFacts, job_of
from openmsi_core.receiving.outcomes import Outcomes
from openmsi_core.receiving.pace import Pace, Room
from openmsi_core.receiving.watermark import Watermark, start_of
from openmsi_core.receiving.workers import Workers

log = logging.getLogger(__name__)

Announce = Callable[[Sequence[Ended]], None]
"""Told after each checkpoint what became durable; in the poll loop, so it must return at once."""


class Stream:
    """One run: reads records, hands whole files to workers, makes outcomes durable. It is the source's Listener."""

    def __init__(
        self,
        run: RunFacts,
        intake: Intake,
        workers: Workers,
        *,
        first_offset: Callable[[Claim], int],
        pace: Pace | None = None,
        room: Room | None = None,
        announce: Announce = lambda _: None,
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.run_facts = run
        self.counts = intake.counts
        self.stopping = stopping or threading.Event()
        self._intake = intake
        self._workers = workers
        self.dispatch = self._dispatch = Dispatch(workers.submit)
        self._first_offset = first_offset
        self._pace = pace or Pace()
        self._room = room or Room()
        self._announce = announce
        self._clock = clock
        self._now = now
        self.outcomes = self._outcomes = Outcomes(run, clock, self._pace)
        self._heads = Heads(run, self._dispatch, self._outcomes, self._room, intake.assembler)
        self._moved = clock()
        self._kept_house = clock()
        self._full_since: float | None = None
        self._deadlines = Deadlines(self._pace)
        self._took = self._drained = False
        self._shared_at: float | None = None
        self._store: OutcomeStore | None = None

    def assigned(self, claims: Sequence[Claim]) -> Mapping[int, int]:
        """Begin each partition at its commit, or where the run begins; one that is ours already begins anew."""
        starts: dict[int, int] = {}
        self._drop([claim.partition for claim in claims])
        for claim in claims:
            start = start_of(claim, self.run_facts.topic_id, self._first_offset(claim))
            assignment = Assignment(claim.partition, Watermark(claim.partition, start), claim.high)
            self._intake.assign(assignment)
            starts[claim.partition] = start.offset
            if claim.is_new:
                log.warning("partition %d was added: versions of a path may lie on two partitions now", claim.partition)
            if cut := cut_of(assignment, self.run_facts.topic):
                self._outcomes.add(cut)
            if claim.committed is None:
                self._outcomes.must_anchor = True
            log.info(
                "partition %d is ours from offset %d on (its end is %d)", claim.partition, start.offset, claim.high
            )
        self._deadlines.restart()
        self._shared_at = self._clock()
        return starts

    def revoked(self, partitions: Sequence[int]) -> None:
        """Finish what is running (5 s at most), write a checkpoint, drop the rest."""
        if self._store is None:  # the end: what could be written is written, and the member leaves its group
            return
        self._settle(self._pace.revoke_wait, set(partitions))
        self._write_all()
        self._drop(partitions)

    def lost(self, partitions: Sequence[int]) -> None:
        """Drop everything of these partitions: somebody else reads them already."""
        log.warning("partitions %s were lost: the group gave them away, or cannot be reached", list(partitions))
        self._drop(partitions)

    def run(self, source: RecordSource, store: OutcomeStore, until_caught_up: bool = False) -> int:
        """Work until `stopping` is set, or until the present end of the topic; how many versions are still open.

        Raises BreakerOpen, BrokerError when the broker refuses us, OSError when the spool is broken.
        """
        self._store = store
        with ExitStack() as stack:
            stack.callback(self._drop_all)
            while not self._must_stop() and not (until_caught_up and self._is_caught_up(source)):
                self._turn(source)
                if until_caught_up and self._is_cut_off():
                    raise BrokerUnreachable(
                        f"{self.run_facts.topic}: nothing came and nothing could be written for {self._pace.silence:g} "
                        "s, though the end is not reached. Check the broker, and run this again."
                    )
            is_away = self._outcomes.failed  # a broker that is away would only hold up the end
            if not is_away:
                self._settle(self._pace.stop_wait, {each.partition for each in self._intake.assignments()})
            self._outcomes.breaker.release()
            if not is_away:
                self._write_all()
            if self._outcomes.breaker.is_open:
                raise self._outcomes.breaker.error()
            self._intake.say_unfinished()
            waiting = len(self._intake.parked) + len(self._intake.waiting) + len(self._outcomes)
            return len(self._intake.assembler) + len(self._dispatch) + waiting

    def _must_stop(self) -> bool:
        return self.stopping.is_set() or self._outcomes.breaker.is_open

    def _turn(self, source: RecordSource) -> None:
        self._collect(0.0)
        self._dispatch.due(self._clock(), is_full=self._outcomes.fill(self._room))
        for event in self._intake.offer():
            self._on(event)
        if self._has_room():
            self._resume(source)
            record = source.poll(self._patience())
            self._took = record is not None
            self._drained = self._drained or record is None
            if record is not None:
                self._take(record)
        else:
            self._wait_for_room(source)
        is_still = not self._took and self._dispatch.running == 0 and self._clock() - self._moved >= self._pace.quiet
        if self._outcomes.is_due(is_still=is_still):
            self._checkpoint()
        self._keep_house(source)

    def _take(self, record: Record) -> None:
        self._moved = self._clock()
        event = self._intake.take(record)
        if event is not None:
            self._on(event)

    def _on(self, event: Arrived | Begun | Ended) -> None:
        if isinstance(event, Ended):
            self._heads.forget(event.file_id)
            self._outcomes.add(event)
        elif isinstance(event, Begun):
            self._heads.began(event, self._now())
        elif not self._heads.came(event):
            self._dispatch.add(job_of(event.whole, event.assignments, self.run_facts, self._now()))

    def _collect(self, timeout: float) -> bool:
        """Take the workers' answers; True when there were any."""
        answers = self._workers.answers(timeout)
        for answer in answers:
            if (ended := self._heads.answered(self._dispatch.answered(answer, self._clock()))) is not None:
                self._outcomes.add(ended)
        return bool(answers)

    def _has_room(self) -> bool:
        held = self._outcomes.bytes + self._heads.bytes + self._intake.parked.bytes
        return (
            not self._intake.waiting
            and self._dispatch.memory + held < self._room.memory
            and self._dispatch.disk + self._outcomes.spooled + self._heads.spooled < self._room.disk
            and len(self._dispatch) + len(self._outcomes) < self._room.files
        )

    def _wait_for_room(self, source: RecordSource) -> None:
        """Take no records; after 10 s pause the source once, so that polling keeps the membership alive."""
        self._took = self._drained = False  # what comes meanwhile waits in Kafka, and must not age here
        now = self._clock()
        if self._full_since is None:
            self._full_since = now
        if self._outcomes.only_held and not self._dispatch.running and (given_up := self._intake.give_up_stalest()):
            self._on(given_up)  # nothing else would ever make room
        if now - self._full_since < self._pace.stall_before_pause:
            self._collect(0.1)
            return
        source.pause()
        record = source.poll(0.1)
        if record is not None:  # a partition that came while we were paused: one record more does no harm
            self._take(record)

    def _resume(self, source: RecordSource) -> None:
        if self._full_since is not None:
            self._full_since = None
            source.resume()

    def _patience(self) -> float:
        """How long one poll may wait: short while outcomes or answers are on their way."""
        if self._dispatch.running or self._outcomes:
            return self._pace.quiet / 2
        return 0.2

    def _checkpoint(self) -> None:
        """Write what is due, and count what is durable now."""
        if self._store is None:
            return
        durable = self._outcomes.write(self._store, self._intake.assignments(), self._now())
        for ended in durable:
            self.counts.add(ended)
        if durable:
            self._announce(durable)

    def _write_all(self) -> None:
        """Checkpoints until nothing is left that can be written now."""
        self._checkpoint()
        while self._outcomes and not self._outcomes.only_held and not self._outcomes.failed:
            self._checkpoint()

    def _keep_house(self, source: RecordSource) -> None:
        now = self._clock()
        for ended in list(self._intake.shed()):
            self._on(ended)
        if now - self._kept_house < self._pace.housekeeping:
            return
        self._kept_house = now
        shares = len(self._intake.assignments()), source.partitions(), now - (self._shared_at or now)
        self._intake.generations.must_be_alone(self.run_facts.topic, *shares)
        for event in list(self._intake.reopen()):
            self._on(event)
        is_caught_up = self._drained and self._is_at_end(source)
        for ended in list(self._deadlines.passed(self._intake, is_caught_up=is_caught_up)):
            self._on(ended)

    def _is_at_end(self, source: RecordSource) -> bool:
        assignments = self._intake.assignments()
        positions = source.positions() if assignments else {}
        return bool(assignments) and all(
            positions.get(assignment.partition, 0) >= assignment.high for assignment in assignments
        )

    def _is_caught_up(self, source: RecordSource) -> bool:
        others = len(self._intake.assignments()) < source.partitions()  # have the rest, or had it and are dead
        if self._shared_at is None or (others and self._clock() - self._shared_at < self._pace.sharing):
            return False
        is_written = not self._outcomes.must_anchor and (not self._outcomes or self._outcomes.only_held)
        awaits_keys = self._intake.awaits_keys(self._intake.now_ms() - int(self._pace.keys * 1000) + 1)
        idle = not (self._took or len(self._dispatch) or self._intake.waiting or awaits_keys) and is_written
        return idle and (self._is_at_end(source) or not self._intake.assignments())

    def _is_cut_off(self) -> bool:
        """True when we have waited for the broker alone, and for too long."""
        is_ours = len(self._dispatch) or self._intake.waiting or (self._outcomes and not self._outcomes.failed)
        return not is_ours and self._clock() - max(self._moved, self._outcomes.moved) >= self._pace.silence

    def _settle(self, seconds: float, partitions: set[int]) -> None:
        """Let workers finish their files of ``partitions``; after a fifth of the time they begin no more."""
        now = self._clock()
        ends, recalled = now + seconds, now + seconds / 5
        while self._dispatch.busy(partitions) and (left := ends - self._clock()) > 0:
            if self._clock() >= recalled:
                self._dispatch.recall(partitions)
            self._collect(min(left, 0.1))
        self._collect(0.0)

    def _drop(self, partitions: Sequence[int]) -> None:
        if partitions:
            self._shared_at = self._clock()
        self._intake.unassign(set(partitions))
        self._heads.drop_dead()
        self._dispatch.drop_dead()
        self._outcomes.drop_dead()

    def _drop_all(self) -> None:
        """The end: nothing that comes after it may commit."""
        self._drop([each.partition for each in self._intake.assignments()])
        self._store = None
