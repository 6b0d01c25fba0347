"""What goes through the pipes between a run and the process of its plugin.

A frame: the lengths of facts and bytes, 32 bits each, big-endian; the facts, a JSON object; the bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO

from openmsi_core.errors import SettingsError
from openmsi_core.files.content import Content, InMemory, OnDisk
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import FileVersion, Position, RelativePath

MAX_ANSWER = 16 * 1024 * 1024  # bytes of one frame of a child; a record of Kafka takes less than one
_LENGTHS = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. ``facts["say"]`` or ``facts["do"]`` is what it is about."""

    facts: Mapping[str, Any]
    data: bytes = field(default=b"", repr=False)


def send(pipe: BinaryIO, frame: Frame) -> None:
    """Write one frame; blocks while the pipe is full. Raises OSError when nobody reads, TypeError for what is no JSON.

    >>> import io
    >>> pipe = io.BytesIO()
    >>> send(pipe, Frame({"say": "done"}, b"abc"))
    >>> receive(io.BytesIO(pipe.getvalue()))
    Frame(facts={'say': 'done'})
    """
    facts = json.dumps(frame.facts).encode("ascii")
    pipe.write(_LENGTHS.pack(len(facts), len(frame.data)) + facts)
    if frame.data:
        pipe.write(frame.data)
    pipe.flush()


def receive(pipe: BinaryIO, limit: int = 0) -> Frame | None:
    """The next frame; None at the end, also when that comes in the middle of one. Blocks until it is there.

    Raises ValueError for what is no frame, or has more than ``limit`` bytes (0: any).
    """
    lengths = pipe.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    sizes = _LENGTHS.unpack(lengths)
    if limit and sum(sizes) > limit:
        raise ValueError(f"a frame of {sum(sizes):,} bytes, at most {limit:,} are taken")
    facts, data = (pipe.read(size) for size in sizes)
    if (len(facts), len(data)) != sizes:
        return None
    found = json.loads(facts)
    if not isinstance(found, dict):
        raise ValueError("a frame without facts")  # noqa: TRY004 - what was read is wrong, not what was called
    return Frame(found, data)


def frame_of(file: DataFile) -> Frame:
    """A file for another process: by its path when it is on disk, with its bytes when it is in memory."""
    version, path = file.version, file.content.path()
    facts = {
        "do": "handle",
        "id": version.id.hex(),
        "path": list(version.path.parts),
        **{name: getattr(version, name) for name in _PLAIN},
        "user": dict(version.user),
        "span": version.span,
        "sha256": version.sha256.hex() if version.sha256 is not None else None,
        "position": [file.position.topic, file.position.partition, file.position.offset],
        "received": file.received.isoformat(),
        "complete": file.complete,
        "file": fspath(path) if path is not None else None,
        "ours": isinstance(file.content, OnDisk) and file.content.ours,
    }
    return Frame(facts, b"" if path is not None else file.content.read())


def file_of(frame: Frame, workdir: Path) -> DataFile:
    """The file that was sent here. Its content stays with who sent it: it is not to be released here."""
    facts = frame.facts
    content: Content = InMemory([frame.data])
    if facts["file"] is not None:
        content = OnDisk(Path(facts["file"]), ours=facts["ours"])
    version = FileVersion(
        id=bytes.fromhex(facts["id"]),
        path=RelativePath(tuple(facts["path"])),
        user=facts["user"],
        span=tuple(facts["span"]) if facts["span"] is not None else None,
        sha256=bytes.fromhex(facts["sha256"]) if facts["sha256"] is not None else None,
        **{name: facts[name] for name in _PLAIN},
    )
    position, received = Position(*facts["position"]), datetime.fromisoformat(facts["received"])
    return DataFile(version, position, received, content, workdir, facts["complete"])


_PLAIN = ("size", "chunk", "mtime_ns", "mode", "sent_ns", "source")


def portable(values: Mapping[str, object]) -> dict[str, Any]:
    """Options as JSON can carry them: paths and dates as text, which the plugin's model reads again.

    Raises SettingsError for anything else.
    """
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(values), default=_spelled))
    except (TypeError, ValueError) as error:
        raise SettingsError(f"these options cannot be given to a plugin in a process of its own: {error}") from error
    return found


def _spelled(value: object) -> str:
    if isinstance(value, PathLike):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no text, number, list or table")
