"""Full, small stand-ins for Kafka and plugins; no mocks."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.files import wire
from openmsi_core.files.chunking import chunks
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import (
    Claim,
    Commit,
    FileVersion,
    Outgoing,
    PluginFacts,
    Position,
    Record,
    RelativePath,
    Result,
    Stored,
)
from openmsi_core.ports import Listener


class Log:
    """A topic with partitions that are lists of values, and the commits of one group."""

    def __init__(self, partitions: int = 1) -> None:
        self.partitions: list[list[bytes | None]] = [[] for _ in range(partitions)]
        self.commits: dict[int, Commit] = {}
        self.published: list[Outgoing] = []

    def put(self, *values: bytes | None, partition: int = 0) -> None:
        self.partitions[partition].extend(values)

    def values(self, topic: str) -> list[bytes]:
        return [each.value for each in self.published if each.topic == topic]


class LogSource:
    """Reads a Log like one member of a group; everything is assigned at the first poll."""

    def __init__(self, log: Log, listener: Listener, topic: str = "t", timestamp_ms: int = 0) -> None:
        self.log = log
        self.listener = listener
        self.topic = topic
        self.timestamp_ms = timestamp_ms
        self.paused = 0
        self.resumed = 0
        self.before_poll: Callable[[], None] = lambda: None
        self._positions: dict[int, int] = {}

    def assign(self, partitions: Iterable[int]) -> None:
        claims = []
        for partition in partitions:
            commit = self.log.commits.get(partition)
            high = len(self.log.partitions[partition])
            claims.append(
                Claim(partition, commit.offset if commit else None, commit.metadata if commit else "", 0, high)
            )
        self._positions |= self.listener.assigned(claims)

    def revoke(self, partitions: Sequence[int]) -> None:
        self.listener.revoked(partitions)
        for partition in partitions:
            del self._positions[partition]

    def poll(self, timeout: float) -> Record | None:
        if not self._positions:
            self.assign(range(len(self.log.partitions)))
        self.before_poll()
        if self.paused > self.resumed:
            return None
        for partition, offset in self._positions.items():
            if offset < len(self.log.partitions[partition]):
                self._positions[partition] = offset + 1
                value = self.log.partitions[partition][offset]
                return Record(Position(self.topic, partition, offset), self.timestamp_ms, None, value)
        return None

    def partitions(self) -> int:
        return len(self.log.partitions)

    def positions(self) -> Mapping[int, int]:
        return dict(self._positions)

    def pause(self) -> None:
        self.paused += self.paused == self.resumed

    def resume(self) -> None:
        self.resumed = self.paused


class LogReader:
    """A RecordReader of a Log; offset n has the timestamp ``began_ms`` + n. Below ``lows`` nothing is left."""

    def __init__(self, log: Log, topic: str = "t", began_ms: int = 0, lows: Mapping[int, int] | None = None) -> None:
        self.log = log
        self.topic = topic
        self.began_ms = began_ms
        self.lows = lows or {}
        self.read: list[Position] = []

    def ends(self) -> Mapping[int, tuple[int, int]]:
        return {number: (self.lows.get(number, 0), len(values)) for number, values in enumerate(self.log.partitions)}

    def since(self, timestamp_ms: int) -> Mapping[int, int]:
        ends = self.ends()
        return {number: min(max(timestamp_ms - self.began_ms, low), high) for number, (low, high) in ends.items()}

    def between(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record | None]:
        for partition, (first, until) in ranges.items():
            assert first >= self.lows.get(partition, 0), "the caller did not look what retention has left"
            yield None
            for offset in range(first, min(until, len(self.log.partitions[partition]))):
                self.read.append(Position(self.topic, partition, offset))
                value = self.log.partitions[partition][offset]
                yield Record(self.read[-1], self.began_ms + offset, None, value)


class LogStore:
    """Writes checkpoints into a Log; ``failing`` of them fail first."""

    def __init__(self, log: Log, failing: int = 0) -> None:
        self.log = log
        self.failing = failing
        self.checkpoints = 0

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        if self.failing:
            self.failing -= 1
            raise BrokerUnreachable("the broker is away")
        self.checkpoints += 1
        self.log.published += outgoing
        self.log.commits |= {commit.partition: commit for commit in commits}


class Call:
    """A Runner that calls a function with each file."""

    def __init__(self, call: Callable[[DataFile], object], *, flush: Callable[[], None] | None = None) -> None:
        self.facts = PluginFacts("fake", "extractor", "fakes", "1", "0" * 8)
        self._call = call
        self._flush = flush
        self.opened = self.closed = 0
        self._handled: object = None

    def open(self) -> None:
        self.opened += 1

    def handle(self, file: DataFile) -> Handled:
        value = self._call(file)
        if isinstance(value, Stored):
            return Handled((), value.location, value.unchanged)
        return Handled((Result(value),))

    @property
    def flushes(self) -> bool:
        return self._flush is not None

    def flush(self) -> None:
        if self._flush is not None:
            self._flush()

    def spool_folder(self) -> Path | None:
        return None

    def close(self) -> None:
        self.closed += 1


class Handled:
    def __init__(self, results: tuple[Result, ...], location: str = "", unchanged: bool = False) -> None:
        self.results = results
        self.location = location
        self.unchanged = unchanged


def values_of(path: str, data: bytes, *, chunk: int = wire.MIN_CHUNK, file_id: bytes | None = None) -> list[bytes]:
    """The record values of one file."""
    version = FileVersion(
        file_id or os.urandom(16), RelativePath.parse(path), len(data), chunk, 1_700_000_000_000_000_000
    )
    return [wire.encode(each) for each in chunks(io.BytesIO(data), version)]
