"""Under which key a file is stored.

>>> key_of("{topic}/{path}", {"topic": "xrd", "path": "2026/scan 1.xrdml"})
'xrd/2026/scan 1.xrdml'
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping

from openmsi_core import DataFile

LONGEST = 1024
"""Bytes of UTF-8 that a key may have."""

FIELDS = ("topic", "path", "folder", "name", "stem", "suffix", "sha256", "year", "month", "day")

_PERCENT = re.compile("%(?=[0-9A-F]{2})")
_UNSPEAKABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # no listing can carry them


def problem_of(template: str) -> str:
    """What is wrong with a key template; "" if nothing is.

    >>> problem_of("{topic}/{nmae}")
    'there is no {nmae}; it knows topic, path, folder, name, stem, suffix, sha256, year, month, day'
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        return f"{template!r} cannot be read: {error}"
    fields = [name for _, name, _, _ in parsed if name is not None]
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        return f"there is no {{{unknown[0]}}}; it knows {', '.join(FIELDS)}"
    if any(spec or conversion for _, _, spec, conversion in parsed):
        return "fields have no formats: write {name} and nothing more"
    if not {"path", "sha256"} & set(fields):
        return "without {path} or {sha256} files of different folders would take the same key"
    around = "x".join(literal for literal, _, _, _ in parsed)
    if around.startswith("/") or "//" in around or {".", ".."} & set(around.split("/")):
        return "a key has no empty parts, and none that is . or .."
    return ""


def fields_of(file: DataFile) -> dict[str, str]:
    """What a template may name, of one file. The date is when the file was last changed, in UTC."""
    return {
        "topic": file.topic,
        "path": _spoken(str(file.path)),
        "folder": _spoken("" if str(file.path.parent) == "." else str(file.path.parent)),
        "name": _spoken(file.name),
        "stem": _spoken(file.path.stem),
        "suffix": _spoken(file.suffix),
        "sha256": file.sha256,
        "year": f"{file.mtime:%Y}",
        "month": f"{file.mtime:%m}",
        "day": f"{file.mtime:%d}",
    }


def key_of(template: str, fields: Mapping[str, str]) -> str:
    """The key; an empty field leaves no empty part behind.

    >>> key_of("{folder}/{sha256}", {"folder": "", "sha256": "ab"})
    'ab'
    """
    return "/".join(part for part in template.format_map(fields).split("/") if part)


def prefix_of(template: str, topic: str) -> str:
    """What every key of a topic begins with.

    >>> prefix_of("raw/{topic}/{year}/{path}", "xrd")
    'raw/xrd/'
    """
    out = ""
    for literal, name, _, _ in string.Formatter().parse(template):
        out += literal
        if name == "topic":
            out += topic
        elif name is not None:
            break
    return out


def _spoken(text: str) -> str:
    r"""``text`` with ``%`` and two digits for each byte that a key cannot carry; what looks like that is escaped too.

    >>> _spoken("a\x01\udcff%41µ")
    'a%01%FF%2541µ'
    """
    text = _PERCENT.sub("%25", text)
    return _UNSPEAKABLE.sub(
        lambda match: "".join(f"%{byte:02X}" for byte in match.group().encode("utf-8", "surrogateescape")), text
    )
