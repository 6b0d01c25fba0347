"""Sizes and spans of time as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

_UNITS = {
    "": 1, "b": 1, "kb": 1000, "kib": 1024, "mb": 1000**2, "mib": 1024**2, "gb": 1000**3, "gib": 1024**3,
    "tb": 1000**4, "tib": 1024**4,
}  # fmt: skip
_SPANS = {"ms": 0.001, "s": 1.0, "": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def bytes_of(text: object) -> object:
    """A size in bytes; what is not text is handed on as it is.

    >>> bytes_of("512KiB"), bytes_of("1.5 MB"), bytes_of(77)
    (524288, 1500000, 77)
    """
    return text if not isinstance(text, str) else int(_measured(text, _UNITS, "a size like 512KiB"))


def seconds_of(text: object) -> object:
    """A span of time in seconds; what is not text is handed on as it is.

    >>> seconds_of("500ms"), seconds_of("3s"), seconds_of("2h"), seconds_of(1)
    (0.5, 3.0, 7200.0, 1)
    """
    return text if not isinstance(text, str) else _measured(text, _SPANS, "a span like 3s, 500ms or 2h")


def moment_of(text: str) -> int:
    """A moment as epoch milliseconds, written in ISO 8601 with ``Z`` or an offset. Raises ValueError.

    >>> moment_of("2026-11-24T12:00Z")
    1795521600000
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a moment like 2026-11-24T12:00Z") from error
    if found.tzinfo is None:
        raise ValueError(f"{text!r} does not say in which time zone: write {text}Z for UTC, or an offset like +02:00")
    try:
        return int(found.timestamp() * 1000)
    except OverflowError as error:
        raise ValueError(f"{text!r} is not a moment that this computer can count") from error


def span_of(text: str) -> tuple[int, int] | None:
    """The bytes from START up to, not including, END; without END all that follow; None for "". Raises ValueError.

    >>> span_of("0-64KiB"), span_of("1MB-")
    ((0, 65536), (1000000, 4611686018427387904))
    """
    if not text:
        return None
    start, dash, stop = text.partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not START-END, as in 0-64KiB for the first 64 KiB, or 1MiB- for what follows")
    units = (_UNITS, "START-END, as in 0-64KiB or 1MiB-")
    span = int(_measured(start, *units)), int(_measured(stop, *units)) if stop.strip() else 1 << 62
    if not 0 <= span[0] < span[1] <= 1 << 62:
        raise ValueError(f"{text!r} selects nothing: END is the byte after the last one, and larger than START")
    return span


def _measured(text: str, units: Mapping[str, float], example: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text, re.ASCII)
    if found is None or found.group(2).lower() not in units:
        raise ValueError(f"{text!r} is not {example}")
    return float(found.group(1)) * units[found.group(2).lower()]
