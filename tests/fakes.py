"""Full, small stand-ins for Kafka and plugins; no mocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from openmsi_core.files.datafile import DataFile
from openmsi_core.model import PluginFacts, Position, Record, Result, Stored
from openmsi_core.testing.logs import Log, LogSource, LogStore, values_of

__all__ = ["Call", "Handled", "Log", "LogReader", "LogSource", "LogStore", "values_of"]


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
