"""Telling everybody what happens: the only door to pluggy.

No data passes through hooks: observers see, they do not change. One that raises is logged and harms nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pluggy

from openmsi_core.errors import PluginError
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import Outcome

PROJECT = "openmsi"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

log = logging.getLogger(__name__)


class Hooks:
    """What may be observed. Implement any of these, decorated with ``@hookimpl``, and take the arguments you want.

    ``openmsi_file_*`` are called in worker threads, several at once, while the file is there; ``openmsi_checkpoint`` by
    the thread that polls, so return at once.
    """

    @hookspec
    def openmsi_starting(self, run: str) -> None:
        """A run begins; ``run`` is its consumer group."""

    @hookspec
    def openmsi_file_done(self, file: DataFile, outcome: Outcome) -> None:
        """A file was handled, and its outcome waits for the next checkpoint.

        Of a file that is not `complete` only the beginning was handled; whether it counts shows when the file ends.
        """

    @hookspec
    def openmsi_file_failed(self, file: DataFile, error: str) -> None:
        """A file became a dead letter; ``error`` is the reason."""

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
        self._callers: dict[str, Sequence[tuple[str, pluggy.HookCaller]]] = {}

    def add(self, observer: object, name: str) -> None:
        """Register one observer: a module, or an object with hook implementations.

        Raises PluginError when it implements a hook that does not exist (a misspelt one would never be called), or
        asks for an argument that a hook does not have.
        """
        if isinstance(observer, type):
            raise TypeError(f"{name}: register an object of {observer.__name__}, not the class")
        if self._plugins.has_plugin(name):
            raise PluginError(f"the observer {name} is named twice: take one of them out of `hooks`.")
        try:
            self._plugins.register(observer, name)
            self._plugins.check_pending()
        except pluggy.PluginValidationError as error:
            if self._plugins.has_plugin(name):
                self._plugins.unregister(name=name)
            raise PluginError(
                f"the observer {name} cannot be used: {error}. The hooks are {', '.join(_hook_names())}."
            ) from error
        self._callers = {hook: self._callers_of(hook) for hook in _hook_names()}

    def tell(self, hook: str, **facts: object) -> None:
        """Tell every observer of ``hook``; one that raises is logged with its name and the next is told."""
        for name, caller in self._callers.get(hook, ()):
            try:
                caller(**facts)
            except (Exception, SystemExit):  # an observer may fail, the run may not
                log.exception("observer %s failed in %s; the run goes on", name, hook)

    def _callers_of(self, hook: str) -> list[tuple[str, pluggy.HookCaller]]:
        """For each observer of ``hook`` a caller that calls nobody else: a failure in one is none in the next."""
        registered = [(name, each) for name, each in self._plugins.list_name_plugin() if each is not None]
        callers = []
        for name, each in registered:
            caller = self._plugins.subset_hook_caller(hook, [other for _, other in registered if other is not each])
            if caller.get_hookimpls():
                callers.append((name, caller))
        return callers


def observed_by(observer: object) -> tuple[str, ...]:
    """The hooks that an object implements, found without registering it."""
    names = (name for name in dir(type(observer)) if hasattr(getattr(type(observer), name, None), f"{PROJECT}_impl"))
    return tuple(sorted(names))


def _hook_names() -> list[str]:
    return sorted(name for name in vars(Hooks) if name.startswith("openmsi_"))
