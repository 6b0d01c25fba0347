"""What the scanner had to leave out, said once and not at every scan."""

from __future__ import annotations

import logging

from openmsi_core.model import shown

_REMEMBERED = 1000

_log = logging.getLogger(__name__)


class Complaints:
    """Says each place and reason once, and again when it went away and came back."""

    def __init__(self) -> None:
        self._now: set[tuple[str, str]] = set()
        self._before: set[tuple[str, str]] = set()

    def __call__(self, place: str, reason: str) -> None:
        """Left out: ``place``, because of ``reason``."""
        if len(self._now) < _REMEMBERED:
            self._now.add((place, reason))
        if (place, reason) not in self._before and len(self._before) < _REMEMBERED:
            self._before.add((place, reason))
            _log.warning("left out: %s: %s; it is looked at again at every scan", shown(place), reason)

    def end_scan(self) -> None:
        """A scan has ended: what it did not complain about is mended."""
        self._before, self._now = self._now, set()
