"""A look into a topic, without joining a group."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from openmsi_core.errors import BrokerError
from openmsi_core.kafka import config
from openmsi_core.kafka.consumer import record_of
from openmsi_core.kafka.errors import CONNECT_SECONDS, ClientWatch, guarded, made, translated, unreachable
from openmsi_core.kafka.producer import partitions_of
from openmsi_core.model import Record

_log = logging.getLogger(__name__)

_SILENT_SECONDS = 30.0
_TURN_SECONDS = 0.05
_CUT_OFF = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


def read(options: Mapping[str, str], topic: str, limit: int | None = None) -> Iterator[Record]:
    """The records of ``topic`` from its beginning to the present end of each partition, ``limit`` at most.

    Order is kept within a partition. Raises SettingsError, TopicError, BrokerError.
    """
    with TopicReader(options, topic) as reader:
        given = 0
        for record in reader.between(reader.ends()):
            if record is None:
                continue
            yield record
            given += 1
            if given == limit:
                return


class TopicReader:
    """The RecordReader of one topic: it is assigned what it reads, joins no group and commits nothing.

    `__enter__` connects within ``connect`` seconds. One thread calls it. Every method raises BrokerError.
    ``isolation`` "read_uncommitted" is for looking at open transactions, and for nothing else.
    """

    def __init__(
        self,
        options: Mapping[str, str],
        topic: str,
        *,
        connect: float = CONNECT_SECONDS,
        isolation: str = "read_committed",
    ) -> None:
        self._options = options
        self._topic = topic
        self._connect = connect
        self._isolation = isolation
        self._watch = ClientWatch(options, topic)
        self._consumer: Consumer | None = None
        self._partitions = 0

    def __enter__(self) -> Self:
        settings = config.reader(self._options) | {"enable.partition.eof": True, "isolation.level": self._isolation}
        self._consumer = made(Consumer, self._watch.configured(settings))
        try:
            self._partitions = partitions_of(self._consumer, self._watch, self._options, self._topic, self._connect)
        except BaseException:
            self._consumer.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        consumer, self._consumer = self._client, None
        consumer.close()

    @property
    def _client(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("TopicReader is used outside its `with`")
        return self._consumer

    def ends(self) -> Mapping[int, tuple[int, int]]:
        """For each partition the first offset that is still there, and the one after the last committed record."""
        found = {}
        for number in range(self._partitions):
            try:
                low, high = self._client.get_watermark_offsets(
                    TopicPartition(self._topic, number), timeout=CONNECT_SECONDS
                )
            except KafkaException as error:
                raise translated(error.args[0], self._options, self._topic) from error
            found[number] = (int(low), int(high))
        return found

    def since(self, timestamp_ms: int) -> Mapping[int, int]:
        """For each partition the first offset whose record is not older; its end when all are older."""
        asked = [TopicPartition(self._topic, number, timestamp_ms) for number in range(self._partitions)]
        try:
            answered = self._client.offsets_for_times(asked, timeout=CONNECT_SECONDS)
        except KafkaException as error:
            raise translated(error.args[0], self._options, self._topic) from error
        ends = self.ends()
        return {each.partition: each.offset if each.offset >= 0 else ends[each.partition][1] for each in answered}

    def between(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record | None]:
        """The records of each partition from the first offset up to, not including, the second.

        None comes when nothing did for a moment. Offsets that are not there (markers of transactions,
        compaction) are passed over; a partition ends at its present end at the latest, and keeps its order.
        """
        waited = {number: until for number, (begin, until) in ranges.items() if begin < until}
        places = [TopicPartition(self._topic, number, ranges[number][0]) for number in sorted(waited)]
        self._client.assign(places)
        self._client.resume(places)  # a partition that was paused stays so through a new assignment
        try:
            yield from self._until(waited)
        finally:
            if self._consumer is not None:  # else who reads has left us before the end of this iterator
                self._consumer.unassign()

    def _until(self, waited: dict[int, int]) -> Iterator[Record | None]:
        heard = time.monotonic()
        while waited:
            message = self._polled()
            if message is None:
                if time.monotonic() - heard > _SILENT_SECONDS:
                    raise unreachable(self._options, self._watch.last)
                self._wake(next(iter(waited)))
                yield None
                continue
            record = self._judged(message, waited)
            if record is not None:
                yield record
            heard = time.monotonic()  # after the yield: whoever asks may take long, and that is no silence

    def _wake(self, number: int) -> None:
        """Ask the broker anything: the client's thread for it may sleep for a second before it looks what to fetch.

        Measured: 20 small stretches took 17 s without, 1 s with it.
        """
        try:
            self._client.get_watermark_offsets(TopicPartition(self._topic, number), timeout=_TURN_SECONDS)
        except KafkaException as error:
            _log.debug("%s: %s", self._topic, error.args[0])  # a broker that stays away is told by the silence

    def _polled(self) -> Message | None:
        try:
            message = guarded(lambda: self._client.poll(_TURN_SECONDS))
        except KafkaException as error:
            raise translated(error.args[0], self._options, self._topic) from error
        self._watch.raise_if_refused()
        return message

    def _judged(self, message: Message, waited: dict[int, int]) -> Record | None:
        """The record, if it is one that is waited for; what ends a partition takes it out of ``waited``."""
        error, number = message.error(), message.partition() or 0
        if error is None:
            record = record_of(message)
            until = waited.get(number)
            if until is None:
                return None
            if record.position.offset >= until - 1:
                self._leave(number, waited)
            return record if record.position.offset < until else None
        if error.code() == KafkaError._PARTITION_EOF:
            self._leave(number, waited)
        elif error.code() in _CUT_OFF:
            raise BrokerError(
                f"{self._topic}[{number}]@{message.offset()} went while it was read: retention is faster than we are. "
                "Try again: it begins with what is still there."
            )
        elif not error.retriable():
            raise translated(error, self._options, self._topic)
        return None

    def _leave(self, number: int, waited: dict[int, int]) -> None:
        if waited.pop(number, None) is not None:
            self._client.pause([TopicPartition(self._topic, number)])
