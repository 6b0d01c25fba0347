"""Logs how a run goes: ``hooks = ["log-progress"]``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from openmsi_core import hookimpl

log = logging.getLogger(__name__)

_SECONDS = 60.0


class LogProgress:
    """Says once a minute, and at the end, what became of how many files."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said = clock()
        self._counts: Mapping[str, int] = {}
        self._run = ""

    @hookimpl
    def openmsi_starting(self, run: str) -> None:
        """A run begins."""
        self._run = run
        log.info("%s begins", run)

    @hookimpl
    def openmsi_checkpoint(self, counts: Mapping[str, int]) -> None:
        """Say it when a minute has passed."""
        self._counts = counts
        if self._clock() - self._said >= _SECONDS:
            self._said = self._clock()
            log.info("%s so far: %s", self._run, self._told())

    @hookimpl
    def openmsi_closing(self, reason: str) -> None:
        """Say it a last time."""
        log.info("%s ends (%s): %s", self._run, reason, self._told())

    def _told(self) -> str:
        return ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(self._counts.items())) or "nothing"
