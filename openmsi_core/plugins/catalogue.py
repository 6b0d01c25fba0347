"""Which plugins are installed, found without importing any of them."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, EntryPoint, distributions, version

from openmsi_core.errors import PluginError
from openmsi_core.plugins import manifest

GROUPS = {
    "openmsi.extractors": "extractor",
    "openmsi.sinks": "sink",
    "openmsi.processors": "processor",
    "openmsi.hooks": "hook",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One plugin: its name and kind, where it comes from, and whether it can run.

    ``status`` is ``ok``, or says what is wrong and what to do; ``target`` is ``module:class``.
    """

    kind: str
    name: str
    package: str
    version: str
    target: str
    status: str
    summary: str
    accepts: tuple[str, ...] = ()
    window: str = ""

    @property
    def qualified(self) -> str:
        """The name that is never ambiguous: ``package/name``."""
        return f"{self.package}/{self.name}"


def catalogue(search: Sequence[str] | None = None, kind: str | None = None) -> tuple[Entry, ...]:
    """Every installed plugin, sorted by kind and name. ``search``: folders instead of `sys.path`.

    Reads package metadata and parses source files; imports nothing, so a broken plugin is a line and no failure.
    """
    entries = [_entry(dist, point, search) for dist, point in _points(search) if kind in {None, GROUPS[point.group]}]
    counts = Counter(entry.name for entry in entries)
    return tuple(
        sorted(
            (_ambiguous(entry) if counts[entry.name] > 1 else entry for entry in entries),
            key=lambda entry: (entry.kind, entry.name, entry.package),
        )
    )


def find(name: str, entries: Iterable[Entry] | None = None) -> Entry:
    """The plugin called ``name`` or ``package/name``. Raises PluginError: unknown, ambiguous, or unable to run."""
    every = list(catalogue() if entries is None else entries)
    found = [entry for entry in every if name in {entry.name, entry.qualified} and entry.kind != "hook"]
    if not found:
        raise PluginError(_unknown(name, every))
    if len(found) > 1:
        choices = " or ".join(entry.qualified for entry in found)
        raise PluginError(f"several packages have a plugin called {name!r}: say {choices}.")
    entry = found[0]
    if entry.status not in {"ok", "no window"} and not entry.status.startswith("ambiguous"):
        raise PluginError(f"the plugin {entry.qualified} cannot run: {entry.status}.")
    return entry


def entry_point(entry: Entry) -> EntryPoint:
    """The entry point of ``entry``, as importlib.metadata gives it now. Raises PluginError when it is gone."""
    for dist, point in _points(None):
        if (point.name, _name_of(dist), point.value) == (entry.name, entry.package, entry.target):
            return point
    raise PluginError(f"the plugin {entry.qualified} was uninstalled a moment ago.")


def _points(search: Sequence[str] | None) -> Iterable[tuple[Distribution, EntryPoint]]:
    seen: set[str] = set()
    for dist in distributions(path=list(search)) if search is not None else distributions():
        text = dist.read_text("entry_points.txt")
        if text is None or "openmsi." not in text:
            continue
        name = _name_of(dist)
        if name in seen:  # shadowed by an earlier folder of sys.path, as for imports
            continue
        seen.add(name)
        for point in dist.entry_points:
            if point.group in GROUPS:
                yield dist, point


def _name_of(dist: Distribution) -> str:
    return str(dist.metadata["Name"])


def _entry(dist: Distribution, point: EntryPoint, search: Sequence[str] | None) -> Entry:
    module, _, attribute = point.value.partition(":")
    kind = GROUPS[point.group]
    requirements = dist.requires or []
    window, misfit = _window(requirements, _name_of(dist))
    entry = Entry(kind, point.name, _name_of(dist), dist.version, point.value, "ok", "", (), window)
    if misfit:
        return replace(entry, status=misfit)
    missing = _missing(requirements)
    if missing:
        return replace(entry, status=f"missing {missing}: pip install '{missing}'")
    found = manifest.read(module.strip(), attribute.split("[")[0].strip(), search) if kind != "hook" else None
    if found is None:
        return entry
    if found.broken:
        return replace(entry, status=f"broken entry point: {found.broken}")
    accepts = found.literals.get("accepts", ())
    globs = tuple(str(each) for each in accepts) if isinstance(accepts, tuple | list) else ()
    return replace(entry, summary=found.summary, accepts=globs)


def _ambiguous(entry: Entry) -> Entry:
    return replace(entry, status=f"ambiguous: say {entry.qualified}") if entry.status == "ok" else entry


def _window(requirements: Sequence[str], package: str) -> tuple[str, str]:
    """The versions of openmsi that the package asks for, and what is wrong when ours is not among them."""
    if package == "openmsi":
        return "", ""
    ours = _our_version()
    for text in requirements:
        head = text.split(";")[0].strip()
        if not head.lower().startswith("openmsi"):
            continue
        from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - listing must be fast

        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.name.lower() != "openmsi":
            continue
        window = str(requirement.specifier)
        if not requirement.specifier.contains(ours, prereleases=True):
            return window, f"incompatible: it asks for openmsi{window}, this is {ours}: pip install -U {package}"
        return window, ""
    return "", ""


def _our_version() -> str:
    return version("openmsi")


def _missing(requirements: Sequence[str]) -> str:
    """The first requirement that nobody has installed, "" if none; extras do not count."""
    for text in requirements:
        head, _, marker = text.partition(";")
        if marker and ("extra" in marker or not _marker_holds(marker)):
            continue
        name = _bare(head)
        if name and name != "openmsi" and not _is_installed(name):
            return head.strip()
    return ""


def _marker_holds(marker: str) -> bool:
    from packaging.markers import InvalidMarker, Marker  # noqa: PLC0415 - listing must be fast

    try:
        return Marker(marker.strip()).evaluate()
    except InvalidMarker:
        return False


def _bare(requirement: str) -> str:
    end = next((at for at, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), len(requirement))
    return requirement[:end]


def _is_installed(name: str) -> bool:
    try:
        Distribution.from_name(name)
    except ModuleNotFoundError:
        return False
    return True


def _unknown(name: str, every: Sequence[Entry]) -> str:
    close = difflib.get_close_matches(name, [entry.name for entry in every], n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"no plugin called {name!r} is installed. {hint}`openmsi plugins` lists what is; install others with pip."
