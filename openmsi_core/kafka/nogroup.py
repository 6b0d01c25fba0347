"""Making outcomes durable for somebody who reads without a group: there is nothing to commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from confluent_kafka import Consumer, TopicPartition

from openmsi_core.model import Commit


class Membership(Protocol):
    """What a checkpoint must know of the member whose commits it writes."""

    @property
    def topic(self) -> str:
        """The topic that is read."""
        ...

    @property
    def client(self) -> Consumer:
        """The client, for a transaction's group metadata."""
        ...

    def committed(self) -> Sequence[TopicPartition]:
        """The group's commits for the partitions that are ours."""
        ...

    def commit(self, commits: Sequence[Commit]) -> bool:
        """Commit; False when a rebalance came first."""
        ...


class NoGroup:
    """The Membership of nobody: for `dlq retry` and `replay`, whose checkpoints carry no commits."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    @property
    def topic(self) -> str:
        """The topic that is read."""
        return self._topic

    @property
    def client(self) -> Consumer:
        """There is none: asking for it means that somebody wanted to commit. Raises RuntimeError."""
        raise RuntimeError("a reader without a group has nothing to commit")

    def committed(self) -> Sequence[TopicPartition]:
        """None."""
        return ()

    def commit(self, commits: Sequence[Commit]) -> bool:
        """Nothing to do, and nothing may be asked for. Raises RuntimeError."""
        if commits:
            raise RuntimeError("a reader without a group has nothing to commit")
        return True
