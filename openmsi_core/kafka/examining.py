"""What `openmsi doctor` asks a broker: which rights we have, whether a transaction hangs, whose clock is wrong.

Nothing is written, except that asking for the right to transactions leaves an id behind, which the broker forgets.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined] # exported, though not by mypy's rules

from openmsi_core.errors import RightMissing
from openmsi_core.kafka import config
from openmsi_core.kafka.admin import Admin, connected
from openmsi_core.kafka.errors import ClientWatch, made, translated

_ASK_SECONDS = 10
_TRANSACT_SECONDS = 15.0
_READ_SECONDS = 5.0
_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_PAUSE = 0.3
_PASSING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
}
_NOT_TOLD = {KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION, KafkaError._NOT_IMPLEMENTED}


class Examination:
    """Questions to the broker of ``options``. `examine` makes one. Every method raises BrokerError.

    What an old or embedded broker does not tell is None.
    """

    def __init__(self, options: Mapping[str, str], admin: Admin) -> None:
        self.admin = admin
        self._options = options
        self._client: Any = admin._client

    def brokers(self) -> int | None:
        """How many brokers the cluster has."""
        told = self._told(lambda: self._client.describe_cluster(request_timeout=_ASK_SECONDS), "")
        return len(told.nodes) if told is not None else None

    def topic_rights(self, topic: str) -> frozenset[str] | None:
        """What we may do with a topic: READ, WRITE, ..."""

        def ask() -> Future[Any]:
            asked = self._client.describe_topics(
                TopicCollection([topic]), include_authorized_operations=True, request_timeout=_ASK_SECONDS
            )
            answer: Future[Any] = asked[topic]
            return answer

        return _names(self._told(ask, topic))

    def group_rights(self, group: str) -> frozenset[str] | None:
        """What we may do with a consumer group."""

        def ask() -> Future[Any]:
            asked = self._client.describe_consumer_groups(
                [group], include_authorized_operations=True, request_timeout=_ASK_SECONDS
            )
            answer: Future[Any] = asked[group]
            return answer

        try:
            return _names(self._told(ask, group))
        except RightMissing:  # not even to look at it
            return frozenset()

    def ends(self, topic: str, partitions: Sequence[int]) -> Mapping[int, tuple[int, int]] | None:
        """For each partition the last stable offset, behind which open transactions hide records, and the end."""
        found = {}
        for number in partitions:
            stable = self._end(topic, number, IsolationLevel.READ_COMMITTED)
            high = self._end(topic, number, IsolationLevel.READ_UNCOMMITTED)
            if stable is None or high is None:
                return None
            found[number] = (stable, high)
        return found

    def written_at(self, topic: str, partition: int, offset: int) -> int | None:
        """When the first record at or after ``offset`` was written, committed or not, epoch milliseconds."""
        settings = config.reader(self._options) | {"isolation.level": "read_uncommitted"}
        consumer = made(Consumer, ClientWatch(self._options, topic).configured(settings))
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            message = consumer.poll(_READ_SECONDS)
            if message is None or message.error() is not None:
                return None
            kind, timestamp = message.timestamp()
            return timestamp if kind else None
        finally:
            consumer.close()

    def why_no_transactions(self) -> str:
        """Why we may not use transactions, "" if we may."""
        settings = config.checkpoint_producer(self._options, f"openmsi-doctor-{socket.gethostname()}")
        watch = ClientWatch(self._options)
        producer = made(Producer, watch.configured(settings))
        try:
            producer.init_transactions(_TRANSACT_SECONDS)
        except KafkaException as error:
            return str(translated(error.args[0], self._options, str(settings["transactional.id"])))
        return ""

    def _end(self, topic: str, partition: int, level: IsolationLevel) -> int | None:
        place = TopicPartition(topic, partition)

        def ask() -> Future[Any]:
            asked = self._client.list_offsets({place: _LATEST}, isolation_level=level, request_timeout=_ASK_SECONDS)
            answer: Future[Any] = asked[place]
            return answer

        told = self._told(ask, topic)
        return int(told.offset) if told is not None else None

    def _told(self, ask: Callable[[], Future[Any]], what: str) -> Any:
        """The answer; asked again while a coordinator or leader is being chosen."""
        ends = time.monotonic() + _ASK_SECONDS
        while True:
            try:
                return ask().result(_ASK_SECONDS + 5)
            except KafkaException as error:
                failure = error.args[0]
                if failure.code() in _NOT_TOLD:
                    return None
                passes = failure.retriable() or failure.code() in _PASSING
                if not passes or time.monotonic() >= ends:
                    raise translated(failure, self._options, what) from error
            time.sleep(_PAUSE)


def examine(options: Mapping[str, str]) -> Examination:
    """An Examination of a broker that has answered. Raises SettingsError, BrokerError."""
    return Examination(options, connected(options))


def _names(told: Any) -> frozenset[str] | None:
    rights = getattr(told, "authorized_operations", None)
    if rights is None:
        return None
    names = {right.name for right in rights}
    return frozenset(names | {"READ", "WRITE"} if "ALL" in names else names)
