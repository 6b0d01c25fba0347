"""Signals as a request to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


@contextmanager
def signals_set(stop: Callable[[], None]) -> Iterator[Sequence[int]]:
    """While inside, Ctrl-C and SIGTERM call ``stop`` instead of ending the process; the second Ctrl-C raises.

    Answers a list whose only item is the number of the last signal, 0 while there was none.
    """
    last = [0]

    def note(number: int, _: FrameType | None) -> None:
        if last[0] == number == signal.SIGINT:
            raise KeyboardInterrupt
        last[0] = number
        stop()

    before = {number: signal.signal(number, note) for number in _STOPPING}
    try:
        yield last
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


_STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if hasattr(signal, "SIGBREAK") else [])]
