"""Settling: which files stand still long enough to be sent. Pure: looks and clocks come in as arguments.

A file is *ready* when its size and time of change are what they were at an earlier look, and that look is at least
the settle time ago. One look is enough for a file whose time of change lies that far back already, if the caller
trusts it (``trusts_age``): a single pass cannot wait for files that nobody writes to; a time of change in
the future proves nothing and needs the two looks. A file that was renamed into place was whole before.

Where times of change are whole seconds (FAT even counts in pairs), two changes within one step cannot be told apart:
such a file is not ready before its last step is over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

TICK_NS = 50_000_000
"""The least settle time: file systems stamp changes with a coarse clock (4 ms on Linux, 16 ms on Windows), and two
changes within one tick cannot be told apart."""

_COARSE_NS = 1_000_000_000
_CAPACITY = 200_000


@dataclass(frozen=True, slots=True)
class _Look:
    size: int
    mtime_ns: int
    since_ns: int
    first_ns: int
    scan: int
    needs_ns: int


class Settling:
    """Remembers the files that are not ready yet; ``settle_ns`` is nanoseconds.

    Holds at most ``capacity`` files: others are not ready before there is room, so memory stays bounded while a
    million new files wait.
    """

    def __init__(self, settle_ns: int, *, trusts_age: bool = False, capacity: int = _CAPACITY) -> None:
        self.settle_ns = settle_ns
        self._trusts_age = trusts_age
        self._capacity = capacity
        self._looks: dict[bytes, _Look] = {}
        self._scan = 0

    def __len__(self) -> int:
        return len(self._looks)

    def look(self, key: bytes, size: int, mtime_ns: int, now_ns: int, wall_ns: int, *, is_moved: bool = False) -> bool:
        """Note one look at a file; True when it is ready. ``is_moved``: it was just renamed into place.

        ``now_ns`` is a clock that never jumps (`time.monotonic_ns`), ``wall_ns`` the one that stamps files.
        A file stays remembered when it is ready: asked again, it is ready again until it changes.
        """
        is_in_step = mtime_ns % _COARSE_NS == 0 and 0 <= wall_ns - mtime_ns < 2 * _COARSE_NS
        if self._trusts_age and wall_ns - mtime_ns >= self.settle_ns and not is_in_step:
            self._looks.pop(key, None)
            return True
        before = self._looks.get(key)
        if before is None and len(self._looks) >= self._capacity:
            return False
        needs_ns = self.settle_ns
        if is_moved:
            needs_ns = 0 if wall_ns - mtime_ns >= TICK_NS else TICK_NS
        if before is None:
            now = _Look(size, mtime_ns, now_ns, now_ns, self._scan, needs_ns)
        elif (before.size, before.mtime_ns) != (size, mtime_ns):
            now = _Look(size, mtime_ns, now_ns, before.first_ns, self._scan, needs_ns)
        else:
            now = replace(before, scan=self._scan, needs_ns=min(needs_ns, before.needs_ns))
        self._looks[key] = now
        return now_ns - now.since_ns >= now.needs_ns and not is_in_step

    def due_ns(self, key: bytes) -> int | None:
        """When to look at a file again, in the time of the clock that never jumps; None for one that does not wait."""
        look = self._looks.get(key)
        return look.since_ns + look.needs_ns if look else None

    def waited_ns(self, key: bytes, now_ns: int) -> int:
        """How long a file has been waiting since it was first looked at; 0 for one that does not wait."""
        look = self._looks.get(key)
        return now_ns - look.first_ns if look else 0

    def forget(self, key: bytes) -> None:
        """The file is dealt with; the next look at it is a first one."""
        self._looks.pop(key, None)

    def end_scan(self) -> None:
        """A scan has ended: forget the files that it did not see, they are gone."""
        gone = [key for key, look in self._looks.items() if look.scan != self._scan]
        for key in gone:
            del self._looks[key]
        self._scan += 1
