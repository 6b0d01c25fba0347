"""Receipts, as the sender reads them: what a run says became of one version of a file.

Who may write to ``T.receipts`` may write anything, so nothing of a receipt is believed before it is looked at: what is
none of ours is None here, and counted by whoever reads.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from openmsi_core.model import MAX_PATH_BYTES, Record, What

ARRIVED = frozenset({What.DONE, What.SUPERSEDED})
"""Outcomes that end well: the run is done with the version, or already has a later one of its path."""
SILENT = frozenset({What.ABORTED, What.NOT_WANTED, What.HEADLESS})
"""Outcomes that say nothing about a version that was sent whole."""

_MAX_RUN = 255
_MAX_LOCATION = 8 * 1024
_MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a run says of the version ``id``: ``outcome`` is one of `What`, or a word of a later openmsi.

    ``key`` is the path as a record key; ``sha256`` is b"" when the run never had it whole; ``location`` is where a sink
    put it; ``at`` ISO 8601; ``offset`` where the receipt stands in its partition.
    """

    id: bytes
    run: str
    key: bytes
    outcome: str
    size: int
    sha256: bytes
    location: str
    reason: str
    plugin: str
    at: str
    offset: int


def receipt_in(record: Record) -> Receipt | None:
    """The receipt in a record of ``T.receipts``; None when it is none."""
    try:
        told = json.loads(record.value or b"")
        return _receipt(told, record.position.offset)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # binascii.Error is a ValueError
        return None


def _receipt(told: dict[str, object], offset: int) -> Receipt | None:
    file_id = bytes.fromhex(_text(told["id"], 32))
    key = _key(told)
    size = told["size"]
    if len(file_id) != 16 or type(size) is not int or not 0 <= size < 1 << 63 or not 0 < len(key) <= MAX_PATH_BYTES:
        return None
    return Receipt(
        id=file_id,
        run=_text(told["run"], _MAX_RUN),
        key=key,
        outcome=_text(told["outcome"], 64),
        size=size,
        sha256=bytes.fromhex(_text(told["sha256"] or "", 64)),
        location=_text(told["location"], _MAX_LOCATION),
        reason=_text(told["reason"], _MAX_REASON),
        plugin=_text(told["plugin"], _MAX_RUN) + " " + _text(told["version"], _MAX_RUN),
        at=_text(told["at"], 64),
        offset=offset,
    )


def _key(told: dict[str, object]) -> bytes:
    raw = told.get("path_b64")
    if raw is None:
        return _text(told["path"], MAX_PATH_BYTES).encode("utf-8")
    try:
        return base64.b64decode(_text(raw, 2 * MAX_PATH_BYTES), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _text(value: object, limit: int) -> str:
    """Text that UTF-8 can carry, cut. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"text is needed, not {type(value).__name__}")
    return value[:limit].encode("utf-8", "backslashreplace").decode("utf-8")
