"""A restart: what the last process sent, and did not live to write down, is found in the topic.

::

    rows + offsets of the ledger     everything of ours up to these offsets is in the rows
    the topic behind these offsets   what was acknowledged, or on its way, when the process ended

A version that is whole there counts as sent, if the file still has that content; so a kill does not publish a file
twice. A half of which the rest is missing is continued or given up. It costs reading what came into the topic since the
end of that process, 64 MiB at most; what lies behind that is sent again, and receivers recognise it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from openmsi_core.errors import BadRecord
from openmsi_core.files.wire import decode
from openmsi_core.model import FileVersion, Position, RelativePath
from openmsi_core.ports import RecordReader
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.halves import may_go_on
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.reading import Window, open_file
from openmsi_core.sending.scanner import Scanner
from openmsi_core.sending.sender import Sender

_MOST = 64 * 1024 * 1024
_PIECE = 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """The last record of a version in the topic: its digest; and what its first record said, if that was seen too."""

    sha256: bytes
    version: FileVersion | None
    first: Position | None
    records: int


def take_up(ledger: Ledger, sender: Sender, scanner: Scanner, reader: RecordReader, now_ns: int) -> None:
    """Write down what is whole, continue or give up what is half sent. ``now_ns`` is epoch nanoseconds.

    Raises BrokerError; it may be called again.
    """
    ends = reader.ends()
    whole = _whole_behind(ledger.offsets(), ends, reader)
    halves = [half for half in ledger.half_sent() if not sender.is_busy_with(half.key)]
    for half in halves:
        if half.id in whole:
            found = whole.pop(half.id)
            ledger.put(
                replace(half, state=State.SENT, sha256=found.sha256, acknowledged=found.records, since_ns=now_ns)
            )
    latest = {found.version.path.key: found for found in whole.values() if found.version is not None}
    count = sum(_write_down(found, ledger, scanner, now_ns) for found in latest.values())
    if count:
        _log.info("%d files were sent by the last process, which could not write it down any more", count)
    for partition, (_, high) in ends.items():
        ledger.acknowledged(partition, high - 1)
    ledger.flush()
    _continue([half for half in ledger.half_sent() if not sender.is_busy_with(half.key)], sender, scanner, ends, now_ns)


def _whole_behind(
    offsets: Mapping[int, int], ends: Mapping[int, tuple[int, int]], reader: RecordReader
) -> dict[bytes, Found]:
    """The versions whose last record came after ``offsets``, by their id."""
    ranges = {
        partition: (max(low, offsets[partition] + 1), high)
        for partition, (low, high) in ends.items()
        if partition in offsets and offsets[partition] + 1 < high
    }
    whole: dict[bytes, Found] = {}
    firsts: dict[bytes, tuple[FileVersion, Position]] = {}
    read = 0
    for record in reader.between(ranges) if ranges else ():
        if record is None or record.value is None:
            continue
        read += len(record.value)
        if read > _MOST:
            _log.info("the topic went on for more than 64 MiB since we ended: files may be sent again")
            break
        try:
            chunk = decode(record.value)
        except BadRecord:
            continue
        if chunk.version is not None:
            firsts[chunk.file_id] = chunk.version, record.position
        if chunk.last and chunk.sha256 is not None:
            version, first = firsts.get(chunk.file_id, (None, None))
            whole[chunk.file_id] = Found(chunk.sha256, version, first, chunk.sequence + 1)
    return whole


def _write_down(found: Found, ledger: Ledger, scanner: Scanner, now_ns: int) -> bool:
    """The last version of a path, if the ledger has no row of it: ours when the file has that content now."""
    version, first = found.version, found.first
    if version is None or first is None:
        return False
    before = ledger.entry(version.path.key)
    if before is not None and before.state is State.SENDING:
        return False  # it is known what that file is about
    key = version.path.key
    for seen in scanner.look(scanner.place_of(key)):
        facts, span = seen.facts, version.span
        if seen.key != key or _digest(seen.file, span) != found.sha256:
            continue
        ledger.put(
            Entry(
                key,
                facts.size,
                facts.mtime_ns,
                State.SENT,
                facts.inode,
                version.id,
                first.partition,
                version.chunk,
                found.records,
                first.offset,
                found.sha256,
                since_ns=now_ns,
                span=span,
            )
        )
        return True
    return False


def _continue(
    halves: list[Entry], sender: Sender, scanner: Scanner, ends: Mapping[int, tuple[int, int]], now_ns: int
) -> None:
    given_up = []
    for half in halves:
        seen = next(scanner.look(scanner.place_of(half.key)), None)
        if seen is not None and may_go_on(half, seen, ends, now_ns):
            sender.go_on(seen, half)
            _log.info("%s was left half sent: it is continued after record %d", seen.relative, half.acknowledged)
        else:
            given_up.append(half)
    count = sender.abandon(given_up)
    if count:
        names = ", ".join(str(RelativePath.from_key(half.key)) for half in given_up[:3])
        _log.info("%d files were left half sent (%s): they are given up there and sent anew", count, names)


def _digest(file: str, span: tuple[int, int] | None) -> bytes:
    """The SHA-256 of what is there now, b"" when that cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_file(file) as source:
            for piece in _pieces(Window(source, span)):
                digest.update(piece)
    except OSError as error:
        _log.debug("%s cannot be compared: %s", file, error)  # it is sent again, and says so itself if it cannot be
        return b""
    return digest.digest()


def _pieces(window: Window) -> Iterator[bytes]:
    while piece := window.read(_PIECE):
        yield piece
