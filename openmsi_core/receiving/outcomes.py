"""Outcomes that wait for their checkpoint, and the checkpoint itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from openmsi_core.errors import BrokerError, BrokerRefused, RightMissing
from openmsi_core.ports import OutcomeStore
from openmsi_core.receiving import checkpoint as checkpoints
from openmsi_core.receiving.breaker import Breaker
from openmsi_core.receiving.envelopes import outgoing_of
from openmsi_core.receiving.jobs import Assignment, Ended, RunFacts

log = logging.getLogger(__name__)


class Outcomes:
    """What is dealt with and not durable yet. ``bytes`` counts results; ``moved`` is when the last one came (clock)."""

    def __init__(self, run: RunFacts, clock: Callable[[], float], breaker: Breaker) -> None:
        self.breaker = breaker
        self.bytes = 0
        self.moved = clock()
        self.written = clock()
        self.only_held = False
        self.failed = False
        self._run = run
        self._clock = clock
        self._ended: list[Ended] = []

    def __len__(self) -> int:
        return len(self._ended)

    def add(self, ended: Ended) -> None:
        """One more outcome waits."""
        self._ended.append(ended)
        self.breaker.saw(ended)
        self.bytes += _bytes_of(ended)
        self.moved = self._clock()

    def drop_dead(self) -> None:
        """Let go of outcomes whose partition was taken away."""
        self._keep([each for each in self._ended if each.is_alive])

    def write(
        self, store: OutcomeStore, assignments: Sequence[Assignment], now: datetime, *, anchor: bool = False
    ) -> tuple[Ended, ...]:
        """One checkpoint of everything that a commit can record; the outcomes that are durable now.

        With ``anchor`` the position is committed even when there is no outcome.

        A broker that is away costs nothing but time: the same outcomes are written again later. Blocks until the
        broker has acknowledged everything.
        """
        withheld = self.breaker.withheld()
        going = [each for each in self._ended if id(each) not in withheld]
        planned = checkpoints.plan(going, assignments, self._run.topic_id)
        self.written = self._clock()
        self.only_held, self.failed = bool(self._ended) and not planned.ended, False
        if not planned.ended and not anchor:
            return ()
        outgoing = [each for ended in planned.ended for each in outgoing_of(ended, self._run, now)]
        try:
            store.write(outgoing, planned.commits)
        except (BrokerRefused, RightMissing):
            raise  # it does not pass by itself
        except BrokerError as error:
            self.failed = True  # not again at once: what was published before the error would be published each time
            log.warning("checkpoint of %d outcomes not written, it is tried again: %s", len(planned.ended), error)
            return ()
        checkpoints.record(planned)
        written = {id(each) for each in planned.ended}
        self._keep([each for each in self._ended if id(each) not in written])
        return planned.ended

    def _keep(self, ended: list[Ended]) -> None:
        self._ended = ended
        self.bytes = sum(_bytes_of(each) for each in ended)


def _bytes_of(ended: Ended) -> int:
    copied = len(ended.record.value or b"") if ended.record is not None else 0
    return copied + sum(len(each.value) for each in ended.outcome.results)
