"""The agenda: which files are to be looked at again, and when."""

from __future__ import annotations

import heapq

_CAPACITY = 200_000
_NEVER = 1 << 62


class Agenda:
    """Paths by the time of their next look, each once: a later wish for a path that stands there changes nothing.

    Times are those of a clock that never jumps, in nanoseconds. What does not fit is left to the next scan.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._heap: list[tuple[int, bytes]] = []
        self._keys: set[bytes] = set()

    @property
    def next_ns(self) -> int:
        """When the next look is due; far away when there is none."""
        return self._heap[0][0] if self._heap else _NEVER

    def put(self, key: bytes, due_ns: int) -> None:
        """Look at this path then."""
        if key not in self._keys and len(self._heap) < self._capacity:
            self._keys.add(key)
            heapq.heappush(self._heap, (due_ns, key))

    def due(self, now_ns: int, most: int) -> list[bytes]:
        """At most so many paths whose time has come; they leave the agenda."""
        found: list[bytes] = []
        while self._heap and self._heap[0][0] <= now_ns and len(found) < most:
            found.append(heapq.heappop(self._heap)[1])
        self._keys.difference_update(found)
        return found
