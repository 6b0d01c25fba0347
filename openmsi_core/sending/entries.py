"""What the ledger knows of one path."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How far a version is: its first record may be out, all is acknowledged, refused for good, or never to be sent."""

    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Entry:
    """The version of a path that was dealt with last.

    ``key`` is the record key; ``size`` and ``chunk`` are bytes, ``mtime_ns`` and ``since_ns`` (when the state was
    reached) epoch nanoseconds; ``acknowledged`` counts records from the first on; ``first_offset`` is that of the first
    record, once it is acknowledged.
    """

    key: bytes
    size: int
    mtime_ns: int
    state: State
    inode: int = 0
    id: bytes = b""
    partition: int = 0
    chunk: int = 0
    acknowledged: int = 0
    first_offset: int | None = None
    sha256: bytes | None = None
    reason: str = ""
    since_ns: int = 0
