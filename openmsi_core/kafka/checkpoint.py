"""Where outcomes become durable in Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from openmsi_core.errors import OpenmsiError
from openmsi_core.kafka import config
from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.errors import ClientWatch, made, translated, unreachable
from openmsi_core.model import Commit, Outgoing


class AtLeastOnce:
    """The OutcomeStore without transactions: everything acknowledged first, then the commit.

    A kill between the two publishes the outcomes once more at the next start; never is one lost.
    """

    def __init__(self, options: Mapping[str, str], consumer: TopicConsumer) -> None:
        self._options = options
        self._consumer = consumer
        self._watch = ClientWatch(options)
        self._producer: Producer | None = None

    def __enter__(self) -> Self:
        self._producer = made(Producer, self._watch.configured(config.outcome_producer(self._options)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producer, self._producer = self._producer, None
        if producer is not None and len(producer):
            producer.purge()  # not acknowledged, so not committed: it is published again at the next start
            producer.flush(1.0)

    def write(self, outgoing: Sequence[Outgoing], commits: Sequence[Commit]) -> None:
        """Produce, wait for every acknowledgement, commit. Raises BrokerError, TopicError, RightMissing."""
        producer = self._producer
        if producer is None:
            raise RuntimeError("AtLeastOnce is used outside its `with`")
        failures: list[OpenmsiError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(translated(error, self._options, message.topic() or ""))

        for each in outgoing:
            self._produce(producer, each, delivered)
        left = producer.flush(60.0)
        self._watch.raise_if_refused()
        if failures:
            raise failures[0]
        if left:
            raise unreachable(self._options, f"{left} outcomes were not acknowledged within 60 s")
        self._consumer.commit(commits)

    def _produce(self, producer: Producer, each: Outgoing, delivered: Any) -> None:
        while True:
            try:
                producer.produce(each.topic, each.value, each.key, on_delivery=delivered)
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                raise translated(error.args[0], self._options, each.topic) from error
            else:
                return
