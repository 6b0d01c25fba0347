"""Paths: from a folder to the wire, to a partition, and through include and exclude patterns."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from openmsi_core.model import RelativePath


def partition_of(path: RelativePath, partitions: int) -> int:
    """The partition that carries every record of ``path``: CRC-32 of its key modulo ``partitions``.

    The same as librdkafka's `consistent` partitioner answers for that key.

    >>> partition_of(RelativePath.parse("a/b.txt"), 4)
    3
    """
    return zlib.crc32(path.key) % partitions


def relative_to(root: Path, file: Path) -> RelativePath:
    """Where ``file`` stands below ``root``, both as the platform spells them. Raises PathRefused, ValueError."""
    return RelativePath(file.relative_to(root).parts)


def wanted(path: RelativePath, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """True when ``path`` matches one of ``include`` (or that is empty) and none of ``exclude``.

    Patterns are globs on the whole relative path: ``*`` and ``?`` stay within a part, ``**`` crosses parts; a
    pattern without a slash is matched against the name alone. ``re:`` begins a regular expression that must be
    found in the relative path.

    >>> wanted(RelativePath.parse("a/b/c.tmp"), (), ("*.tmp",))
    False
    >>> wanted(RelativePath.parse("LOGS/x/y"), (), ("LOGS/**",))
    False
    >>> wanted(RelativePath.parse("a/analog.dat"), (), ("LOGS/**", "*.log"))
    True
    """
    if any(_matches(pattern, path) for pattern in exclude):
        return False
    return not include or any(_matches(pattern, path) for pattern in include)


def _matches(pattern: str, path: RelativePath) -> bool:
    if pattern.startswith("re:"):
        return _regex(pattern[3:]).search(path.text) is not None
    subject = path.text if "/" in pattern else path.name
    return _regex(_glob_to_regex(pattern)).fullmatch(subject) is not None


@functools.lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


@functools.lru_cache(maxsize=1024)
def _glob_to_regex(pattern: str) -> str:
    """What comes between two wildcards is taken where it stands first and never looked for again.

    Nothing is lost by it where a wildcard follows that takes everything up to any later place that matters. Without it
    the time grows with the length of a path to the power of the number of wildcards: one hostile name would stop a run.
    """
    first, *others = _split(r"(\*\*/|\*\*)", pattern)
    pieces = [_stretch(first[1])]
    for number, (wildcard, stretch) in enumerate(others, 1):
        across = "(?:.*?/)??" if wildcard == "**/" else ".*?"
        follows = others[number][0] if number < len(others) else ""
        is_at_part = stretch.endswith("/") or (not stretch and wildcard == "**/")  # from there "**/" gets everywhere
        pieces.append(_taken(across + _stretch(stretch), is_last=not follows or (follows == "**/" and not is_at_part)))
    return "".join(pieces)


def _stretch(glob: str) -> str:
    """A glob without ``**``."""
    (_, first), *others = _split(r"(\*)", glob)
    pieces = [_fixed(first)]
    for number, (_, fixed) in enumerate(others, 1):
        pieces.append(_taken("[^/]*?" + _fixed(fixed), is_last=number == len(others)))
    return "".join(pieces)


def _taken(regex: str, *, is_last: bool) -> str:
    return regex if is_last else f"(?>{regex})"


def _fixed(glob: str) -> str:
    """A glob without any ``*``."""
    return "".join(_one(piece) for piece in re.split(rf"(\?|{_CLASS})", glob))


def _one(piece: str) -> str:
    if piece == "?":
        return "[^/]"
    if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
        body = piece[1:-1].replace("\\", "\\\\")
        return "(?!/)" + (f"[^{body[1:]}]" if body[0] in "!^" else f"[{body}]")
    return re.escape(piece)


_CLASS = r"\[[!^]?\]?[^]]*\]"


def _split(wildcard: str, glob: str) -> list[tuple[str, str]]:
    """The stretches between wildcards outside of brackets, each with the one before it."""
    found = [("", "")]
    for piece in re.split(rf"({_CLASS})|{wildcard}", glob):
        if piece is None:
            continue
        if re.fullmatch(wildcard, piece):
            found.append((piece, ""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + piece)
    return found
