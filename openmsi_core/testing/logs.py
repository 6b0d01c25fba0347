"""A topic in memory, with a source and a store of its own: the whole receiving loop without a broker."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.files import wire
from openmsi_core.files.chunking import chunks
from openmsi_core.model import Claim, Commit, FileVersion, Outgoing, Position, Record, RelativePath
from openmsi_core.ports import Listener


class Log:
    """A topic with partitions that are lists of values, and the commits of one group."""

    def __init__(self, partitions: int = 1) -> None:
        self.partitions: list[list[bytes | None]] = [[] for _ in range(partitions)]
        self.commits: dict[int, Commit] = {}
        self.published: list[Outgoing] = []

    def put(self, *values: bytes | None, partition: int = 0) -> None:
        """Append record values."""
        self.partitions[partition].extend(values)

    def values(self, topic: str) -> list[bytes]:
        """What was published in ``topic``."""
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
        """Give partitions to the listener, as a rebalance does."""
        claims = []
        for partition in partitions:
            commit = self.log.commits.get(partition)
            high = len(self.log.partitions[partition])
            claims.append(
                Claim(partition, commit.offset if commit else None, commit.metadata if commit else "", 0, high)
            )
        self._positions |= self.listener.assigned(claims)

    def revoke(self, partitions: Sequence[int]) -> None:
        """Take partitions away again."""
        self.listener.revoked(partitions)
        for partition in partitions:
            del self._positions[partition]

    def poll(self, timeout: float) -> Record | None:  # noqa: ARG002 - a port's signature
        """The next record, None at the end."""
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
        """How many there are."""
        return len(self.log.partitions)

    def positions(self) -> Mapping[int, int]:
        """Where reading goes on."""
        return dict(self._positions)

    def pause(self) -> None:
        """Give nothing until `resume`."""
        self.paused += self.paused == self.resumed

    def resume(self) -> None:
        """Give records again."""
        self.resumed = self.paused


class LogStore:
    """Writes checkpoints into a Log; ``failing`` of them fail first."""

    def __init__(self, log: Log, failing: int = 0) -> None:
        self.log = log
        self.failing = failing
        self.checkpoints = 0

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:  # noqa: ARG002
        """All of it at once, or nothing."""
        if self.failing:
            self.failing -= 1
            raise BrokerUnreachable("the broker is away")
        self.checkpoints += 1
        self.log.published += outgoing
        self.log.commits |= {commit.partition: commit for commit in commits}


def values_of(
    path: str,
    data: bytes,
    *,
    chunk: int = wire.MIN_CHUNK,
    file_id: bytes | None = None,
    mtime_ns: int = 1_700_000_000_000_000_000,
) -> list[bytes]:
    """The record values of one file."""
    version = FileVersion(file_id or os.urandom(16), RelativePath.parse(path), len(data), chunk, mtime_ns)
    return [wire.encode(each) for each in chunks(io.BytesIO(data), version)]
