"""Which plugins would take a file, as far as their manifests tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from openmsi_core.files.paths import wanted
from openmsi_core.model import RelativePath
from openmsi_core.plugins.entry import LOADABLE, Entry

_SNIFFED = 4096


@dataclass(frozen=True, slots=True)
class Suited:
    """A plugin that would take a file, or one to whose content it is like; ``name`` is what to say to run it."""

    kind: str
    name: str
    is_taken: bool
    why: str


def suited(file: Path, entries: Iterable[Entry]) -> tuple[Suited, ...]:
    """The plugins that would take ``file``, those that know its content first. Raises OSError.

    A run hands a plugin every file whose name it accepts; that the content is unlike what it looks for is only said.
    """
    with file.open("rb") as content:
        head = content.read(_SNIFFED)
    able = [entry for entry in entries if entry.kind != "hook" and entry.status in LOADABLE]
    found = [each for each in (_suited(entry, file, head) for entry in able) if each is not None]
    return tuple(each for _, each in sorted(found, key=lambda pair: pair[0]))


def _suited(entry: Entry, file: Path, head: bytes) -> tuple[int, Suited] | None:
    """The plugin with its rank, None when it has nothing to do with the file."""
    said = entry.qualified if entry.status == "ambiguous" else entry.name
    is_unknown = bool({"accepts", "class", "module"} & set(entry.dynamic))
    knows = entry.signature in head if entry.signature else None
    globs = ", ".join(entry.accepts)
    if is_unknown:
        return 3, Suited(entry.kind, said, is_taken=True, why="perhaps: what it accepts is known only when it runs")
    if not _accepts(entry, file):
        why = f"the content is what it looks for, the name is not like {globs}"
        return (4, Suited(entry.kind, said, is_taken=False, why=why)) if knows else None
    by_name = f"the name is like {globs}" if entry.accepts else "it takes every file"
    if knows is None:
        return (1 if entry.accepts else 2), Suited(entry.kind, said, is_taken=True, why=by_name)
    content = f"the first 4 KiB {'have' if knows else 'lack'} {entry.sniff!r}"
    return (0 if knows else 2), Suited(entry.kind, said, is_taken=True, why=f"{by_name}; {content}")


def _accepts(entry: Entry, file: Path) -> bool:
    is_below = not file.is_absolute() and ".." not in file.parts
    path = RelativePath(file.parts if is_below else (file.name,))
    try:
        return wanted(path, entry.accepts, ())
    except re.error:  # a pattern that is none takes nothing; `openmsi run` says so
        return False
