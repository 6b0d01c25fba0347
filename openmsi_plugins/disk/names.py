r"""Names that a platform cannot store, escaped so that they can be read back.

An escaped character is ``%`` and two hexadecimal digits for each of its UTF-8 bytes; what looks like one already gets
its ``%`` escaped.

- Everywhere: ``.openmsi`` at the root is ours.
- Windows cannot store ``< > : " \ | ? *``, control characters, bytes that are not UTF-8, a dot or space at the end,
  and names of devices; names like ``PROGRA~1`` are second names of other files there.
- Where case does not count (Windows, macOS), a name that differs in case only from one that is there is spelled out.
- A name that became too long is cut: all pieces but the last are folders, whose names end with ``%+``.

>>> stored(("CON", "a:b."), WINDOWS)
('%43ON', 'a%3Ab%2E')
>>> original(("%43ON", "a%3Ab%2E"), WINDOWS)
('CON', 'a:b.')
>>> stored((".openmsi", "x%41:"), POSIX)
('%2Eopenmsi', 'x%41:')
>>> stored(("0123456789:?",), Rules(windows=True, longest=10))
('012345%+', '6789%3A%3F')
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

OURS = ".openmsi"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a folder can store: ``windows``, names as Windows wants them; ``folds``, case does not count; names of at
    most ``longest`` bytes, which are units of UTF-16 on Windows.
    """

    windows: bool = False
    folds: bool = False
    longest: int = 255

    def folded(self, name: str) -> str:
        """Equal for names that are one file where case does not count.

        Windows compares character by character; macOS by full case folding, and however an accent is written.
        """
        if self.windows:
            return "".join(char.upper() if len(char.upper()) == 1 else char for char in name)
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

    def fits(self, name: str) -> bool:
        """True when ``name`` is not too long."""
        if self.windows:
            return len(name.encode("utf-16-le", "surrogatepass")) // 2 <= self.longest
        return len(name.encode("utf-8", "surrogateescape")) <= self.longest


POSIX = Rules()
WINDOWS = Rules(windows=True, folds=True)

_PERCENT = re.compile("%(?=[0-9A-F]{2})")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")
_OURS_ESCAPED = re.compile(r"%((?:25)*2E)openmsi", re.IGNORECASE)
_MORE = "%+"  # at the end of a folder's name: the next part goes on with it
_MORE_ESCAPED = re.compile("%%((?:25)*2B)$")
_BAD_ON_WINDOWS = re.compile('[<>:"|?*\\\\\x00-\x1f\udc80-\udcff]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)( *\..*)?", re.IGNORECASE)
_SHORT = re.compile(r"~(?=[0-9]+(\.[^.]*)?$)")


def stored(parts: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """The names under which ``parts`` of a path are stored; more than there are parts when one must be cut."""
    names = [name for part in parts for name in _cut(part, rules)]
    if not rules.windows and not rules.folds and _OURS_ESCAPED.fullmatch(names[0]):
        names[0] = f"%25{names[0][1:]}"
    if names[0].lower() == OURS:
        names[0] = f"%2E{names[0][1:]}"
    return tuple(names)


def original(names: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """The parts of the path that `stored` stores under ``names``."""
    parts, goes_on = [""], True
    for number, name in enumerate(names):
        is_first = number == 0 and not rules.windows and not rules.folds
        part = _read_back(_not_ours(name) if is_first else name, rules)
        parts[-1:] = [parts[-1] + part] if goes_on else [parts[-1], part]
        goes_on = name.endswith(_MORE)
    return tuple(parts)


def spelled_out(name: str) -> str:
    """``name`` with every letter escaped: different from any other name even where case does not count.

    >>> spelled_out("Ab-1.txt")
    '%41%62-1.%74%78%74'
    """
    if name.endswith(_MORE):
        return spelled_out(name[: -len(_MORE)]) + _MORE
    plain = _unescaped(name)
    spelled = "".join(char if char in "0123456789-_. " else _hex(char) for char in plain)
    return spelled[:-1] + _hex(spelled[-1]) if spelled[-1] in ". " else spelled


def with_digest(name: str, digits: str, rules: Rules = POSIX) -> str:
    """``name`` with some digits of a digest before its suffix; its end gives way where it would be too long.

    >>> with_digest("scan.xrdml", "1a2b3c4d")
    'scan.1a2b3c4d.xrdml'
    """
    stem, dot, suffix = name.rpartition(".")
    first, last = (stem, f".{digits}.{suffix}") if dot and stem else (name, f".{digits}")
    while len(first) > 1 and not rules.fits(first + last):
        first = first[:-1]
    return first + last


def _cut(part: str, rules: Rules) -> list[str]:
    """``part``, escaped, in as many pieces as it takes; equal ones, so that none is short enough to be a dot."""
    count = 1
    while True:
        ends = [len(part) * number // count for number in range(count + 1)]
        pieces = [_escaped(part[ends[number] : ends[number + 1]], rules) for number in range(count)]
        names = [piece + _MORE for piece in pieces[:-1]] + pieces[-1:]
        if all(rules.fits(name) for name in names) or count == len(part):
            return names
        count += 1


def _escaped(part: str, rules: Rules) -> str:
    if rules.windows:
        name = _for_windows(part)
    elif rules.folds:
        name = _PERCENT.sub("%25", part)
    else:
        name = _MORE_ESCAPED.sub(r"%%25\1", part)
    return f"{name[:-1]}%2B" if name.endswith(_MORE) else name


def _read_back(name: str, rules: Rules) -> str:
    name = name.removesuffix(_MORE)
    if rules.windows or rules.folds:
        return _unescaped(name)
    match = _MORE_ESCAPED.search(name)
    if match is None:
        return name
    digits = match.group(1)
    return name[: match.start()] + (_MORE if digits == "2B" else f"%%{digits[2:]}")


def _not_ours(name: str) -> str:
    """The first part of a path again, where only `OURS` and what looks like it is escaped."""
    match = _OURS_ESCAPED.fullmatch(name)
    if match is None:
        return name
    rest = name[len(match.group(1)) + 1 :]
    return f".{rest}" if match.group(1).upper() == "2E" else f"%{match.group(1)[2:]}{rest}"


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
