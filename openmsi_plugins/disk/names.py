r"""Names that a platform cannot store, escaped so that they can be read back.

An escaped character is ``%`` and two hexadecimal digits for each of its UTF-8 bytes; what looks like one already gets
its ``%`` escaped.

- Everywhere: ``.openmsi`` at the root is ours.
- Windows cannot store ``< > : " \ | ? *``, control characters, bytes that are not UTF-8, a dot or space at the end,
  and names of devices; names like ``PROGRA~1`` are second names of other files there.
- Where case does not count (Windows, macOS), a name that differs in case only from one that is there is spelled out.

>>> stored(("CON", "a:b."), WINDOWS)
('%43ON', 'a%3Ab%2E')
>>> original(("%43ON", "a%3Ab%2E"), WINDOWS)
('CON', 'a:b.')
>>> stored((".openmsi", "x%41:"), POSIX)
('%2Eopenmsi', 'x%41:')
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

OURS = ".openmsi"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a folder can store: ``windows``, names as Windows wants them; ``folds``, case does not count."""

    windows: bool = False
    folds: bool = False


POSIX = Rules()
WINDOWS = Rules(windows=True, folds=True)

_PERCENT = re.compile("%(?=[0-9A-F]{2})")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")
_OURS_ESCAPED = re.compile(r"%((?:25)*2E)openmsi", re.IGNORECASE)
_BAD_ON_WINDOWS = re.compile('[<>:"|?*\\\\\x00-\x1f\udc80-\udcff]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)( *\..*)?", re.IGNORECASE)
_SHORT = re.compile(r"~(?=[0-9]+(\.[^.]*)?$)")


def stored(parts: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """The names under which ``parts`` of a path are stored."""
    if rules.windows:
        names = [_for_windows(part) for part in parts]
    elif rules.folds:
        names = [_PERCENT.sub("%25", part) for part in parts]
    else:
        names = list(parts)
        if _OURS_ESCAPED.fullmatch(names[0]):
            names[0] = f"%25{names[0][1:]}"
    if names[0].lower() == OURS:
        names[0] = f"%2E{names[0][1:]}"
    return tuple(names)


def original(names: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """The parts of the path that `stored` stores under ``names``."""
    if rules.windows or rules.folds:
        return tuple(_unescaped(name) for name in names)
    match = _OURS_ESCAPED.fullmatch(names[0])
    if match is None:
        return tuple(names)
    rest = names[0][len(match.group(1)) + 1 :]
    first = f".{rest}" if match.group(1).upper() == "2E" else f"%{match.group(1)[2:]}{rest}"
    return (first, *names[1:])


def spelled_out(name: str) -> str:
    """``name`` with every letter escaped: different from any other name even where case does not count.

    >>> spelled_out("Ab-1.txt")
    '%41%62-1.%74%78%74'
    """
    plain = _unescaped(name)
    spelled = "".join(char if char in "0123456789-_. " else _hex(char) for char in plain)
    return spelled[:-1] + _hex(spelled[-1]) if spelled[-1] in ". " else spelled


def with_digest(name: str, digits: str) -> str:
    """``name`` with some digits of a digest before its suffix.

    >>> with_digest("scan.xrdml", "1a2b3c4d")
    'scan.1a2b3c4d.xrdml'
    """
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{digits}.{suffix}" if dot and stem else f"{name}.{digits}"


def _for_windows(part: str) -> str:
    name = _PERCENT.sub("%25", part)
    name = _BAD_ON_WINDOWS.sub(lambda match: _hex(match.group()), name)
    name = _SHORT.sub("%7E", name)
    if name[-1] in ". ":
        name = name[:-1] + _hex(name[-1])
    return _hex(name[0]) + name[1:] if _DEVICE.fullmatch(name) else name


def _hex(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def _unescaped(name: str) -> str:
    raw = name.encode("utf-8", "surrogateescape")
    return _ESCAPED.sub(lambda match: bytes([int(match.group(1), 16)]), raw).decode("utf-8", "surrogateescape")
