"""The small Protocols through which sending and receiving speak to Kafka, plugins and encryption.

Adapters and fakes implement them; `wiring` chooses which. Both use cases know nothing but these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from openmsi_core.files.datafile import DataFile
from openmsi_core.model import Claim, Commit, Outgoing, PluginFacts, Record, Result

Delivered = Callable[[int | None, str], None]
"""Called once per produced record: the offset and "", or None and why the broker refused it."""


class Listener(Protocol):
    """Who is told that partitions come and go; called inside `RecordSource.poll`, never from another thread."""

    def assigned(self, claims: Sequence[Claim]) -> Mapping[int, int]:
        """Partitions are ours now; answers at which offset to begin reading each."""
        ...

    def revoked(self, partitions: Sequence[int]) -> None:
        """Partitions are about to go; what is finished may still be committed."""
        ...

    def lost(self, partitions: Sequence[int]) -> None:
        """Partitions are gone already; nothing of them may be committed."""
        ...


class RecordSource(Protocol):
    """The records of one topic, as the member of one consumer group gets them."""

    def poll(self, timeout: float) -> Record | None:
        """The next record, or None after ``timeout`` seconds; calls the listener when partitions come or go.

        Raises BrokerError.
        """
        ...

    def partitions(self) -> int:
        """How many partitions there are, whoever has them."""
        ...

    def positions(self) -> Mapping[int, int]:
        """For each partition that is ours: the offset of the next record to come."""
        ...

    def pause(self) -> None:
        """Fetch nothing until `resume`; `poll` keeps our membership alive and answers None."""
        ...

    def resume(self) -> None:
        """Fetch again."""
        ...


class RecordReader(Protocol):
    """The records of one topic, read at chosen offsets by somebody who joins no group."""

    def ends(self) -> Mapping[int, tuple[int, int]]:
        """For each partition the first offset that is still there, and the one after the last. Raises BrokerError."""
        ...

    def since(self, timestamp_ms: int) -> Mapping[int, int]:
        """For each partition the first offset whose record is not older. Raises BrokerError."""
        ...

    def between(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record | None]:
        """The records of each partition from the first offset up to the second; None when nothing comes for a while.

        Raises BrokerError.
        """
        ...


class OutcomeStore(Protocol):
    """Where a checkpoint becomes durable."""

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        """Results, receipts and dead letters, then the commits; blocks until all are acknowledged.

        ``outgoing`` may be gone through twice; ``size`` is about how many bytes it has. Raises BrokerError, and
        NotDelivered with the record that was refused for good; after either nothing may be taken as written, and the
        same may be written again.
        """
        ...


class RecordSink(Protocol):
    """Where a sender produces the records of files."""

    def partitions(self) -> int:
        """How many partitions the topic has. Raises BrokerError, TopicError."""
        ...

    def produce(self, partition: int, key: bytes, value: bytes, delivered: Delivered) -> None:
        """Queue one record; waits while the client's queue is full. ``delivered`` is called by `serve`."""
        ...

    def serve(self, timeout: float) -> int:
        """Call the delivery callbacks that are due, waiting up to ``timeout`` seconds; how many were called."""
        ...

    def pending(self) -> int:
        """How many records are not acknowledged yet."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A sealed record that could be opened."""

    data: bytes


@dataclass(frozen=True, slots=True)
class NotYet:
    """A sealed record whose key has not arrived; it is parked until ``key_index`` is there."""

    key_index: bytes


@dataclass(frozen=True, slots=True)
class Never:
    """A sealed record that can never be opened."""

    reason: str


class Sealer(Protocol):
    """Makes bytes safe to publish, and back."""

    def seal_key(self, topic: str, data: bytes) -> bytes:
        """The sealed key of a record."""
        ...

    def seal_value(self, topic: str, data: bytes) -> bytes:
        """The sealed value of a record."""
        ...

    def open_key(self, topic: str, data: bytes) -> Opened | NotYet | Never:
        """What a sealed key says."""
        ...

    def open_value(self, topic: str, data: bytes) -> Opened | NotYet | Never:
        """What a sealed value says."""
        ...


class Handled(Protocol):
    """What a plugin did with one file."""

    @property
    def results(self) -> Iterable[Result]:
        """Results for the output topic, to be read once; raises what the plugin raises."""
        ...

    @property
    def location(self) -> str:
        """Where a sink stored the file, or ""."""
        ...

    @property
    def unchanged(self) -> bool:
        """True when an equal file was there already."""
        ...


class Runner(Protocol):
    """One built plugin in one worker. All methods are called from that worker's thread only."""

    facts: PluginFacts

    def open(self) -> None:
        """Before the first file."""
        ...

    def handle(self, file: DataFile) -> Handled:
        """Hand one file to the plugin. Raises whatever the plugin raises."""
        ...

    @property
    def flushes(self) -> bool:
        """True when a file counts only after `flush`."""
        ...

    def flush(self) -> None:
        """Make durable everything handled since the last flush; when it raises, none of it counts."""
        ...

    def spool_folder(self) -> Path | None:
        """A folder on the file system where the plugin will store files, if it has one."""
        ...

    def close(self) -> None:
        """After the last file."""
        ...
