"""Telling everybody what happens: the only door to pluggy.

No data passes through hooks: observers see, they do not change. One that raises is logged and harms nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pluggy

from openmsi_core.files.datafile import DataFile
from openmsi_core.model import Outcome

PROJECT = "openmsi"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

log = logging.getLogger(__name__)


class Hooks:
    """What may be observed. Implement any of these, decorated with ``@hookimpl``."""

    @hookspec
    def openmsi_starting(self, run: str) -> None:
        """A run begins; ``run`` is its consumer group."""

    @hookspec
    def openmsi_file_done(self, file: DataFile, outcome: Outcome) -> None:
        """A file was handled, and its outcome waits for the next checkpoint."""

    @hookspec
    def openmsi_file_failed(self, file: DataFile, error: str) -> None:
        """A file became a dead letter."""

    @hookspec
    def openmsi_checkpoint(self, run: str, counts: Mapping[str, int]) -> None:
        """Outcomes became durable: how many of each kind so far."""

    @hookspec
    def openmsi_closing(self, reason: str) -> None:
        """A run ends."""


class Announcer:
    """Calls observers one by one, in the order they were added."""

    def __init__(self) -> None:
        self._plugins = pluggy.PluginManager(PROJECT)
        self._plugins.add_hookspecs(Hooks)

    def add(self, observer: object, name: str) -> None:
        """Register one observer: a module, or an object with hook implementations.

        Raises ValueError when it implements a hook that does not exist (a misspelt one would never be called).
        """
        if isinstance(observer, type):
            raise TypeError(f"{name}: register an object of {observer.__name__}, not the class")
        self._plugins.register(observer, name)
        try:
            self._plugins.check_pending()
        except pluggy.PluginValidationError as error:
            self._plugins.unregister(name=name)
            raise ValueError(f"{name} has a hook that openmsi does not call: {error}") from error

    def tell(self, hook: str, **facts: object) -> None:
        """Tell every observer; one that raises is logged with its name and the next is told."""
        for name, observer in self._plugins.list_name_plugin():
            if observer is None:
                continue
            others = [each for _, each in self._plugins.list_name_plugin() if each is not None and each is not observer]
            try:
                self._plugins.subset_hook_caller(hook, others)(**facts)
            except Exception:  # an observer may fail, the run may not
                log.exception("observer %s failed in %s; the run goes on", name, hook)
