r"""Names that a platform cannot store, escaped so that they can be read back.

An escaped character is ``%`` and two hexadecimal digits for each of its UTF-8 bytes. On POSIX only one name is ours
and must not be touched by anybody: ``.openmsi`` at the root. Windows cannot store ``< > : " \ | ? *``, control
characters, a dot or space at the end, and names of devices.

>>> stored(("CON", "a:b."), windows=True)
('%43ON', 'a%3Ab%2E')
>>> original(('%43ON', 'a%3Ab%2E'))
('CON', 'a:b.')
>>> stored((".openmsi", "x%41"), windows=False)
('%2Eopenmsi', 'x%41')
"""

from __future__ import annotations

import re
from collections.abc import Sequence

OURS = ".openmsi"
_ESCAPED = re.compile("%([0-9A-F]{2})")
_OURS_ESCAPED = re.compile(r"%(25)*2Eopenmsi")
_BAD_ON_WINDOWS = re.compile('[<>:"|?*\\\\\x00-\x1f]')
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?")


def stored(parts: Sequence[str], *, windows: bool) -> tuple[str, ...]:
    """The names under which ``parts`` of a path are stored."""
    if windows:
        names = [_for_windows(part) for part in parts]
        if names[0].lower().rstrip(". ") == OURS:
            names[0] = _hex(names[0][0]) + names[0][1:]
        return tuple(names)
    first = parts[0]
    if first == OURS or _OURS_ESCAPED.fullmatch(first):
        first = _hex(first[0]) + first[1:]
    return (first, *parts[1:])


def original(names: Sequence[str]) -> tuple[str, ...]:
    """The parts of a path that are stored under ``names`` on Windows, or the first of them on POSIX."""
    return tuple(_unescaped(name) for name in names)


def _for_windows(part: str) -> str:
    name = _ESCAPED.sub(lambda match: f"%25{match.group(1)}", part)
    name = _BAD_ON_WINDOWS.sub(lambda match: _hex(match.group()), name)
    if name[-1] in ". ":
        name = name[:-1] + _hex(name[-1])
    if _DEVICE.fullmatch(name):
        name = _hex(name[0]) + name[1:]
    return name


def _hex(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8"))


def _unescaped(name: str) -> str:
    raw = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match.group(1), 16)]), name.encode("utf-8"))
    return raw.decode("utf-8")
