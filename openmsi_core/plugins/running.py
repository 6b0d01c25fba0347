"""A built plugin as the runtime drives it: the Runner port."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from openmsi_core.files.datafile import DataFile
from openmsi_core.model import PluginFacts, Result, Stored
from openmsi_core.plugins.kinds import Extractor, Plugin, Processor, Sink

Wanted = TypeVar("Wanted")


@dataclass(frozen=True, slots=True)
class Done:
    """What a plugin did with one file."""

    results: tuple[Result, ...] = ()
    location: str = ""
    unchanged: bool = False


class PluginRunner:
    """Drives one plugin of any kind. One thread calls it."""

    def __init__(self, plugin: Plugin, facts: PluginFacts) -> None:
        self.facts = facts
        self._plugin = plugin

    @property
    def accepts(self) -> tuple[str, ...]:
        """Globs of the files the plugin wants; empty: every file."""
        return tuple(self._plugin.accepts)

    def open(self) -> None:
        """Let the plugin get ready."""
        self._plugin.open()

    def close(self) -> None:
        """Let the plugin clean up."""
        self._plugin.close()

    def handle(self, file: DataFile) -> Done:
        """Hand one file to the plugin. Raises what it raises, and TypeError when it answers with a wrong type."""
        plugin = self._plugin
        if isinstance(plugin, Extractor):
            found: object = plugin.extract(file)
            return Done((Result(self._typed(found, dict, "extract", "a dict")),))
        if isinstance(plugin, Sink):
            stored = self._typed(plugin.write(file), Stored, "write", "Stored(location)")
            return Done((), stored.location, stored.unchanged)
        if isinstance(plugin, Processor):
            return Done(tuple(self._typed(one, Result, "process", "Result(value)") for one in plugin.process(file)))
        raise TypeError(f"{self.facts.name} is neither an Extractor nor a Sink nor a Processor")

    @property
    def flushes(self) -> bool:
        """True when files count only after `flush`."""
        return isinstance(self._plugin, Sink) and type(self._plugin).flush is not Sink.flush

    def flush(self) -> None:
        """Let a sink make durable what it wrote."""
        if isinstance(self._plugin, Sink):
            self._plugin.flush()

    def spool_folder(self) -> Path | None:
        """Where a sink wants files to wait."""
        return self._plugin.spool_folder() if isinstance(self._plugin, Sink) else None

    def _typed(self, value: object, wanted: type[Wanted], method: str, example: str) -> Wanted:
        if not isinstance(value, wanted):
            raise TypeError(f"{self.facts.name}.{method} gave {type(value).__name__}; it must give {example}")
        return value
