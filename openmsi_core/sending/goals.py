"""When a watch has reached its goal: never, or after one pass."""

from __future__ import annotations

from typing import Protocol

from openmsi_core.sending.later import Later
from openmsi_core.sending.reports import Ending, Report

_LOOKS = 20
_LONGEST_NS = 60_000_000_000
_TRIES = 3
_CHANGES = 5


class Goal(Protocol):
    """What `Watch` asks about the files that the ledger does not know."""

    trusts_age: bool
    """One look is enough for a file that has not changed for the settle time."""
    waits_for_broker: bool
    """A broker that is away is waited for."""

    def wants(self, key: bytes, now_ns: int) -> bool:
        """True when this file, seen in the scan that runs, is to be sent now if it is ready."""
        ...

    def is_hopeless(self, key: bytes, waited_ns: int) -> bool:
        """True when a file that is not ready is given up; ``waited_ns`` is how long it has been waited for."""
        ...

    def ended(self, report: Report, now_ns: int) -> bool:
        """Note an attempt; True when it failed and the file is given up."""
        ...

    def end_scan(self) -> None:
        """A scan has ended."""
        ...

    def is_reached(self) -> bool:
        """True when the scan that ended last found nothing left to do."""
        ...


class Forever:
    """What fails is tried again, after a while that grows; nothing is given up, nothing is ever finished."""

    trusts_age = False
    waits_for_broker = True

    def __init__(self) -> None:
        self._later = Later()

    def wants(self, key: bytes, now_ns: int) -> bool:
        """Unless it failed a moment ago."""
        return not self._later.must_wait(key, now_ns)

    def is_hopeless(self, key: bytes, waited_ns: int) -> bool:
        """Never: a file may be written for days."""
        del key, waited_ns
        return False

    def ended(self, report: Report, now_ns: int) -> bool:
        """Never the end."""
        if report.ending in {Ending.UNREADABLE, Ending.REFUSED}:
            self._later.failed(report.seen.key, now_ns)
        else:
            self._later.forget(report.seen.key)
        return False

    def end_scan(self) -> None:
        """Nothing."""

    def is_reached(self) -> bool:
        """Never."""
        return False


class OnePass:
    """What the first scan sees is sent, or fails with a reason; what comes later is left for another time.

    A file that cannot be read is tried three times, 5 s and 10 s apart (somebody may hold it for a moment); one that
    changes each time it is read, five times; one that is still being written is given up after 20 times the settle
    time, a minute at least.
    """

    trusts_age = True
    waits_for_broker = False

    def __init__(self, settle_ns: int) -> None:
        self._longest_ns = max(_LONGEST_NS, _LOOKS * settle_ns)
        self._due: set[bytes] = set()
        self._given_up: set[bytes] = set()
        self._changes: dict[bytes, int] = {}
        self._later = Later()
        self._is_first = True
        self._left = 0
        self._is_reached = False

    def wants(self, key: bytes, now_ns: int) -> bool:
        """Of what the first scan saw, what was not given up."""
        if self._is_first:
            self._due.add(key)
        if key not in self._due or key in self._given_up:
            return False
        self._left += 1
        return not self._later.must_wait(key, now_ns)

    def is_hopeless(self, key: bytes, waited_ns: int) -> bool:
        """After 20 times the settle time, a minute at least."""
        if waited_ns < self._longest_ns:
            return False
        self._given_up.add(key)
        return True

    def ended(self, report: Report, now_ns: int) -> bool:
        """Refused is final; the rest after some tries."""
        key, ending = report.seen.key, report.ending
        final = ending is Ending.REFUSED
        if ending is Ending.UNREADABLE:
            final = self._later.failed(key, now_ns) >= _TRIES
        elif ending is Ending.CHANGED:
            self._changes[key] = self._changes.get(key, 0) + 1
            final = self._changes[key] >= _CHANGES
        if final:
            self._given_up.add(key)
        return final

    def end_scan(self) -> None:
        """Nothing left in it: reached."""
        self._is_reached = self._left == 0
        self._left = 0
        self._is_first = False

    def is_reached(self) -> bool:
        """After a scan in which everything was known or given up."""
        return self._is_reached
