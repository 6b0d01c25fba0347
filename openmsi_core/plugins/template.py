"""A plugin package of one's own, made from the template that comes with openmsi.

The template is `plugin_template/` of the source tree; the wheel carries it inside openmsi_core. It is a whole package
with a plugin of each kind; a copy gets its own names and keeps the kind that was asked for.
"""

from __future__ import annotations

import keyword
import re
import shutil
import sys
from pathlib import Path

import openmsi_core
from openmsi_core.errors import FolderError, PluginError, UsageError

PACKAGE, MODULE = "my-xrd-extractor", "my_xrd_extractor"
PLUGINS = {"extractor": "xrd-extractor", "processor": "xrd-points", "sink": "xrd-shelf"}
CLASSES = {"extractor": "XRDExtractor", "processor": "XRDPoints", "sink": "XRDShelf"}
_XRDML = "xrdml.py"  # reads the format; a sink does without
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".pytest_cache", "*.egg-info", "build", "dist", "LICENSE")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEXTS = {".py", ".toml", ".md"}


def template_folder() -> Path:
    """Where the template is: in the installed openmsi, or beside it in a source tree. Raises PluginError."""
    inside = Path(openmsi_core.__file__).parent
    for place in (inside / "plugin_template", inside.parent / "plugin_template"):
        if (place / "pyproject.toml").is_file():
            return place
    raise PluginError(
        f"this openmsi has no template in {inside}; install it again: pip install --force-reinstall openmsi"
    )


def make(name: str, kind: str, place: Path) -> Path:
    """Put a package with one plugin called ``name`` into the new folder ``place``; the file for its author to edit.

    Raises UsageError for a name that cannot be one, FolderError when the folder is not empty or cannot be written.
    """
    module = module_of(name)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise FolderError(f"{place} is there already. Name another place: --folder.")
    try:
        shutil.copytree(template_folder(), place, ignore=_LEFT_OUT, dirs_exist_ok=True)
        _keep(kind, place)
        _say_nothing_of_scans(kind, place)
        (place / "src" / MODULE).rename(place / "src" / module)
        for file in sorted(place.rglob("*")):
            if file.suffix in _TEXTS:
                file.write_text(_renamed(file.read_text("utf-8"), name, module), "utf-8")
    except OSError as error:
        raise FolderError(
            f"{place} cannot be written: {error.strerror or error}. Name another place: --folder."
        ) from error
    return place / "src" / module / f"{kind}.py"


def module_of(name: str) -> str:
    """The module of a package called ``name``. Raises UsageError when that cannot be.

    >>> module_of("line-count")
    'line_count'
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a plugin: lower-case words with dashes, as in line-count.")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module.split("_")[0] == "openmsi":
        raise UsageError(f"{name!r} cannot be the name of a plugin: Python or openmsi has a module {module}.")
    if module == MODULE:
        raise UsageError(f"{name!r} is the name of the template itself: choose another one.")
    return module


def _keep(kind: str, place: Path) -> None:
    """Remove what belongs to the other kinds."""
    source, project = place / "src" / MODULE, place / "pyproject.toml"
    for other in sorted(set(PLUGINS) - {kind}):
        (source / f"{other}.py").unlink()
        (place / "tests" / f"test_{other}.py").unlink()
        project.write_text(
            _without_table(project.read_text("utf-8"), f'project.entry-points."openmsi.{other}s"'), "utf-8"
        )
    if kind == "sink":
        (source / _XRDML).unlink()
    lines = (source / "__init__.py").read_text("utf-8").splitlines(keepends=True)
    imports = [line for line in lines if line.startswith("from .")]
    mine = next(line for line in imports if line.startswith(f"from .{kind} "))
    cls = mine.split()[-1]
    (source / "__init__.py").write_text(
        f'"""What `openmsi plugins` lists."""\n\n{mine}\n__all__ = ["{cls}"]\n', "utf-8"
    )


def _say_nothing_of_scans(kind: str, place: Path) -> None:
    """Texts about the template as it stands: what is left for the author to say, and how to copy it."""
    project, readme = place / "pyproject.toml", place / "README.md"
    description = f'description = "What this {kind} of openmsi does, in one line."'
    text = re.sub(r"^description = .*$", description, project.read_text("utf-8"), flags=re.MULTILINE)
    project.write_text(text.partition("[build-system]")[1] + text.partition("[build-system]")[2], "utf-8")
    text = readme.read_text("utf-8").partition("## A plugin of your own")[0].rstrip()
    if kind == "sink":
        text = text.replace("theta.xrdml", "theta.xrdml --folder out")
    readme.write_text(
        f"{text}\n".replace("Plugins of openmsi for PANalytical `.xrdml` scans.", f"A {kind} for openmsi."), "utf-8"
    )


def _without_table(text: str, table: str) -> str:
    """A TOML text without one of its tables."""
    return re.sub(rf"^\[{re.escape(table)}\]\n(?:[^\[\n].*\n)*\n?", "", text, flags=re.MULTILINE)


def _renamed(text: str, name: str, module: str) -> str:
    cls = "".join(word.capitalize() for word in name.split("-"))
    names = [(PACKAGE, name), (MODULE, module)]
    names += [(plugin, name) for plugin in PLUGINS.values()] + [(each, cls) for each in CLASSES.values()]
    for old, new in names:
        text = text.replace(old, new)
    return text
