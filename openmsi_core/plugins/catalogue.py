"""Which plugins are installed, found without importing any of them.

Package metadata says which plugins there are; their source files, parsed and never run, say the rest. A broken
package is a line with a status and no failure.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint

from openmsi_core.errors import PluginError
from openmsi_core.plugins.entry import GROUPS, LOADABLE, STATUSES, Entry
from openmsi_core.plugins.listing import lines, packages
from openmsi_core.plugins.requirements import Installed, canonical

__all__ = ["GROUPS", "STATUSES", "Entry", "catalogue", "choose", "entry_point", "find"]


def catalogue(search: Sequence[str] | None = None, kind: str | None = None) -> tuple[Entry, ...]:
    """Every installed plugin, sorted by kind and name. ``search``: folders instead of `sys.path`.

    Reads package metadata and parses source files; imports nothing, so a broken plugin is a line and no failure.
    """
    installed = Installed(search)
    every = [entry for found in packages(installed) for entry in lines(found, installed, search)]
    counts = Counter((entry.kind == "hook", entry.name) for entry in every if entry.status != "shadowed")
    marked = [_ambiguous(entry) if counts[entry.kind == "hook", entry.name] > 1 else entry for entry in every]
    chosen = [entry for entry in marked if kind in {None, entry.kind}]
    return tuple(sorted(chosen, key=lambda entry: (entry.kind, entry.name, entry.package)))


def find(name: str, entries: Iterable[Entry] | None = None, *, hook: bool = False) -> Entry:
    """The plugin called ``name`` or ``package/name``; with ``hook`` the hook plugin of that name.

    Raises PluginError: unknown, ambiguous, or unable to run.
    """
    entry = choose(name, entries, hook=hook)
    if entry.status not in LOADABLE:
        raise PluginError(f"the plugin {entry.qualified} cannot run: {entry.status}: {entry.detail}")
    return entry


def choose(name: str, entries: Iterable[Entry] | None = None, *, hook: bool = False) -> Entry:
    """The same, whether it can run or not. Raises PluginError: unknown or ambiguous."""
    every = [each for each in (catalogue() if entries is None else entries) if (each.kind == "hook") == hook]
    package, slash, short = name.rpartition("/")
    found = [each for each in every if each.name == short and canonical(package) in {"", canonical(each.package)}]
    found = [each for each in found if each.status != "shadowed"] or found[:1]
    if not found:
        raise PluginError(_unknown(name, every))
    if len(found) > 1 and slash:
        kinds = " and ".join(each.kind for each in found)
        raise PluginError(f"the package {found[0].package} calls its {kinds} both {short!r}: it must rename one.")
    if len(found) > 1:
        choices = " or ".join(each.qualified for each in found)
        raise PluginError(f"several packages have a plugin called {name!r}: say {choices}.")
    return found[0]


def entry_point(entry: Entry) -> EntryPoint:
    """The entry point of ``entry``, as importlib.metadata gives it now. Raises PluginError when it is gone."""
    wanted = (entry.package, entry.kind, entry.name, entry.target)
    for found in packages(Installed()):
        for point in found.points if not found.hidden_by else ():
            if (found.package.name, GROUPS[point.group], point.name, point.value) == wanted:
                return point
    raise PluginError(f"the plugin {entry.qualified} was uninstalled a moment ago.")


def _ambiguous(entry: Entry) -> Entry:
    if entry.status not in LOADABLE:
        return entry
    return replace(entry, status="ambiguous", detail=f"several packages use this name; say {entry.qualified}")


def _unknown(name: str, every: Sequence[Entry]) -> str:
    known = [each.name for each in every] + [each.qualified for each in every]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"no plugin called {name!r} is installed. {hint}`openmsi plugins` lists what is; install others with pip."
