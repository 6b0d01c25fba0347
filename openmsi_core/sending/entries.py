"""What the ledger knows of one path."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How far a version is: its first record may be out, all is acknowledged, a receipt says that it arrived, refused
    for good, or never to be sent."""

    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SKIPPED = "skipped"


DEALT_WITH = frozenset({State.SENT, State.DELIVERED, State.SKIPPED})
"""A version in one of these is not sent again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The version of a path that was dealt with last.

    ``key`` is the path below the folder; ``size`` (of the file) and ``chunk`` are bytes, ``mtime_ns`` and
    ``since_ns`` epoch nanoseconds: when the state was reached, while sending when the last record was acknowledged.
    ``acknowledged`` counts records from the first on; ``first_offset`` is that of the first record, once it is
    acknowledged. ``sha256`` is that of the bytes that were acknowledged, so of all of them once it is sent. ``sent_as``
    is the record key when the file has another name in the topic; ``span`` the bytes that were selected, if not all.
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
    sent_as: bytes = b""
    span: tuple[int, int] | None = None

    @property
    def record_key(self) -> bytes:
        """The key of its records in the topic."""
        return self.sent_as or self.key

    @property
    def sent_size(self) -> int:
        """Bytes that the topic gets of it."""
        return self.size if self.span is None else self.span[1] - self.span[0]
