"""A built plugin as the runtime drives it: the Runner port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from openmsi_core.files.datafile import DataFile
from openmsi_core.model import PluginFacts, Result, Stored
from openmsi_core.plugins.kinds import Extractor, Plugin, Processor, Sink


@dataclass(frozen=True, slots=True)
class Done:
    """What a plugin did with one file; ``results`` can be read once, which is when a processor makes them."""

    results: Iterable[Result] = ()
    location: str = ""
    unchanged: bool = False


class PluginRunner:
    """Drives one plugin of any kind. One thread calls it."""

    def __init__(self, plugin: Plugin, facts: PluginFacts) -> None:
        self.facts = facts
        self._plugin = plugin

    @property
    def plugin(self) -> Plugin:
        """The plugin itself, for who announces what happens: it may observe by decorating a method."""
        return self._plugin

    @property
    def accepts(self) -> tuple[str, ...]:
        """Globs of the files the plugin wants; empty: every file."""
        accepts: object = self._plugin.accepts
        if isinstance(accepts, str):
            return (accepts,)  # "*.txt" instead of ("*.txt",) would be five globs
        return tuple(self._plugin.accepts)

    @property
    def workers(self) -> int:
        """How many instances the plugin wants to work at once; at least one."""
        return max(1, int(self._plugin.workers))

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
            if not isinstance(found, Mapping):
                raise self._wrong(found, "extract", "a dict")
            return Done((Result(found),))
        if isinstance(plugin, Sink):
            stored: object = plugin.write(file)
            if not isinstance(stored, Stored):
                raise self._wrong(stored, "write", "Stored(location)")
            return Done((), stored.location, stored.unchanged)
        if isinstance(plugin, Processor):
            return Done(self._results(plugin.process(file)))
        raise TypeError(f"the plugin {self.facts.name} is neither an Extractor nor a Sink nor a Processor")

    def _results(self, answer: object) -> Iterator[Result]:
        if not isinstance(answer, Iterable):
            raise self._wrong(answer, "process", "results: yield Result(value)")
        for one in answer:
            if not isinstance(one, Result):
                raise self._wrong(one, "process", "Result(value) for each result")
            yield one

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

    def _wrong(self, value: object, method: str, example: str) -> TypeError:
        return TypeError(
            f"the plugin {self.facts.name} answered with {type(value).__name__} from its method {method}; it must "
            f"give {example}"
        )
