"""An environment of its own with plugin packages that pip has installed: wheels, editable trees, archives."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.plugin_fakes import metadata_of, points_of

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ["--no-deps", "--no-index", "--no-build-isolation"]


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees this openmsi and what it needs, and has packages of its own."""

    python: Path
    site: Path

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """``openmsi`` with these arguments."""
        command = [self.python, "-m", "openmsi_core", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    def install(self, *arguments: str) -> None:
        """What pip installs offline."""
        command = [*PIP, "--python", self.python, "install", *OFFLINE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Taken:
    """What a command took, seconds: on the wall clock, and of the processor; the latter other work hardly changes."""

    wall: float
    processor: float


def taken(*command: str | Path, **more: Any) -> Taken:
    """What ``command`` takes; the processor's time is that on the wall where it cannot be asked (Windows)."""
    try:
        import resource
    except ImportError:
        resource = None  # type: ignore[assignment]

    def processor() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN) if resource else None
        return used.ru_utime + used.ru_stime if used else time.perf_counter()

    began, before = time.perf_counter(), processor()
    subprocess.run(command, capture_output=True, check=True, **more)
    return Taken(time.perf_counter() - began, processor() - before)


def compared(one: Sequence[str | Path], other: Sequence[str | Path], **more: Any) -> float:
    """How much more processor time the least run of ``other`` takes than that of ``one``; they run in turn."""
    pairs = [(taken(*one, **more), taken(*other, **more)) for _ in range(5)]
    wall = [min(each.wall for each in side) for side in zip(*pairs, strict=True)]
    used = [min(each.processor for each in side) for side in zip(*pairs, strict=True)]
    print(f"wall {wall[0]:.3f} and {wall[1]:.3f} s, processor {used[0]:.3f} and {used[1]:.3f} s, least of {len(pairs)}")
    return used[1] - used[0]


def environment(folder: Path) -> Environment:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    (site / "parent.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    return Environment(python, site)


def wheel(
    folder: Path,
    package: str,
    points: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str | bytes],
    *,
    requires: Sequence[str] = ("openmsi>=0.1,<1",),
    extras: Sequence[str] = (),
) -> Path:
    """A wheel as a build tool would make it, only that its RECORD has no digests."""
    stem = f"{package.replace('-', '_')}-1.2.3"
    files: dict[str, str | bytes] = dict(modules)
    metadata = metadata_of(package, "1.2.3", requires) + "".join(f"Provides-Extra: {extra}\n" for extra in extras)
    files[f"{stem}.dist-info/METADATA"] = metadata
    files[f"{stem}.dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{stem}.dist-info/entry_points.txt"] = points_of(points)
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in [*files, record])
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path, package: str, name: str, source: str) -> Path:
    """A source tree with one extractor, the class Good, that pip can install."""
    module = package.replace("-", "_")
    (folder / "src" / module).mkdir(parents=True, exist_ok=True)
    (folder / "src" / module / "__init__.py").write_text(source, "utf-8")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{package}"\nversion = "1.2.3"\ndependencies = ["openmsi>=0.1,<1"]\n'
        f'[project.entry-points."openmsi.extractors"]\n{name} = "{module}:Good"\n'
        f'[tool.hatch.build]\ndev-mode-dirs = ["src"]\n[tool.hatch.build.targets.wheel]\npackages = ["src/{module}"]\n',
        "utf-8",
    )
    return folder
