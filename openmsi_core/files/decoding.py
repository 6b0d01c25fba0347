"""What a record's value carries, whoever wrote it: the first byte tells the formats apart."""

from __future__ import annotations

from openmsi_core.files import openmsistream, wire
from openmsi_core.model import Chunk


def decode(value: bytes | None, max_file_size: int = wire.MAX_FILE_SIZE, timestamp_ms: int = -1) -> Chunk:
    """The chunk; ``timestamp_ms`` is the record's. Raises BadRecord."""
    if value and openmsistream.is_one(value):
        return openmsistream.decode(value, max_file_size, timestamp_ms)
    return wire.decode(value, max_file_size)
