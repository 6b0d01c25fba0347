"""Records of files into one topic."""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from openmsi_core.kafka import config
from openmsi_core.kafka.errors import CONNECT_SECONDS, ClientWatch, guarded, made, metadata, translated
from openmsi_core.ports import Delivered

_log = logging.getLogger(__name__)


class TopicProducer:
    """The RecordSink of one topic. `__enter__` connects; one thread calls it.

    Raises SettingsError, TopicError, BrokerError when it is entered; blocks for at most ``connect`` seconds then.
    """

    def __init__(self, options: Mapping[str, str], topic: str, *, chunk: int, connect: float = CONNECT_SECONDS) -> None:
        self._options = options
        self._topic = topic
        self._chunk = chunk
        self._connect = connect
        self._watch = ClientWatch(options, topic)
        self._producer: Producer | None = None
        self._partitions = 0

    def __enter__(self) -> Self:
        settings = self._watch.configured(config.upload_producer(self._options, chunk=self._chunk))
        self._producer = made(Producer, settings)
        self._partitions = partitions_of(self._producer, self._watch, self._options, self._topic, self._connect)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producer, self._producer = self._client, None
        end(producer)  # what is not acknowledged by now is not sent: the ledger knows

    @property
    def _client(self) -> Producer:
        if self._producer is None:
            raise RuntimeError("TopicProducer is used outside its `with`")
        return self._producer

    def partitions(self) -> int:
        """How many partitions the topic had when we connected."""
        return self._partitions

    def produce(self, partition: int, key: bytes, value: bytes, delivered: Delivered) -> None:
        """Queue one record; while the client's queue is full, delivery callbacks are served. Raises BrokerError."""

        def report(error: KafkaError | None, message: Message) -> None:
            if error is None:
                delivered(message.offset(), "")
            else:
                delivered(None, str(translated(error, self._options, self._topic)))

        while True:
            try:
                self._client.produce(self._topic, value, key, partition, on_delivery=report)
            except BufferError:
                self.serve(0.1)
            except KafkaException as error:
                reason = translated(error.args[0], self._options, self._topic)
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise reason from error
                delivered(None, str(reason))  # this file cannot be sent; others can
                return
            else:
                return

    def serve(self, timeout: float) -> int:
        """Call the delivery callbacks that are due. Raises BrokerError when the broker will not have us."""
        try:
            served = guarded(lambda: self._client.poll(timeout))
        except KafkaException as error:
            raise translated(error.args[0], self._options, self._topic) from error
        self._watch.raise_if_refused()
        return int(served)

    def pending(self) -> int:
        """How many records are not acknowledged yet."""
        return len(self._client)


def partitions_of(client: object, watch: ClientWatch, options: Mapping[str, str], topic: str, seconds: float) -> int:
    """How many partitions ``topic`` has. Raises TopicError, BrokerError."""
    described = metadata(client, watch, topic, seconds).topics[topic]
    if described.error is not None:
        raise translated(described.error, options, topic)
    return len(described.partitions)


def forget_given_up() -> None:
    """Free the clients that were given up before: the error that ended one, its traceback and the client often hold one
    another, and with them a dozen threads, until Python looks for such circles. Takes some hundredths of a second.
    """
    gc.collect()


def end(producer: Producer) -> None:
    """Let go of a producer and of everything that it has not sent; its own `close` would wait for the broker."""
    try:
        if len(producer):
            producer.purge()
            guarded(lambda: producer.flush(1.0))
    except KafkaException as error:
        _log.debug("a producer that is given up said: %s", error.args[0])
