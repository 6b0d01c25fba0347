"""Files that could not be sent, and when each is tried again."""

from __future__ import annotations

_FIRST_NS = 5_000_000_000
_LONGEST_NS = 300_000_000_000


class Later:
    """After each failure in a row a file waits twice as long, from 5 s to 5 minutes. The clock is an argument."""

    def __init__(self) -> None:
        self._due_ns: dict[bytes, int] = {}
        self._failures: dict[bytes, int] = {}

    def failed(self, key: bytes, now_ns: int) -> int:
        """Note a failure; how many there were in a row."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        self._due_ns[key] = now_ns + min(_FIRST_NS << (count - 1), _LONGEST_NS)
        return count

    def must_wait(self, key: bytes, now_ns: int) -> bool:
        """True while a file is not to be tried again yet."""
        return self._due_ns.get(key, now_ns) > now_ns

    def forget(self, key: bytes) -> None:
        """It worked, or it is gone."""
        self._due_ns.pop(key, None)
        self._failures.pop(key, None)
