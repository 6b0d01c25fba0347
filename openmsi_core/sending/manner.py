"""How files are sent, and what the first record says about each."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from openmsi_core.errors import UsageError
from openmsi_core.files.chunking import DEFAULT_CHUNK
from openmsi_core.model import FileVersion
from openmsi_core.sending.seen import Facts, Seen

_MOST_USER_BYTES = 48 * 1024  # the first record's metadata have room for 64 KiB, and a path may take 4 KiB


def _random_id() -> bytes:
    return os.urandom(16)


@dataclass(frozen=True, slots=True)
class Manner:
    """Bytes of a chunk, what the user says about every file, who sends; the clock (epoch ns) and the source of ids.

    Raises UsageError for user metadata that cannot go with a file."""

    chunk: int = DEFAULT_CHUNK
    user: Mapping[str, str | int | float] = field(default_factory=dict)
    source: str = field(default_factory=lambda: f"{socket.gethostname()} openmsi")
    wall_ns: Callable[[], int] = time.time_ns
    new_id: Callable[[], bytes] = _random_id

    def __post_init__(self) -> None:
        try:
            size = sum(len(key.encode()) + len(str(value).encode()) + 16 for key, value in self.user.items())
        except UnicodeEncodeError as error:
            raise UsageError(f"metadata must be text that UTF-8 can carry: {error}") from error
        if size > _MOST_USER_BYTES:
            raise UsageError(f"metadata of about {size:,} bytes, at most {_MOST_USER_BYTES:,} can go with each file")

    def version(self, seen: Seen, facts: Facts) -> FileVersion:
        """A new version of the file that was seen, with what is known before it is read."""
        return FileVersion(
            id=self.new_id(),
            path=seen.relative,
            size=facts.size,
            chunk=self.chunk,
            mtime_ns=facts.mtime_ns,
            mode=facts.mode,
            sent_ns=self.wall_ns(),
            source=self.source,
            user=self.user,
        )
