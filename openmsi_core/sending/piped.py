"""A file that comes through a pipe: its size must be known before its first record, so it is kept aside first."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from openmsi_core.errors import FolderError, PathRefused, UsageError
from openmsi_core.model import RelativePath
from openmsi_core.sending.seen import Seen, facts_of

_PIECE = 1024 * 1024


@contextmanager
def kept_aside(stream: BinaryIO, name: str) -> Iterator[Seen]:
    """The content of ``stream``, read to its end, as a file that is sent as ``name`` (a path, parts joined by ``/``).

    It lies in the folder for temporary files (``TMPDIR``) until the end of the ``with``. Raises UsageError for a name
    that cannot be sent, FolderError when there is no room.
    """
    try:
        path = RelativePath.parse(name)
    except PathRefused as error:
        raise UsageError(f"--name {name!r} cannot be the path of a file: {error}") from error
    with tempfile.TemporaryDirectory(prefix="openmsi-piped-") as folder:
        file = Path(folder) / "content"
        try:
            with file.open("wb") as target:
                shutil.copyfileobj(stream, target, _PIECE)
        except OSError as error:
            raise FolderError(
                f"standard input could not be kept in {tempfile.gettempdir()}: {error.strerror}; name a folder with "
                "room in TMPDIR"
            ) from error
        yield Seen(str(file), path.key, facts_of(file.stat()))
