"""How long a blocking call may go on: to a deadline, or a little longer than somebody's wish to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")

STOP_SECONDS = 2.0
_SLICE = 0.25


def never() -> bool:
    """Nobody wants to stop."""
    return False


class Patience:
    """Counts from its making: ``seconds`` in all, and only 2 s more once ``is_stopping`` says yes.

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


class Errand:
    """One call at a time into librdkafka that may block for minutes and has no timeout of its own.

    It runs in a thread, so that whoever waits for it can be stopped. When patience runs out the call goes on; the next
    one begins after its end. `is_stuck` says that one is still going on.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @property
    def is_stuck(self) -> bool:
        """True while a call goes on that nobody waits for any more."""
        return self._thread is not None and self._thread.is_alive()

    def run(self, call: Callable[[], Answer], patience: Patience) -> Answer:
        """What ``call`` answers or raises. Raises TimeoutError when patience runs out first."""
        self._join(patience)
        future: Future[Answer] = Future()
        self._thread = threading.Thread(target=_settle, args=(future, call), name="openmsi-commit", daemon=True)
        self._thread.start()
        self._join(patience)
        try:
            return future.result(0)
        finally:
            del future  # see _settle

    def _join(self, patience: Patience) -> None:
        while self._thread is not None and self._thread.is_alive():
            if not patience.left:
                raise TimeoutError
            self._thread.join(patience.slice)


def _settle(future: Future[Answer], call: Callable[[], Answer]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
        future.set_exception(error)
    finally:
        # else the error, its traceback, this frame and the future hold one another, and with them a Kafka client with
        # its threads, until Python looks for such circles, which may be hours
        del future, call
