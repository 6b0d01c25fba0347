"""How long the broker has been silent."""

from __future__ import annotations

import time
from collections.abc import Callable

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.sending.outlet import Outlet

FIRST_ANSWER = 15.0
NEXT_ANSWER = 60.0


class Patience:
    """Watches an outlet: seconds since the broker last answered, while it owes answers.

    A broker that answered before may be restarting; it is given longer than one that never did.
    """

    def __init__(self, outlet: Outlet, clock: Callable[[], float] = time.monotonic) -> None:
        self._outlet = outlet
        self._clock = clock
        self._answers = 0
        self._since = clock()

    def silence(self) -> float:
        """Seconds since the last answer, 0 when none is owed."""
        now = self._clock()
        if self._outlet.answers != self._answers or not self._outlet.records:
            self._answers, self._since = self._outlet.answers, now
        return now - self._since

    def is_out(self) -> bool:
        """True when the broker has been silent for longer than a working one ever is."""
        return self.silence() >= (NEXT_ANSWER if self._answers else FIRST_ANSWER)

    def check(self) -> None:
        """Raises BrokerUnreachable when it is out."""
        if self.is_out():
            raise BrokerUnreachable(
                f"the broker has acknowledged nothing for {self.silence():.0f} s, and "
                f"{self._outlet.records:,} records wait; is it running and reachable from here?"
            )
