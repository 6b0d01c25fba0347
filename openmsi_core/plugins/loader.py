"""Loading the plugins that were named: the only door to stevedore.

What nobody named is never imported. What was named and cannot be loaded is an error that says whose fault it is:
the plugin's package, something it needs, or the options it was given.
"""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from stevedore.driver import DriverManager
from stevedore.named import NamedExtensionManager

from openmsi_core.errors import PluginError
from openmsi_core.model import PluginFacts
from openmsi_core.plugins.catalogue import GROUPS, Entry, entry_point, find
from openmsi_core.plugins.kinds import Plugin
from openmsi_core.plugins.options import PluginOptions, options_hash, parse
from openmsi_core.plugins.running import PluginRunner

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    _Driver = DriverManager[object]
    _Named = NamedExtensionManager[object]
else:  # older ones cannot be subscripted
    _Driver, _Named = DriverManager, NamedExtensionManager

MAX_HEAD = 8 * 1024 * 1024


class _OnePlugin(_Driver):
    """stevedore's manager for one entry point that the catalogue has chosen.

    Its cache on disk serves entry points of before an editable reinstall for two minutes, so it is not asked. Its
    ``driver`` is not used either: that is the class itself whenever a built object is falsy.
    """

    def __init__(self, entry: Entry) -> None:
        self._point = entry_point(entry)
        super().__init__(_group_of(entry), entry.name, invoke_on_load=False, on_load_failure_callback=_raise)

    def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
        """Only the chosen one."""
        return [self._point]


class _NamedHooks(_Named):
    """stevedore's manager for the hook plugins that the configuration names."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._points = [entry_point(entry) for entry in entries]
        names = [entry.name for entry in entries]
        super().__init__("openmsi.hooks", names, name_order=True, on_load_failure_callback=_raise)

    def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
        """Only the named ones."""
        return self._points


def load(entry: Entry) -> type[Plugin]:
    """The class of a plugin. Raises PluginError with the cause chained: whatever its module raises when imported."""
    plugin = _loaded(lambda: _OnePlugin(entry), entry)
    if not isinstance(plugin, type) or not issubclass(plugin, Plugin):
        raise PluginError(
            f"{entry.target} of {entry.package} is not a plugin: it must be a class made from Extractor, Sink or "
            "Processor."
        )
    kinds = {base.__name__.lower() for base in plugin.__mro__ if base.__module__ == Plugin.__module__}
    if entry.kind not in kinds:
        raise PluginError(
            f"the plugin {entry.qualified} stands in the group {_group_of(entry)}, but its class is not made from "
            f"{entry.kind.capitalize()}."
        )
    missing = sorted(getattr(plugin, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"the plugin {entry.qualified} lacks the method {', '.join(missing)}.")
    _check_head(plugin, entry)
    options: object = plugin.Options
    if not isinstance(options, type) or not issubclass(options, PluginOptions):
        raise PluginError(f"the Options of the plugin {entry.qualified} must be made from PluginOptions.")
    return plugin


def _check_head(plugin: type[Plugin], entry: Entry) -> None:
    """Raises PluginError for a ``head`` or ``early`` that cannot be."""
    head: object = plugin.head
    if isinstance(head, bool) or not isinstance(head, int) or not 0 <= head <= MAX_HEAD:
        raise PluginError(
            f"the plugin {entry.qualified} has head = {head!r}: it must be a number of bytes up to {MAX_HEAD:,}."
        )
    if head and entry.kind == "sink":
        raise PluginError(f"the plugin {entry.qualified} has a head, but a sink stores whole files: remove it.")
    if plugin.early and not head:
        raise PluginError(f"the plugin {entry.qualified} is early without a head: say how many bytes it needs.")


def options_of(name: str) -> type[PluginOptions]:
    """The options model of the plugin called ``name``. Raises PluginError."""
    return load(find(name)).Options


def build(name: str, values: Mapping[str, object]) -> Callable[[Path | None], PluginRunner]:
    """What makes a runner of the plugin called ``name`` with a work folder, one for each worker.

    Raises PluginError, SettingsError. Nothing is opened or connected yet.
    """
    entry = find(name)
    cls = load(entry)
    if entry.status in {"no window", "unrenamed template"}:
        logger.warning("the plugin %s: %s", entry.qualified, entry.detail)
    options = parse(cls.Options, values, entry.name)
    facts = PluginFacts(
        entry.name, entry.kind, entry.package, entry.version, options_hash(options), cls.head, cls.early
    )
    log = logging.getLogger(f"openmsi.plugin.{entry.name}")

    def make(workdir: Path | None) -> PluginRunner:
        try:
            plugin = cls(options, log, workdir)
        except Exception as error:
            raise PluginError(
                f"the plugin {entry.qualified} cannot be built: {type(error).__name__}: {error}. Its constructor must "
                "take options, log and workdir, and only store them."
            ) from error
        return PluginRunner(plugin, facts)

    return make


def load_hooks(names: Sequence[str]) -> tuple[tuple[str, object], ...]:
    """The hook plugins called ``names`` with their qualified names, in that order; a class is built first.

    Raises PluginError.
    """
    observers = []
    for entry in [find(name, hook=True) for name in names]:
        observer = _loaded(lambda entry=entry: _NamedHooks([entry]), entry)  # type: ignore[misc] # bound at once
        observers.append((entry.qualified, _built(entry, observer) if isinstance(observer, type) else observer))
    return tuple(observers)


def _built(entry: Entry, cls: type) -> object:
    try:
        return cls()
    except Exception as error:
        raise PluginError(
            f"the hook plugin {entry.qualified} cannot be built: {type(error).__name__}: {error}. Its constructor must "
            "take nothing."
        ) from error


def _loaded(manage: Callable[[], _OnePlugin | _NamedHooks], entry: Entry) -> object:
    """What one entry point names. Raises PluginError whatever its module raises, SystemExit and AssertionError too."""
    try:
        with redirect_stdout(sys.stderr):  # what a module prints when imported is not our answer
            manager = manage()
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:
        raise _not_loaded(entry, error) from error
    plugin: object = manager.extensions[0].plugin
    return plugin


def _raise(_: object, __: object, error: BaseException) -> None:
    """What stevedore calls for a plugin that cannot be loaded; without it some failures are only logged."""
    raise error


def _group_of(entry: Entry) -> str:
    return next(group for group, kind in GROUPS.items() if kind == entry.kind)


def _not_loaded(entry: Entry, error: BaseException) -> PluginError:
    """The plugin itself missing, or something that it needs, or a module that raises."""
    module = entry.target.partition(":")[0].strip()
    if isinstance(error, ModuleNotFoundError) and error.name:
        if f"{module}.".startswith(f"{error.name}."):
            return PluginError(
                f"the plugin {entry.qualified} is missing: there is no module {error.name}; install {entry.package} "
                "again."
            )
        return PluginError(
            f"the plugin {entry.qualified} needs the module {error.name}, which is not installed: install the package "
            f"that has it (often `pip install {error.name.partition('.')[0]}`)."
        )
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    return PluginError(f"the plugin {entry.qualified} cannot be imported from {entry.target}: {reason}.")
