"""A plugin package looked at before it is published: a source tree, or a wheel.

From a tree's `pyproject.toml` the metadata of an installed package is written into a temporary folder, so what the
catalogue says of it is what it will say once it is installed.
"""

from __future__ import annotations

import difflib
import re
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmsi_core.errors import PluginError
from openmsi_core.plugins.catalogue import catalogue
from openmsi_core.plugins.entry import GROUPS, TEMPLATE_MODULE, TEMPLATE_PACKAGE, TEMPLATE_PLUGINS, Entry
from openmsi_core.plugins.listing import Found, lines, packages
from openmsi_core.plugins.probing import Probed, probe
from openmsi_core.plugins.requirements import Installed, canonical
from openmsi_core.plugins.source import find_module

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: ``problems`` keep a package from being published, ``notes`` do not."""

    package: str
    plugins: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def check(path: Path, seconds: float | None) -> Report:
    """Look at the package in the folder or wheel ``path``, and import its plugins in children that may take so long.

    With None nothing is imported. Raises PluginError when there is no plugin package at all.
    """
    if path.is_dir():
        return _checked_tree(path, seconds)
    if path.suffix == ".whl" and path.is_file():
        return _checked_wheel(path, seconds)
    raise PluginError(
        f"{path} is neither a folder with a {_PROJECT} nor a wheel. `openmsi plugins show NAME` tells about what is "
        "installed."
    )


def _checked_wheel(wheel: Path, seconds: float | None) -> Report:
    with tempfile.TemporaryDirectory(prefix="openmsi-check-") as scratch:
        try:
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(scratch)
        except (OSError, zipfile.BadZipFile) as error:
            raise PluginError(f"{wheel} cannot be read as a wheel: {error}. Build it again.") from error
        return _checked(Path(scratch), [scratch], [], seconds)


def _checked_tree(folder: Path, seconds: float | None) -> Report:
    project, tool = _project(folder / _PROJECT)
    groups = project.get("entry-points", {})
    problems = [*_groups(groups)]
    own = [str(each.resolve()) for each in _sources(folder, tool)]
    with tempfile.TemporaryDirectory(prefix="openmsi-check-") as scratch:
        _as_installed(Path(scratch), project, groups)
        report = _checked(Path(scratch), own, problems, seconds)
    notes = [*report.notes, *_publishing(project)]
    return Report(report.package, report.plugins, report.problems, tuple(notes))


def _checked(home: Path, own: Sequence[str], problems: list[str], seconds: float | None) -> Report:
    """The package whose metadata lie in ``home`` and whose modules in the folders ``own``."""
    path = [str(home), *own, *sys.path]
    installed = Installed(path)
    mine = [each for each in packages(installed) if Path(each.package.folder) == home]
    if not mine:
        known = ", ".join(GROUPS)
        raise PluginError("\n  ".join([f"it has no plugin: no entry point in any of {known}", *problems]))
    (found,) = mine
    entries = tuple(lines(found, installed, path))
    problems = [*problems, *_names(found, entries, own), *_collisions(found, entries)]
    notes: list[str] = []
    for entry in entries:
        probed = Probed(entry) if seconds is None else probe(entry, seconds, path)
        problems += _plugin_problems(probed)
        if entry.status == "dynamic":
            notes.append(
                f"{entry.name}: {', '.join(entry.dynamic)} cannot be read without importing it: write literals"
            )
        notes += _descriptions(probed)
    return Report(f"{found.package.name} {found.package.version}", len(entries), tuple(problems), tuple(notes))


def _project(file: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The tables [project] and [tool]. Raises PluginError."""
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise PluginError(f"{file} cannot be read ({error.strerror}): name the folder of a plugin package.") from error
    except ValueError as error:
        raise PluginError(f"{file} is not TOML: {error}") from error
    project = table.get("project")
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise PluginError(f'{file} has no [project] with a name: write name = "my-plugin" there.')
    return project, table.get("tool", {})


def _sources(folder: Path, tool: Mapping[str, Any]) -> list[Path]:
    """Where the modules of a tree lie: where its build tool says, in `src`, or at its root."""
    wheel = tool.get("hatch", {}).get("build", {}).get("targets", {}).get("wheel", {})
    named = [folder / each for each in wheel.get("packages", ())]
    where = tool.get("setuptools", {}).get("packages", {})
    found = where.get("find", {}).get("where", ()) if isinstance(where, dict) else ()
    places = [*(each.parent for each in named), *(folder / each for each in found), folder / "src", folder]
    return list(dict.fromkeys(place for place in places if place.is_dir()))


