"""How much there is to send, counted beside the sending, so that the remaining time can be told."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event

from openmsi_core.sending.seen import Seen


class Expected:
    """Counts ``files`` in a thread (`run`); ``total`` is files and bytes, None before all are counted."""

    def __init__(self, files: Iterable[Seen], stop: Event) -> None:
        self.total: tuple[int, int] | None = None
        self._files = files
        self._stop = stop

    def run(self) -> None:
        """Count; ends soon after ``stop``."""
        count = size = 0
        for seen in self._files:
            if self._stop.is_set():
                return
            count, size = count + 1, size + seen.facts.size
        self.total = count, size
