"""Outcomes that wait for their checkpoint, and the checkpoint itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from openmsi_core.errors import BrokerError, BrokerRefused, NotDelivered, RightMissing
from openmsi_core.model import Outcome, Outgoing, What
from openmsi_core.ports import OutcomeStore
from openmsi_core.receiving import checkpoint as checkpoints
from openmsi_core.receiving.breaker import Breaker
from openmsi_core.receiving.envelopes import notices_of
from openmsi_core.receiving.jobs import Assignment, Ended, RunFacts
from openmsi_core.receiving.pace import Pace, Room
from openmsi_core.receiving.results import let_go, memory_of, size_of

log = logging.getLogger(__name__)

CHECKPOINT_BYTES = 64 * 1024 * 1024


class Outcomes:
    """What is dealt with and not durable yet.

    ``must_anchor``: where this run began is not committed yet, and whoever goes on must know it.
    ``bytes`` counts what they hold in memory, ``spooled`` what on disk; ``moved`` is when the last one came (clock).
    """

    def __init__(self, run: RunFacts, clock: Callable[[], float], pace: Pace) -> None:
        self.breaker = Breaker(pace.breaker, pace.breaker_patience, clock)
        self.must_anchor = False
        self.bytes = 0
        self.spooled = 0
        self.moved = clock()
        self.written = clock()
        self.only_held = False
        self.failures = 0
        self._run = run
        self._pace = pace
        self._clock = clock
        self._ended: list[Ended] = []
        self._held = 0  # of them by the last checkpoint, because no commit could say that they are done

    def __len__(self) -> int:
        return len(self._ended)

    @property
    def failed(self) -> bool:
        """True when the last checkpoint was not written: the next one waits a while."""
        return self.failures > 0

    def fill(self, room: Room) -> bool:
        """True when they alone are as much as ``room`` has."""
        return self.bytes >= room.memory or self.spooled >= room.disk

    def is_due(self, *, is_still: bool) -> bool:
        """True when it is time for a checkpoint. ``is_still``: nothing comes in and no worker is busy.

        After a failed one the next waits for 1, 2, 4, … 30 times the usual span, because without transactions what was
        published before the failure is published each time.
        """
        now = self._clock()
        since = now - self.written
        if self.failures:
            return since >= self._pace.longest * min(30.0, 2.0 ** (self.failures - 1))
        if self.must_anchor:
            return True
        if not self._ended:
            return False
        if (
            len(self._ended) - self._held >= self._pace.files
            or self.bytes >= self._pace.results
            or since >= self._pace.longest
        ):
            return True
        return is_still and not self.only_held and now - self.moved >= self._pace.quiet

    def add(self, ended: Ended) -> None:
        """One more outcome waits."""
        self._ended.append(ended)
        self.breaker.saw(ended)
        self._count(ended, 1)
        self.moved = self._clock()

    def drop_dead(self) -> None:
        """Let go of outcomes whose partition was taken away."""
        dead = [each for each in self._ended if not each.is_alive]
        self.breaker.dropped(dead)
        self._leave(dead)

    def write(self, store: OutcomeStore, assignments: Sequence[Assignment], now: datetime) -> tuple[Ended, ...]:
        """One checkpoint of everything that a commit can record; the outcomes that are durable now.

        More than 64 MiB of results are written in several checkpoints. A broker that is away costs nothing but time:
        the same outcomes are written again later. A record that the broker refuses for good makes its outcome a dead
        letter. Blocks until the broker has acknowledged everything. Raises BrokerRefused, RightMissing, NotDelivered,
        OSError.
        """
        withheld = self.breaker.withheld()
        going, size = _fitting([each for each in self._ended if id(each) not in withheld])
        planned = checkpoints.plan(going, assignments, self._run.topic_id)
        self.written = self._clock()
        self.only_held = bool(self._ended) and not planned.ended
        self._held = len(planned.held)
        if not planned.ended and not self.must_anchor:
            return ()
        outgoing = Outgoings(planned.ended, self._run, now)
        try:
            store.write(outgoing, planned.commits, size=size)
        except (BrokerRefused, RightMissing):
            raise  # it does not pass by itself
        except NotDelivered as error:
            self._refused(error, planned.ended, now)
            return ()
        except BrokerError as error:
            self.failures += 1
            log.warning("checkpoint of %d outcomes not written, it is tried again: %s", len(planned.ended), error)
            return ()
        self.failures, self.must_anchor = 0, False
        checkpoints.record(planned)
        self._leave(planned.ended)
        return planned.ended

    def _refused(self, error: NotDelivered, ended: Sequence[Ended], now: datetime) -> None:
        """Make a dead letter of the outcome whose record the broker refused. Raises ``error`` when there is none."""
        for each in ended:
            if each.is_refused or all(record != error.outgoing for record in records_of(each, self._run, now)):
                continue
            log.warning("%s: the broker refused what it published: %s", each.span.first, error)
            self._count(each, -1)
            let_go(each.outcome.results)
            each.is_refused = True
            if not each.outcome.what.is_letter:
                each.outcome = Outcome(What.FAILED, reason=str(error), error="NotDelivered", tries=each.outcome.tries)
                self.breaker.saw(each)
            self._count(each, 1)
            return
        raise error

    def _leave(self, ended: Sequence[Ended]) -> None:
        leaving = {id(each) for each in ended}
        self._ended = [each for each in self._ended if id(each) not in leaving]
        for each in ended:
            self._count(each, -1)
            let_go(each.outcome.results)

    def _count(self, ended: Ended, sign: int) -> None:
        copied = len(ended.record.value or b"") if ended.record is not None else 0
        copied += len(ended.outcome.reason) + len(ended.outcome.traceback)
        copied += ended.version.memory if ended.version is not None else 0
        memory = memory_of(ended.outcome.results)
        self.bytes += sign * (copied + memory)
        self.spooled += sign * (0 if memory else size_of(ended.outcome.results))


class Outgoings:
    """Everything that outcomes publish, then ``last``; made while it is gone through, as often as it is.

    Going through it raises OSError when spooled results cannot be read.
    """

    def __init__(self, ended: Sequence[Ended], run: RunFacts, now: datetime, last: Sequence[Outgoing] = ()) -> None:
        self._ended = ended
        self._run = run
        self._now = now
        self._last = last

    def __iter__(self) -> Iterator[Outgoing]:
        for each in self._ended:
            yield from records_of(each, self._run, self._now)
        yield from self._last


def records_of(ended: Ended, run: RunFacts, now: datetime) -> Iterator[Outgoing]:
    """Everything that one outcome publishes. Raises OSError when spooled results cannot be read."""
    yield from ended.outcome.results
    yield from notices_of(ended, run, now, is_short=ended.is_refused)


def _fitting(ended: Sequence[Ended]) -> tuple[list[Ended], int]:
    """As many outcomes as have 64 MiB of results together, one at least; and how many bytes these are."""
    size = 0
    for at, each in enumerate(ended):
        own = size_of(each.outcome.results)
        if at and size + own > CHECKPOINT_BYTES:
            return list(ended[:at]), size
        size += own
    return list(ended), size
