"""The packages that have plugins, and each plugin judged without importing it."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint

from openmsi_core.plugins import manifest
from openmsi_core.plugins.entry import (
    GROUPS,
    METHODS,
    TEMPLATE_MODULE,
    TEMPLATE_PACKAGE,
    UNKNOWN,
    Entry,
)
from openmsi_core.plugins.requirements import Installed, Package, canonical, judge, package_of
from openmsi_core.plugins.source import find_module

_real = functools.cache(os.path.realpath)  # a listing asks for the same few folders a hundred times


@dataclass(frozen=True, slots=True)
class Found:
    """A package that has plugins, and their entry points.

    ``trouble`` says why they cannot be read, ``hidden_by`` which installation of the same package is imported instead.
    """

    package: Package
    points: tuple[EntryPoint, ...] = ()
    trouble: str = ""
    hidden_by: str = ""


def packages(installed: Installed) -> Iterator[Found]:
    """Every installed package that has plugins, once, in the order in which imports would find them."""
    versions: dict[tuple[str, str], list[str]] = {}  # by name and folder
    for dist in installed.all():
        package = Package("(unknown)", "", ())
        try:
            text = dist.read_text("entry_points.txt")
            if text is None or "openmsi." not in text:
                continue
            package = package_of(dist)
            before = versions.setdefault((canonical(package.name), _real(package.folder)), [])
            if package.version not in before:  # else its folder stands on the path twice
                points = tuple(point for point in dist.entry_points if point.group in GROUPS)
                yield Found(package, points, hidden_by=_hidden_by(package, before, installed))
                before.append(package.version)
        except Exception as error:  # noqa: BLE001 - one package that cannot be read is one line
            where = f"below {dist.locate_file('')} cannot be read ({type(error).__name__}: {error})"
            yield Found(package, trouble=f"its entry points {where}; install {package.name} again")


def _hidden_by(package: Package, before: Sequence[str], installed: Installed) -> str:
    """Which installation of the same package imports find instead of this one, "" if they find this one.

    ``before`` are versions that were seen in the same folder: an interrupted pip leaves such behind.
    """
    first = installed.first(package.name)
    folder = package.folder if first is None else str(first.locate_file(""))
    if before:
        return f"{package.name} {before[0]} in {package.folder}"
    if first is None or _real(folder) == _real(package.folder):
        return ""
    return f"{package.name} {first.version} in {folder}"


def lines(found: Found, installed: Installed, search: Sequence[str] | None = None) -> Iterator[Entry]:
    """One entry for each plugin of a package. Whatever is wrong with one, the others are listed."""
    package = found.package
    if found.trouble:
        yield Entry(UNKNOWN, package.name, package.name, package.version, "", "broken entry point", found.trouble)
    for point in found.points:
        entry = Entry(GROUPS[point.group], point.name, package.name, package.version, point.value)
        if found.hidden_by:
            detail = f"{found.hidden_by} is imported instead; uninstall the one in {package.folder}"
            yield replace(entry, status="shadowed", detail=detail)
            continue
        try:
            yield _entry(entry, package, installed, search)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one plugin, the others are listed
            detail = f"it cannot be looked at ({type(error).__name__}: {error}); install {package.name} again"
            yield replace(entry, status="broken entry point", detail=detail)


def _entry(entry: Entry, package: Package, installed: Installed, search: Sequence[str] | None) -> Entry:
    module, attribute, extras = _taken_apart(entry.target)
    found = manifest.read(module, attribute, search)
    verdict = judge(package, extras, installed)
    entry = replace(_described(entry, found), window=verdict.window)
    has_no_window = verdict.status == "no window"
    said = [  # the worst first
        ("shadowed", _module_hidden_by(package, module, search)),
        (verdict.status, "" if has_no_window else verdict.detail),
        ("broken entry point", _broken(entry, attribute, found)),
        ("fails on import", found.fails),
        ("no window", verdict.detail if has_no_window else ""),
        ("unrenamed template", _kept_of_the_template(package, module)),
        ("dynamic", _dynamic(found)),
    ]
    status, detail = next(((status, detail) for status, detail in said if detail), ("ok", ""))
    return replace(entry, status=status, detail=detail)


def _module_hidden_by(package: Package, module: str, search: Sequence[str] | None) -> str:
    """Which file imports find instead of the package's own module, "" if they find its own."""
    top = module.partition(".")[0]
    spec = find_module(top, search)
    if spec is None or spec.origin is None or spec.loader is None:
        return ""
    own = _real(package.folder)
    is_package = spec.submodule_search_locations is not None
    home = os.path.dirname(os.path.dirname(spec.origin) if is_package else spec.origin)  # noqa: PTH120 - this is 10 ms
    there = [os.path.join(own, f"{top}.py"), os.path.join(own, top, "__init__.py")]  # noqa: PTH118 - cheaper than Path
    if _real(home) == own or not any(map(os.path.exists, there)):
        return ""  # of an editable installation the module stands elsewhere, and only there
    return f"its module {module} is hidden by {spec.origin}; rename one, or take that off the path"


def _broken(entry: Entry, attribute: str, found: manifest.Manifest) -> str:
    """Why what the entry point names is surely no plugin of its kind, "" if only importing tells."""
    if found.broken:
        return f"{found.broken}; install {entry.package} again"
    problem = ""
    if entry.kind != "hook" and not attribute:
        problem = f"{entry.target!r} names no class"
    elif entry.kind != "hook" and found.made is not None:
        kind, method = entry.kind.capitalize(), METHODS[entry.kind]
        if kind not in found.made.bases:
            problem = f"{entry.target} is not a plugin of this kind: its class is not made from {kind}"
        elif method not in found.made.methods:
            problem = f"its class lacks the method {method}"
    return f"{problem}; tell the authors of {entry.package}" if problem else ""


def _kept_of_the_template(package: Package, module: str) -> str:
    if module.split(".", maxsplit=1)[0] != TEMPLATE_MODULE or canonical(package.name) == TEMPLATE_PACKAGE:
        return ""
    return f"its module is still called {TEMPLATE_MODULE}, which collides with every other copy of the template"


def _dynamic(found: manifest.Manifest) -> str:
    if not found.dynamic:
        return ""
    return f"{', '.join(found.dynamic)}: known only when it is imported; `openmsi plugins --probe` tells"


def _taken_apart(value: str) -> tuple[str, str, list[str]]:
    """``module:class [extra, extra]`` in its parts."""
    target, _, extras = value.partition("[")
    module, _, attribute = target.partition(":")
    return module.strip(), attribute.strip(), [each.strip() for each in extras.rstrip("] ").split(",") if each.strip()]


def _described(entry: Entry, found: manifest.Manifest) -> Entry:
    said = found.literals
    head = said.get("head", 0)
    return replace(
        entry,
        summary=found.summary or (f"({found.dynamic[0]} is made when imported)" if found.dynamic else ""),
        accepts=_texts(said.get("accepts", ())),
        sniff=_text(said.get("sniff", b"")),
        signature=_bytes(said.get("sniff", b"")),
        head=head if isinstance(head, int) else 0,
        early=said.get("early") is True,
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


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
