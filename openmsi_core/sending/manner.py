"""How files are sent, and what the first record says about each."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from openmsi_core.files.chunking import DEFAULT_CHUNK
from openmsi_core.model import FileVersion
from openmsi_core.sending.seen import Facts, Seen


def _random_id() -> bytes:
    return os.urandom(16)


@dataclass(frozen=True, slots=True)
class Manner:
    """Bytes of a chunk, what the user says about every file, who sends; the clock (epoch ns) and the source of ids."""

    chunk: int = DEFAULT_CHUNK
    user: Mapping[str, str | int | float] = field(default_factory=dict)
    source: str = field(default_factory=lambda: f"{socket.gethostname()} openmsi")
    wall_ns: Callable[[], int] = time.time_ns
    new_id: Callable[[], bytes] = _random_id

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
