"""When a version that does not go on is given up: by our own clock, never for what downtime or backlog did to it."""

from __future__ import annotations

from collections.abc import Iterator

from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Ended
from openmsi_core.receiving.pace import Pace


class Deadlines:
    """Looks at the open versions of a run now and then. The poll loop calls it.

    A sealed record is given up when its key did not come within ``unreadable_after`` seconds of our reading it.
    A version without its first record is given up ``headless_after`` seconds after its last one. Any other is when
    it got no record for ``incomplete_after`` seconds, counted from the moment at which this process had caught up.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._caught_up_at: int | None = None

    def restart(self) -> None:
        """Other partitions are ours: whether we have caught up is open again."""
        self._caught_up_at = None

    def passed(self, intake: Intake, *, is_caught_up: bool) -> Iterator[Ended]:
        """What is over now."""
        now = intake.now_ms()
        yield from intake.behead(now - _ms(self._pace.headless_after))
        yield from intake.unlock(now - _ms(self._pace.unreadable_after))
        if not is_caught_up:
            self._caught_up_at = None
            return
        if self._caught_up_at is None:
            self._caught_up_at = now
        before = now - _ms(self._pace.incomplete_after)
        if self._caught_up_at <= before:
            yield from intake.expire(before)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