def _as_installed(scratch: Path, project: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
    """The metadata that installing the tree would leave, in ``scratch``."""
    name, version = project["name"], str(project.get("version", "0"))
    info = scratch / f"{re.sub(r'[-_.]+', '_', name)}-{version}.dist-info"
    info.mkdir()
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {each}" for each in project.get("dependencies", ())]
    for extra, requirements in project.get("optional-dependencies", {}).items():
        for each in requirements:
            text, semicolon, marker = each.partition(";")
            condition = f"({marker.strip()}) and extra == '{extra}'" if semicolon else f"extra == '{extra}'"
            metadata.append(f"Requires-Dist: {text.strip()} ; {condition}")
    (info / "METADATA").write_text("\n".join(metadata) + "\n", "utf-8")
    written = []
    for group, points in groups.items():
        written += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(written) + "\n", "utf-8")


def _groups(groups: Mapping[str, Any]) -> Iterator[str]:
    for group in groups:
        if group not in GROUPS and re.match(r"(?i)openmsi\b", group):
            close = difflib.get_close_matches(group, GROUPS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the groups are {', '.join(GROUPS)}"
            yield f"{_PROJECT}: nobody reads the entry points of {group!r}; {hint}"


def _names(found: Found, entries: Sequence[Entry], own: Sequence[str]) -> Iterator[str]:
    """Names that cannot be typed, that a copy of the template has kept, or that lead out of the package."""
    if canonical(found.package.name) == TEMPLATE_PACKAGE:
        yield f'the package still has the template\'s name: change name = "{TEMPLATE_PACKAGE}" in {_PROJECT}'
    modules = {entry.target.partition(":")[0].strip().partition(".")[0] for entry in entries}
    for module in sorted(modules):
        if module == TEMPLATE_MODULE:
            yield (
                f"the module still has the template's name: rename the folder {TEMPLATE_MODULE}, and where {_PROJECT} "
                "and the tests name it"
            )
        if find_module(module, own) is None:
            yield f"the module {module} is not in the package: it is neither in {' nor in '.join(own)}"
    for entry in entries:
        if entry.name in TEMPLATE_PLUGINS:
            yield f"the plugin still has the template's name: change {entry.name!r} in {_PROJECT} and the tests"
        if not _NAME.fullmatch(entry.name):
            yield f"{entry.name!r} is no good name to type: use small letters, digits and dashes"


def _collisions(found: Found, entries: Sequence[Entry]) -> Iterator[str]:
    """Plugins of other packages that have the same name."""
    others = [each for each in catalogue() if canonical(each.package) != canonical(found.package.name)]
    for entry in entries:
        for other in others:
            if other.name == entry.name and (other.kind == "hook") == (entry.kind == "hook"):
                yield f"{entry.name}: {other.package} has a plugin of that name too; take another"


def _plugin_problems(probed: Probed) -> Iterator[str]:
    entry = probed.entry
    if entry.status not in {"ok", "dynamic", "unrenamed template"}:
        yield f"{entry.name}: {entry.status}: {entry.detail}"
    elif probed.noise:
        yield f"{entry.name}: {entry.detail}"
    if entry.status == "ok" and not (probed.facts.get("summary") or entry.summary):
        yield f"{entry.name}: its class has no docstring; the first line is what `openmsi plugins` shows"
    for name in probed.differences:
        yield (
            f"{entry.name}: {name} reads {getattr(entry, name)!r} in the source and is {probed.facts[name]!r} when it "
            "runs: write it once, as a literal, in the class"
        )


def _descriptions(probed: Probed) -> Iterator[str]:
    for option in probed.options:
        if not option["help"]:
            yield f"{probed.entry.name}: the option {option['name']} is not described: write a text below the field"


def _publishing(project: Mapping[str, Any]) -> Iterator[str]:
    if any(str(each).startswith("Private ::") for each in project.get("classifiers", ())):
        yield f'package indexes refuse it: remove the classifier "Private :: Do Not Upload" from {_PROJECT} to publish'
