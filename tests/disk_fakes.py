"""A disk sink with its folder, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openmsi_plugins.disk import Disk


@contextmanager
def opened(folder: Path, **options: object) -> Iterator[Disk]:
    """A sink that was opened, and is closed afterwards."""
    sink = Disk(Disk.Options(folder=folder, **options))  # type: ignore[arg-type]
    sink.open()
    try:
        yield sink
    finally:
        sink.close()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file that somebody who looks into the folder sees, with its content."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".openmsi" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
