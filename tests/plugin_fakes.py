"""Packages for tests, as pip would have installed them: a module, and a dist-info folder beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

GOOD = '''
from openmsi_core import Extractor, PluginOptions

class Good(Extractor):
    """Counts bytes."""
    accepts = ("*.txt",)

    class Options(PluginOptions):
        times: int = 1
        """How often each byte counts."""

    def extract(self, file):
        return {"bytes": file.size * self.options.times}
'''


def install(
    folder: Path,
    package: str,
    points: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str],
    *,
    version: str = "1.2.3",
    requires: Sequence[str] = ("openmsi>=0.1,<1",),
) -> Path:
    """Put a package into ``folder``: ``points`` is group -> name -> target, ``modules`` is file -> source."""
    for name, source in modules.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, "utf-8")
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(metadata_of(package, version, requires), "utf-8")
    (info / "entry_points.txt").write_text(points_of(points), "utf-8")
    return info


def metadata_of(package: str, version: str, requires: Sequence[str]) -> str:
    """What stands in METADATA."""
    metadata = ["Metadata-Version: 2.1", f"Name: {package}", f"Version: {version}"]
    return "\n".join([*metadata, *(f"Requires-Dist: {text}" for text in requires)]) + "\n"


def points_of(points: Mapping[str, Mapping[str, str]]) -> str:
    """What stands in entry_points.txt."""
    lines = []
    for group, names in points.items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in names.items())]
    return "\n".join(lines) + "\n"


def extractor(folder: Path, package: str, name: str, source: str, **more: object) -> Path:
    """A package ``package`` with one extractor called ``name``: the class Good of a module of its own."""
    module = package.replace("-", "_")
    points = {"openmsi.extractors": {name: f"{module}:Good"}}
    return install(folder, package, points, {f"{module}.py": source}, **more)  # type: ignore[arg-type]
