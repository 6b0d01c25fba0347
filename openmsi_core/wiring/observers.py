"""Who is told what a run does: the hook plugins that were named, and the plugin itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from openmsi_core.files.datafile import DataFile
from openmsi_core.model import Outcome
from openmsi_core.plugins.hooks import Announcer
from openmsi_core.plugins.loader import load_hooks
from openmsi_core.plugins.running import PluginRunner
from openmsi_core.ports import Runner
from openmsi_core.receiving.jobs import Counts, RunFacts


class Observers:
    """Tells observers about one run. ``names`` are hook plugins; each worker's own plugin observes too.

    Raises PluginError when an observer cannot be loaded.
    """

    def __init__(self, run: RunFacts, names: Sequence[str]) -> None:
        self._run = run
        self._announcer = Announcer()
        for name, observer in load_hooks(names):
            self._announcer.add(observer, name)

    @contextmanager
    def watching(self, runners: Sequence[Runner]) -> Iterator[None]:
        """While inside, the plugins of ``runners`` are told too; the beginning and the end are told to all.

        Not those in processes of their own: they cannot observe.
        """
        for number, runner in enumerate(runners):
            if isinstance(runner, PluginRunner):
                self._announcer.add(runner.plugin, f"{runner.facts.name}#{number}")
        self._announcer.tell("openmsi_starting", run=self._run.group)
        reason = "stopped"
        try:
            yield
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._announcer.tell("openmsi_closing", reason=reason)

    def file(self, file: DataFile, outcome: Outcome) -> None:
        """One file is dealt with; called in a worker's thread."""
        self._announcer.tell("openmsi_file_done", file=file, outcome=outcome)
        if outcome.what.is_letter:
            self._announcer.tell("openmsi_file_failed", file=file, error=outcome.reason)

    def checkpoint(self, counts: Counts) -> None:
        """Outcomes became durable; called in the poll loop, so observers must return at once."""
        seen = MappingProxyType(dict(counts.by_outcome))  # one that changes it would change it for the next
        self._announcer.tell("openmsi_checkpoint", run=self._run.group, counts=seen)
