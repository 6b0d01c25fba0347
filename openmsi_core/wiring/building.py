"""Building the plugin of a run: its runners in threads of this process, or each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openmsi_core.errors import PluginError
from openmsi_core.plugins.catalogue import find
from openmsi_core.plugins.hooks import observed_by
from openmsi_core.plugins.loader import build
from openmsi_core.plugins.running import PluginRunner
from openmsi_core.ports import Runner


@dataclass(frozen=True, slots=True)
class Isolation:
    """Where a plugin runs. ``timeout`` is seconds of one call, ``memory`` bytes; both only in a ``process``."""

    isolate: str = "thread"
    timeout: float = 300.0
    memory: int = 2 * 1024**3


class Built:
    """A plugin that was named, with its options. ``probe`` is one that is never opened, for what can be asked so.

    Raises PluginError, SettingsError.
    """

    def __init__(self, name: str, values: Mapping[str, object], isolation: Isolation) -> None:
        self._name = find(name).qualified
        self._values = values
        self._isolation = isolation
        self._make = build(name, values)
        self.probe: PluginRunner = self._make(None)
        observes = observed_by(self.probe.plugin)
        if isolation.isolate == "process" and observes:
            raise PluginError(
                f"the plugin {self._name} observes what happens ({', '.join(observes)}), which it cannot do from a "
                "process of its own. Run it with isolate = thread."
            )

    @contextmanager
    def runners(self, count: int, workdir: Path) -> Iterator[Sequence[Runner]]:
        """``count`` runners that are not opened yet; processes that are left at the end are ended."""
        if self._isolation.isolate == "thread":
            yield [self._make(workdir) for _ in range(count)]
            return
        # here, because nothing else needs psutil
        from openmsi_core.plugins.isolation.frames import portable  # noqa: PLC0415
        from openmsi_core.plugins.isolation.process import Plan  # noqa: PLC0415
        from openmsi_core.plugins.isolation.running import IsolatedRunner  # noqa: PLC0415

        plan = Plan(self._name, portable(self._values), self._isolation.timeout, self._isolation.memory)
        facts, flushes = self.probe.facts, self.probe.flushes
        isolated = [IsolatedRunner(plan, facts, workdir, flushes=flushes) for _ in range(count)]
        try:
            yield isolated
        finally:
            for runner in isolated:
                runner.end()
