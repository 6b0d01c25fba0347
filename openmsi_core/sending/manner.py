"""How files are sent, and what the first record says about each."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from openmsi_core.errors import PathRefused, UsageError
from openmsi_core.files.chunking import DEFAULT_CHUNK
from openmsi_core.model import FileVersion
from openmsi_core.sending.renaming import Renaming
from openmsi_core.sending.seen import Facts, Seen
from openmsi_core.sending.sidecars import BadSidecar, Sidecars

_MOST_USER_BYTES = 48 * 1024  # the first record's metadata have room for 64 KiB, and a path may take 4 KiB


def _random_id() -> bytes:
    return os.urandom(16)


@dataclass(frozen=True, slots=True)
class Manner:
    """Bytes of a chunk, what the user says about every file, who sends; the clock (epoch ns) and the source of ids.

    ``span`` selects the bytes of each file from the first up to, not including, the second; a file that ends before is
    sent to its end. ``sidecars`` say something of single files, over what is said of all; ``renaming`` gives the paths
    under which files arrive. Raises UsageError for user metadata that cannot go with a file.
    """

    chunk: int = DEFAULT_CHUNK
    user: Mapping[str, str | int | float] = field(default_factory=dict)
    source: str = field(default_factory=lambda: f"{socket.gethostname()} openmsi")
    wall_ns: Callable[[], int] = time.time_ns
    new_id: Callable[[], bytes] = _random_id
    span: tuple[int, int] | None = None
    sidecars: Sidecars = field(default_factory=Sidecars)
    renaming: Renaming = field(default_factory=Renaming)

    def __post_init__(self) -> None:
        why = _why_not(self.user)
        if why:
            raise UsageError(why)

    def version(self, seen: Seen, facts: Facts) -> FileVersion:
        """A new version of the file that was seen, with what is known before it is read.

        Raises OSError, also for a sidecar that does not say what it should, and for a path that cannot be sent.
        """
        user = {**self.user, **self.sidecars.read(seen.file)}
        if len(user) > len(self.user) and (why := _why_not(user)):
            raise BadSidecar(f"with its sidecar: {why}")
        span = None
        if self.span is not None:
            start, stop = (min(end, facts.size) for end in self.span)
            span = None if (start, stop) == (0, facts.size) else (start, stop)
        try:
            path = self.renaming.renamed(seen.relative, facts)
        except PathRefused as error:
            raise OSError(str(error)) from error
        return FileVersion(
            id=self.new_id(),
            path=path,
            size=facts.size if span is None else span[1] - span[0],
            chunk=self.chunk,
            mtime_ns=facts.mtime_ns,
            mode=facts.mode,
            sent_ns=self.wall_ns(),
            source=self.source,
            user=user,
            span=span,
        )


def _why_not(user: Mapping[str, str | int | float]) -> str:
    try:
        size = sum(len(key.encode()) + len(str(value).encode()) + 16 for key, value in user.items())
    except UnicodeEncodeError as error:
        return f"metadata must be text that UTF-8 can carry: {error}"
    if size > _MOST_USER_BYTES:
        return f"metadata of about {size:,} bytes, at most {_MOST_USER_BYTES:,} can go with each file"
    return ""
