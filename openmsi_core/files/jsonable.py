"""Values as JSON, with a stated spelling for what JSON has no word for."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import PurePath

from openmsi_core.model import RelativePath


def dumps(value: object) -> bytes:
    """JSON, UTF-8, one line. What JSON has no word for is spelled like this.

    NaN and infinities: the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``; bytes: ``{"base64": …}``; dates and
    times: ISO 8601, UTC if they have no zone; paths and everything with an ``item`` method (numpy scalars): their
    plain value. Raises TypeError for anything else, ValueError for a circular structure.

    >>> dumps({"x": float("nan"), "b": b"a"})
    b'{"x":"NaN","b":{"base64":"YQ=="}}'
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError:  # not finite somewhere (or circular, which _finite then reports)
        text = json.dumps(_finite(value, 0), ensure_ascii=False, separators=(",", ":"), default=_plain)
    return text.encode("utf-8", "backslashreplace")


def _plain(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PurePath | RelativePath):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    raise TypeError(f"{type(value).__name__} has no place in JSON: give text, numbers, lists or dicts")


def _finite(value: object, depth: int) -> object:
    if depth > 200:
        raise ValueError("the result is nested deeper than 200 levels, or contains itself")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {key: _finite(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, depth + 1) for item in value]
    item = getattr(value, "item", None)
    return _finite(item(), depth + 1) if callable(item) else value
