"""Records of one topic, as a member of one consumer group."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from openmsi_core.errors import BrokerError
from openmsi_core.kafka import config
from openmsi_core.kafka.claims import Claims
from openmsi_core.kafka.errors import CONNECT_SECONDS, ClientWatch, guarded, made, translated, unreachable
from openmsi_core.kafka.identity import Identity
from openmsi_core.kafka.patience import Errand, Patience, never
from openmsi_core.kafka.producer import partitions_of
from openmsi_core.model import Commit, Position, Record
from openmsi_core.ports import Listener

log = logging.getLogger(__name__)

_COMMIT_SECONDS = 60.0
_MOST_REFUSALS = 5  # in a row, without a record between them
_NOT_OURS_NOW = {
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.STALE_MEMBER_EPOCH,
}
_CUT_OFF = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
_PASSING = {
    KafkaError._PARTITION_EOF,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._MAX_POLL_EXCEEDED,
    # said of a join that came in the middle of another rebalance; the client joins again by itself
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
}


class TopicConsumer:
    """The RecordSource of one run. `__enter__` connects and subscribes; one thread calls it.

    On assignment the commits are read with their metadata, which the assignment itself does not carry. While the
    transaction of a killed member is open that waits for up to 90 s, or until ``is_stopping`` says yes. ``since_ms``
    (epoch milliseconds) makes each claim say where that moment lies. Where the broker refuses an offset, because
    retention was faster or the topic was made anew, the partition is assigned once more and the claim says so. With a
    ``topic_id`` BrokerError is raised once the topic is another: at each assignment, and within some ten seconds.
    Raises SettingsError, TopicError, BrokerError.
    """

    def __init__(
        self,
        options: Mapping[str, str],
        topic: str,
        group: str,
        listener: Listener,
        *,
        connect: float = CONNECT_SECONDS,
        since_ms: int | None = None,
        topic_id: str = "",
        is_stopping: Callable[[], bool] = never,
    ) -> None:
        self._identity = Identity(options, topic, topic_id)
        self._is_stopping = is_stopping
        self._options = options
        self._topic = topic
        self._group = group
        self._listener = listener
        self._connect = connect
        self._since_ms = since_ms
        self._refused: dict[int, int] = {}
        self._count = 0
        self._watch = ClientWatch(options, topic)
        self._consumer: Consumer | None = None
        self._paused = False
        self._starts: dict[int, int] = {}
        self._failure: BaseException | None = None
        self._is_cooperative = True
        self._errand = Errand()

    def __enter__(self) -> Self:
        settings = config.consumer(self._options, self._group)
        self._is_cooperative = config.is_cooperative(settings)
        self._consumer = made(Consumer, self._watch.configured(settings))
        try:
            self._count = partitions_of(self._consumer, self._watch, self._options, self._topic, self._connect)
        except BaseException:
            self._consumer.close()
            raise
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        consumer, self._consumer = self.client, None
        self._identity.close()
        if self._errand.is_stuck:
            return  # closing would wait for it as well; the group forgets this member after its session timeout
        consumer.close()
        if self._failure is not None and error is None:
            raise self._failure

    @property
    def client(self) -> Consumer:
        """The client itself, for a transaction's group metadata."""
        if self._consumer is None:
            raise RuntimeError("TopicConsumer is used outside its `with`")
        return self._consumer

    @property
    def topic(self) -> str:
        """The topic that is read."""
        return self._topic

    def committed(self) -> Sequence[TopicPartition]:
        """The group's commits for the partitions that are ours, with their metadata. Raises BrokerError."""
        return self._claims(self.client).committed([each.partition for each in self.client.assignment()])

    def poll(self, timeout: float) -> Record | None:
        """The next record, or None after ``timeout`` seconds. Calls the listener. Raises BrokerError, TopicError."""
        try:
            message = guarded(lambda: self.client.poll(timeout))
        except KafkaException as failed:
            raise translated(failed.args[0], self._options, self._topic) from failed
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._watch.raise_if_refused()
        self._identity.glance()
        if message is None:
            return None
        error = message.error()
        if error is not None:
            self._judge(error, message)
            return None
        if self._refused:
            self._refused.pop(message.partition() or 0, None)
        return record_of(message)

    def partitions(self) -> int:
        """How many partitions the topic had when this member joined."""
        return self._count

    def positions(self) -> Mapping[int, int]:
        """For each partition that is ours: the offset of the next record to come."""
        places = self.client.position(self.client.assignment())
        # a partition that gave no record yet has no position in librdkafka, only the start that we gave it
        return {
            each.partition: each.offset if each.offset >= 0 else self._starts.get(each.partition, 0) for each in places
        }

    def lag(self) -> int:
        """How many records of our partitions were not read yet, as far as fetching told; asks nobody."""
        behind = 0
        for partition, position in self.positions().items():
            _, high = self.client.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            behind += max(0, high - position)
        return behind

    def pause(self) -> None:
        """Fetch nothing until `resume`. What was fetched already is thrown away and fetched again."""
        if not self._paused:
            self._paused = True
            self.client.pause(self.client.assignment())

    def resume(self) -> None:
        """Fetch again."""
        if self._paused:
            self._paused = False
            self.client.resume(self.client.assignment())

    def commit(self, commits: Sequence[Commit]) -> bool:
        """Commit with metadata, synchronously; False when a rebalance came first: then somebody reads it again.

        librdkafka waits for a broker that went away, for minutes; this raises BrokerUnreachable after 60 s, or 2 s
        after ``is_stopping``. Raises BrokerError.
        """
        client = self.client
        offsets = [TopicPartition(self._topic, each.partition, each.offset, each.metadata) for each in commits]
        try:
            patience = Patience(_COMMIT_SECONDS, self._is_stopping)
            done = self._errand.run(lambda: client.commit(offsets=offsets, asynchronous=False), patience)
        except TimeoutError as error:
            raise unreachable(self._options, "a commit is not answered") from error
        except KafkaException as error:
            return self._commit_failed(error.args[0], error)
        for each in done or []:
            if each.error is not None:
                return self._commit_failed(each.error, KafkaException(each.error))
        return True

    def _commit_failed(self, error: KafkaError, cause: KafkaException) -> bool:
        if error.code() in _NOT_OURS_NOW:
            log.info("a commit came after a rebalance (%s): what it covers may be handled once more", error.name())
            return False
        what = self._topic if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED else self._group
        raise translated(error, self._options, what) from cause

    def _judge(self, error: KafkaError, message: Message) -> None:
        """Raise what cannot pass by itself."""
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:
            log.warning("the group took our partitions away: nothing was polled for too long; we join it again")
        elif error.code() in _CUT_OFF:
            self._place_again(message.partition() or 0)
        elif error.code() not in _PASSING and (error.fatal() or not error.retriable()):
            group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
            raise translated(error, self._options, self._group if group else self._topic)
        log.debug("%s: %s", error.name(), error.str())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._consumer is None:  # closing serves an assignment that was on its way; whoever is left gets it next
            return
        try:
            placed = self._placed(consumer, [each.partition for each in partitions])
            if placed is None:
                return  # nobody polls again, so nothing is read of what librdkafka assigns now
            if self._is_cooperative:
                consumer.incremental_assign(placed)
            else:
                consumer.assign(placed)
            if self._paused and placed:
                consumer.pause(placed)
        except Exception as error:  # noqa: BLE001 - librdkafka would swallow it; `poll` raises it
            self._failure = error

    def _place_again(self, partition: int) -> None:
        """Begin a partition anew at which the broker has no record for our position. Raises BrokerError."""
        self._refused[partition] = self._refused.get(partition, 0) + 1
        if self._refused[partition] > _MOST_REFUSALS:
            raise BrokerError(
                f"the broker refuses every offset of {self._topic}[{partition}] that its log should have. Look at the "
                "broker's log, and start the run again."
            )
        if self._is_cooperative:
            self.client.incremental_unassign([TopicPartition(self._topic, partition)])
            placed = self._placed(self.client, [partition], is_refused=True)
            if placed is not None:
                self.client.incremental_assign(placed)
        else:
            everything = [each.partition for each in self.client.assignment()]
            self.client.unassign()
            placed = self._placed(self.client, everything, is_refused=True)
            if placed is not None:
                self.client.assign(placed)

    def _placed(
        self, consumer: Consumer, partitions: list[int], *, is_refused: bool = False
    ) -> list[TopicPartition] | None:
        """Where the listener begins these partitions; None when we are stopping."""
        self._identity.look()
        claims = self._claims(consumer).of(partitions, is_refused=is_refused)
        if claims is None:
            return None
        starts = self._listener.assigned(claims)
        self._starts |= starts
        return [TopicPartition(self._topic, partition, starts[partition]) for partition in partitions]

    def _claims(self, consumer: Consumer) -> Claims:
        return Claims(consumer, self._options, self._topic, self._group, self._since_ms, self._is_stopping)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_up(consumer, partitions, self._listener.revoked)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_up(consumer, partitions, self._listener.lost)

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition], tell: Any) -> None:
        try:
            known = [each.partition for each in partitions if each.partition in self._starts]
            if known:
                tell(known)
            if self._is_cooperative:
                consumer.incremental_unassign(partitions)
            else:
                consumer.unassign()
        except Exception as error:  # noqa: BLE001 - librdkafka would swallow it; `poll` raises it
            self._failure = error


def record_of(message: Message) -> Record:
    """The message as our noun."""
    partition, offset = message.partition(), message.offset()
    position = Position(message.topic() or "", -1 if partition is None else partition, -1 if offset is None else offset)
    kind, timestamp = message.timestamp()
    return Record(position, timestamp if kind else -1, message.key(), message.value())
