"""The agenda: which files are to be looked at again, and when."""

from __future__ import annotations

import heapq

_CAPACITY = 200_000
_NEVER = 1 << 62


class Agenda:
    """Paths by the time of their next look, each once: for a path that stands there an earlier wish counts.

    Times are those of a clock that never jumps, in nanoseconds. What does not fit is left to the next scan.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._heap: list[tuple[int, bytes]] = []  # with what an earlier wish has overtaken
        self._due: dict[bytes, int] = {}

    @property
    def next_ns(self) -> int:
        """When the next look is due; far away when there is none."""
        return self._heap[0][0] if self._heap else _NEVER

    def put(self, key: bytes, due_ns: int) -> None:
        """Look at this path then."""
        is_there = key in self._due
        if is_there and due_ns >= self._due[key]:
            return
        if (is_there or len(self._due) < self._capacity) and len(self._heap) < 2 * self._capacity:
            self._due[key] = due_ns
            heapq.heappush(self._heap, (due_ns, key))

    def due(self, now_ns: int, most: int) -> list[bytes]:
        """At most so many paths whose time has come; they leave the agenda."""
        found: list[bytes] = []
        while self._heap and self._heap[0][0] <= now_ns and len(found) < most:
            due_ns, key = heapq.heappop(self._heap)
            if self._due.get(key) == due_ns:
                del self._due[key]
                found.append(key)
        return found
