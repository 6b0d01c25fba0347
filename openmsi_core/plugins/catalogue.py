"""Which plugins are installed, found without importing any of them.

Package metadata says which plugins there are; their source files, parsed and never run, say the rest. A broken
package is a line with a status and no failure.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, EntryPoint

from openmsi_core.errors import PluginError
from openmsi_core.plugins import manifest
from openmsi_core.plugins.requirements import Installed, Package, canonical, judge, package_of

GROUPS = {
    "openmsi.extractors": "extractor",
    "openmsi.sinks": "sink",
    "openmsi.processors": "processor",
    "openmsi.hooks": "hook",
}
_UNKNOWN = "unknown"  # the kind of a package whose entry points cannot be read
_RUNNABLE = {"ok", "no window", "unrenamed template"}
_TEMPLATE_PACKAGE, _TEMPLATE_MODULE = "my-xrd-extractor", "my_xrd_extractor"


@dataclass(frozen=True, slots=True)
class Entry:
    """One plugin: its name and kind, where it comes from, whether it can run, and what its class says of itself.

    ``target`` is ``module:class``. ``status`` is ``ok``, ``no window``, ``unrenamed template`` (these can run),
    ``ambiguous`` (runs by its qualified name), ``incompatible``, ``missing: REQUIREMENT`` or
    ``broken entry point``; ``detail`` says what that means and what to do. ``window`` is the versions of openmsi
    that its package asks for. ``dynamic`` names what is known only after importing it.
    """

    kind: str
    name: str
    package: str
    version: str
    target: str
    status: str = "ok"
    detail: str = ""
    summary: str = ""
    window: str = ""
    accepts: tuple[str, ...] = ()
    sniff: str = ""
    head: int = 0
    emits: str = ""
    delivery: str = ""
    cite: str = ""
    stability: str = ""
    dynamic: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """The name that is never ambiguous: ``package/name``."""
        return f"{self.package}/{self.name}"


def catalogue(search: Sequence[str] | None = None, kind: str | None = None) -> tuple[Entry, ...]:
    """Every installed plugin, sorted by kind and name. ``search``: folders instead of `sys.path`.

    Reads package metadata and parses source files; imports nothing, so a broken plugin is a line and no failure.
    """
    installed = Installed(search)
    every = [entry for found in _points(installed) for entry in _lines(found, installed, search)]
    counts = Counter((entry.kind == "hook", entry.name) for entry in every)
    marked = [_ambiguous(entry) if counts[entry.kind == "hook", entry.name] > 1 else entry for entry in every]
    chosen = [entry for entry in marked if kind in {None, entry.kind}]
    return tuple(sorted(chosen, key=lambda entry: (entry.kind, entry.name, entry.package)))


def find(name: str, entries: Iterable[Entry] | None = None, *, hook: bool = False) -> Entry:
    """The plugin called ``name`` or ``package/name``; with ``hook`` the hook plugin of that name.

    Raises PluginError: unknown, ambiguous, or unable to run.
    """
    every = [each for each in (catalogue() if entries is None else entries) if (each.kind == "hook") == hook]
    package, slash, short = name.rpartition("/")
    found = [each for each in every if each.name == short and canonical(package) in {"", canonical(each.package)}]
    if not found:
        raise PluginError(_unknown(name, every))
    if len(found) > 1 and slash:
        kinds = " and ".join(each.kind for each in found)
        raise PluginError(f"the package {found[0].package} calls its {kinds} both {short!r}: it must rename one.")
    if len(found) > 1:
        choices = " or ".join(each.qualified for each in found)
        raise PluginError(f"several packages have a plugin called {name!r}: say {choices}.")
    entry = found[0]
    if entry.status not in _RUNNABLE and entry.status != "ambiguous":
        raise PluginError(f"the plugin {entry.qualified} cannot run: {entry.status}: {entry.detail}")
    return entry


def entry_point(entry: Entry) -> EntryPoint:
    """The entry point of ``entry``, as importlib.metadata gives it now. Raises PluginError when it is gone."""
    wanted = (entry.package, entry.kind, entry.name, entry.target)
    for found in _points(Installed()):
        for point in found.points:
            if (found.package.name, GROUPS[point.group], point.name, point.value) == wanted:
                return point
    raise PluginError(f"the plugin {entry.qualified} was uninstalled a moment ago.")


@dataclass(frozen=True, slots=True)
class _Found:
    """A package that has plugins, and their entry points; ``trouble`` says why they cannot be read."""

    package: Package
    points: tuple[EntryPoint, ...] = ()
    trouble: str = ""


def _points(installed: Installed) -> Iterator[_Found]:
    for dist in installed.all():
        package = Package("(unknown)", "", ())
        try:
            text = dist.read_text("entry_points.txt")
            if text is None or "openmsi." not in text:
                continue
            package = package_of(dist)
            if not _is_shadowed(dist, package.name, installed):
                yield _Found(package, tuple(point for point in dist.entry_points if point.group in GROUPS))
        except Exception as error:  # noqa: BLE001 - one package that cannot be read is one line
            where = f"below {dist.locate_file('')} cannot be read ({type(error).__name__}: {error})"
            yield _Found(package, trouble=f"its entry points {where}; install {package.name} again")


def _is_shadowed(dist: Distribution, name: str, installed: Installed) -> bool:
    """True when an earlier folder of the path has that package too: imports take that one."""
    first = installed.first(name)
    return first is not None and str(first.locate_file("")) != str(dist.locate_file(""))


def _lines(found: _Found, installed: Installed, search: Sequence[str] | None) -> Iterator[Entry]:
    package = found.package
    if found.trouble:
        yield Entry(_UNKNOWN, package.name, package.name, package.version, "", "broken entry point", found.trouble)
    for point in found.points:
        try:
            yield _entry(package, point, installed, search)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one plugin, the others are listed
            detail = f"it cannot be looked at ({type(error).__name__}: {error}); install {package.name} again"
            kind = GROUPS[point.group]
            yield Entry(kind, point.name, package.name, package.version, point.value, "broken entry point", detail)


def _entry(package: Package, point: EntryPoint, installed: Installed, search: Sequence[str] | None) -> Entry:
    module, attribute, extras = _taken_apart(point.value)
    entry = Entry(GROUPS[point.group], point.name, package.name, package.version, point.value)
    entry = _described(entry, manifest.read(module, attribute, search))
    verdict = judge(package, extras, installed)
    entry = replace(entry, window=verdict.window)
    if not attribute and entry.kind != "hook":
        entry = replace(entry, status="broken entry point", detail=f"{point.value!r} names no class")
    if verdict.status and (entry.status == "ok" or verdict.status != "no window"):
        return replace(entry, status=verdict.status, detail=verdict.detail)
    if (
        entry.status == "ok"
        and module.split(".")[0] == _TEMPLATE_MODULE
        and canonical(package.name) != _TEMPLATE_PACKAGE
    ):
        detail = f"its module is still called {_TEMPLATE_MODULE}, which collides with every other copy of the template"
        return replace(entry, status="unrenamed template", detail=detail)
    return entry


def _taken_apart(value: str) -> tuple[str, str, list[str]]:
    """``module:class [extra, extra]`` in its parts."""
    target, _, extras = value.partition("[")
    module, _, attribute = target.partition(":")
    return module.strip(), attribute.strip(), [each.strip() for each in extras.rstrip("] ").split(",") if each.strip()]


def _described(entry: Entry, found: manifest.Manifest) -> Entry:
    if found.broken:
        return replace(entry, status="broken entry point", detail=f"{found.broken}; install {entry.package} again")
    said = found.literals
    head = said.get("head", 0)
    return replace(
        entry,
        summary=found.summary or (f"({found.dynamic[0]} is made when imported)" if found.dynamic else ""),
        accepts=_texts(said.get("accepts", ())),
        sniff=_text(said.get("sniff", b"")),
        head=head if isinstance(head, int) else 0,
        emits=_text(said.get("emits", "")),
        delivery=_text(said.get("delivery", "")),
        cite=_text(said.get("cite", "")),
        stability=_text(said.get("stability", "")),
        dynamic=found.dynamic,
    )


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(each) for each in value) if isinstance(value, tuple | list) else ()


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _ambiguous(entry: Entry) -> Entry:
    if entry.status not in _RUNNABLE:
        return entry
    return replace(entry, status="ambiguous", detail=f"several packages use this name; say {entry.qualified}")


def _unknown(name: str, every: Sequence[Entry]) -> str:
    known = [each.name for each in every] + [each.qualified for each in every]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"no plugin called {name!r} is installed. {hint}`openmsi plugins` lists what is; install others with pip."
