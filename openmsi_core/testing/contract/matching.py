"""Comparing what was expected of a sample with what was found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

from openmsi_core.files.jsonable import dumps


def differences(found: object, expected: object, where: str = "") -> Iterator[str]:
    """What of ``expected`` is not in ``found``, one line each.

    A dict must be there with its keys and may have more; a list must have as many elements; numbers may differ by a
    billionth part; ``...`` stands for anything. Times, bytes and paths are compared as they look in JSON.

    >>> list(differences({"anode": "Co", "points": 5}, {"anode": "Cu"}))
    ["anode: expected 'Cu', found 'Co'"]
    """
    if expected is ...:
        return
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            yield f"{where or 'result'}: expected a dict, found {found!r}"
            return
        for key, value in expected.items():
            inner = f"{where}.{key}" if where else str(key)
            if str(key) not in found:
                yield f"{inner}: expected {value!r}, and it is not there; there are {', '.join(map(str, found))}"
            else:
                yield from differences(found[str(key)], value, inner)
    elif isinstance(expected, list | tuple):
        if not isinstance(found, list) or len(found) != len(expected):
            yield f"{where or 'result'}: expected {len(expected)} elements, found {found!r}"
            return
        for number, value in enumerate(expected):
            yield from differences(found[number], value, f"{where}[{number}]")
    elif not _equal(found, json.loads(dumps(expected))):
        yield f"{where or 'result'}: expected {expected!r}, found {found!r}"


def _equal(found: object, expected: object) -> bool:
    numbers = (int, float)
    if isinstance(found, numbers) and isinstance(expected, numbers) and not isinstance(found, bool):
        return math.isclose(found, expected, rel_tol=1e-9)
    return found == expected
