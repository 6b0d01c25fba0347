"""How long a blocking call may go on: to a deadline, or a little longer than somebody's wish to stop."""

from __future__ import annotations

import time
from collections.abc import Callable

STOP_SECONDS = 4.0
_SLICE = 0.25


def never() -> bool:
    """Nobody wants to stop."""
    return False


class Patience:
    """Counts from its making: ``seconds`` in all, and only 4 s more once ``is_stopping`` says yes.

    Calls into librdkafka do not hear signals, so they are made in slices of a quarter of a second.
    """

    def __init__(self, seconds: float, is_stopping: Callable[[], bool] = never) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds
        self._is_stopping = is_stopping
        self._is_short = False

    @property
    def left(self) -> float:
        """Seconds until it is over, 0 at the end."""
        now = time.monotonic()
        if not self._is_short and self._is_stopping():
            self._is_short = True
            self._ends = min(self._ends, now + STOP_SECONDS)
        return max(0.0, self._ends - now)

    @property
    def slice(self) -> float:
        """How long the next call may block."""
        return min(_SLICE, self.left)
