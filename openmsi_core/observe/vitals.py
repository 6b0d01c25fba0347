"""What a program does right now: one set of numbers for metrics, heartbeats, health and the watchdog alike.

The loop tells (`beat`, `moved`, `broker_away`), other threads ask (`state`, `snapshot`). Numbers are read where they
are counted, so that whoever scrapes last sees what the summary at the end says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

ROUND_SECONDS = 120.0
"""A loop that did not come round for so long hangs: its longest wait is for a killed member's transaction, 90 s."""

Numbers = Callable[[], Mapping[str, float]]


class State(StrEnum):
    """How a program is. Alive means progress, not that a process exists."""

    STARTING = "starting"  # it has not read or sent yet: it waits for its broker, or opens what it needs
    WORKING = "working"
    IDLE = "idle"  # nothing waits
    BROKER_AWAY = "broker-away"  # what is finished cannot be written; it waits and loses nothing
    HELD = "held"  # work waits, and nothing moved: a store asked for time, a disk is full
    STALLED = "stalled"  # a plugin has a file, and nothing moved
    STUCK = "stuck"  # the loop does not come round
    ENDED = "ended"

    @property
    def is_healthy(self) -> bool:
        """True when work gets done, or there is none: what ``/healthz`` answers 200 to."""
        return self in {State.WORKING, State.IDLE, State.ENDED}

    @property
    def needs_restart(self) -> bool:
        """True when only a restart can help: then the watchdog is not told that we are alive."""
        return self in {State.STALLED, State.STUCK}


@dataclass(frozen=True, slots=True)
class Identity:
    """Which program this is. ``group`` is "" for a sender; ``versions`` are those of the packages that matter."""

    program: str
    name: str
    topic: str
    group: str = ""
    host: str = ""
    pid: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one instant. ``counts`` only grow, ``gauges`` come and go; ``moved_s`` is since progress."""

    state: State
    counts: Mapping[str, int]
    outcomes: Mapping[str, int]
    gauges: Mapping[str, float]
    moved_s: float
    last_error: str
    last_error_at: datetime | None


class Vitals:
    """The pulse of one program. ``stall_after`` is seconds without progress while work waits; 0: never.

    ``beat`` and the like are called by the loop, everything else by any thread.
    """

    def __init__(self, who: Identity, stall_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.who = who
        self._stall_after = stall_after
        self._clock = clock
        self._lock = threading.Lock()
        self._beat: float | None = None
        self._moved = clock()
        self._running = self._waiting = 0
        self._away = self._ended = self._writing = False
        self._error, self._error_at = "", None
        self._counts: Callable[[], Mapping[str, int]] = dict
        self._outcomes: Callable[[], Mapping[str, int]] = dict
        self._gauges: dict[str, float] = {}

    _error_at: datetime | None

    def counting(self, counts: Callable[[], Mapping[str, int]], outcomes: Callable[[], Mapping[str, int]]) -> None:
        """Where the numbers are: read whenever somebody asks."""
        self._counts, self._outcomes = counts, outcomes

    def beat(self, *, running: int, waiting: int, **gauges: float) -> None:
        """The loop came round: so many files are being worked on, so much waits."""
        with self._lock:
            self._beat = self._clock()
            if not running and not waiting:
                self._moved = self._beat
            self._running, self._waiting = running, waiting
            self._gauges.update(gauges)

    def writing(self, *, is_writing: bool) -> None:
        """The loop is with the broker now, for as long as that takes, or it is back."""
        with self._lock:
            self._writing = is_writing

    def moved(self) -> None:
        """Something got done."""
        with self._lock:
            self._moved = self._clock()

    def broker_away(self, *, is_away: bool) -> None:
        """The broker takes nothing, or it does again."""
        with self._lock:
            self._away = is_away

    def complained(self, text: str, at: datetime) -> None:
        """The last thing that went wrong."""
        with self._lock:
            self._error, self._error_at = text, at

    def ended(self) -> None:
        """The work is over; the numbers are final."""
        with self._lock:
            self._ended = True

    def state(self) -> State:
        """How it is."""
        with self._lock:
            return self._state()

    def snapshot(self) -> Snapshot:
        """Everything at this instant."""
        with self._lock:
            return Snapshot(
                state=self._state(),
                counts=dict(self._counts()),
                outcomes=dict(self._outcomes()),
                gauges=dict(self._gauges),
                moved_s=self._clock() - self._moved,
                last_error=self._error,
                last_error_at=self._error_at,
            )

    def _state(self) -> State:
        if self._ended:
            return State.ENDED
        if self._beat is None:
            return State.STARTING
        now = self._clock()
        if now - self._beat > ROUND_SECONDS:
            return State.BROKER_AWAY if self._writing else State.STUCK
        if self._away:
            return State.BROKER_AWAY
        if self._stall_after and now - self._moved > self._stall_after and (self._running or self._waiting):
            return State.STALLED if self._running else State.HELD
        return State.WORKING if self._running or self._waiting else State.IDLE


def instant() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)
