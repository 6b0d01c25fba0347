"""msgpack, which strangers wrote."""

from __future__ import annotations

from typing import Any

import msgpack

from openmsi_core.errors import BadRecord


def pack(value: object) -> bytes:
    """``value`` as msgpack. Raises UnicodeEncodeError for text that is not UTF-8."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def unpack(data: bytes, what: str, *, errors: str = "strict") -> Any:
    """What ``data`` says, without extension types; ``errors`` is about text that is not UTF-8. Raises BadRecord."""
    try:
        return msgpack.unpackb(data, strict_map_key=True, max_ext_len=0, unicode_errors=errors)
    except Exception as error:
        raise BadRecord(f"{what} is not msgpack: {type(error).__name__} {error}".strip()) from error
