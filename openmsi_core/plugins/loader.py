"""Loading the one plugin that was named: the only door to stevedore."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from stevedore.driver import DriverManager

from openmsi_core.errors import PluginError
from openmsi_core.model import PluginFacts
from openmsi_core.plugins.catalogue import GROUPS, Entry, entry_point, find
from openmsi_core.plugins.kinds import Plugin
from openmsi_core.plugins.options import PluginOptions, options_hash, parse
from openmsi_core.plugins.running import PluginRunner


class _OnePlugin(DriverManager[Plugin]):
    """stevedore's manager for one entry point that the catalogue has chosen.

    Its cache on disk serves entry points of before an editable reinstall for two minutes, so it is not asked.
    """

    def __init__(self, entry: Entry) -> None:
        self._point = entry_point(entry)
        self.failures: list[BaseException] = []
        group = next(group for group, kind in GROUPS.items() if kind == entry.kind)
        super().__init__(group, entry.name, invoke_on_load=False, on_load_failure_callback=self._failed)

    def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
        """Only the chosen one."""
        return [self._point]

    def _failed(self, _: object, __: object, error: BaseException) -> None:
        self.failures.append(error)


def load(entry: Entry) -> type[Plugin]:
    """The class of a plugin. Raises PluginError with the cause chained: whatever its module raises when imported."""
    try:
        manager = _OnePlugin(entry)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and AssertionError come through here too
        raise _not_loaded(entry, error) from error
    if manager.failures or not manager.extensions:
        cause = manager.failures[0] if manager.failures else None
        raise _not_loaded(entry, cause) from cause
    plugin: object = manager.extensions[0].plugin
    if not isinstance(plugin, type) or not issubclass(plugin, Plugin):
        raise PluginError(
            f"{entry.target} of {entry.package} is not a plugin: it must be a class made from Extractor, Sink or "
            "Processor."
        )
    missing = sorted(getattr(plugin, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"the plugin {entry.qualified} lacks the method {', '.join(missing)}.")
    return plugin


def options_of(name: str) -> type[PluginOptions]:
    """The options model of the plugin called ``name``. Raises PluginError."""
    return load(find(name)).Options


def build(name: str, values: Mapping[str, object]) -> Callable[[Path | None], PluginRunner]:
    """What makes a runner of the plugin called ``name`` with a work folder, one for each worker.

    Raises PluginError, SettingsError.
    """
    entry = find(name)
    cls = load(entry)
    options = parse(cls.Options, values, entry.name)
    facts = PluginFacts(entry.name, entry.kind, entry.package, entry.version, options_hash(options))
    log = logging.getLogger(f"openmsi.plugin.{entry.name}")

    def make(workdir: Path | None) -> PluginRunner:
        return PluginRunner(cls(options, log, workdir), facts)

    return make


def _not_loaded(entry: Entry, error: BaseException | None) -> PluginError:
    if isinstance(error, ModuleNotFoundError) and error.name and not entry.target.startswith(error.name):
        return PluginError(
            f"the plugin {entry.qualified} needs the module {error.name}, which is not installed: "
            f"pip install {error.name}, or install {entry.package} again."
        )
    reason = f"{type(error).__name__}: {error}".rstrip(": ") if error is not None else "nothing was loaded"
    return PluginError(f"the plugin {entry.qualified} cannot be imported from {entry.target}: {reason}.")
