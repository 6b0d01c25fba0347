"""Fakes for sending: a sink that keeps what it is given, an oracle for it, and a file that changes while it is read."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.files.wire import decode
from openmsi_core.model import Chunk
from openmsi_core.ports import Delivered
from openmsi_core.sending.reading import open_file
from openmsi_core.sending.seen import Seen, facts_of


@dataclass
class FakeSink:
    """A full RecordSink in memory. Acknowledges in order, when served, unless it is told to be late, away or strict."""

    count: int = 4
    is_late: bool = False
    is_away: bool = False
    refuses: Callable[[int, Chunk], str] = lambda number, chunk: ""
    records: list[tuple[int, bytes, bytes]] = field(default_factory=list)  # what the topic holds
    _queue: deque[tuple[int, bytes, bytes, Delivered]] = field(default_factory=deque)
    _produced: int = 0

    def partitions(self) -> int:
        if self.is_away:
            raise BrokerUnreachable("nobody answers (fake)")
        return self.count

    def produce(self, partition: int, key: bytes, value: bytes, delivered: Delivered) -> None:
        if self.is_away:
            raise BrokerUnreachable("nobody answers (fake)")
        self._queue.append((partition, key, value, delivered))

    def serve(self, timeout: float) -> int:
        served = 0
        while self._queue and not self.is_late and not self.is_away:
            partition, key, value, delivered = self._queue.popleft()
            reason = self.refuses(self._produced, decode(value))
            self._produced += 1
            served += 1
            if reason:
                delivered(None, reason)
                continue
            self.records.append((partition, key, value))
            delivered(sum(1 for each in self.records if each[0] == partition) - 1, "")
        return served

    def pending(self) -> int:
        return len(self._queue)

    def queued_bytes(self) -> int:
        return sum(len(key) + len(value) for _, key, value, _ in self._queue)

    def flush_in(self, count: int) -> None:
        """The broker takes ``count`` records whose acknowledgement the sender will never see."""
        for _ in range(count):
            partition, key, value, _ = self._queue.popleft()
            self.records.append((partition, key, value))


@dataclass
class Arrived:
    """What an observer of the topic finds, by path: whole versions in order; and the ids of the others."""

    whole: dict[str, list[bytes]] = field(default_factory=dict)
    aborted: list[bytes] = field(default_factory=list)
    unfinished: list[bytes] = field(default_factory=list)


def arrived(sink: FakeSink) -> Arrived:
    """An oracle that knows nothing of the assembler: payloads in order, compared with the promised SHA-256."""
    found = Arrived()
    pieces: dict[bytes, list[bytes]] = {}
    paths: dict[bytes, str] = {}
    for partition, key, value in sink.records:
        chunk = decode(value)
        if chunk.version is not None:
            pieces[chunk.file_id] = []
            paths[chunk.file_id] = chunk.version.path.text
            assert chunk.version.path.key == key
        if chunk.abort:
            pieces.pop(chunk.file_id, None)
            found.aborted.append(chunk.file_id)
            continue
        assert len(pieces[chunk.file_id]) == chunk.sequence, "a gap, or a record after the end"
        pieces[chunk.file_id].append(chunk.payload)
        if chunk.last:
            content = b"".join(pieces.pop(chunk.file_id))
            assert hashlib.sha256(content).digest() == chunk.sha256
            found.whole.setdefault(paths[chunk.file_id], []).append(content)
        assert 0 <= partition < sink.count
    found.unfinished = list(pieces)
    return found


class Tampered:
    """An open file to which something happens just before its ``number``-th read (from 0)."""

    def __init__(self, source: BinaryIO, number: int, action: Callable[[], object]) -> None:
        self._source = source
        self._number = number
        self._action = action
        self._reads = 0

    def read(self, size: int = -1) -> bytes:
        if self._reads == self._number:
            self._action()
        self._reads += 1
        return self._source.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def tampering(number: int, action: Callable[[], object], *, times: int = 1) -> Callable[[str], BinaryIO]:
    """An opener whose first ``times`` files are tampered with."""
    left = [times]

    def opened(file: str) -> BinaryIO:
        source = open_file(file)
        if not left[0]:
            return source
        left[0] -= 1
        return cast("BinaryIO", Tampered(source, number, action))

    return opened


def seen(file: Path, root: Path) -> Seen:
    """``file`` as a scan of ``root`` sees it now."""
    key = str(file.relative_to(root)).encode("utf-8", "surrogateescape")
    return Seen(str(file), key, facts_of(file.stat()))
