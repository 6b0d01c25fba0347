"""Sidecars: small JSON files that say something of the file beside them, as `scan.xrdml.meta.json` of `scan.xrdml`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from openmsi_core.sending.reading import open_file

_MOST = 64 * 1024

Meta = dict[str, str | int | float]


class BadSidecar(OSError):
    """A sidecar that is no table of texts and numbers, or not yet; a reason to try its file later."""


@dataclass(frozen=True, slots=True)
class Sidecars:
    """Those whose names are a file's name and ``suffix``; "" for none. They are not sent as files."""

    suffix: str = ""

    def owner(self, key: bytes) -> bytes | None:
        """The path of the file that a sidecar speaks of; None for what is no sidecar."""
        suffix = self.suffix.encode("utf-8", "surrogateescape")
        if not suffix or not key.endswith(suffix):
            return None
        owner = key.removesuffix(suffix)
        return owner if owner and not owner.endswith(b"/") else None

    def of(self, key: bytes) -> bytes | None:
        """The path that the sidecar of a file would have; None without the rule."""
        return key + self.suffix.encode("utf-8", "surrogateescape") if self.suffix else None

    def read(self, file: str) -> Meta:
        """What the sidecar of ``file`` says; nothing when there is none. Raises BadSidecar, OSError."""
        if not self.suffix:
            return {}
        try:
            with open_file(file + self.suffix) as source:
                data = source.read(_MOST + 1)
        except FileNotFoundError:
            return {}
        return _table(data, self.suffix)


def _table(data: bytes, suffix: str) -> Meta:
    if len(data) > _MOST:
        raise BadSidecar(f"its sidecar (…{suffix}) has more than {_MOST:,} bytes")
    try:
        table = json.loads(data)
    except ValueError as error:  # JSON and UTF-8 alike
        raise BadSidecar(f"its sidecar (…{suffix}) is no JSON: {error}") from error
    if not isinstance(table, dict) or not all(_is_plain(value) for value in table.values()):
        raise BadSidecar(f"its sidecar (…{suffix}) must be one JSON object whose values are texts or numbers")
    return table


def _is_plain(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str) or (is_number and -(1 << 63) <= value < 1 << 64)  # type: ignore[operator]
